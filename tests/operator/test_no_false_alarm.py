"""No false alarm: a daemon with cameras, a file, a platform and shared limits that has hiccups, and is well throughout.

Hiccups are what every site has all day: a camera's network stalls for seconds, one answer of the platform is slow or an
error, a frame takes the model long, somebody reloads, the machine is held up.
"""

from __future__ import annotations

import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from rigs.clocked_daemon import CLOCKED
from rigs.daemon import POLICY
from rigs.footage import numbered_clip
from rigs.operator_view import OperatorView
from rigs.platform import KEY, Fault, Platform, Status
from rigs.platform.faults import Delay
from rigs.redis_server import redis_server
from rigs.rtsp import CuttableConnection, RtspCamera
from rigs.seeded_faults.situation import MODEL, STREAM, Situation, situation

_LIMITED = {
    **POLICY,
    "sampling_strategies": [
        {"name": "all", "type": "random", "traffic_percentage": 1.0, "limits": [{"type": "daily", "value": 1_000_000}]}
    ],
}


@dataclass(frozen=True)
class Site:
    """A situation in which nothing is wrong, and what can stumble in it for a moment."""

    situation: Situation
    hiccups: tuple[Callable[[], None], ...]


@contextmanager
def site(folder: Path, hiccup_s: float, **how: Any) -> Iterator[Site]:
    """Two cameras and a file, the platform, and shared limits. hiccup_s: how long a hiccup lasts."""
    clips = folder / "camera"
    clips.mkdir()
    numbered_clip(clips / "clip.mp4", frames=60, fps=30)
    (folder / "redis").mkdir()
    with ExitStack() as open_:
        platform = open_.enter_context(Platform())
        platform.add_project("parking", "object-detection", active_learning=POLICY)
        redis = open_.enter_context(redis_server(folder / "redis"))
        redis.wait_until_stored("framesift:{parking}")
        camera = open_.enter_context(RtspCamera(clips))
        wires = [open_.enter_context(CuttableConnection(camera.port)) for _ in range(2)]
        cameras = [{"name": f"camera-{n}", "source": wire.url("clip.mp4"), "fps": 5} for n, wire in enumerate(wires)]
        made = open_.enter_context(
            situation(
                folder,
                lambda _: None,
                lambda _: None,
                rules=_LIMITED,
                variables={"ROBOFLOW_API_KEY": KEY},
                streams=[STREAM, *cameras],
                model=MODEL,
                limits={"redis": {"url": f"redis://127.0.0.1:{redis.port}"}},
                **platform.settings("parking"),
                **how,
            )
        )

        def stall() -> None:
            wires[0].stall()
            time.sleep(hiccup_s)  # its length, not a wait for something
            wires[0].resume()

        def hold_up() -> None:
            made.daemon.process.send_signal(signal.SIGSTOP)
            time.sleep(hiccup_s)  # its length, too: nothing in a process that is held up could tell when it is over
            made.daemon.process.send_signal(signal.SIGCONT)

        yield Site(
            made,
            (
                stall,
                hold_up,
                lambda: platform.orders.add(Fault("upload", Status(503))),
                lambda: platform.orders.add(Fault("upload", Delay(hiccup_s))),
                lambda: made.daemon.process.send_signal(signal.SIGHUP),
            ),
        )


def watch(made: Site, looks: int, hiccup_every: int, pause: Callable[[OperatorView], None]) -> None:
    """Look so many times whether anything is said to be wrong, with a hiccup every so many looks."""
    there = made.situation
    view = OperatorView(there.folder, there.port, there.daemon)
    view.until(lambda: view.problems() == [] and _collects(view), 60.0)
    ready = len(there.daemon.events)
    chance = random.Random(11)
    for look in range(looks):
        if look % hiccup_every == hiccup_every - 1:
            threading.Thread(target=chance.choice(made.hiccups), daemon=True).start()
        problems = view.problems()
        assert not problems, problems
        pause(view)
    alarms = [event for event in there.daemon.events[ready:] if _is_alarm(event)]
    assert not alarms
    assert view.fields()["frames_accepted"] > looks


def _collects(view: OperatorView) -> bool:
    return all(stream["accepted"] for stream in view.seen[-1]["streams"])


def _read(view: OperatorView) -> dict[str, int]:
    """How many frames each stream has shown."""
    return {stream["stream"]: stream["frames_read"] for stream in view.fields()["streams"]}


def _is_alarm(event: dict[str, Any]) -> bool:
    return event["event"] == "health" or event["level"] == "error" or event.get("state") == "lost"


@pytest.mark.exhaustive
def test_minutes_of_health_with_hiccups_are_without_an_alarm(tmp_path: Path) -> None:
    with site(tmp_path, 0.1, command=CLOCKED) as made:
        pass_time = made.situation.pass_time
        assert pass_time is not None

        def pause(view: OperatorView) -> None:
            """Five seconds for the daemon, in which each camera shows something, however busy this machine is."""
            before = _read(view)
            pass_time(5.0)
            view.until(lambda: all(_read(view)[name] > count for name, count in before.items()), 60.0)

        watch(made, looks=24, hiccup_every=4, pause=pause)


@pytest.mark.torture
@pytest.mark.timeout(4000)
def test_an_hour_of_health_with_hiccups_is_without_an_alarm(tmp_path: Path) -> None:
    with site(tmp_path, 4.0) as made:  # on the machine's own clock, which no argument replaces here
        watch(made, looks=3600, hiccup_every=60, pause=lambda _: time.sleep(1.0))
