"""OperatorHands: what an operator makes this run do, at the status server."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from framesift.clock.clock import Clock
from framesift.sampling.operator_requests import OperatorRequests
from framesift.sampling.pauses import Pauses
from framesift.sampling.takes import TakeRefusal
from framesift.settings import Settings
from framesift.spool import Accepted, Spool, SpoolBroken, SpoolFull
from framesift.status import ActionRefused, Operator
from framesift.telemetry import Telemetry

_MOST_NAMED = 20


def open_requests(settings: Settings, clock: Clock, telemetry: Telemetry) -> OperatorRequests:
    """Return what operators ask of the streams, with what was paused before the last end. Reads the disk."""
    path = settings.spool.path
    pauses = Pauses(clock, path.with_name(f"{path.name}.pauses"), lambda name, fields: _log(telemetry, name, fields))
    pauses.restore()
    requests = OperatorRequests(clock, settings.stream_names, pauses)
    telemetry.set_paused_source(requests.paused_streams)
    return requests


class OperatorHands:
    """The `Hands` of a run. Thread-safe. Everything that is done is in the log, with who asked for it."""

    def __init__(
        self, requests: OperatorRequests, spool: Spool, telemetry: Telemetry, on_retry: Callable[[], None]
    ) -> None:
        """on_retry: called when datapoints can be delivered that could not before."""
        self._requests = requests
        self._spool = spool
        self._telemetry = telemetry
        self._on_retry = on_retry

    def take(self, stream: str, who: Operator) -> Mapping[str, object]:
        """See Hands."""
        self._check(stream)
        answer = self._standing_refusal(stream) or self._requests.takes.take(stream)
        if isinstance(answer, Accepted):
            self._telemetry.state_changed(
                "frame_taken", stream=stream, id=answer.id, strategy=answer.strategy, by=str(who)
            )
            return {"stream": stream, "id": answer.id, "strategy": answer.strategy, "reason": None, "why": None}
        why = answer.meaning
        if answer is TakeRefusal.NO_FRAME:
            away = next((one.away for one in self._telemetry.stream_counts() if one.stream == stream), None)
            standing = self._standing_refusal(stream) or (None if away is None else TakeRefusal.AWAY)
            answer = standing or answer
            why = f"{answer.meaning}: {self._telemetry.redact(away.why)}" if away and standing else answer.meaning
        self._telemetry.state_changed("frame_not_taken", stream=stream, reason=answer.value, by=str(who))
        return {"stream": stream, "id": None, "strategy": None, "reason": answer.value, "why": why}

    def pause(self, stream: str | None, for_s: float | None, who: Operator) -> Mapping[str, object]:
        """See Hands."""
        self._check(stream)
        pause = self._requests.pauses.pause(stream, for_s, str(who))
        return {"stream": stream, "since_s": pause.since_s, "until_s": pause.until_s, **self._note()}

    def resume(self, stream: str | None, who: Operator) -> Mapping[str, object]:
        """See Hands."""
        self._check(stream)
        was_paused = self._requests.pauses.resume(stream, str(who))
        return {"stream": stream, "was_paused": was_paused, **self._note()}

    def drop(self, ids: tuple[str, ...], who: Operator) -> Mapping[str, object]:
        """See Hands."""
        dropped = self._change(self._spool.by_hand.drop, ids)
        if dropped:
            self._telemetry.state_changed("datapoints_dropped", count=len(dropped), ids=dropped[:20], by=str(who))
        return {"dropped": dropped, "unchanged": _others(ids, dropped)}

    def retry(self, ids: tuple[str, ...], who: Operator) -> Mapping[str, object]:
        """See Hands."""
        retried = self._change(self._spool.by_hand.retry, ids)
        if retried:
            self._on_retry()
            self._telemetry.state_changed("datapoints_retried", count=len(retried), ids=retried[:20], by=str(who))
        return {"retried": retried, "unchanged": _others(ids, retried)}

    def _standing_refusal(self, stream: str) -> TakeRefusal | None:
        """Why no frame of a stream can be taken at present, whatever comes."""
        refusal = self._requests.standing_refusal(stream)
        return None if refusal is None else TakeRefusal(refusal.value)

    def _check(self, stream: str | None) -> None:
        names = self._requests.stream_names
        if stream is not None and stream not in names:
            more = f", and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
            known = f"{', '.join(names[:_MOST_NAMED])}{more}"
            raise ActionRefused(f"there is no stream {stream[:64]!r}; there are: {known}", 404)

    def _note(self) -> Mapping[str, object]:
        problem = self._requests.pauses.problem
        return {"note": None if problem is None else f"a restart will not know of it: {problem}"}

    def _change(self, change: Callable[[tuple[str, ...]], tuple[str, ...]], ids: tuple[str, ...]) -> tuple[str, ...]:
        try:
            return change(ids)
        except (SpoolBroken, SpoolFull) as error:
            raise ActionRefused(f"the spool can't be written to: {error}", 503) from None


def _others(ids: tuple[str, ...], changed: tuple[str, ...]) -> tuple[str, ...]:
    """Those that were not changed: not in the spool, being sent, or (for a retry) waiting for nothing."""
    return tuple(id for id in dict.fromkeys(ids) if id not in set(changed))


def _log(telemetry: Telemetry, name: str, fields: Mapping[str, object]) -> None:
    """Log an event of the pauses: changes of a stream are never folded, problems of the disk are."""
    if name.startswith("stream_"):
        telemetry.state_changed(name, **fields)
    else:
        telemetry.warning(name, **fields)
