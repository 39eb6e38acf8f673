"""The tests catch what breaks durability, charges, refunds and idempotency: see scripts/mutants.py."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "mutants.py"


def mutants(*words: str, timeout_s: float) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, check=False)


def test_each_mutant_breaks_a_line_that_is_there_once_and_names_tests_that_exist() -> None:
    listed = mutants("--list", timeout_s=60.0)
    assert listed.returncode == 0, listed.stdout
    lines = listed.stdout.splitlines()
    assert len({re.sub(r"^ *\d+ *", "", line) for line in lines}) == len(lines)
    assert sum("(equivalent: " not in line for line in lines) >= 70


@pytest.mark.torture
@pytest.mark.timeout(7200)
def test_ninety_five_of_a_hundred_mutants_are_caught() -> None:
    ended = mutants(timeout_s=7000.0)
    assert ended.returncode == 0, ended.stdout + ended.stderr
