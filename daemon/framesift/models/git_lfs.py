"""Git LFS leaves a few lines of text in the place of a large file that was not fetched."""

from __future__ import annotations

from pathlib import Path

_FIRST_LINE = b"version https://git-lfs.github.com/spec/"


def git_lfs_problem(path: Path) -> str | None:
    """A sentence if the file holds only the place of a file that Git LFS keeps elsewhere; None otherwise."""
    try:
        with path.open("rb") as file:
            is_pointer = file.read(len(_FIRST_LINE)) == _FIRST_LINE
    except OSError:
        return None
    if not is_pointer:
        return None
    return (
        f"{path} is a pointer of Git LFS, a few lines of text instead of the file: run `git lfs pull` in its "
        "repository, or copy the file itself"
    )
