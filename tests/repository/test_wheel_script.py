"""scripts/test_wheel.py: which interpreters it finds, what it installs, and which tests it runs."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
OWN = f"{sys.version_info.major}.{sys.version_info.minor}"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("wheel_script", ROOT / "scripts" / "test_wheel.py")
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules["wheel_script"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def add_interpreter(root: Path, version: str, text: str) -> Path:
    path = root / "versions" / f"{version}.99" / "bin" / f"python{version}"
    path.parent.mkdir(parents=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


@pytest.fixture
def pyenv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty PATH, and a root of pyenv without interpreters."""
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path / "pyenv"))
    return tmp_path / "pyenv"


def test_an_interpreter_of_pyenv_is_found(script: ModuleType, pyenv: Path) -> None:
    assert script.interpreter_of(OWN) is None
    path = add_interpreter(pyenv, OWN, f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    assert script.interpreter_of(OWN) == path


@pytest.mark.parametrize("text", ["#!/bin/sh\nexit 127\n", "#!/bin/sh\necho '(2, 7)'\n"])
def test_an_interpreter_that_does_not_start_or_is_another_version_is_not_there(
    script: ModuleType, pyenv: Path, text: str
) -> None:
    add_interpreter(pyenv, OWN, text)
    assert script.interpreter_of(OWN) is None


def test_the_tests_get_what_a_run_does_not_have_and_no_checkers(script: ModuleType, tmp_path: Path) -> None:
    written = script._for_tests(tmp_path / "tests.txt").read_text()
    names = re.findall(r"^([\w.-]+)==", written, re.MULTILINE)
    assert {"pytest", "hypothesis", "coverage", "onnx"} <= set(names)
    assert not {"ruff", "mypy", "numpy", "pydantic"} & set(names)
    assert all("--hash=sha256:" in block for block in re.split(r"\n(?=\w)", written))


def test_each_version_that_is_tried_stands_in_the_package_and_the_other_way_round(script: ModuleType) -> None:
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert re.findall(r'"Programming Language :: Python :: (3\.\d+)"', project) == list(script.VERSIONS)


def test_the_quick_tests_are_there(script: ModuleType) -> None:
    assert not [path for path in script.QUICK if not (ROOT / path).exists()]


def test_coverage_is_printed_in_branches(script: ModuleType) -> None:
    line = script.coverage_line({"covered_branches": 3, "num_branches": 4})
    assert line == "they reach 3 of 4 branches (75 %)"
