"""The loader of outside code: each problem of a factory is one sentence, and nothing is called before it is checked."""

from __future__ import annotations

import builtins
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from framesift.config.factory import (
    FactoryError,
    call_factory,
    failure_line,
    failure_text,
    load_factory,
    one_line,
    read_attribute,
)

MODULE = """
FRAMESIFT_EXTEND = 1
def make(size=1): return [None] * size
class Group:
    make = staticmethod(make)
value = 3
def leave(): raise SystemExit("bye")
"""


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder with the module `outside_code`, forgotten afterwards."""
    (tmp_path / "outside_code.py").write_text(MODULE, encoding="utf-8")
    yield tmp_path
    sys.modules.pop("outside_code", None)
    sys.path[:] = [entry for entry in sys.path if entry != str(tmp_path)]


def test_a_factory_is_found_in_the_folder_and_called_with_its_options(folder: Path) -> None:
    assert call_factory("outside_code:make", load_factory("outside_code:make", folder), {"size": 2}) == [None, None]
    assert load_factory("outside_code:Group.make", folder)() == [None]
    assert sys.path.count(str(folder)) == 1


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("no_such_module:make", r"can't import no_such_module \(looked in .* first\): ModuleNotFoundError: "),
        ("outside_code:nothing", r"outside_code has no callable 'nothing'"),
        ("outside_code:value", r"outside_code has no callable 'value'"),
        ("json:loads", r"json does not say for which version .* add the line FRAMESIFT_EXTEND = 1"),
        ("sys:exit", r"sys does not say for which version .*: it has no source"),
        ("os:system", r"os does not say for which version "),
        (
            "outside_code.inner:make",
            r"can't import outside_code\.inner \(.*ModuleNotFoundError: __path__ attribute not found",
        ),
    ],
)
def test_what_is_wrong_is_one_sentence(folder: Path, name: str, sentence: str) -> None:
    with pytest.raises(FactoryError, match=sentence):
        load_factory(name, folder)


def test_a_module_that_fails_on_import_is_an_error_and_no_exit(folder: Path) -> None:
    (folder / "outside_code.py").write_text("FRAMESIFT_EXTEND = 1\nraise SystemExit(3)", encoding="utf-8")
    with pytest.raises(FactoryError, match=r"can't import outside_code .*: SystemExit: 3"):
        load_factory("outside_code:make", folder)


def test_the_advice_about_the_path_is_only_for_the_module_itself(folder: Path) -> None:
    with pytest.raises(FactoryError, match=r"; name its folder as `path`, or install it$"):
        load_factory("gone.rules:make")
    (folder / "outside_code.py").write_text("FRAMESIFT_EXTEND = 1\nimport gone", encoding="utf-8")
    with pytest.raises(FactoryError, match=r"No module named 'gone'$"):
        load_factory("outside_code:make", folder)


def test_code_for_another_version_is_refused(folder: Path) -> None:
    (folder / "outside_code.py").write_text("FRAMESIFT_EXTEND = 2\ndef make(): pass", encoding="utf-8")
    with pytest.raises(
        FactoryError, match=r"written for version 2 of framesift\.extend, and this framesift has version 1"
    ):
        load_factory("outside_code:make", folder)


def test_a_path_that_is_no_folder_is_reported(tmp_path: Path) -> None:
    with pytest.raises(FactoryError, match=r"path: .*/gone is not a folder"):
        load_factory("outside_code:make", tmp_path / "gone")


@pytest.mark.parametrize("unversioned", ["json:loads", "os.path:join"])
def test_a_models_factory_needs_no_version(unversioned: str) -> None:
    assert callable(load_factory(unversioned, versioned=False))


def test_a_factory_that_fails_is_an_error_of_one_line(folder: Path) -> None:
    with pytest.raises(
        FactoryError, match=r"outside_code:make failed: TypeError: .*unexpected keyword argument 'colour'"
    ):
        call_factory("outside_code:make", load_factory("outside_code:make", folder), {"colour": "red"})
    with pytest.raises(FactoryError, match=r"outside_code:leave failed: SystemExit: bye"):
        call_factory("outside_code:leave", load_factory("outside_code:leave", folder), {})


RUNS = "import builtins; builtins.outside_code_ran = True\n"


@pytest.mark.parametrize(
    ("files", "factory", "problem"),
    [
        ({"outside_code.py": RUNS}, "outside_code:f", "outside_code does not say for which version"),
        ({"outside_code.py": RUNS + "FRAMESIFT_EXTEND = 2"}, "outside_code:f", "outside_code is written for version 2"),
        ({"outside_code.py": RUNS + "FRAMESIFT_EXTEND = '1'"}, "outside_code:f", "does not say"),
        ({"outside_code.py": RUNS + "if True: FRAMESIFT_EXTEND = 1"}, "outside_code:f", "does not say"),
        (
            {"outside_code.py": RUNS + "FRAMESIFT_EXTEND = 1 +"},
            "outside_code:f",
            "can't import outside_code .*SyntaxErr",
        ),
        ({"outside_pkg/__init__.py": RUNS}, "outside_pkg:f", "outside_pkg does not say"),
        (
            {"outside_pkg/__init__.py": RUNS, "outside_pkg/rules.py": "FRAMESIFT_EXTEND = 1"},
            "outside_pkg.rules:f",
            "outside_pkg does not say",
        ),
        (
            {"outside_pkg/__init__.py": "'Empty.'", "outside_pkg/rules.py": RUNS},
            "outside_pkg.rules:f",
            r"outside_pkg\.rules does not say",
        ),
    ],
)
def test_nothing_of_a_module_runs_before_its_version_is_found(
    folder: Path, files: dict[str, str], factory: str, problem: str
) -> None:
    for file, text in files.items():
        (folder / file).parent.mkdir(exist_ok=True)
        (folder / file).write_text(text, encoding="utf-8")
    try:
        with pytest.raises(FactoryError, match=problem):
            load_factory(factory, folder)
        assert not hasattr(builtins, "outside_code_ran")
    finally:
        vars(builtins).pop("outside_code_ran", None)
        forget("outside_pkg", "outside_pkg.rules")


@pytest.mark.parametrize("initial", ["'Empty.'", "FRAMESIFT_EXTEND = 1\nx = 1", None])
def test_a_module_of_a_package_is_found(folder: Path, initial: str | None) -> None:
    (folder / "outside_pkg").mkdir()
    if initial is not None:
        (folder / "outside_pkg" / "__init__.py").write_text(initial)
    (folder / "outside_pkg" / "rules.py").write_text("FRAMESIFT_EXTEND: int = 1\ndef f(): return 3")
    try:
        assert load_factory("outside_pkg.rules:f", folder)() == 3
    finally:
        forget("outside_pkg", "outside_pkg.rules")


def forget(*modules: str) -> None:
    for module in modules:
        sys.modules.pop(module, None)


@pytest.mark.parametrize("versioned", [True, False])
def test_another_module_of_the_same_name_is_not_used_silently(folder: Path, tmp_path: Path, versioned: bool) -> None:
    other = tmp_path / "other"
    other.mkdir()
    load_factory("outside_code:make", folder)
    (other / "outside_code.py").write_text(MODULE)
    try:
        with pytest.raises(FactoryError) as refused:
            load_factory("outside_code:make", other, versioned=versioned)
        assert str(other / "outside_code.py") in str(refused.value)
        assert str(folder / "outside_code.py") in str(refused.value)
        (other / "outside_code.py").unlink()
        assert load_factory("outside_code:make", other, versioned=versioned)() == [None]  # found elsewhere: all right
    finally:
        sys.path.remove(str(other))


class _Raises:
    def __getattr__(self, name: str) -> object:
        raise KeyError(name)

    def __str__(self) -> str:
        raise RuntimeError("no text")


class _NoText(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


def test_a_callable_whose_attributes_raise_has_no_line() -> None:
    class Called(_Raises):
        def __call__(self) -> None: ...

    assert failure_line(ValueError(), Called()) == ""


def test_what_an_object_raises_when_it_is_read_is_one_sentence() -> None:
    with pytest.raises(FactoryError, match=r"^m:f: reading its tasks failed: KeyError: 'tasks'$"):
        read_attribute(_Raises(), "tasks", "m:f")
    assert read_attribute(object(), "tasks", "m:f") is None
    assert failure_text(_NoText()) == "_NoText: its text can't be read (RuntimeError)"
    assert one_line(_Raises()) == "its text can't be read (RuntimeError)"
    assert one_line("half \udcff\n\x1b line " + "x" * 900) == ("half \ufffd \ufffd line " + "x" * 300)[:300]
