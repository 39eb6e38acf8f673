"""seeded: seeds one fault into a healthy daemon, and looks at it as an operator does until all is well again."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

from framesift.cli.console import out
from framesift.cli.status_text import print_status
from rigs.operator_view import OperatorView
from rigs.seeded_faults.fault import SeededFault, Times
from rigs.seeded_faults.situation import Scenario, Situation

_READY_S = 60.0  # of a machine that is busy with other tests
_WRAPPED_LINES = 3  # of a narrow terminal
_SAME_MOMENT_S = 5.0  # for a busy machine to answer once more
_STEP_S = 1.0  # of a clock that a test moves; the shorter, the less it runs ahead of what a busy machine does


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

    def _seconds_until(self, holds: Callable[[], bool], within_s: float) -> float:
        """Of the daemon's own clock, which the test may move. The operator may look once a second."""
        pass_time = self._situation.pass_time
        began_s = self._now_s()

        def look() -> bool:
            if holds():
                return True
            took_s = self._now_s() - began_s
            if pass_time is not None and took_s <= within_s:
                pass_time(_STEP_S)
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
        return self._view.problems() == [] and not (self._fault.vanishes and self._is_said())

    def _is_well_and_collects(self) -> bool:
        fields = self._view.fields()
        streams = fields.get("streams", [])
        return self._view.problems() == [] and any(stream["accepted"] for stream in streams)

    def _is_said(self) -> bool:
        reason = self._reason()
        return reason is not None and self._fault.is_in(reason)

    def _reason(self) -> str | None:
        """What the status says of the component: None where it does not name it."""
        fault, fields = self._fault, self._view.fields()
        if fault.place == "health":
            found = (c for c in fields.get("health", ()) if c["name"] == fault.component)
            return next((c["why"] for c in found if c["condition"] == fault.condition), None)
        with out.capture() as captured:  # what the command prints, without the time that its start takes
            print_status(fields)
        lines = [" ".join(line.split()) for line in captured.get().splitlines()]
        first = next((number for number, line in enumerate(lines) if line.startswith(fault.component)), None)
        return None if first is None else " ".join(lines[first : first + _WRAPPED_LINES])

    # -- and the rest of the program, at the same moment

    def _everything_says_so(self, since: int) -> None:
        fault, view = self._fault, self._view
        text = view.text()
        if fault.place != "health":
            assert any(line.startswith(fault.component) and fault.is_in(line) for line in text.splitlines()), text
            return
        line = next(
            (line for line in text.splitlines() if line.startswith(f"{fault.condition} {fault.component}:")), ""
        )
        assert fault.is_in(line), f"`framesift status` prints {text}"
        blamed = {problem.name for problem in view.problems() or ()}
        assert blamed - {*fault.perhaps} == {fault.component, *fault.also}, blamed
        status, ready = view.page("/readyz")
        assert status == (503 if fault.condition == "failed" else 200), ready
        self._measured(fault.condition)
        self._logged(since, fault.reason)

    def _everything_says_that_it_is_over(self, since: int) -> None:
        assert self._view.page("/readyz")[0] == 200
        if self._fault.place == "health":
            self._measured("ok")
            self._logged(since, ())
        assert self._view.problems() == [], "it was well, and is no more"

    def _measured(self, condition: str) -> None:
        """The metric has the condition, as soon as a busy machine answers."""
        metric = f'framesift_health{{component="{self._fault.component}",condition="{condition}"}} 1.0'
        self._view.until(lambda: metric in self._view.page("/metrics")[1], _SAME_MOMENT_S)

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

        assert self._situation.daemon.until(is_logged, _SAME_MOMENT_S), self._situation.daemon.events[since:]


def seeded(scenario: Scenario) -> Callable[[SeededFault, Path], Times]:
    """The trial of a fault that is seeded into one running daemon. AssertionError where something falls short."""

    def trial(fault: SeededFault, folder: Path) -> Times:
        with scenario(folder) as situation:
            return _Trial(fault, situation).run()

    return trial
