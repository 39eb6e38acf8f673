"""What lies in a collected folder: the lines of metadata.jsonl as pictures, for whoever only reads them.

A line that a person has changed is read as well, as long as it still says which picture, when, and from where.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path, PurePosixPath
from typing import Any

from framesift.prediction.prediction import Prediction, Stub
from framesift.prediction.wire_format import parse_prediction
from framesift.sinks.own_lines import object_in_line


class NoCollectedFolder(Exception):
    """The path is no folder of a folder sink. str(error) says what is expected."""


@dataclass(frozen=True, slots=True)
class CollectedPicture:
    """One picture of a collected folder.

    file_name: of the picture, relative to the folder. captured_at_s: Unix time. width, height: in pixels. weight: of
    the baseline's, how many frames it stands for. sequence, sequence_offset_s: see PictureFacts.
    """

    file_name: str
    id: str
    device: str
    stream: str
    frame: int
    captured_at_s: float
    strategy: str
    score: float | None
    width: int
    height: int
    weight: int | None
    sequence: str | None
    sequence_offset_s: float
    wire: object = field(repr=False)

    @property
    def name(self) -> str:
        """The name of the picture's file, without folder and ending."""
        return PurePosixPath(self.file_name).stem

    @property
    def prediction(self) -> Prediction | None:
        """What the model said, parsed anew at each call; None where that wasn't kept or can't be read."""
        try:
            return parse_prediction(self.wire, width=self.width or None, height=self.height or None)
        except ValueError:
            return None

    @property
    def predicted(self) -> Prediction | None:
        """The same; None also where there was no model yet."""
        prediction = self.prediction
        return None if isinstance(prediction, Stub) else prediction


def metadata_file(folder: Path) -> Path:
    """The listing of a collected folder. Raises NoCollectedFolder."""
    path = folder / "metadata.jsonl"
    if not path.is_file():
        why = "does not exist" if not folder.exists() else "no metadata.jsonl in it" if folder.is_dir() else "no folder"
        raise NoCollectedFolder(f"{folder}: {why}: the path of a folder sink is expected")
    return path


def parse_collected_line(line: bytes) -> CollectedPicture | None:
    """The picture of a line of metadata.jsonl; None for any other line, and for one that is being written."""
    fields = object_in_line(line)
    if fields is None:
        return None
    try:
        captured = datetime.fromisoformat(fields["captured_at"].removesuffix("Z"))
        file_name, id = _inside(fields["file_name"]), str(fields["id"])
    except (KeyError, AttributeError, TypeError, ValueError):
        return None
    facts = fields.get("picture")
    facts = facts if isinstance(facts, dict) else {}
    score, sequence = _number(fields.get("score")), facts.get("sequence")
    return CollectedPicture(
        file_name=file_name,
        id=id,
        device=str(fields.get("device", "")),
        stream=str(fields.get("stream", "")),
        frame=_whole(fields.get("frame"), least=0) or 0,
        captured_at_s=captured.replace(tzinfo=captured.tzinfo or timezone.utc).timestamp(),
        strategy=str(fields.get("strategy", "")),
        score=score,
        width=_whole(fields.get("width"), least=1) or 0,
        height=_whole(fields.get("height"), least=1) or 0,
        weight=_whole(fields.get("weight"), least=1),
        sequence=sequence if isinstance(sequence, str) else None,
        sequence_offset_s=_number(facts.get("sequence_offset_s")) or 0.0,
        wire=fields.get("prediction"),
    )


def _inside(file_name: str) -> str:
    """The name, if it leads to a file in the folder. Raises ValueError."""
    path = PurePosixPath(file_name)
    if path.is_absolute() or ".." in path.parts or path.name in ("", "."):
        raise ValueError(file_name)
    return str(path)


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _whole(value: object, *, least: int) -> int | None:
    return value if type(value) is int and value >= least else None
