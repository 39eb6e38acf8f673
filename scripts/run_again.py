"""Runs the failed tests of a test run once more, each alone, one after the other, to find out which are flaky.

    .venv/bin/python scripts/run_again.py REPORT

REPORT: the run's JUnit XML, written with `-o junit_family=xunit1`, which names each test's file.

Prints `flaky: TEST` for each test that passes now, and `failed twice: TEST` for each that doesn't (or is skipped, or
can't be found any more). Exit code: 0 where all passed now; 1 where one did not, where the report is missing or names
no failure, and where more than MOST failed: so many can't all be flaky.
"""

from __future__ import annotations

import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

MOST = 25


def failed(report: Path) -> list[str]:
    """The ids of the tests that failed, or whose fixtures did, in the order of the report, each once."""
    ids: dict[str, None] = {}
    for case in ET.parse(report).getroot().iter("testcase"):
        if case.find("failure") is None and case.find("error") is None:
            continue
        file, name = case.get("file"), case.get("name", "")
        if file is None:  # a module that could not be imported: it has no tests to name
            ids[case.get("classname") or name] = None
            continue
        module = file.removesuffix(".py").replace("/", ".")
        classes = case.get("classname", "").removeprefix(module).strip(".")
        ids["::".join([file, *(classes.split(".") if classes else ()), name])] = None
    return list(ids)


def passes(test: str) -> bool:
    """Whether the test passes now: it ran, and was not skipped."""
    again = subprocess.run(
        [sys.executable, "-m", "pytest", test], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    print(again.stdout, flush=True)
    return again.returncode == 0 and re.search(r"\b1 passed\b", again.stdout.rstrip().rpartition("\n")[2]) is not None


def main(report: Path) -> int:
    """Run the failed tests of the report again, print what became of each, and return the exit status."""
    try:
        tests = failed(report)
    except (OSError, ET.ParseError) as error:
        print(f"{report}: the run left no report ({error})")
        return 1
    if not tests:
        print(f"{report}: no test failed, and yet the run did")
        return 1
    if len(tests) > MOST:
        print(f"{len(tests)} tests failed, more than {MOST}: too many to be flaky, so nothing is run again")
        return 1
    results = {test: "flaky" if passes(test) else "failed twice" for test in tests}
    for test, result in results.items():
        print(f"{result}: {test}")
    return 1 if "failed twice" in results.values() else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
