"""SeededFault: one line of the table of faults, and Times: what a trial of it measures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Place = Literal["health", "text", "refusal"]


@dataclass(frozen=True)
class Times:
    """Seconds from the fault until the status named it, and from its end until all was well."""

    said_s: float
    well_s: float


@dataclass(frozen=True)
class SeededFault:
    """One fault. component: what the status names. condition: how bad. reason: words that must stand in the reason.

    trial: seeds it in a folder of its own, and mends it. say_s: the most seconds until the status says so; well_s: the
    most until all is well again, after it was mended. place: a component's health, or a line of the text that begins
    with `component` (for what is over by itself, or is no illness), or what `framesift status` refuses with. also: what
    else is named, since it suffers too. perhaps: what else may be, since it suffers when it is at work.
    vanishes: whether a line of the text has to be gone at the end.
    """

    name: str
    trial: Callable[[SeededFault, Path], Times]
    component: str
    condition: str
    reason: tuple[str, ...]
    say_s: float = 15.0
    well_s: float = 30.0
    place: Place = "health"
    also: tuple[str, ...] = ()
    perhaps: tuple[str, ...] = ()
    vanishes: bool = False

    def is_in(self, text: str) -> bool:
        """Whether the text has all words of the reason."""
        return all(word in text for word in self.reason)
