"""What `framesift check` finds about the snapshots of a stream, where no daemon runs that could answer."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator

import numpy as np

from framesift.cli.probes import Finding
from framesift.clock.clock import Clock
from framesift.frame import Frame
from framesift.http_client import HttpClient
from framesift.settings import StreamEntry
from framesift.streams import Stream, StreamLost
from framesift.streams.snapshots.ticket import SnapshotMissed
from framesift.streams.snapshots.url_snapshots import UrlSnapshots

_ADVICE = "correct it, or remove the block snapshot; until then the frames' own pictures are kept"


def snapshot_findings(settings: StreamEntry, clock: Clock, *, within_s: float) -> Iterator[Finding]:
    """Get one picture of the snapshot's address, and yield its size. within_s: for a main stream's first picture."""
    assert settings.snapshot is not None
    subject = f"snapshots of {settings.name}"
    if settings.snapshot.url is not None:
        yield _fetch(subject, settings, clock)
        return
    stream = Stream(settings.snapshot_stream(), clock=clock, stop=threading.Event(), rng=random.Random(0))
    try:
        frame = stream.first_frame(within_s)
    except StreamLost as error:
        yield Finding(subject, False, str(error), f"{error.reason.advice}; {_ADVICE}")
        return
    finally:
        stream.close()
    yield Finding(subject, True, f"first frame of the main stream {frame.width} x {frame.height}")


def _fetch(subject: str, settings: StreamEntry, clock: Clock) -> Finding:
    assert settings.snapshot is not None
    client = HttpClient(ca_file=settings.ca_file, verify=settings.verify)
    snapshots = UrlSnapshots(settings, clock=clock, client=client)
    snapshots.start()
    try:
        now = clock.now()
        frame = Frame(settings.name, 0, np.zeros((2, 2, 3), np.uint8), now)
        answer = snapshots.request(frame, deadline_s=now.boottime_s + settings.snapshot.wait_s).wait()
        took_s = clock.now().boottime_s - now.boottime_s
    finally:
        snapshots.close()
        client.close()
    if isinstance(answer, SnapshotMissed):
        why = answer.detail or f"nothing came within {settings.snapshot.wait_s:g} s"
        return Finding(subject, False, f"{answer.reason}: {why}", _ADVICE)
    return Finding(subject, True, f"a JPEG of {answer.width} x {answer.height} came in {took_s:.2f} s")
