"""Durable file operations and safe names."""

from __future__ import annotations

import ast
import os
import re
import resource
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from framesift.atomic_files import (
    GroupUnusable,
    make_folder,
    safe_name,
    synced_folder,
    usable_group,
    write_atomically,
)

PACKAGE = Path(__file__).parents[1] / "daemon" / "framesift"
# What a person's own command writes where the person wants it: the modes are those of their umask.
WRITES_FOR_A_PERSON = {"cli/main.py", "cli/policy_exchange.py", "datasets", "demo"}


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
    """The files and folders that a program synced, the words that it wrote, and the names it gave, in order."""
    command = ["strace", "-f", "-y", "-e", "trace=fsync,write,renameat", "-o", str(folder.parent / "trace")]
    head = "import os\nfrom pathlib import Path\nfrom framesift.atomic_files import *\n"
    subprocess.run([*command, sys.executable, "-c", head + program], cwd=folder, check=True, timeout=60)
    trace = (folder.parent / "trace").read_text()
    told = re.findall(r'fsync\(\d+<([^>]*)>\)|write\(\d+[^"]*"(\w+)"|renameat\(.*"([^"]*)"\) = 0', trace)
    return [a or b or c for a, b, c in told]


def test_names_are_synced_after_the_block_and_not_after_an_error(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    program = (
        "with synced_folder(Path.cwd()):\n    os.write(1, b'inside')\nos.write(1, b'after')\n"
        "try:\n    with synced_folder(Path.cwd()):\n        raise ValueError\n"
        "except ValueError:\n    os.write(1, b'failed')\n"
    )
    assert traced(folder, program) == ["inside", str(folder), "after", "failed"]


def test_what_is_in_a_file_is_on_the_disk_before_its_name_is(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    told = traced(folder, "write_atomically(Path.cwd() / 'policy.json', b'content')")
    assert told == ["content", str(folder / ".partial"), "policy.json", str(folder)]


def test_a_file_replaces_the_old_one_and_leaves_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "policy.json"
    write_atomically(path, b"old")
    (tmp_path / ".partial").write_bytes(b"left by a crash")
    write_atomically(path, b"new")
    assert path.read_bytes() == b"new"
    assert [file.name for file in tmp_path.iterdir()] == ["policy.json"]


def test_a_full_disk_keeps_no_part_of_a_file_and_the_error_names_it(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))  # a real write ends short
    try:
        with pytest.raises(OSError, match="too large") as error:
            write_atomically(tmp_path / "sheet.jpg", b"x" * 2000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert error.value.filename == str(tmp_path / "sheet.jpg")
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["", "folder"])
def test_a_folder_is_no_file_to_write(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(IsADirectoryError):
        write_atomically(tmp_path / name, b"x")


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


def run_with(umask: int, program: str, folder: Path) -> None:
    """Runs a program with names from atomic_files, in a process with this umask."""
    head = f"import os\nfrom pathlib import Path\nfrom framesift.atomic_files import *\nos.umask({umask})\n"
    subprocess.run([sys.executable, "-c", head + program], cwd=folder, check=True, timeout=60)


def modes(folder: Path) -> dict[str, int]:
    """The mode of each file and folder below a folder."""
    return {path.relative_to(folder).as_posix(): stat.S_IMODE(path.stat().st_mode) for path in folder.rglob("*")}


WRITTEN = (
    "make_folder(Path('a/b'))\nwrite_atomically(Path('a/b/c'), b'c')\n"
    "os.close(create_file(Path('a/d'), os.O_WRONLY))\nwrite_atomically(Path('e'), b'e', for_person=True)\n"
)


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077, 0o777])
def test_files_are_for_their_user_alone_whatever_the_umask_is(tmp_path: Path, umask: int) -> None:
    run_with(umask, WRITTEN, tmp_path)
    assert modes(tmp_path) == {"a": 0o700, "a/b": 0o700, "a/b/c": 0o600, "a/d": 0o600, "e": 0o666 & ~umask}


@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_a_group_may_read_files_and_enter_folders_whatever_the_umask_is(tmp_path: Path, umask: int) -> None:
    group = 23456 if os.geteuid() == 0 else os.getgroups()[0]
    run_with(umask, f"share_with_group({group})\n" + WRITTEN, tmp_path)
    assert modes(tmp_path) == {"a": 0o750, "a/b": 0o750, "a/b/c": 0o640, "a/d": 0o640, "e": 0o666 & ~umask}
    assert {(tmp_path / name).stat().st_gid for name in ("a", "a/b", "a/b/c", "a/d")} == {group}


def test_a_file_that_exists_keeps_its_mode(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a").chmod(0o755)
    (tmp_path / "a" / "d").touch()
    (tmp_path / "a" / "d").chmod(0o664)
    run_with(0o077, WRITTEN, tmp_path)
    assert modes(tmp_path)["a/d"] == 0o664
    assert modes(tmp_path)["a"] == 0o755


def test_a_group_that_does_not_exist_is_named() -> None:
    with pytest.raises(GroupUnusable, match=r"there is no group nobodys-group on this machine; create it"):
        usable_group("nobodys-group")


def test_a_group_that_this_process_has_no_right_to_is_refused(tmp_path: Path) -> None:
    program = (
        "import sys\nif os.geteuid() == 0:\n    os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "assert usable_group(os.getgid()) == os.getgid()\n"
        "try:\n    usable_group(23456)\nexcept GroupUnusable as error:\n"
        "    assert 'may not give files to the group' in str(error)\nelse:\n    sys.exit('it was allowed')\n"
    )
    run_with(0o022, program, tmp_path)


def _writes(tree: ast.AST) -> list[str]:
    """The calls in a file that create a file or folder by other means than this module."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr in {
            "O_CREAT",
            "mkdir",
            "makedirs",
            "write_text",
            "write_bytes",
        }:
            found.append(f"{node.attr} in line {node.lineno}")
        if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] == "open":
            modes = [a.value for a in node.args if isinstance(a, ast.Constant) and isinstance(a.value, str)]
            if any(re.fullmatch(r"[wax]b?\+?b?", mode) for mode in modes):
                found.append(f"open in line {node.lineno}")
    return found


def test_whatever_the_daemon_writes_is_created_here() -> None:
    for file in sorted(PACKAGE.rglob("*.py")):
        name = file.relative_to(PACKAGE).as_posix()
        if name == "atomic_files.py" or any(name.startswith(own) for own in WRITES_FOR_A_PERSON):
            continue
        assert _writes(ast.parse(file.read_text(encoding="utf-8"))) == [], f"{name}: use create_file or make_folder"
