"""A camera that hangs up a thousand times: it is connected to each time, and nothing of a connection stays behind."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from rigs.clocked_daemon import CLOCKED, advance
from rigs.daemon import Daemon, children, write_configuration
from rigs.footage import numbered_clip
from rigs.hanging import reader_pids
from rigs.scripted_camera import ScriptedCamera, rtp_payloads

_WARM_AFTER, _RECONNECTIONS = 60, 1000
_MIB = 1 << 20


@dataclass(frozen=True)
class _Held:
    """What the daemon and the template of its readers hold while no reader runs."""

    descriptors: int
    threads: int
    processes: int
    memory_bytes: int


def _held(daemon: Daemon) -> _Held:
    main = daemon.process.pid
    for _ in range(100):
        assert daemon.until(lambda: not reader_pids(main), 20.0)
        pids = [main, *children(main)]
        places = [Path(f"/proc/{pid}") for pid in pids]
        held = _Held(
            sum(len(list((place / "fd").iterdir())) for place in places),
            sum(len(list((place / "task").iterdir())) for place in places),
            len(pids),
            sum(_private_bytes(place) for place in places),
        )
        if not reader_pids(main):  # none began meanwhile: its descriptors would be counted
            return held
    raise AssertionError("a reader runs all the time")


def _private_bytes(place: Path) -> int:
    lines = (place / "smaps_rollup").read_text().splitlines()
    return 1024 * sum(int(line.split()[1]) for line in lines if line.startswith(("Private_Clean:", "Private_Dirty:")))


@pytest.mark.torture
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("engine", ["av", "opencv"])
def test_a_thousand_reconnections_leave_nothing_behind(engine: str, tmp_path: Path) -> None:
    pictures = rtp_payloads(numbered_clip(tmp_path / "clip.mp4", 25))
    with ScriptedCamera(pictures=pictures, fps=100, hangs_up_after=10) as camera:
        write_configuration(tmp_path, {"streams": [{"name": "gate", "source": camera.url, "engine": engine}]})
        with Daemon(tmp_path, command=CLOCKED) as daemon:
            daemon.wait_for("ready", 60.0)

            def until_played(times: int) -> None:
                while camera.plays < times:
                    advance(daemon, 5.0)  # the pauses between two tries

            until_played(_WARM_AFTER)
            before = _held(daemon)
            until_played(_WARM_AFTER + _RECONNECTIONS)
            after = _held(daemon)
            daemon.stop()
    print(f"{engine}: from {before} to {after}")  # noqa: T201  # for docs/performance.md
    assert (after.descriptors, after.threads, after.processes) == (before.descriptors, before.threads, before.processes)
    assert after.memory_bytes - before.memory_bytes <= 5 * _MIB
