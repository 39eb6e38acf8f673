"""Which datapoints of a file that was set aside are in the spool, or were: a small file beside it.

spool.db.corrupt-<time>    the file that was set aside
spool.db.taken-<time>      the numbers (seq) of its datapoints that a salvage has saved, or that were taken later
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from framesift.atomic_files import write_atomically

_ASIDE, _TAKEN = ".corrupt-", ".taken-"


def path_beside(aside: Path) -> Path:
    """Where the numbers of a file that was set aside are kept."""
    name = aside.name.replace(_ASIDE, _TAKEN, 1) if _ASIDE in aside.name else aside.name + _TAKEN.rstrip("-")
    return aside.with_name(name)


def write(path: Path, seqs: Iterable[int]) -> None:
    """Writes the numbers. Raises OSError."""
    spans: list[list[int]] = []
    for seq in sorted(seqs):
        if spans and spans[-1][1] == seq - 1:
            spans[-1][1] = seq
        else:
            spans.append([seq, seq])
    write_atomically(path, json.dumps({"datapoints": spans}).encode())


def read(path: Path) -> set[int]:
    """The numbers; none if there is no such file, because an older version set the other one aside."""
    try:
        spans = json.loads(path.read_bytes())["datapoints"]
        return {seq for first, last in spans for seq in range(first, last + 1)}
    except (OSError, ValueError, LookupError, TypeError):
        return set()
