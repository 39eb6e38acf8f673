"""Durable file operations and safe names."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from framesift.atomic_files import make_folder, safe_name, synced_folder, write_atomically


@pytest.mark.parametrize(
    ("text", "extra", "merge", "name"),
    [
        ("gate-7", "", False, "gate-7"),
        ("gate_7.north", "", False, "gate-7-north"),
        ("gate_7.north", "_.", True, "gate_7.north"),
        ("gate  7/..", "", False, "gate--7---"),
        ("gate  7/..", "_.", True, "gate-7-.."),
        ("Größe", "", True, "Gr-e"),
        ("", "_.", True, ""),
    ],
)
def test_a_safe_name_has_only_ascii_letters_digits_and_what_is_allowed(
    text: str, extra: str, merge: bool, name: str
) -> None:
    assert safe_name(text, extra=extra, merge=merge) == name


def test_a_folder_that_cannot_be_opened_changes_no_name(tmp_path: Path) -> None:
    entered = []
    with pytest.raises(FileNotFoundError), synced_folder(tmp_path / "missing"):
        entered.append(True)
    assert entered == []


def traced(folder: Path, program: str) -> list[str]:
    """The folders that a program synced, and the words that it wrote, in order."""
    command = ["strace", "-f", "-y", "-e", "trace=fsync,write", "-o", str(folder.parent / "trace")]
    head = "import os\nfrom pathlib import Path\nfrom framesift.atomic_files import make_folder, synced_folder\n"
    subprocess.run([*command, sys.executable, "-c", head + program], cwd=folder, check=True, timeout=60)
    trace = (folder.parent / "trace").read_text()
    return [a or b for a, b in re.findall(r'fsync\(\d+<([^>]*)>\)|write\(1[^"]*"(\w+)"', trace)]


def test_names_are_synced_after_the_block_and_not_after_an_error(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    program = (
        "with synced_folder(Path.cwd()):\n    os.write(1, b'inside')\nos.write(1, b'after')\n"
        "try:\n    with synced_folder(Path.cwd()):\n        raise ValueError\n"
        "except ValueError:\n    os.write(1, b'failed')\n"
    )
    assert traced(folder, program) == ["inside", str(folder), "after", "failed"]


def test_a_file_replaces_the_old_one_and_leaves_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "policy.json"
    write_atomically(path, b"old")
    (tmp_path / ".partial").write_bytes(b"left by a crash")
    write_atomically(path, b"new")
    assert path.read_bytes() == b"new"
    assert [file.name for file in tmp_path.iterdir()] == ["policy.json"]


def test_missing_parents_are_made_and_a_file_in_the_way_is_an_error(tmp_path: Path) -> None:
    make_folder(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").is_dir()
    (tmp_path / "file").touch()
    with pytest.raises(FileExistsError):
        make_folder(tmp_path / "file")


def test_each_new_folder_is_synced_in_its_parent(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    assert traced(folder, "make_folder(Path('a/b').absolute())") == [str(folder), str(folder / "a")]
