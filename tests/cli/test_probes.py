"""Every probe of `framesift check` has a deadline, and one that is late keeps neither the others nor the end."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from clocks import ManualClock
from exhaustive import some_of
from framesift.cli.probes import Finding, run_probe
from framesift.clock.clock import SystemClock
from rigs.daemon import framesift, write_configuration
from rigs.footage import numbered_clip


def _two() -> Iterator[Finding]:
    yield Finding("disk", True, "one")
    yield Finding("disk", None, "two")


def test_what_is_in_time_is_reported_as_it_is() -> None:
    assert [finding.message for finding in run_probe("disk", _two(), SystemClock(), 60.0)] == ["one", "two"]


def test_a_late_probe_is_a_failure_with_the_line_at_which_it_hangs_after_all_that_came_before() -> None:
    go_on = threading.Event()
    clock = ManualClock(waiters=2)  # time passes while both wait

    def asks_a_camera() -> Iterator[Finding]:
        yield Finding("camera", True, "it is there")
        while not clock.wait(go_on, 1000.0):
            pass

    one, late = run_probe("camera", asks_a_camera(), clock, 15.0)
    go_on.set()
    assert one.message == "it is there"
    assert (late.subject, late.ok) == ("camera", False)
    assert late.message.startswith("not finished within 15 s: it is at ")
    assert "asks_a_camera" in late.message


def test_a_refusal_of_the_system_is_a_finding_and_a_bug_is_a_bug() -> None:
    def refused() -> Iterator[Finding]:
        yield from ()
        raise PermissionError(13, "Permission denied", "/var/lib/private")

    def wrong() -> Iterator[Finding]:
        yield from ()
        raise ZeroDivisionError

    (finding,) = run_probe("disk", refused(), SystemClock(), 60.0)
    assert (finding.ok, finding.message) == (False, "[Errno 13] Permission denied: '/var/lib/private'")
    with pytest.raises(ZeroDivisionError):
        list(run_probe("disk", wrong(), SystemClock(), 60.0))


@pytest.mark.parametrize("hang", some_of(["threading.Event().wait()", "while True: pass"], lambda hang: "wait" in hang))
def test_a_model_that_hangs_is_reported_the_rest_is_tried_and_the_command_ends(tmp_path: Path, hang: str) -> None:
    numbered_clip(tmp_path / "clip.mp4", frames=5)
    (tmp_path / "hangs.py").write_text(f"import threading\ndef make():\n    {hang}\n")
    model = {"type": "python", "factory": "hangs:make", "path": "."}
    write_configuration(tmp_path, {"streams": [{"name": "gate", "source": "clip.mp4"}], "model": model})
    checked = framesift(tmp_path, "check", "--within", "5", COLUMNS="400")
    assert checked.returncode == 1
    (late,) = (line for line in checked.stdout.splitlines() if line.startswith("FAILED  model"))
    assert "not finished within 5 s: it is at " in late
    assert "hangs.py:3 make < config/factory.py:" in late
    for subject in ("policy", "stream gate", "sink folder", "spool"):
        assert any(line[8:].startswith(subject) for line in checked.stdout.splitlines()), subject


CHECK = """
import sys
from framesift.cli.check import run_checks
from framesift.clock.clock import SystemClock
from framesift.settings import load
from pathlib import Path

class Leaping(SystemClock):
    leap_s = 0.0
    def monotonic(self):
        return super().monotonic() + self.leap_s

clock = Leaping()
for finding in run_checks(load(Path("framesift.yaml"), {}), clock):
    print(finding.ok, finding.subject, finding.message)
"""


def test_a_model_that_hangs_in_its_first_prediction_is_reported_and_not_waited_for_at_its_closing(
    tmp_path: Path,
) -> None:
    numbered_clip(tmp_path / "clip.mp4", frames=5)
    (tmp_path / "hangs.py").write_text(
        "import __main__, threading\ndef make():\n    def predict(pixels):\n        __main__.clock.leap_s += 49\n"
        "        threading.Event().wait()\n    return predict\n"
    )
    model = {"type": "python", "factory": "hangs:make", "path": "."}
    write_configuration(tmp_path, {"streams": [{"name": "gate", "source": "clip.mp4"}], "model": model})
    program = [sys.executable, "-c", CHECK]
    done = subprocess.run(program, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    lines = done.stdout.splitlines()
    (late,) = (line for line in lines if line.startswith("False prediction not finished within 50 s"))
    assert "hangs.py:5 predict < models/python.py:" in late
    assert any(line.startswith("True sink folder") for line in lines)
    assert any(line.startswith("True spool") for line in lines)


IN_C = """
import ctypes
from framesift.clock.clock import SystemClock
from framesift.cli.probes import run_probe

def model_that_keeps_the_interpreter():
    ctypes.PyDLL(None).sleep(60)  # called without giving the interpreter back
    yield

list(run_probe("model", model_that_keeps_the_interpreter(), SystemClock(), 0.1))
"""


def test_code_in_c_that_keeps_the_interpreter_ends_the_command_and_is_named() -> None:
    done = subprocess.run([sys.executable, "-c", IN_C], capture_output=True, text=True, timeout=50, check=False)
    assert done.returncode == 1
    assert "in model_that_keeps_the_interpreter" in done.stderr
