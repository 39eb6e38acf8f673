"""What before_s and after_s of a policy can't do on the streams that follow it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from framesift.service.stream_privacies import is_video
from framesift.settings import StreamEntry
from framesift.strategies import StrategyOptions


def neighbour_problems(strategies: Sequence[StrategyOptions], streams: Iterable[StreamEntry]) -> Iterator[str]:
    """Yield a sentence for each strategy and each of the streams where something is missing for its neighbours."""
    for stream in streams:
        for strategy in strategies:
            if strategy.neighbours is not None:
                why = _missing(strategy.neighbours.before_s, stream)
                if why:
                    yield f"strategy {strategy.name!r} ({strategy.type}): {why}"


def _missing(before_s: float, stream: StreamEntry) -> str:
    if not is_video(stream):
        return f"before_s and after_s have no effect on stream {stream.name!r}: its pictures need not follow each other"
    snapshot = stream.snapshot
    if snapshot is None or before_s <= snapshot.pre_s:
        return ""
    ours = f"of frames {before_s:g} s before a collected one, stream {stream.name!r}"
    if snapshot.url is not None:
        return f"{ours} has no snapshots, since snapshot.url gives only new pictures: their own pictures are kept"
    return f"{ours} may have no snapshots: its snapshot.pre_s is {snapshot.pre_s:g}; set it to {before_s:g}"
