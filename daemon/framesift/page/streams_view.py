"""The streams: state, frames a second, and what was decided in the last hour, minute by minute."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import tzinfo

from framesift.decisions import DownTime, MinuteCounts
from framesift.page.html import Html, element, joined
from framesift.page.words import duration_text, time_text
from framesift.telemetry import PausedStream, StatusReport, StreamCounts

_MINUTES = 60
_BAR, _HEIGHT = 5, 40


def stream_views(
    report: StatusReport,
    hours: Mapping[str, tuple[MinuteCounts, ...]],
    speeds: Mapping[str, float],
    down: Sequence[DownTime],
    zone: tzinfo,
) -> Iterator[tuple[str, Html]]:
    """Yields, by the stream's name, what changes of it. speeds: frames a second that the model gets, where known.

    down: when no daemon ran in the last hour.
    """
    paused = {pause.stream: pause for pause in report.paused}
    since = time_text(report.taken_at_s - report.uptime_s, zone)  # the last hour goes back behind it
    for stream in sorted(report.streams, key=lambda one: one.stream):
        hour = hours.get(stream.stream, ())
        yield (
            stream.stream,
            joined(
                _state(stream, paused.get(stream.stream), zone),
                _numbers(stream, speeds.get(stream.stream), since),
                hour_strip(hour, down, int(report.taken_at_s // 60)),
                element("p", "last hour: ", _summary(hour, down), class_="hour"),
            ),
        )


def stream_hands(report: StatusReport) -> Iterator[tuple[str, Html]]:
    """Yields, by the stream's name, its buttons: apart from what changes all the time.

    A button that is replaced loses the keyboard's focus, and a click that is half done.
    """
    paused = {pause.stream for pause in report.paused}
    for stream in report.streams:
        yield stream.stream, _hands(stream.stream, is_paused=stream.stream in paused)


def _state(stream: StreamCounts, pause: PausedStream | None, zone: tzinfo) -> Html:
    if pause is not None:
        until = "somebody resumes it" if pause.until_s is None else time_text(pause.until_s, zone)
        by = f" by {pause.by}" if pause.by else ""
        return element("p", element("span", "paused", class_="mark warn"), f" until {until}{by}", class_="state")
    if stream.away is not None:
        why = element("p", f"{stream.away.why}: {stream.away.advice}", class_="why")
        return joined(element("p", element("span", "away", class_="bad mark"), class_="state"), why)
    if stream.up is None:
        return element("p", element("span", "not started", class_="mark"), class_="state")
    word, kind = ("running", "good mark") if stream.up else ("no pictures", "bad mark")
    lost = "" if not stream.losses else "lost once" if stream.losses == 1 else f"lost {stream.losses} times"
    return element("p", element("span", word, class_=kind), " ", element("small", lost), class_="state")


def _numbers(stream: StreamCounts, speed: float | None, since: str) -> Html:
    pairs = [
        ("counted since", since),
        ("frames read", f"{stream.frames_read:,}"),
        ("to the model", "" if speed is None else f"{speed:.1f} a second"),
        ("accepted", f"{sum(stream.accepted.values()):,}"),
        ("refused", f"{sum(stream.refused.values()):,}"),
    ]
    return element("dl", [joined(element("dt", name), element("dd", value)) for name, value in pairs if value])


def all_streams_hands() -> Html:
    """The buttons for all streams together."""
    return element("p", _button("pause all", "/pause", ""), _button("resume all", "/resume", ""), class_="hands")


def strip_legend() -> Html:
    """What the colours of all streams' strips mean."""
    kinds = {
        "accepted": "accepted",
        "refused": "wanted, but refused",
        "unwanted": "wanted by nobody",
        "down": "framesift did not run",
    }
    named = [element("span", element("i", class_=f"kind {kind}"), f" {text}") for kind, text in kinds.items()]
    return element("p", "frames of the last hour, by minute: ", named, class_="legend")


def _hands(stream: str, *, is_paused: bool) -> Html:
    """The buttons of a stream."""
    if is_paused:
        return element("p", _button("resume", "/resume", stream), class_="hands")
    return element(
        "p",
        _button("take a frame now", "/take", stream),
        _button("pause", "/pause", stream),
        _button("pause for an hour", "/pause", stream, for_s=3600),
        class_="hands",
    )


def _button(text: str, path: str, stream: str, for_s: int | None = None) -> Html:
    """stream: "" for all of them."""
    return element("button", text, data_post=path, data_stream=stream, data_for_s=for_s, type="button")


def hour_strip(hour: Sequence[MinuteCounts], down: Sequence[DownTime], minute: int) -> Html:
    """Sixty bars, the newest on the right. Green: accepted; amber: wanted, but refused; grey: wanted by nobody.

    A dashed line stands for the time in which no daemon ran. minute: the present one, since 1970.
    """
    first = minute - _MINUTES + 1
    by_minute = {counts.minute: counts for counts in hour}
    most = max([_total(counts) for counts in hour], default=0) or 1
    bars = [_down_line(one, first) for one in down]
    for place in range(_MINUTES):
        counts = by_minute.get(first + place)
        if counts is None:
            continue
        bottom = float(_HEIGHT)
        for kind, number in _parts(counts):
            if number:
                height = max(1.5, _HEIGHT * number / most)
                bottom -= height
                bars.append(
                    element(
                        "rect",
                        x=place * _BAR,
                        y=f"{max(0.0, bottom):.1f}",
                        width=_BAR - 1,
                        height=f"{height:.1f}",
                        class_=kind,
                    )
                )
    text = "the last hour, minute by minute: " + _summary(hour, down)
    return element(
        "svg",
        element("title", text),
        bars,
        viewBox=f"0 0 {_MINUTES * _BAR} {_HEIGHT}",
        class_="strip",
        role="img",
        preserveAspectRatio="none",
    )


def _down_line(down: DownTime, first: int) -> Html:
    """first: the minute on the left."""
    begin, end = (max(0.0, (at_s / 60 - first) * _BAR) for at_s in down)
    return element("line", x1=f"{begin:.1f}", x2=f"{end:.1f}", y1=_HEIGHT / 2, y2=_HEIGHT / 2, class_="down")


def _summary(hour: Sequence[MinuteCounts], down: Sequence[DownTime]) -> str:
    accepted: Counter[str] = Counter()
    refused: Counter[str] = Counter()
    for counts in hour:
        accepted += counts.accepted
        refused += counts.refused
    parts = [f"{number:,} accepted for {name}" for name, number in accepted.most_common()]
    parts += [f"{number:,} {name}" for name, number in refused.most_common()]
    parts = parts or ["nothing was decided"]
    return ", ".join(parts + [f"framesift did not run for {duration_text(one.to_s - one.from_s)}" for one in down])


def _parts(counts: MinuteCounts) -> Iterator[tuple[str, int]]:
    """How many were accepted, wanted in vain, and not wanted, from the bottom of a bar upwards."""
    unwanted = sum(counts.refused[reason] for reason in ("no_match", "disabled", "paused", "model_failed"))
    yield "accepted", sum(counts.accepted.values())
    yield "refused", sum(counts.refused.values()) - unwanted
    yield "unwanted", unwanted


def _total(counts: MinuteCounts) -> int:
    return sum(number for _, number in _parts(counts))
