"""Durable file operations and safe names."""

from __future__ import annotations

import os
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


def test_names_are_synced_after_the_block_and_not_after_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    real = os.fsync

    def fsync(file: int) -> None:
        synced.append("folder")
        real(file)

    monkeypatch.setattr(os, "fsync", fsync)
    with synced_folder(tmp_path):
        assert synced == []
    assert synced == ["folder"]
    with pytest.raises(ValueError, match="stop"), synced_folder(tmp_path):
        raise ValueError("stop")
    assert synced == ["folder"]


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


def test_each_new_folder_is_synced_in_its_parent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", lambda file: synced.append(os.fstat(file).st_ino))
    make_folder(tmp_path / "a" / "b")
    assert synced == [tmp_path.stat().st_ino, (tmp_path / "a").stat().st_ino]
