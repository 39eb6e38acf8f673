"""try_fault: seeds one fault into a healthy daemon, and looks at it as an operator does until all is well again."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rigs.operator_view import OperatorView
from rigs.seeded_faults.situation import Situation

if TYPE_CHECKING:
    from rigs.seeded_faults.table import SeededFault

_READY_S = 60.0  # of a machine that is busy with other tests
_STEP_S = 1.0  # of a clock that a test moves


@dataclass(frozen=True)
class Times:
    """Seconds from the fault until the status named it, and from its end until all was well."""

    said_s: float
    well_s: float


class _Trial:
    def __init__(self, fault: SeededFault, situation: Situation) -> None:
        self._fault = fault
        self._situation = situation
        self._view = OperatorView(situation.folder, situation.port, situation.daemon)

    def run(self) -> Times:
        daemon = self._situation.daemon
        self._view.until(self._is_well_and_collects, _READY_S)
        before = len(daemon.events)
        self._situation.seed()
        said_s = self._seconds_until(self._is_said, self._fault.say_s)
        self._everything_says_so(before)
        mended = len(daemon.events)
        self._situation.mend()
        well_s = self._seconds_until(self._is_well, self._fault.well_s)
        self._everything_says_that_it_is_over(mended)
        return Times(said_s, well_s)

    def _seconds_until(self, holds: Any, within_s: float) -> float:
        """Of the daemon's own clock, which the test may move. The operator may look once a second."""
        pass_time = self._situation.pass_time
        began_s = self._now_s()

        def look() -> bool:
            if holds():
                return True
            if pass_time is not None:
                pass_time(_STEP_S)
            took_s = self._now_s() - began_s
            assert took_s <= within_s, f"{took_s:.1f} s, not {within_s} s: {self._view.seen[-1].get('health')}"
            return False

        self._view.until(look, 2.0 * within_s + 30.0)
        return self._now_s() - began_s

    def _now_s(self) -> float:
        if self._situation.pass_time is None:
            return time.monotonic()
        return float(self._view.fields().get("uptime_s", 0.0))

    # -- what the status says

    def _is_well(self) -> bool:
        return self._view.problems() == []

    def _is_well_and_collects(self) -> bool:
        fields = self._view.fields()
        streams = fields.get("streams", [])
        return self._view.problems() == [] and any(stream["accepted"] for stream in streams)

    def _is_said(self) -> bool:
        reason = self._reason()
        return reason is not None and all(word in reason for word in self._fault.reason)

    def _reason(self) -> str | None:
        """What the status says of the component: None where it does not name it."""
        fault, fields = self._fault, self._view.fields()
        if fault.place == "health":
            found = (c for c in fields.get("health", ()) if c["name"] == fault.component)
            return next((c["why"] for c in found if c["condition"] == fault.condition), None)
        text = self._view.text()
        return next((line for line in text.splitlines() if line.startswith(fault.component)), None)

    # -- and the rest of the program, at the same moment

    def _everything_says_so(self, since: int) -> None:
        fault, view = self._fault, self._view
        if fault.place != "health":
            return
        text = view.text()
        line = next(
            (line for line in text.splitlines() if line.startswith(f"{fault.condition} {fault.component}:")), ""
        )
        assert all(word in line for word in fault.reason), f"`framesift status` prints {text}"
        blamed = {problem.name for problem in view.problems() or ()}
        assert blamed == {fault.component, *fault.also}, blamed
        status, ready = view.page("/readyz")
        assert status == (503 if fault.condition == "failed" else 200), ready
        metric = f'framesift_health{{component="{fault.component}",condition="{fault.condition}"}} 1.0'
        assert metric in view.page("/metrics")[1]
        self._logged(since, fault.reason)

    def _everything_says_that_it_is_over(self, since: int) -> None:
        assert self._view.page("/readyz")[0] == 200
        if self._fault.place == "health":
            metric = f'framesift_health{{component="{self._fault.component}",condition="ok"}} 1.0'
            assert metric in self._view.page("/metrics")[1]
            self._logged(since, ())

    def _logged(self, since: int, words: tuple[str, ...]) -> None:
        """A line about the component, with these words, has been logged since."""
        subjects = (self._fault.component, self._fault.component.rpartition(" ")[2])

        def is_logged() -> bool:
            return any(
                event["event"] in ("health", "stream")
                and event.get("component", event.get("stream")) in subjects
                and all(word in json.dumps(event, ensure_ascii=False) for word in words)
                for event in self._situation.daemon.events[since:]
            )

        assert self._situation.daemon.until(is_logged, 5.0), self._situation.daemon.events[since:]


def try_fault(fault: SeededFault, folder: Path) -> Times:
    """Seed the fault, mend it, and return how long each took to be seen. AssertionError where it falls short."""
    with fault.scenario(folder) as situation:
        return _Trial(fault, situation).run()
