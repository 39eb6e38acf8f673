"""Situation: a daemon in good health, and how one fault is seeded into it and mended again."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rigs.clocked_daemon import CLOCKED, advance
from rigs.daemon import POLICY, Daemon, write_configuration
from rigs.footage import numbered_clip
from rigs.redis_server import free_port

# A detector that takes a fifth of a second. While a file of that name is beside it, it raises, hangs, or has opened all
# that this process may open.
_MODEL = """
import pathlib, threading
HERE, NEVER, LEAKED = pathlib.Path(__file__).parent, threading.Event(), []
class Detector:
    task, class_names = "object-detection", ("person", "bicycle")
    def predict(self, pixels):
        NEVER.wait(0.2)
        leaks = (HERE / "leaks").exists()
        while leaks:
            try:
                LEAKED.append(open("/dev/null"))
            except OSError:
                break
        while LEAKED and not leaks:
            LEAKED.pop().close()
        if (HERE / "raises").exists():
            raise RuntimeError("CUDA error 700")
        while (HERE / "hangs").exists():
            NEVER.wait(0.05)
        box = {"x": 60, "y": 60, "width": 30, "height": 30, "confidence": 0.9, "class": "person", "class_id": 0}
        return {"predictions": [box]}
"""
MODEL = {"type": "python", "factory": "detector:Detector", "path": "."}
STREAM = {"name": "gate", "source": "clip.mp4", "loop": True, "pace": "realtime"}


@dataclass(frozen=True)
class Situation:
    """folder: of the daemon's settings. port: of its status page. pass_time: lets so many seconds pass, for a daemon
    whose clock the test moves; None where time passes by itself."""

    folder: Path
    port: int
    daemon: Daemon
    seed: Callable[[], object]
    mend: Callable[[], object]
    pass_time: Callable[[float], None] | None = None


Scenario = Callable[[Path], AbstractContextManager[Situation]]


def configure(folder: Path, rules: Mapping[str, Any] = POLICY, **settings: Any) -> int:
    """Write the settings of a daemon with one looped clip, and return the port of its status page.

    rules: the content of policy.json.
    """
    (folder / "detector.py").write_text(_MODEL)
    numbered_clip(folder / "clip.mp4", frames=20)
    port = free_port()
    status = {"bind": f"127.0.0.1:{port}"}
    write_configuration(folder, {"streams": [STREAM], "model": MODEL, "status": status, **settings}, rules)
    return port


@contextmanager
def situation(
    folder: Path,
    seed: Callable[[Daemon], object],
    mend: Callable[[Daemon], object],
    *,
    rules: Mapping[str, Any] = POLICY,
    command: Sequence[str] = (),
    variables: Mapping[str, str] | None = None,
    **settings: Any,
) -> Iterator[Situation]:
    """A daemon with these settings, which runs until the end of the block. rules: the content of policy.json."""
    port = configure(folder, rules, **settings)
    with Daemon(folder, command=command, **(variables or {})) as daemon:
        moved = command == CLOCKED
        yield Situation(
            folder,
            port,
            daemon,
            lambda: seed(daemon),
            lambda: mend(daemon),
            (lambda seconds: advance(daemon, seconds)) if moved else None,
        )


def with_disk(folder: Path, size: str) -> tuple[str, ...]:
    """The command of a daemon that sees a small disk of its own at `disk`, which nobody else sees."""
    (folder / "disk").mkdir()
    alone = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--user", "--map-root-user", "--mount"]
    steps = f'mount -t tmpfs -o size={size} tmpfs disk && exec "$@"'
    return (*alone, "sh", "-c", steps, "sh", sys.executable, "-m", "framesift", "run")
