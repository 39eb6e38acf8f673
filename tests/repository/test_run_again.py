"""scripts/run_again.py: failed tests are run once more, and the flaky ones are named.

Each test here makes a small project, runs its tests with the real pytest as CI does, and hands the report over.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.exhaustive  # pytest runs two or three times in each

SCRIPT = Path(__file__).parents[2] / "scripts" / "run_again.py"
# Fails in the first run, and passes in every later one.
LUCKLESS = """
import pathlib

def fail_once(name):
    mark = pathlib.Path(__file__).with_name(name)
    first = not mark.exists()
    mark.touch()
    assert not first
"""


class Project:
    """A folder `tests` with one module, whose tests are run by two workers."""

    def __init__(self, folder: Path, module: str) -> None:
        self.folder = folder
        (folder / "pyproject.toml").write_text(
            '[tool.pytest.ini_options]\naddopts = "-q -p no:cacheprovider -p xdist.plugin"\n'
        )
        (folder / "tests").mkdir()
        (folder / "tests" / "luck.py").write_text(LUCKLESS)
        (folder / "tests" / "test_it.py").write_text(module)
        self.report = folder / "report.xml"

    def run(self) -> int:
        """Runs them all, and returns pytest's exit status."""
        words = ["-n", "2", "tests", f"--junitxml={self.report}", "-o", "junit_family=xunit1"]
        return self._call(sys.executable, "-m", "pytest", *words).returncode

    def run_again(self) -> subprocess.CompletedProcess[str]:
        return self._call(sys.executable, str(SCRIPT), str(self.report))

    def _call(self, *words: str) -> subprocess.CompletedProcess[str]:
        variables = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}  # the others cost seconds, and are not ours
        return subprocess.run(
            words, cwd=self.folder, env=variables, capture_output=True, text=True, timeout=100, check=False
        )


def verdicts(again: subprocess.CompletedProcess[str]) -> list[str]:
    return [line for line in again.stdout.splitlines() if line.startswith(("flaky: ", "failed twice: "))]


def test_what_passes_alone_is_named_and_fails_nothing(tmp_path: Path) -> None:
    project = Project(
        tmp_path,
        "import pytest\nfrom luck import fail_once\n"
        "def test_good(): pass\n"
        "def test_luckless(): fail_once('a')\n"
        "class TestGroup:\n    class TestInner:\n        def test_luckless(self): fail_once('b')\n"
        "@pytest.mark.parametrize('value', ['a b', 'ü::[1]/-x', '--help'])\n"
        "def test_each(value): fail_once(str(ord(value[0])))\n"
        "@pytest.fixture\ndef broken(): fail_once('c')\n"
        "def test_of_a_fixture(broken): pass\n",
    )
    assert project.run() == 1
    again = project.run_again()
    assert again.returncode == 0, again.stdout
    assert sorted(verdicts(again)) == [
        "flaky: tests/test_it.py::TestGroup::TestInner::test_luckless",
        "flaky: tests/test_it.py::test_each[--help]",
        "flaky: tests/test_it.py::test_each[\\xfc::[1]/-x]",
        "flaky: tests/test_it.py::test_each[a b]",
        "flaky: tests/test_it.py::test_luckless",
        "flaky: tests/test_it.py::test_of_a_fixture",
    ]


def test_what_fails_twice_or_is_skipped_then_fails_the_run_though_others_pass_now(tmp_path: Path) -> None:
    project = Project(
        tmp_path,
        "import pytest\nfrom luck import fail_once\n"
        "def test_luckless(): fail_once('a')\n"
        "def test_bad(): assert False\n"
        "def test_skipped():\n    fail_once('b')\n    pytest.skip('not now')\n",
    )
    project.run()
    again = project.run_again()
    assert again.returncode == 1
    assert sorted(verdicts(again)) == [
        "failed twice: tests/test_it.py::test_bad",
        "failed twice: tests/test_it.py::test_skipped",
        "flaky: tests/test_it.py::test_luckless",
    ]


def test_a_test_whose_process_died_is_run_again(tmp_path: Path) -> None:
    project = Project(
        tmp_path,
        "import os\nfrom luck import fail_once\n"
        "def test_crash():\n    try: fail_once('a')\n    except AssertionError: os._exit(3)\n",
    )
    assert project.run() == 1
    again = project.run_again()
    assert again.returncode == 0, again.stdout
    assert verdicts(again) == ["flaky: tests/test_it.py::test_crash"]


def test_a_module_that_can_not_be_imported_fails_twice(tmp_path: Path) -> None:
    project = Project(tmp_path, "import there_is_no_such_module\n")
    project.run()
    again = project.run_again()
    assert again.returncode == 1
    assert [line.partition(": ")[0] for line in verdicts(again)] == ["failed twice"]


def test_so_many_failures_are_no_bad_luck(tmp_path: Path) -> None:
    project = Project(
        tmp_path,
        "import pytest\nfrom luck import fail_once\n"
        "@pytest.mark.parametrize('n', range(26))\ndef test_each(n): fail_once(str(n))\n",
    )
    project.run()
    again = project.run_again()
    assert (again.returncode, verdicts(again)) == (1, [])
    assert "26 tests failed, more than 25" in again.stdout


@pytest.mark.parametrize("report", [None, "", "<testsuites>", "<testsuites><testsuite/></testsuites>"])
def test_a_run_that_failed_without_a_failed_test_has_failed(tmp_path: Path, report: str | None) -> None:
    path = tmp_path / "report.xml"
    if report is not None:
        path.write_text(report)
    again = subprocess.run(
        [sys.executable, str(SCRIPT), str(path)], capture_output=True, text=True, timeout=60, check=False
    )
    assert again.returncode == 1
    assert "report.xml: " in again.stdout
    assert again.stderr == ""
