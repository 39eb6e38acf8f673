"""A device of a fleet as a test sees it: a process of fleet_child.py that gets commands, is killed, starts again."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

PROJECT = "gates"
PREFIX = "framesift"
CHILD = Path(__file__).parent / "fleet_child.py"


class DeviceProcess:
    """A device. options: of fleet_child.Options. lines: all that its processes have printed, split into words."""

    def __init__(self, folder: Path, **options: Any) -> None:
        self.folder = folder
        self.options = options
        self.lines: list[list[str]] = []
        self._heard = threading.Condition()
        self._process: subprocess.Popen[str] | None = None
        self._listener: threading.Thread | None = None
        self._since = 0

    @property
    def spool(self) -> Path:
        return self.folder / "spool.db"

    def start(self, *before: str, **options: Any) -> DeviceProcess:
        """before: words that come before the command, as strace's."""
        self.folder.mkdir(exist_ok=True)
        self._since = len(self.lines)
        written = json.dumps({**self.options, **options})
        self._process = subprocess.Popen(
            [*before, sys.executable, str(CHILD), str(self.folder), written],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._listener = threading.Thread(target=self._listen, args=(self._process,))
        self._listener.start()
        return self

    def _listen(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            with self._heard:
                if line.endswith("\n"):
                    self.lines.append(line.split(maxsplit=1 if line.startswith("done") else -1))
                self._heard.notify_all()

    def send(self, *words: object) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(" ".join(map(str, words)) + "\n")
        self._process.stdin.flush()

    def wait_for_line(self, word: str, within_s: float = 30.0) -> list[str]:
        """The next unread line of this process that begins with the word."""
        return self.until(lambda words: words[0] == word, self._since, within_s)

    def until(self, is_it: Callable[[list[str]], bool], since: int, within_s: float = 60.0) -> list[str]:
        """The first line of that kind, after that many lines of any process."""
        with self._heard:

            def index() -> int | None:
                return next((i for i in range(since, len(self.lines)) if is_it(self.lines[i])), None)

            assert self._heard.wait_for(lambda: index() is not None, within_s), f"not printed: {self.lines[-5:]}"
            found = index()
            assert found is not None
            self._since = found + 1
            return self.lines[found]

    def make(self, number: int) -> dict[str, Any]:
        self.send("make", number)
        made: dict[str, Any] = json.loads(self.wait_for_line("done", 60.0)[1])
        return made

    def settle(self, within_s: float = 60.0) -> None:
        self.send("settle")
        self.wait_for_line("settled", within_s)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._end()

    def stop(self) -> None:
        if self._process is not None:
            self.send("stop")
            self._end()

    def wait(self) -> int:
        """Until it ends; how it ended."""
        assert self._process is not None
        code = self._process.wait(60)
        self._end()
        return code

    def _end(self) -> None:
        assert self._process is not None
        assert self._listener is not None
        self._process.wait(30)
        self._listener.join()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()
        self._process = None

    def ids(self, sign: str) -> Sequence[str]:
        with self._heard:
            return [words[1] for words in self.lines if words[0] == sign]
