"""The journal of a soak: what happened, one JSON object a line, appended; a later run goes on from it."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

Record = dict[str, Any]


class Journal:
    """The file `journal.jsonl` of a folder. records: all of it, those of earlier runs included.

    A run that was killed leaves a torn last line, which is not read.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / "journal.jsonl"
        self.records = read(self._path)
        self._begun_s = time.monotonic()
        self.hours_before = self.hours()
        if self._path.exists() and not self._path.read_bytes().endswith(b"\n"):
            with self._path.open("ab") as file:
                file.write(b"\n")

    def write(self, what: str, **fields: Any) -> Record:
        """Appends a record. It gets `at_s`, Unix time, and `hours`, of all runs together until now."""
        hours = self.hours_before + (time.monotonic() - self._begun_s) / 3600
        record = {"what": what, "at_s": round(time.time(), 3), "hours": round(hours, 5), **fields}
        with self._path.open("a") as file:
            file.write(json.dumps(record) + "\n")
        self.records.append(record)
        return record

    def of(self, *kinds: str) -> list[Record]:
        """The records of these kinds."""
        return [record for record in self.records if record["what"] in kinds]

    def hours(self) -> float:
        """For how long all runs together went on, to the last record of each."""
        return float(self.records[-1]["hours"]) if self.records else 0.0


def read(path: Path) -> list[Record]:
    """The records of a file; none where there is no file."""
    if not path.exists():
        return []
    records = []
    for line in path.read_text().splitlines():
        try:
            records.append(json.loads(line))
        except ValueError:  # torn
            continue
    return records
