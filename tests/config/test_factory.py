"""The loader of outside code: each problem of a factory is one sentence, and nothing is called before it is checked."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from framesift.config.factory import FactoryError, call_factory, load_factory

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
        ("os:system", r"os does not say for which version .* add the line FRAMESIFT_EXTEND = 1"),
    ],
)
def test_what_is_wrong_is_one_sentence(folder: Path, name: str, sentence: str) -> None:
    with pytest.raises(FactoryError, match=sentence):
        load_factory(name, folder)


def test_a_module_that_fails_on_import_is_an_error_and_no_exit(folder: Path) -> None:
    (folder / "outside_code.py").write_text("raise SystemExit(3)", encoding="utf-8")
    with pytest.raises(FactoryError, match=r"can't import outside_code .*: SystemExit: 3"):
        load_factory("outside_code:make", folder)


def test_the_advice_about_the_path_is_only_for_the_module_itself(folder: Path) -> None:
    with pytest.raises(FactoryError, match=r"; name its folder as `path`, or install it$"):
        load_factory("gone.rules:make")
    (folder / "outside_code.py").write_text("import gone", encoding="utf-8")
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
