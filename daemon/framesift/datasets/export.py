"""Writing a dataset from a collected folder: read once to learn what there is, once more to write it.

The dataset is written beside its place under another name, and renamed when it is complete.
"""

from __future__ import annotations

import errno
import shutil
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Protocol

from framesift.datasets.class_folders import ClassFolders
from framesift.datasets.coco_dataset import CocoDataset
from framesift.datasets.cvat_dataset import CvatDataset
from framesift.datasets.drafts import (
    DatasetFacts,
    DatasetFormat,
    LabelledPicture,
    LeftOut,
    draft_labels,
    labels_of,
    note_facts,
    refusal,
)
from framesift.datasets.errors import DatasetError
from framesift.datasets.picture_choice import PictureChoice
from framesift.datasets.splits import Grouping, Split, SplitShares
from framesift.datasets.yolo_dataset import YoloDataset
from framesift.prediction.prediction import Detections, MultiLabel, Prediction
from framesift.sinks.collected_folder import (
    CollectedPicture,
    NoCollectedFolder,
    metadata_file,
    parse_collected_line,
)
from framesift.sinks.data_yaml import DataYaml, InvalidDataYaml


@dataclass(frozen=True, slots=True)
class ExportOptions:
    """What is exported, and how.

    confidence: of an object or label, at least. background: whether pictures with nothing at this confidence are taken,
    too.
    """

    format: DatasetFormat
    confidence: float
    shares: SplitShares
    grouping: Grouping
    choice: PictureChoice
    background: bool = True


@dataclass(slots=True)
class ExportReport:
    """What was written. pictures, background, labels: by split; labels: objects, or labels of a classifier."""

    pictures: Counter[Split] = field(default_factory=Counter)
    background: Counter[Split] = field(default_factory=Counter)
    labels: Counter[Split] = field(default_factory=Counter)
    left_out: Counter[LeftOut] = field(default_factory=Counter)
    class_names: tuple[str, ...] = ()


class DatasetWriter(Protocol):
    """Writes a dataset of one format."""

    def picture_path(self, one: LabelledPicture, file_name: str) -> Path:
        """Where the picture belongs."""
        ...

    def add(self, one: LabelledPicture, picture: Path) -> None:
        """Writes the labels of a picture that lies at its place. Raises OSError."""
        ...

    def finish(self) -> None:
        """Completes the dataset. Raises OSError."""
        ...


WRITERS: dict[DatasetFormat, Callable[[Path, DatasetFacts, Sequence[Split]], DatasetWriter]] = {
    DatasetFormat.YOLO: YoloDataset,
    DatasetFormat.COCO: CocoDataset,
    DatasetFormat.CVAT: CvatDataset,
    DatasetFormat.CLASSIFY: ClassFolders,
}


def export_dataset(folder: Path, out: Path, options: ExportOptions) -> ExportReport:
    """Writes a dataset to `out`, which must be new or an empty folder; on any failure nothing is there.

    Raises DatasetError and OSError.
    """
    try:
        listing = metadata_file(folder)
    except NoCollectedFolder as error:
        raise DatasetError(str(error)) from None
    _refuse_place(folder, out)
    with listing.open("rb") as file:
        return _write(folder, out.resolve(), _Plan(folder, file, options), options)


def _write(folder: Path, out: Path, plan: _Plan, options: ExportOptions) -> ExportReport:
    splits = [split for split in Split if options.shares.of(split) or split is not Split.TEST]
    report = ExportReport(left_out=plan.facts.left_out, class_names=plan.facts.class_names)
    partial = out.parent / f".{out.name}.{uuid.uuid4().hex}.partial"
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        partial.mkdir()
    except OSError as error:
        why = f"no folder can be made in {out.parent}: {error.strerror}"
        raise DatasetError(f"{out}: {why}: name a folder elsewhere") from None
    try:
        writer = WRITERS[options.format](partial, plan.facts, splits)
        for one in plan.pictures():
            path = writer.picture_path(one, PurePosixPath(one.picture.file_name).name)
            try:
                shutil.copyfile(folder / one.picture.file_name, path)
            except FileNotFoundError:  # removed meanwhile
                report.left_out[LeftOut.MISSING] += 1
                continue
            writer.add(one, path)
            number = len(one.draft.objects) if isinstance(one.draft, Detections) else len(labels_of(one.draft))
            report.pictures[one.split] += 1
            report.labels[one.split] += number
            report.background[one.split] += not number
        writer.finish()
        partial.rename(out)
    except OSError as error:
        if _is_of_the_dataset(error, partial):
            error.filename, error.filename2 = str(out), None  # `partial` is gone when somebody reads this
        raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return report


def _is_of_the_dataset(error: OSError, partial: Path) -> bool:
    """Whether the dataset can't be written; otherwise the collected folder can't be read."""
    # A copy that fails bears the name of the picture, also where its own place is full.
    return (
        error.filename is None
        or error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        or str(error.filename).startswith(str(partial))
    )


def _refuse_place(folder: Path, out: Path) -> None:
    """Raises DatasetError where `out` may not become a dataset."""
    place = out.resolve()
    if folder.resolve() in place.parents:
        raise DatasetError(f"{out}: lies in {folder}, which is only read: name a folder elsewhere")
    if place == Path.cwd():
        raise DatasetError(f"{out}: is the folder in which you are: name a new one")
    if place.exists() and (not place.is_dir() or any(place.iterdir())):
        raise DatasetError(f"{out}: exists already: name a new or an empty folder")
    if place.is_mount():
        raise DatasetError(f"{out}: a disk or a volume is mounted there: name a new folder in it")


class _Plan:
    """Which pictures are written, and what all of them have in common."""

    def __init__(self, folder: Path, file: BinaryIO, options: ExportOptions) -> None:
        """file: the listing, open as long as the plan is used: another one may take its place meanwhile.

        Raises DatasetError, OSError.
        """
        self.facts = DatasetFacts()
        self._folder = folder
        self._file = file
        self._options = options
        self._offsets: dict[str, int] = {}  # of the pictures' lines, by file name
        self._read()
        if not self._offsets:
            whys = "".join(f"; {why.told(number)}" for why, number in self.facts.left_out.items() if number)
            raise DatasetError(f"{folder}: no picture of it can be in a dataset of the format {options.format}{whys}")
        if not self.facts.keypoints:
            self.facts.left_out[LeftOut.OUTLINES] = 0

    def pictures(self) -> Iterator[LabelledPicture]:
        """The pictures by name, each with a draft of its labels."""
        options = self._options
        for name in sorted(self._offsets):
            self._file.seek(self._offsets[name])
            one = parse_collected_line(self._file.readline())
            found = None if one is None else one.predicted
            if one is None or one.file_name != name or found is None:
                raise DatasetError(f"{self._folder}: metadata.jsonl was edited meanwhile: run this again")
            split = options.shares.split_of(options.grouping.group_of(one))
            yield LabelledPicture(one, split, draft_labels(found, one, options.confidence))

    def _read(self) -> None:
        counts: Counter[tuple[str, str]] = Counter()
        classes: set[str] = set()
        names: set[str] = set()
        offset = 0
        for line in self._file:
            begin, offset = offset, offset + len(line)
            one = parse_collected_line(line)
            if one is None or one.name in names:
                self.facts.left_out[LeftOut.NO_LINE] += 1
                continue
            names.add(one.name)
            counts[one.stream, one.strategy] += 1
            if self._options.choice.includes(one.stream, one.strategy):
                drafted = self._draft(one)
                if isinstance(drafted, LeftOut):
                    self.facts.left_out[drafted] += 1
                else:
                    self._offsets[one.file_name] = begin
                    classes |= note_facts(self.facts, *drafted, self._options.format)
        self._options.choice.refuse_none(self._folder, counts)
        self.facts.pictures = len(self._offsets)
        of_model = self._options.format is not DatasetFormat.CLASSIFY
        self.facts.class_names = _class_names(self._folder, classes, with_models=of_model)

    def _draft(self, one: CollectedPicture) -> tuple[Prediction, Prediction] | LeftOut:
        """A picture's draft, and the whole prediction; or why it isn't in the dataset."""
        found = one.predicted
        if found is None:
            return LeftOut.NO_PREDICTION
        if not (self._folder / one.file_name).is_file():
            return LeftOut.MISSING
        draft = draft_labels(found, one, self._options.confidence)
        if isinstance(found, MultiLabel):
            unknown = set(found.predicted) - {score.class_name for score in found.scores}
            self.facts.left_out[LeftOut.NO_CONFIDENCE] += len(unknown)
        why = refusal(draft, self._options.format, background=self._options.background)
        if why is not None:
            return why
        if isinstance(found, Detections) and isinstance(draft, Detections):
            sure = [d for d in found.objects if d.confidence >= self._options.confidence]
            self.facts.left_out[LeftOut.OUTSIDE] += len(sure) - len(draft.objects)
            points, left = (sum(len(d.keypoints or ()) for d in of) for of in (sure, draft.objects))
            self.facts.left_out[LeftOut.KEYPOINTS_OUTSIDE] += points - left
        return draft, found


def _class_names(folder: Path, found: set[str], *, with_models: bool) -> tuple[str, ...]:
    """The classes in the order of data.yaml, so that their indices stay the same, then the others by name."""
    names: Sequence[str] = ()
    path = folder / "data.yaml"
    if with_models and path.is_file():
        try:
            indices, _ = DataYaml.read_names(path)
        except InvalidDataYaml as error:
            raise DatasetError(str(error)) from None
        names = [name for _, name in sorted(indices.items())]
    return tuple(dict.fromkeys([*names, *sorted(found - set(names))]))
