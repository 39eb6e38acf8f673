"""OperatorView: what an operator learns of a running daemon from `framesift status`, and when."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rigs.daemon import Daemon, framesift


@dataclass(frozen=True)
class Problem:
    """A component that is not ok, as the status names it."""

    name: str
    condition: str
    why: str


class OperatorView:
    """Asks the status page of one daemon, whose address its settings name."""

    def __init__(self, folder: Path, port: int, daemon: Daemon) -> None:
        self._folder = folder
        self._port = port
        self._daemon = daemon
        self.seen: list[dict[str, Any]] = []  # what `fields` returned, the last one last

    def page(self, path: str) -> tuple[int, str]:
        """The HTTP status and the text of a page; 0 and "" while nobody answers."""
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=10)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        except OSError:
            return 0, ""
        finally:
            connection.close()

    def fields(self) -> dict[str, Any]:
        """The fields of the status; none while nobody answers."""
        status, text = self.page("/status")
        fields: dict[str, Any] = json.loads(text) if status == 200 else {}
        self.seen.append(fields)
        return fields

    def problems(self) -> list[Problem] | None:
        """The components that are not ok; None while nobody answers."""
        fields = self.fields()
        if not fields:
            return None
        return [Problem(c["name"], c["condition"], c["why"]) for c in fields["health"] if c["condition"] != "ok"]

    def text(self) -> str:
        """What `framesift status` prints, each line with single blanks."""
        ended = framesift(self._folder, "status", COLUMNS="400")
        return "\n".join(" ".join(line.split()) for line in (ended.stdout + ended.stderr).splitlines())

    def until(self, holds: Callable[[], bool], within_s: float) -> float:
        """The seconds until something holds. AssertionError with what was seen if it is late, or the daemon ended."""
        began_s = time.monotonic()
        held = False

        def settled() -> bool:
            nonlocal held
            held = holds()
            return held or self._daemon.process.poll() is not None or time.monotonic() - began_s >= within_s

        self._daemon.until(settled, within_s)
        took_s = time.monotonic() - began_s
        health = self.seen[-1].get("health") if self.seen else None
        assert held, f"not within {within_s} s; the status: {health}; {self._daemon.events[-5:]}"
        return took_s
