"""The folder sink: a folder that is a YOLO dataset and a Hugging Face image folder at once.

    images/NAME.jpg     labels/NAME.txt     data.yaml     metadata.jsonl     README.md

A datapoint is in the folder when its line is in metadata.jsonl. Image and label are written before the line, each
atomically. So a crash leaves nothing incomplete, and a second delivery of the same id changes nothing. Every disk error
is answered with RetryLater, and deliveries go on when the disk works again: a full disk, a missing mount, even a folder
that was moved away while the process runs, which is then created again. The folder itself may be a symbolic link. Links
inside it are replaced or refused, never followed: who may create a link there must not choose which
file is overwritten.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import tempfile
import threading
from collections.abc import Iterator
from datetime import datetime, timezone
from glob import escape
from pathlib import Path
from typing import Annotated, ClassVar, Literal, cast

from pydantic import BeforeValidator, Field

from framesift.atomic_files import create_file, is_shared, make_folder, safe_name, write_atomically
from framesift.config.paths import LocalPath
from framesift.config.schema import MOST_BYTES, parse_size, size_schema
from framesift.datapoint import Selection
from framesift.prediction.prediction import Detections
from framesift.prediction.wire_format import to_wire
from framesift.roboflow import RoboflowClient
from framesift.sinks.data_yaml import DataYaml, InvalidDataYaml
from framesift.sinks.folder_forget import forget_pictures
from framesift.sinks.metadata_file import MetadataFile
from framesift.sinks.mount_point import DiskGone, MountPoint
from framesift.sinks.picture_removal import changing, finish_removal
from framesift.sinks.retention import DAY_S, FolderRetention, RetentionBounds
from framesift.sinks.sink import (
    CommonSinkSettings,
    Delivered,
    Delivery,
    DeliveryResult,
    FailureScope,
    ForgottenPictures,
    Retention,
    RetentionFailed,
    RetentionReport,
    RetryLater,
    Sink,
)
from framesift.sinks.yolo_labels import label_lines

# Errors that concern one file; every other error would happen to the next datapoint as well.
_SINGLE_FILE_ERRORS = {errno.EISDIR, errno.ENAMETOOLONG, errno.EILSEQ}
_CLOSE_TIMEOUT_S = 1.0
# Larger than any picture: a bound below one would let nothing be kept.
SMALLEST_MAX_BYTES = 16 << 20
_NO_LOCK_SUPPORT = {errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS}

# Without `configs` the loaders of Hugging Face read labels/ as a data set of texts, and split the images by words such
# as "test" or "train" in their names; a stream may have such a name.
_README = """\
---
configs:
- config_name: default
  data_files:
  - split: train
    path:
    - metadata.jsonl
    - images/*.jpg
---

# Frames collected by framesift

- `images/`: the pictures; their names contain device, stream, time of capture (UTC) and id.
- `labels/` and `data.yaml`: what the model predicted, as a YOLO dataset. Predictions, not truth: review them.
- `metadata.jsonl`: one object a line for each picture, with the strategy that chose it, score, tags, batch and the
  whole prediction (`x` and `y` are a box's centre, in pixels).

Loads with `datasets.load_dataset("PATH OF THIS FOLDER", data_files=["metadata.jsonl", "images/*.jpg"])` (which sees
what was added since the last time), and, where there are labels, with `yolo train data=data.yaml`.
There train and val are the same pictures: `framesift export` writes a dataset with splits, also for other tools.
This page is written once; change it as you like, but keep its first lines.
"""


class FolderSinkSettings(CommonSinkSettings):
    """Datapoints are written to a folder on this machine."""

    probe_at_most_s: ClassVar[float] = 30.0  # a disk that is back is seen sooner than a network
    check_advice: ClassVar[str] = "make it writable for this user, or choose another path"

    type: Annotated[Literal["folder"], Field(description="A folder on this machine.")]
    path: Annotated[
        LocalPath, Field(description="The folder; it is created if it does not exist.", examples=["./collected"])
    ]
    max_bytes: Annotated[
        Annotated[
            int,
            Field(ge=SMALLEST_MAX_BYTES, le=MOST_BYTES),
            BeforeValidator(parse_size),
            size_schema(SMALLEST_MAX_BYTES),
        ]
        | None,
        Field(
            description='The most that is kept, as "50GiB" or in bytes: then the oldest goes; null: no bound.',
            examples=["50GiB"],
        ),
    ] = None
    max_age_days: Annotated[
        Annotated[float, Field(gt=0.0, le=36_500.0)] | None,
        Field(description="Days after its capture at which a picture is removed; null: never.", examples=[30]),
    ] = None

    @property
    def locked_folder(self) -> Path:
        """The folder of this sink."""
        return self.path

    def open(self, *, class_names: tuple[str, ...] | None, platform: RoboflowClient | None) -> FolderSink:  # noqa: ARG002 - the signature of all
        """Creates the sink; the folder is created by the first delivery."""
        return FolderSink(self, class_names=class_names)

    def picture_of(self, id: str) -> Path | None:
        """The file in `images`."""
        return next((self.path / "images").glob(f"*_{escape(safe_name(id))}.jpg"), None)

    def forget(self, selection: Selection, *, dry_run: bool) -> ForgottenPictures:
        """Removes pictures with labels and lines; the daemon that writes to the folder waits for a moment."""
        return ForgottenPictures(forget_pictures(self.path, selection, dry_run=dry_run))

    @property
    def bounds(self) -> RetentionBounds | None:
        """The bounds of the folder; None without any."""
        if self.max_bytes is None and self.max_age_days is None:
            return None
        return RetentionBounds(self.max_bytes, None if self.max_age_days is None else self.max_age_days * DAY_S)

    def retention(self, sink: Sink) -> Retention | None:
        """The folder's own, if it has bounds."""
        return None if self.bounds is None else cast(FolderSink, sink)


class _FolderInUse(Exception):
    """Another process writes to the folder."""


class _TooLarge(Exception):
    """One datapoint alone is beyond the bound of the folder."""


class FolderSink:
    """Writes datapoints to one folder, one at a time, whichever thread delivers."""

    def __init__(self, options: FolderSinkSettings, *, class_names: tuple[str, ...] | None) -> None:
        self._root = options.path
        self._max_bytes = options.max_bytes
        self._write_lock = threading.Lock()
        self._lock_file: int | None = None
        self._disk = MountPoint(self._root)
        self._metadata = MetadataFile(self._root / "metadata.jsonl", indexed=options.bounds is not None)
        self._retention = None
        if options.bounds is not None:
            self._retention = FolderRetention(self._root, self._metadata, options.bounds)
        self._data_yaml = DataYaml(self._root / "data.yaml", class_names)

    def deliver(self, delivery: Delivery, *, now_s: float, within_s: float) -> DeliveryResult:  # noqa: ARG002 - a disk has no deadlines
        """Writes the datapoint, unless its id is in the folder already. It can't keep `within_s`."""
        with self._write_lock:
            try:
                with self._changing():
                    if delivery.id not in self._metadata:
                        self._write(delivery, now_s)
                return Delivered()
            except OSError as error:
                scope = FailureScope.ITEM if error.errno in _SINGLE_FILE_ERRORS else FailureScope.SINK
                return RetryLater(None, self._describe(error), scope, may_have_arrived=False)
            except (_FolderInUse, DiskGone, InvalidDataYaml) as problem:
                return RetryLater(None, str(problem), FailureScope.SINK, may_have_arrived=False)
            except _TooLarge as problem:
                return RetryLater(None, str(problem), FailureScope.ITEM, may_have_arrived=False)

    def apply_retention(self, *, now_s: float, monotonic_s: float) -> bool:
        """See Retention: measures a part of what is there, or removes what is beyond the bounds."""
        # A delivery that hangs in a disk call is reported as what it is, not as another thread that hangs.
        if self._retention is None or not self._write_lock.acquire(timeout=_CLOSE_TIMEOUT_S):
            return False
        try:
            if not self._root.exists():
                return False
            with self._changing():
                if self._retention.measure():
                    return True
                self._retention.apply(now_s, monotonic_s)
                return False
        except OSError as error:
            raise RetentionFailed(self._describe(error)) from None
        except (_FolderInUse, DiskGone, InvalidDataYaml) as problem:
            raise RetentionFailed(str(problem)) from None
        finally:
            self._write_lock.release()

    def retention_report(self, *, measured: bool = False) -> RetentionReport:
        """See Retention. Only for a folder with bounds."""
        assert self._retention is not None
        if measured and self._root.exists():
            with self._write_lock:
                try:
                    with self._changing():
                        while self._retention.measure():
                            pass
                except OSError as error:
                    raise RetentionFailed(self._describe(error)) from None
                except (_FolderInUse, DiskGone, InvalidDataYaml) as problem:
                    raise RetentionFailed(str(problem)) from None
        return self._retention.report()

    def check(self) -> str | None:
        """Writes and removes a small file; a folder that does not exist is not created."""
        with self._write_lock:
            try:
                self._disk.check()
                if not self._root.exists():
                    return self._creation_problem()
                with self._changing():
                    return self._check()
            except OSError as error:
                return self._describe(error)
            except (_FolderInUse, DiskGone, InvalidDataYaml) as problem:
                return str(problem)

    def _check(self) -> str | None:
        test_file = self._root / ".write-test"
        write_atomically(test_file, b"framesift may write here")
        shared = is_shared(test_file)
        test_file.unlink()
        if not shared:
            return f"{self._root}: this file system keeps no owners and modes, so it can't be shared with a group"
        return None

    def close(self) -> None:
        """Releases the folder's lock file, for the next process."""
        # A delivery that hangs in a disk call never releases this lock; the folder's own lock ends with the process.
        if self._write_lock.acquire(timeout=_CLOSE_TIMEOUT_S):
            try:
                self._unlock()
            finally:
                self._write_lock.release()

    @contextlib.contextmanager
    def _changing(self) -> Iterator[None]:
        """Everything that a delivery needs, and the folder's `changing` lock.

        Raises OSError, _FolderInUse, DiskGone, InvalidDataYaml.
        """
        self._disk.check()
        make_folder(self._root)
        self._disk.remember()
        with changing(self._root):
            self._open()
            yield

    def _open(self) -> None:
        """Creates or reloads everything that a delivery needs; a few calls of stat where nothing has changed.

        Raises OSError, _FolderInUse, InvalidDataYaml.
        """
        is_first = self._lock_folder()
        make_folder(self._root / "images")
        if not (self._root / "README.md").exists():
            write_atomically(self._root / "README.md", _README.encode())
        self._metadata.refresh()
        if is_first:
            finish_removal(self._root, self._metadata)
        self._data_yaml.refresh()

    def _creation_problem(self) -> str | None:
        existing = self._root
        while not existing.exists() and existing.parent != existing:
            existing = existing.parent
        if not existing.is_dir():
            return f"{existing}: is not a folder"
        if not os.access(existing, os.W_OK | os.X_OK, effective_ids=True):
            return f"{existing}: user {os.geteuid()} may not create a folder in it"
        try:  # some file systems, such as /proc, let nobody make a folder
            Path(tempfile.mkdtemp(prefix=".write-test-", dir=existing)).rmdir()
        except OSError as error:
            return f"{existing}: no folder can be made in it: {error.strerror}"
        return None

    def _write(self, delivery: Delivery, now_s: float) -> None:
        name = _name(delivery)
        label: bytes | None = None
        if delivery.annotate and isinstance(delivery.prediction, Detections):
            self._data_yaml.add_classes(delivery.prediction)
            label = label_lines(delivery.prediction, self._data_yaml).encode()
        line = _line(delivery, f"images/{name}.jpg")
        size_bytes = len(delivery.jpeg) + len(label or b"") + len(line)
        if self._retention is not None:
            if self._max_bytes is not None and size_bytes > self._max_bytes:
                raise _TooLarge(f"it has {size_bytes} bytes, and sink.max_bytes is {self._max_bytes}")
            self._retention.make_room(size_bytes)
        write_atomically(self._root / "images" / f"{name}.jpg", delivery.jpeg, follow_folder_link=False)
        if label is not None:
            make_folder(self._root / "labels")
            write_atomically(self._root / "labels" / f"{name}.txt", label, follow_folder_link=False)
        self._metadata.append(delivery.id, line)
        if self._retention is not None:
            self._retention.added(size_bytes, now_s)

    def _lock_folder(self) -> bool:
        """Locks the folder for this process. Returns whether it was not locked before."""
        path = self._root / ".lock"
        if self._lock_file is not None:
            locked = os.fstat(self._lock_file)
            try:
                if os.path.samestat(locked, path.stat()):
                    return False
            except FileNotFoundError:
                pass
            self._unlock()  # the folder was moved away, and this is another one
        lock = create_file(path, os.O_RDWR)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in _NO_LOCK_SUPPORT:
                os.close(lock)
                if isinstance(error, BlockingIOError):
                    raise _FolderInUse(f"{self._root}: another framesift writes to this folder") from None
                raise
        self._lock_file = lock
        return True

    def _unlock(self) -> None:
        if self._lock_file is not None:
            os.close(self._lock_file)
            self._lock_file = None

    def _describe(self, error: OSError) -> str:
        reason = error.strerror
        if error.errno == errno.ELOOP:
            reason = "is a symbolic link, and links are not followed"
        elif error.errno == errno.EEXIST and not self._root.is_dir():
            reason = "is a file, not a folder"
        return f"{error.filename or self._root}: {reason or error}"


def _name(delivery: Delivery) -> str:
    """The file name without its ending: device, stream, time and id, so that names sort by time within a stream."""
    stamp = _instant(delivery).strftime("%Y%m%dT%H%M%S%f")[:-3] + "Z"
    parts = (delivery.device[:64], delivery.stream[:64], stamp, delivery.id)
    return "_".join(safe_name(part) for part in parts)


def _line(delivery: Delivery, file_name: str) -> bytes:
    entry: dict[str, object] = {
        "file_name": file_name,
        "id": delivery.id,
        "device": delivery.device,
        "stream": delivery.stream,
        "frame": delivery.frame,
        "captured_at": _instant(delivery).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "strategy": delivery.strategy,
        "score": delivery.score,
        "tags": delivery.tags,
        "batch": delivery.batch,
        "width": delivery.width,
        "height": delivery.height,
        "prediction": to_wire(delivery.prediction) if delivery.annotate else None,
    }
    facts = dict(delivery.facts)
    weight = facts.pop("weight", None)
    if weight is not None:
        entry["weight"] = weight
    if facts:
        entry["picture"] = facts
    # Plain ASCII: some readers end a line at Unicode line separators inside a text.
    return json.dumps(entry, allow_nan=False).encode("ascii") + b"\n"


def _instant(delivery: Delivery) -> datetime:
    return datetime.fromtimestamp(delivery.captured_at_s, timezone.utc)
