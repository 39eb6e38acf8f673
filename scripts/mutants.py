"""Breaks lines about durability, charges, refunds and idempotency, one at a time, and shows that a test fails for each.

    .venv/bin/python scripts/mutants.py [--only TEXT] [--jobs 2] [--list]

scripts/mutants.txt lists the mutants: the line as it is, the line as it is broken, and which tests cover it. Each is
tried in a copy of the working tree, with these tests alone, until the first one fails. Printed is a table, and at the
end how many were caught: the exit status is 1 where fewer than 95 % were, or where a line of the list is no longer in
the code. A mutant that no test can catch, since it changes nothing that anybody sees, is listed with the reason and not
tried. On two idle cores all of it takes about half an hour.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import queue
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
LIST = Path(__file__).with_name("mutants.txt")
LEAST_CAUGHT = 0.95
LEAST_MUTANTS = 70
LONGEST_TEST_S = 60  # what takes longer hangs
LONGEST_MUTANT_S = 400.0


@dataclass(frozen=True)
class Mutant:
    """file: from the root. old, new: a piece of its text that is there once. equivalent: why no test can catch it."""

    number: int
    file: str
    old: str
    new: str
    tests: tuple[str, ...]
    equivalent: str = ""

    @property
    def title(self) -> str:
        """The file, and what becomes of the line."""
        old, new = (" ".join(text.split()) for text in (self.old, self.new))
        return f"{self.file.removeprefix('daemon/framesift/')}: {old} -> {new or '(nothing)'}"


@dataclass(frozen=True)
class Verdict:
    """caught: a test failed. problem: why it could not be tried. test: which one failed first."""

    mutant: Mutant
    caught: bool
    took_s: float
    test: str = ""
    problem: str = ""


def read_mutants(text: str) -> list[Mutant]:
    """Reads the list. Its form is explained at its top. Raises ValueError for a line that can't be read."""
    found: list[Mutant] = []
    file, reason = "", ""
    tests: tuple[str, ...] = ()
    old: list[str] = []
    new: list[str] = []

    def end() -> None:
        if old:
            found.append(Mutant(len(found) + 1, file, "\n".join(old), "\n".join(new), tests, reason))
        old.clear()
        new.clear()

    for line in (*text.splitlines(), ""):
        if (line.startswith("- ") or line == "-") and not new and (old or line != "-"):
            old.append(line[2:])
        elif line.startswith("+") and old:
            new.append(line[2:])
        elif line.startswith("= ") and old:
            reason = line[2:]
        else:
            end()
            reason = ""
            if line.startswith("file "):
                file, tests = line[5:].strip(), ()
            elif line.startswith("tests "):
                tests = (*line[6:].split(),)
            elif line.startswith("- "):
                old.append(line[2:])
            elif line.strip() and not line.startswith("#"):
                raise ValueError(f"{LIST.name}: what is {line!r}?")
    return found


def stale(mutants: Sequence[Mutant], root: Path) -> list[str]:
    """A sentence for each mutant whose line is not there, or not once."""
    problems = []
    for mutant in mutants:
        path = root / mutant.file
        times = path.read_text().count(mutant.old) if path.exists() else 0
        if times != 1:
            problems.append(f"{mutant.title}: the line is there {times} times, not once")
        problems += [f"{mutant.title}: there is no {test}" for test in mutant.tests if not (root / test).exists()]
    return problems


def copy_tree(to: Path) -> None:
    """Copies what git knows and what it does not ignore, so that no mutant is ever in the checkout."""
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    for name in subprocess.run(listed, cwd=ROOT, capture_output=True, check=True).stdout.decode().split("\0"):
        if name and (ROOT / name).is_file():
            (to / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, to / name)
    (to / ".venv").symlink_to(ROOT / ".venv")


def run_tests(tree: Path, tests: Sequence[str], within_s: float = LONGEST_MUTANT_S) -> tuple[int | None, str]:
    """The exit status of pytest in a tree, None if it took too long, and the name of the first test that failed."""
    environment = {**os.environ, "PYTHONPATH": str(tree / "daemon"), "PYTHONPYCACHEPREFIX": str(tree / ".bytecode")}
    environment.pop("PYTEST_XDIST_WORKER", None)
    environment.pop("PYTEST_ADDOPTS", None)
    command = [sys.executable, "-m", "pytest", "-x", "-q", "--no-header", "--tb=no", "-rfE", "-p", "no:cacheprovider"]
    command += [
        "-m",
        "not torture",
        "--hypothesis-profile=exhaustive",
        "--timeout",
        str(LONGEST_TEST_S),
        f"--basetemp={tree / '.pytest'}",
        *tests,
    ]
    with subprocess.Popen(
        command, cwd=tree, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
    ) as process:
        try:
            output = process.communicate(timeout=within_s)[0].decode(errors="replace")
        except subprocess.TimeoutExpired:
            return None, "(it took too long)"
        finally:
            # Also what the tests started and a broken line left running.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    failed = [line.split(" - ")[0] for line in output.splitlines() if line.startswith(("FAILED ", "ERROR "))]
    last = output.strip().splitlines()[-1] if output.strip() else ""
    return process.returncode, failed[0].split(" ", 1)[1] if failed else last


class Tree:
    """A copy of the working tree, in which one mutant at a time is tried."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._changes = 0
        copy_tree(path)

    def try_(self, mutant: Mutant) -> Verdict:
        """Breaks the line, runs the tests, and mends the line."""
        file = self._path / mutant.file
        whole = file.read_text()
        began_s = time.monotonic()
        self._write(file, whole.replace(mutant.old, mutant.new))
        try:
            status, test = run_tests(self._path, mutant.tests)
        finally:
            self._write(file, whole)
        took_s = time.monotonic() - began_s
        # 1: a test failed; None: it hung. Anything else is no verdict of a test: the module can't even be imported.
        problem = "" if status in (0, 1, None) else f"pytest ended with {status}: {test}"
        return Verdict(mutant, status in (1, None), took_s, test if status else "", problem)

    def _write(self, file: Path, text: str) -> None:
        file.write_text(text)
        # Bytecode is found by the time of the source in whole seconds: each version of a file needs its own.
        self._changes += 1
        os.utime(file, (self._changes, self._changes))


def try_all(mutants: Sequence[Mutant], jobs: int, folder: Path) -> list[Verdict]:
    """Tries all mutants, `jobs` of them at once, and prints a line for each."""
    waiting: queue.SimpleQueue[Mutant] = queue.SimpleQueue()
    for mutant in mutants:
        waiting.put(mutant)
    verdicts: list[Verdict] = []

    def work(number: int) -> None:
        tree = Tree(folder / str(number))
        with contextlib.suppress(queue.Empty):
            while True:
                verdict = tree.try_(waiting.get_nowait())
                verdicts.append(verdict)
                print(line_of(verdict), flush=True)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(jobs)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return verdicts


def failing_unbroken(mutants: Sequence[Mutant], jobs: int, folder: Path) -> str:
    """Which test fails without any mutant, "" if none does: then nothing that it caught would mean anything."""
    tree = folder / "unbroken"
    copy_tree(tree)
    files = dict.fromkeys(test for mutant in mutants for test in mutant.tests)
    status, test = run_tests(tree, (*files, "-n", str(jobs)), within_s=10 * LONGEST_MUTANT_S)
    return test if status else ""


def line_of(verdict: Verdict) -> str:
    """A line of the table."""
    word = "NOT TRIED" if verdict.problem else "caught" if verdict.caught else "SURVIVED"
    by = verdict.problem or (f"  by {verdict.test}" if verdict.caught else "")
    return f"{verdict.mutant.number:3}  {word:9} {verdict.took_s:5.0f} s  {verdict.mutant.title}{by}"


def main() -> int:
    """Tries the mutants; the exit status is 1 where too many survived."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="those whose file or line has this text")
    parser.add_argument("--jobs", type=int, default=2, help="how many at once")
    parser.add_argument("--list", action="store_true", help="print the mutants, and try none")
    given = parser.parse_args()
    listed = [m for m in read_mutants(LIST.read_text()) if given.only in m.title]
    problems = stale(listed, ROOT)
    if problems:
        print(*problems, sep="\n")
        return 1
    if given.list:
        print(
            *(f"{m.number:3}  {m.title}" + (f"  (equivalent: {m.equivalent})" if m.equivalent else "") for m in listed),
            sep="\n",
        )
        return 0
    mutants = [m for m in listed if not m.equivalent]
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        if failing := failing_unbroken(mutants, given.jobs, Path(folder)):
            print(f"it fails without any mutant, so nothing was tried: {failing}")
            return 1
        verdicts = try_all(mutants, given.jobs, Path(folder))
    caught = sum(verdict.caught for verdict in verdicts)
    print(f"\n{'module':30} mutants caught")
    for module in sorted({Path(m.file).parent.name for m in mutants}):
        of_module = [v for v in verdicts if Path(v.mutant.file).parent.name == module]
        print(f"{module:30} {len(of_module):7} {sum(v.caught for v in of_module):6}")
    print(f"{caught} of {len(mutants)} caught ({caught / max(1, len(mutants)):.1%})")
    print(*(line_of(v) for v in verdicts if not v.caught), sep="\n")
    enough = len(mutants) >= LEAST_MUTANTS or bool(given.only)
    return 0 if caught >= LEAST_CAUGHT * len(mutants) and enough and not any(v.problem for v in verdicts) else 1


if __name__ == "__main__":
    sys.exit(main())
