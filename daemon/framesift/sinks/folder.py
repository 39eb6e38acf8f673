"""The folder sink: a folder that is a YOLO dataset and a Hugging Face image folder at once.

    images/NAME.jpg     labels/NAME.txt     data.yaml     metadata.jsonl     README.md

A datapoint is in the folder when its line is in metadata.jsonl; image and label are written before, each whole or not
at all. So a crash at any instant leaves nothing half, and a second delivery of the same id changes nothing. Whatever is
wrong with the disk is answered with "later", and is over when the disk is well: a full disk, a missing mount, even a
folder that was moved away under a running process, which is then begun anew. The folder itself may be a symbolic link;
those inside it are replaced or refused, never written through: whoever may put one there chooses no other file.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import re
import threading
from datetime import datetime, timezone
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from framesift.atomic_files import make_folder, write_atomically
from framesift.config.schema import StrictModel, WindowLimits
from framesift.prediction.prediction import Detections
from framesift.prediction.wire_format import to_wire
from framesift.sinks.metadata_file import MetadataFile
from framesift.sinks.sink import Delivered, Delivery, DeliveryResult, FailureScope, RetryLater
from framesift.sinks.yolo_labels import DataYaml, InvalidDataYaml, label_lines

# These speak of one file; every other error would meet the next datapoint as well.
_OF_ONE_FILE = {errno.EISDIR, errno.ENAMETOOLONG, errno.EILSEQ}
_CLOSE_WITHIN_S = 1.0
_NO_LOCKS_HERE = {errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS}

# Without `configs` the loaders of Hugging Face take labels/ for a data set of texts, and divide the images by words
# such as "test" or "train" in their names, which a stream may well be called.
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

- `images/`: the pictures; their names say device, stream, time of capture (UTC) and id.
- `labels/` and `data.yaml`: what the model predicted, as a YOLO dataset. Predictions, not truth: review them.
- `metadata.jsonl`: one object a line for each picture, with the strategy that chose it, score, tags, batch and the
  whole prediction (`x` and `y` are a box's centre, in pixels).

Loads with `datasets.load_dataset("PATH OF THIS FOLDER", data_files=["metadata.jsonl", "images/*.jpg"])` (which sees
what was added since the last time), and, where there are labels, with `yolo train data=data.yaml`.
This page is written once; change it as you like, but keep its first lines.
"""


class FolderSinkSettings(StrictModel):
    """Datapoints are written to a folder on this machine."""

    type: Literal["folder"]
    path: Annotated[Path, Field(description="The folder; it is made if it isn't there.")]
    limits: Annotated[
        WindowLimits, Field(description="How many datapoints may be written per minute, hour and day.")
    ] = ()


class _InUse(Exception):
    """Another process writes to the folder."""


class FolderSink:
    def __init__(self, options: FolderSinkSettings, *, class_names: tuple[str, ...] | None) -> None:
        self._root = options.path
        self._one_at_a_time = threading.Lock()
        self._lock: int | None = None
        self._listing = MetadataFile(self._root / "metadata.jsonl")
        self._classes = DataYaml(self._root / "data.yaml", class_names)

    def deliver(self, delivery: Delivery, *, now_s: float, within_s: float) -> DeliveryResult:  # noqa: ARG002  # a disk has no deadlines
        with self._one_at_a_time:
            try:
                self._open()
                if delivery.id not in self._listing:
                    self._write(delivery)
                return Delivered()
            except OSError as error:
                scope = FailureScope.ITEM if error.errno in _OF_ONE_FILE else FailureScope.SINK
                return RetryLater(None, self._told(error), scope, may_have_arrived=False)
            except (_InUse, InvalidDataYaml) as problem:
                return RetryLater(None, str(problem), FailureScope.SINK, may_have_arrived=False)

    def check(self) -> str | None:
        with self._one_at_a_time:
            try:
                if not self._root.exists():
                    return self._cannot_be_made()
                self._open()
                trial = self._root / ".trial"
                write_atomically(trial, b"framesift may write here")
                trial.unlink()
            except OSError as error:
                return self._told(error)
            except (_InUse, InvalidDataYaml) as problem:
                return str(problem)
            return None

    def close(self) -> None:
        # A delivery that hangs in the disk never gives this lock back; the folder's own lock ends with the process.
        if self._one_at_a_time.acquire(timeout=_CLOSE_WITHIN_S):
            try:
                self._unlock()
            finally:
                self._one_at_a_time.release()

    def _open(self) -> None:
        """Makes sure of everything that a delivery relies on; costs a few calls of stat where nothing has changed.

        Raises OSError, _InUse, InvalidDataYaml.
        """
        make_folder(self._root)
        self._lock_folder()
        make_folder(self._root / "images")
        if not (self._root / "README.md").exists():
            write_atomically(self._root / "README.md", _README.encode())
        self._listing.refresh()
        self._classes.refresh()

    def _cannot_be_made(self) -> str | None:
        existing = self._root
        while not existing.exists() and existing.parent != existing:
            existing = existing.parent
        if not existing.is_dir():
            return f"{existing}: a folder is expected, this is something else"
        if not os.access(existing, os.W_OK | os.X_OK, effective_ids=True):
            return f"{existing}: user {os.geteuid()} may not make a folder in it"
        return None

    def _write(self, delivery: Delivery) -> None:
        name = _name(delivery)
        write_atomically(self._root / "images" / f"{name}.jpg", delivery.jpeg, follow_folder_link=False)
        if delivery.annotate and isinstance(delivery.prediction, Detections):
            self._classes.add_classes(delivery.prediction)
            make_folder(self._root / "labels")
            label = label_lines(delivery.prediction, self._classes)
            write_atomically(self._root / "labels" / f"{name}.txt", label.encode(), follow_folder_link=False)
        self._listing.append(delivery.id, _line(delivery, f"images/{name}.jpg"))

    def _lock_folder(self) -> None:
        path = self._root / ".lock"
        if self._lock is not None:
            held = os.fstat(self._lock)
            try:
                if os.path.samestat(held, path.stat()):
                    return
            except FileNotFoundError:
                pass
            self._unlock()  # the folder was moved away: this is another one
        lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in _NO_LOCKS_HERE:
                os.close(lock)
                if isinstance(error, BlockingIOError):
                    raise _InUse(f"{self._root}: another framesift writes to this folder") from None
                raise
        self._lock = lock

    def _unlock(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _told(self, error: OSError) -> str:
        why = "is a symbolic link, and nothing is written through it" if error.errno == errno.ELOOP else error.strerror
        return f"{error.filename or self._root}: {why or error}"


def _name(delivery: Delivery) -> str:
    """Device, stream, time and id: in the order in which they sort, in letters that every filesystem takes."""
    stamp = _instant(delivery).strftime("%Y%m%dT%H%M%S%f")[:-3] + "Z"
    parts = (delivery.device[:64], delivery.stream[:64], stamp, delivery.id)
    return "_".join(re.sub(r"[^A-Za-z0-9-]", "-", part) for part in parts)


def _line(delivery: Delivery, file_name: str) -> bytes:
    entry = {
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
    # Plain ASCII: some readers take every exotic line separator inside a text for the end of a line.
    return json.dumps(entry, allow_nan=False).encode("ascii") + b"\n"


def _instant(delivery: Delivery) -> datetime:
    return datetime.fromtimestamp(delivery.captured_at_s, timezone.utc)
