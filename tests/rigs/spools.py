"""A spool in a folder of its own, and datapoints to put into it."""

from __future__ import annotations

import sqlite3
import threading
import uuid
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from clocks import ManualClock
from framesift.clock.clock import Clock
from framesift.clock.moment import Moment
from framesift.datapoint import Candidate, Datapoint
from framesift.limits import Limit, Quota, Window, row_checksums
from framesift.limits.local import LocalLimits
from framesift.prediction.prediction import Detection, Detections, Prediction, Task
from framesift.spool import Accepted, NotAccepted, Spool, SpoolBroken, SpoolFull, WhenFull, identity

T = TypeVar("T")

BATCH = "batch_2026_09_10"


@dataclass
class RecordedReports:
    """What the spool reported."""

    events: list[tuple[str, dict[str, object]]] = field(default_factory=list)

    def __call__(self, event: str, fields: dict[str, object]) -> None:
        self.events.append((event, fields))

    def names(self) -> list[str]:
        return [name for name, _ in self.events]


def make_spool(folder: Path, clock: Clock, **options: Any) -> Spool:
    """A spool at spool.db in `folder`, not yet open."""
    defaults: dict[str, Any] = {
        "max_bytes": 2**28,
        "min_free_bytes": 0,
        "when_full": WhenFull.EVICT_LOWEST,
        "limits": LocalLimits(),
        "report": RecordedReports(),
    }
    return Spool(folder / "spool.db", clock=clock, **(defaults | options))


def prediction(*classes: str) -> Detections:
    return Detections(
        task=Task.OBJECT_DETECTION,
        objects=tuple(Detection(10.0, 10.0, 5.0, 5.0, 0.5, name, 0) for name in classes),
        width=64,
        height=48,
    )


def datapoint(
    clock: Clock,
    *,
    id: str | None = None,
    jpeg: bytes = b"\xff\xd8 a small picture \xff\xd9",
    captured: Moment | None = None,
    what: Prediction | None = None,
    frame: int = 0,
) -> Datapoint:
    return Datapoint(
        id=id or uuid.uuid4().hex,
        device="gate-7",
        stream="gate",
        frame_number=frame,
        captured=captured or clock.now(),
        width=64,
        height=48,
        jpeg=jpeg,
        prediction=what or prediction("car"),
    )


def quota(strategy: str = "any", *limits: tuple[Window, int], batch_images: int | None = None) -> Quota:
    return Quota(strategy, tuple(Limit(window, value) for window, value in limits), BATCH, batch_images)


def put(
    spool: Spool,
    clock: ManualClock | Clock,
    quotas: Sequence[Quota] = (Quota("any", (), BATCH),),
    *,
    score: float | None = None,
    tags: tuple[str, ...] = (),
    **how: Any,
) -> Accepted | NotAccepted:
    candidates = [Candidate(q.strategy, score, tags, q.batch) for q in quotas]
    return spool.put(datapoint(clock, **how), candidates, quotas)


def accepted(answer: Accepted | NotAccepted) -> str:
    """The id of what must have been accepted."""
    assert isinstance(answer, Accepted), answer
    return answer.id


def retry_until_ok(do: Callable[[], T]) -> T:
    """While a file is being mended, what is asked of it is refused."""
    for _ in range(500):
        try:
            return do()
        except (SpoolBroken, SpoolFull) as error:
            why = str(error)
            threading.Event().wait(0.02)
    raise AssertionError(f"it doesn't go on: {why}")


def make_newer(path: Path, format: int) -> None:
    """Makes a closed spool one of a newer program: its header and its identity say so."""
    with closing(sqlite3.connect(path)) as newer:
        row_checksums.register(newer)
        known = identity.read(newer)
        identity.write(newer, identity.Identity(known.id, format, known.application))
        newer.execute(f"PRAGMA user_version = {format}")
        newer.commit()
