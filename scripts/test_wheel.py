"""Builds the wheel, installs it into clean environments of several Python versions, and tries it there.

    .venv/bin/python scripts/test_wheel.py [--python 3.12 ...] [--coverage]

For each version: a new virtual environment, the locked requirements, the wheel (no editable install, nothing from this
folder on the path), the command as an operator runs it (--version, init, check, run), and then the quick part of the
tests. Interpreters are looked for on the PATH and among those of pyenv. The last lines say which versions ran and which
this machine does not have. Exit status 1: something failed, or not one version was found.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
VERSIONS = ("3.10", "3.11", "3.12", "3.13")

# What depends most on the version of Python: typing, dataclasses, SQLite, dates and zones, processes, the command.
QUICK = (
    "tests/config",
    "tests/settings",
    "tests/strategies",
    "tests/sampling",
    "tests/prediction",
    "tests/policy/test_policy.py",
    "tests/policy/test_fields.py",
    "tests/policy/test_fetched.py",
    "tests/policy/test_policy_settings.py",
    "tests/limits/test_windows.py",
    "tests/spool/test_spool.py",
    "tests/spool/test_formats.py",
    "tests/spool/test_admin.py",
    "tests/sinks/test_folder_sink.py",
    "tests/sinks/test_folder_sink_labels.py",
    "tests/test_collect.py",
    "tests/test_datapoint.py",
    "tests/test_periodic.py",
)
# All that `framesift init` writes have their status page at the same port.
ONE_DAEMON = threading.Lock()
# Requirements of the checks of types and style, which the tests do without.
NOT_FOR_TESTS = re.compile(r"ruff|mypy|types-|ast-serialize|librt|pathspec")


class Failed(Exception):
    """A command failed. The message is the command and what it printed."""


@dataclass(frozen=True)
class Outcome:
    """What became of one version. summary: the last line of its tests, or the last line of what failed."""

    version: str
    ok: bool
    seconds: float
    summary: str


def interpreter_of(version: str) -> Path | None:
    """The interpreter of a version such as "3.12", from the PATH or from pyenv, or None.

    An interpreter that does not start (pyenv puts one on the PATH for versions that are not active) does not count.
    """
    found = [Path(path) for path in (shutil.which(f"python{version}"),) if path]
    roots = {Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv"), Path.home() / ".pyenv"}
    for root in sorted(roots):
        found += sorted(root.glob(f"versions/{version}.*/bin/python{version}"), reverse=True)
    for path in found:
        asked = subprocess.run([path, "-c", "import sys, venv, ensurepip; print(sys.version_info[:2])"],
                               capture_output=True, text=True, check=False)  # fmt: skip
        if asked.returncode == 0 and asked.stdout.strip() == f"({version.replace('.', ', ')})":
            return path
    return None


def build_wheel(folder: Path) -> Path:
    """Builds the wheel from a copy of the sources, so that nothing left over from an earlier build gets into it.

    Raises Failed if it cannot be built, or if a file of the package is not in it.
    """
    source, target = folder / "source", folder / "wheel"
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE", "NOTICE"):
        shutil.copy(ROOT / name, source)
    unwanted = shutil.ignore_patterns("__pycache__", "*.egg-info")
    shutil.copytree(ROOT / "daemon", source / "daemon", ignore=unwanted)
    _run([sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", target, source])
    (wheel,) = target.glob("*.whl")
    package = source / "daemon"
    expected = {str(path.relative_to(package)) for path in (package / "framesift").rglob("*") if path.is_file()}
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if ".dist-info/" not in name}
    if packed != expected:
        raise Failed(f"the wheel lacks {sorted(expected - packed)} and has {sorted(packed - expected)} too many")
    return wheel


def try_version(version: str, interpreter: Path, wheel: Path, folder: Path, coverage: bool) -> Outcome:
    """Installs the wheel for one version and tries it. Does not raise: what failed is in the outcome."""
    began = time.monotonic()
    try:
        environment = folder / f"venv-{version}"
        _run([interpreter, "-m", "venv", environment])
        python = environment / "bin" / "python"
        _install(python, ROOT / "requirements" / "run.txt", wheel)
        _try_command(environment / "bin" / "framesift", folder / f"work-{version}")
        _install(python, _for_tests(folder / f"tests-{version}.txt"))
        summary = _try_tests(python, folder / "coverage" if coverage else None)
    except Failed as error:
        print(f"--- Python {version}\n{error}", file=sys.stderr)
        return Outcome(version, False, time.monotonic() - began, str(error).strip().splitlines()[-1])
    return Outcome(version, True, time.monotonic() - began, summary)


def coverage_line(totals: Mapping[str, float]) -> str:
    """The coverage that a JSON report of coverage.py sums up, in one line."""
    branches = f"{totals['covered_branches']} of {totals['num_branches']} branches"
    return f"they reach {branches} ({100 * totals['covered_branches'] / totals['num_branches']:.0f} %)"


def main(words: Sequence[str] | None = None) -> int:
    """Tries the wanted versions, prints which ran and which are missing, and returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--python", action="append", choices=VERSIONS, help="a version (default: all of them)")
    parser.add_argument("--coverage", action="store_true", help="measure the branches that the quick tests reach")
    given = parser.parse_args(words)
    found = {version: interpreter_of(version) for version in given.python or VERSIONS}
    missing = [version for version, path in found.items() if path is None]
    ready = {version: path for version, path in found.items() if path is not None}
    own = ".".join(map(str, sys.version_info[:2]))
    measured = own if own in ready else next(iter(ready), None)
    with tempfile.TemporaryDirectory(prefix="framesift-wheel-") as name:
        folder = Path(name)
        wheel = build_wheel(folder)
        print(f"{wheel.name}: {wheel.stat().st_size // 1024} KiB")
        # Two at a time: while one installs, the other runs its tests.
        with ThreadPoolExecutor(2) as pool:
            tasks = [
                pool.submit(try_version, version, path, wheel, folder, given.coverage and version == measured)
                for version, path in ready.items()
            ]
            outcomes = [task.result() for task in tasks]
    for outcome in outcomes:
        state = "passed" if outcome.ok else "FAILED"
        print(f"Python {outcome.version}: {state} in {outcome.seconds:.0f} s: {outcome.summary}")
    print(f"Python versions tried: {', '.join(ready) or 'none'}; not on this machine: {', '.join(missing) or 'none'}")
    return 0 if outcomes and all(outcome.ok for outcome in outcomes) else 1


def _for_tests(path: Path) -> Path:
    """Writes the requirements that the tests add to those of a run."""
    shipped = set((ROOT / "requirements" / "run.txt").read_text().splitlines())
    kept: list[str] = []
    wanted = False
    for line in (ROOT / "requirements" / "dev.txt").read_text().splitlines():
        if not line.startswith(" "):
            wanted = line not in shipped and NOT_FOR_TESTS.match(line) is None
        if wanted:
            kept.append(line)
    path.write_text("\n".join(kept) + "\n")
    return path


def _install(python: Path, requirements: Path, wheel: Path | None = None) -> None:
    pip: list[str | Path] = [
        python,
        "-m",
        "pip",
        "--quiet",
        "--disable-pip-version-check",
        "install",
        "--no-deps",
        "--no-compile",
    ]
    _run([*pip, "--require-hashes", "-r", requirements])
    if wheel is not None:
        _run([*pip, "--no-index", wheel])
        _run([python, "-m", "pip", "--disable-pip-version-check", "check"])


def _try_command(framesift: Path, folder: Path) -> None:
    """What an operator does first: the version, the files of `init`, their check, and a run to the end of the clip."""
    folder.mkdir()
    printed = _run([framesift, "--version"], folder)
    version = re.findall(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)[0]
    if version not in printed.split():
        raise Failed(f"--version says {printed.strip()}, pyproject.toml says {version}")
    with ONE_DAEMON:
        for word in ("init", "check", "run"):
            _run([framesift, word], folder)
    if not any((folder / "collected").rglob("*.jpg")):
        raise Failed("`framesift run` collected no picture from the clip of `framesift init`")


def _try_tests(python: Path, coverage: Path | None) -> str:
    """The summary of the quick tests, with their branch coverage if there is a folder to keep its data in."""
    data: list[str | Path] = [] if coverage is None else ["--data-file", coverage / "data"]
    if coverage is not None:
        coverage.mkdir()
    measure: list[str | Path] = [] if coverage is None else ["-m", "coverage", "run", *data]
    printed = _run([python, *measure, "-m", "pytest", *QUICK], ROOT)
    summary = next(line for line in reversed(printed.splitlines()) if re.search(r"\d+ (passed|failed)", line)).strip(
        "= "
    )
    if re.search(r"\d+ (skipped|xfailed)", summary):
        raise Failed(f"a test was skipped: {summary}")
    if coverage is not None:
        _run([python, "-m", "coverage", "combine", "--quiet", *data, coverage], ROOT)
        report = coverage / "report.json"
        _run([python, "-m", "coverage", "json", "--quiet", "--ignore-errors", *data, "-o", report], ROOT)
        summary += f"; {coverage_line(json.loads(report.read_text())['totals'])}"
    return summary


def _run(command: Sequence[str | Path], folder: Path | None = None) -> str:
    """Runs a command that must succeed, without this environment's own Python settings, and returns what it printed."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PYTHON", "FRAMESIFT", "VIRTUAL_ENV", "COVERAGE")) and name != "MAKEFLAGS"
    }
    done = subprocess.run(
        command, cwd=folder, env=kept, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    if done.returncode != 0:
        raise Failed(f"{' '.join(map(str, command))}: exit status {done.returncode}\n{done.stdout}")
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
