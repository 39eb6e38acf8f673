"""A real `framesift` process in a folder of its own: started, watched by its log, stopped or killed."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import canaries
from documented_events import undocumented
from rigs import command_forks

POLICY: dict[str, Any] = {
    "enabled": True,
    "persist_predictions": True,
    "sampling_strategies": [{"name": "all", "type": "random", "traffic_percentage": 1.0}],
    "batching_strategy": {"batches_name_prefix": "test", "recreation_interval": "never"},
}


# For Daemon: what a user starts, with all that a start costs.
NEW_PROCESS = (sys.executable, "-m", "framesift", "run")


def write_configuration(folder: Path, settings: Mapping[str, Any], policy: Mapping[str, Any] = POLICY) -> None:
    """Write framesift.yaml and policy.json. What the settings leave out gets values that suit a test."""
    whole = {
        "device": "test",
        "model": {"type": "stub"},
        "policy": "policy.json",
        "sink": {"type": "folder", "path": "collected"},
        "spool": {"path": "spool.db", "max_bytes": "64MiB", "min_free_bytes": "1MiB"},
        "status": {"bind": None},
        "log": {"format": "json"},
        **settings,
    }
    (folder / "framesift.yaml").write_text(json.dumps(whole))  # JSON is YAML
    (folder / "policy.json").write_text(json.dumps(policy))


def unhurried(folder: Path) -> dict[str, Any]:
    """A model that takes 50 ms for a picture: a clip that begins again and again would be read as fast as it can be."""
    (folder / "unhurried.py").write_text(
        "import threading\ndef make():\n    return lambda pixels: threading.Event().wait(0.05) or {'predictions': []}\n"
    )
    return {"type": "python", "factory": "unhurried:make", "path": "."}


def framesift(folder: Path, *words: str, timeout_s: float = 60.0, **variables: str) -> subprocess.CompletedProcess[str]:
    """Runs one command to its end: as a fork of a process that has loaded framesift, or, where a variable is for
    Python itself, as `python -m framesift`."""
    environment = _environment(variables)
    if any(name.startswith("PYTHON") for name in variables):
        ended = subprocess.run(
            [sys.executable, "-m", "framesift", *words],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
    else:
        ended = command_forks.run(folder, words, environment, timeout_s=timeout_s)
    assert not canaries.find_in_text(ended.stdout + ended.stderr), f"{words} printed a secret"
    return ended


def collected(folder: Path, name: str = "collected") -> list[dict[str, Any]]:
    """The lines of the folder sink's metadata, without a last one that is still being written."""
    path = folder / name / "metadata.jsonl"
    text = path.read_text() if path.exists() else ""
    return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]


def free_address() -> str:
    """An address at which nothing listens at this moment."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        return f"127.0.0.1:{free.getsockname()[1]}"


class Daemon:
    """`framesift run`. events: what it logged so far, as objects."""

    is_older = False  # another version's, whose events docs/events.md need not know

    def __init__(self, folder: Path, *words: str, command: Sequence[str] = (), **variables: str) -> None:
        """command: another one that runs the service in the same process, instead of `framesift run`, or NEW_PROCESS.
        Without it, the daemon is a fork of a process that has loaded framesift; see command_forks.
        """
        self.events: list[dict[str, Any]] = []
        self.stray: list[str] = []  # lines that are not JSON: there should be none
        self._grown = threading.Condition()
        environment = _environment(variables)
        self.process: subprocess.Popen[str] | command_forks.ForkedCommand
        if command or any(name.startswith("PYTHON") for name in variables):
            self.process = subprocess.Popen(
                [*(command or NEW_PROCESS), *words],
                cwd=folder,
                env=environment,
                stdin=subprocess.PIPE if command else None,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
        else:
            self.process = command_forks.ForkedCommand(folder, ["run", *words], environment)
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def wait_for(self, event: str, timeout_s: float = 30.0, after: int = 0, **fields: Any) -> dict[str, Any]:
        """The first event of that name (and with those fields) after so many events. AssertionError if it is late."""

        def found() -> dict[str, Any] | None:
            for logged in self.events[after:]:
                if logged.get("event") == event and all(logged.get(k) == v for k, v in fields.items()):
                    return logged
            return None

        with self._grown:
            self._grown.wait_for(lambda: found() is not None or not self._listener.is_alive(), timeout_s)
            answer = found()
        assert answer is not None, f"no {event} {fields} within {timeout_s} s; it logged {self.events} {self.stray}"
        return answer

    def until(self, condition: Callable[[], bool], timeout_s: float) -> bool:
        """Looks a few times a second whether the condition holds; False if it never did."""
        with self._grown:
            for _ in range(int(timeout_s / 0.1)):
                if condition():
                    return True
                self._grown.wait(0.1)
        return condition()

    def stop(self, timeout_s: float = 15.0) -> int:
        seen = _process_facts(self.process.pid).decode(errors="replace")
        assert not canaries.find_in_text(seen), "a process shows a secret to the whole machine"
        self.process.send_signal(signal.SIGTERM)
        return self.wait(timeout_s)

    def wait(self, timeout_s: float) -> int:
        code = self.process.wait(timeout_s)
        self._listener.join(timeout_s)
        return code

    def kill(self) -> None:
        self.process.kill()
        self.wait(10.0)

    def __enter__(self) -> Daemon:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.kill()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()
        assert not canaries.find_in_text(json.dumps(self.events) + "".join(self.stray)), "a secret was logged"
        assert self.is_older or not undocumented(self.events), "docs/events.md knows nothing of this"

    def _listen(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            try:
                logged = json.loads(line)
            except json.JSONDecodeError:
                logged = None
            with self._grown:
                if isinstance(logged, dict):
                    self.events.append(logged)
                else:
                    self.stray.append(line.rstrip())
                self._grown.notify_all()
        with self._grown:
            self._grown.notify_all()


class OlderDaemon(Daemon):
    """One of an earlier version."""

    is_older = True


def children(pid: int) -> list[int]:
    """The processes that a process has started and that have not been collected."""
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(word) for task in tasks for word in _bytes_of_what_lives(task).split()]


def _process_facts(pid: int) -> bytes:
    """Arguments of a process and those below it, and the variables of these: only the process may have the key."""
    below = [child for of_daemon in children(pid) for child in (of_daemon, *children(of_daemon))]
    places = [
        f"/proc/{pid}/cmdline",
        *(f"/proc/{child}/{what}" for child in below for what in ("cmdline", "environ")),
    ]
    return b" ".join(_bytes_of_what_lives(Path(place)) for place in places)


def _bytes_of_what_lives(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except (FileNotFoundError, ProcessLookupError):  # a camera's reader comes and goes
        return b""


def _environment(variables: Mapping[str, str]) -> dict[str, str]:
    """The tests' own environment without what could configure a daemon."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("FRAMESIFT_", "ACTIVE_LEARNING_", "NOTIFY_"))}
    return {**kept, **variables}
