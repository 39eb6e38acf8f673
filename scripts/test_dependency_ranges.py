"""Tries the lowest and the newest version that pyproject.toml allows for libraries of which we use undocumented names.

    .venv/bin/python scripts/test_dependency_ranges.py            # all libraries of RANGES
    .venv/bin/python scripts/test_dependency_ranges.py redis      # one of them

Each version is installed into an environment of its own that has the packages of this one besides, and the tests that
use the library run there. Needs the package index. Exits with 1 if a test fails or a version cannot be installed.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

# Library -> the tests that use it.
RANGES: dict[str, tuple[str, ...]] = {
    "av": (
        *("tests/streams/test_pictures.py", "tests/streams/test_colours.py", "tests/streams/test_changes.py"),
        *("tests/streams/test_deinterlacing.py", "tests/streams/test_damage.py", "tests/streams/test_sender_clock.py"),
    ),
    "redis": ("tests/limits/test_shared_ledger.py", "tests/fleet/test_reconcile.py"),
    "urllib3": ("tests/http_client", "tests/roboflow/test_client.py", "tests/roboflow/test_errors.py"),
}


def allowed_range(library: str, pyproject: str) -> str:
    """The version specifier of a library in pyproject.toml, such as ">=5.2,<9".

    Raises ValueError if it has no lower and upper bound: both ends must be known to be tried.
    """
    found = re.search(rf'^  "{re.escape(library)}([<>=][^"]*)",', pyproject, re.MULTILINE)
    specifier = found[1] if found else ""
    if not re.fullmatch(r">=[\d.]+,<[\d.]+", specifier):
        raise ValueError(f'{library}: pyproject.toml must name both ends of its range, not "{specifier}"')
    return specifier


def ends(specifier: str) -> tuple[str, str]:
    """The specifiers of the lowest and of the newest allowed version."""
    lowest = specifier.split(",")[0].removeprefix(">=")
    return f"=={lowest}", specifier


def environment_with(library: str, requirement: str, folder: Path) -> str:
    """Makes an environment with this version; returns its Python. Raises subprocess.CalledProcessError."""
    sys.path.insert(0, str(ROOT / "tests"))
    from rigs.environments import environment_without

    python = environment_without(folder, library)
    command = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "--python", python]
    subprocess.run([*command, "install", "--no-deps", requirement], check=True)
    return python


def installed_version(library: str, python: str) -> str:
    """The version that this Python imports."""
    code = f"import {library}; print({library}.__version__)"
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def passes(library: str, requirement: str) -> bool:
    """Installs one version, runs the library's tests with it, and prints the result."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            python = environment_with(library, library + requirement, Path(folder))
        except subprocess.CalledProcessError:
            print(f"{library} {requirement}: cannot be installed", flush=True)
            return False
        version = installed_version(library, python)
        command = [python, "-m", "pytest", "-q", "-n", "2", "-p", "no:cacheprovider", *RANGES[library]]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            print(done.stdout[-4000:], done.stderr[-4000:], flush=True)
        print(f"{library} {version}: {'passed' if done.returncode == 0 else 'FAILED'}", flush=True)
        return done.returncode == 0


def main() -> int:
    """Tries all ranges, or those that the command line names."""
    parser = argparse.ArgumentParser(description="Tries both ends of the allowed versions of some libraries.")
    parser.add_argument("libraries", nargs="*", metavar="LIBRARY", help=f"of {', '.join(RANGES)}; all if none is given")
    libraries = parser.parse_args().libraries or list(RANGES)
    if unknown := set(libraries) - set(RANGES):
        parser.error(f"no such library: {', '.join(sorted(unknown))}")
    pyproject = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    requirements = [(library, end) for library in libraries for end in ends(allowed_range(library, pyproject))]
    results = [passes(library, end) for library, end in requirements]
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
