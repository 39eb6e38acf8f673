"""near_duplicate: an option of every strategy that refuses frames which look like an accepted one.

A frame is compared by its signature: grey, reduced to 16 x 12 by area averaging, in [0, 1], minus its median (so that
a change of exposure makes no difference). The distance of two signatures is their mean absolute difference. A frame
within the threshold of any stored signature is a near duplicate. Signatures of many accepted frames are stored, not
only of the previous one: so a slow change of the scene is accepted once it differs enough from all that was accepted.

The values of a signature are whole multiples of 1/32767, so that one that was stored (as 384 bytes) is the same as one
that was made anew from the same picture: the `auto` threshold of a stream without noise is 0.

With `signature: embedding`, the model's embeddings of the frames are compared instead, by their cosine distance. A
frame without an embedding is no near duplicate.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Annotated, Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from framesift.config.schema import Fraction, StrictModel
from framesift.decisions.decision import SimilarFrame
from framesift.frame import Pixels
from framesift.prediction.embedding import Embedding, embedding_bytes, read_embedding
from framesift.prediction.prediction import Classification, Detections, MultiLabel, Prediction
from framesift.strategies.known_paths import KnownPaths

WIDTH, HEIGHT = 16, 12
# Area averaging a large picture reads every pixel of it; a bilinear step to this size first costs a twentieth.
_STEP_WIDTH, _STEP_HEIGHT = 256, 144

INITIAL_THRESHOLD = 0.0125  # of pictures
CALIBRATION_DISTANCES = 500
PERCENTILE = 95
MARGIN = 1.2

_STEPS = 32767
_PICTURE_BYTES = 2 * WIDTH * HEIGHT
_COSINE_DIGITS = 5

Signature = NDArray[np.float32]
SignatureKind = Literal["picture", "embedding"]
# Of some stored signatures, shape (number, length), from another one, shape (length,): shape (number,).
Distances = Callable[[NDArray[np.float32], NDArray[np.float32]], NDArray[np.floating]]


class NearDuplicateOptions(StrictModel):
    """Refuses what looks like an accepted frame."""

    signature: Annotated[
        SignatureKind,
        Field(description="What is compared: the picture, reduced to 16 x 12 grey, or the model's embedding of it."),
    ] = "picture"
    threshold: Annotated[
        Literal["auto"] | Fraction,
        Field(description="Distance of signatures up to which frames are alike; auto: from the stream's own noise."),
    ] = "auto"
    memory: Annotated[
        int,
        Field(
            ge=1,
            le=4096,
            description="How many accepted frames are remembered; the least recently matched is forgotten first.",
        ),
    ] = 256
    scope: Annotated[
        Literal["stream", "all"],
        Field(description="Whose accepted frames are compared: those of the stream, or of all streams of this device."),
    ] = "stream"
    known: Annotated[
        KnownPaths | None,
        Field(description="Pictures that there are already: a folder, YOLO's data.yaml, COCO's JSON, or several."),
    ] = None

    @model_validator(mode="after")
    def _known_are_pictures(self) -> NearDuplicateOptions:
        if self.known and self.signature != "picture":
            raise ValueError("known: pictures have no embeddings; it needs signature: picture")
        return self


@dataclass(frozen=True, slots=True, eq=False)
class RememberedFrame:
    """An accepted frame, as it is remembered.

    id: of its datapoint. signature: of its picture, None where it isn't known. embedding: None where the model gave
    none, or nothing compares them.
    """

    id: str
    signature: Signature | None
    embedding: Embedding | None = None

    def of(self, kind: SignatureKind) -> Signature | Embedding | None:
        """Its signature of this kind."""
        return self.signature if kind == "picture" else self.embedding

    def to_bytes(self) -> bytes:
        """What is stored: the bytes of the picture's signature, and those of the embedding behind them."""
        assert self.signature is not None  # a frame that is accepted now has one
        picture = signature_bytes(self.signature)
        return picture if self.embedding is None else picture + embedding_bytes(self.embedding)

    @classmethod
    def from_bytes(cls, id: str, stored: bytes) -> RememberedFrame | None:
        """The frame that was stored; None if these bytes are none."""
        picture, rest = read_signature(stored[:_PICTURE_BYTES]), stored[_PICTURE_BYTES:]
        embedding = read_embedding(rest) if rest else None
        if picture is None or (rest and embedding is None):
            return None
        return cls(id, picture, embedding)


def signature(pixels: Pixels) -> Signature:
    """The signature of a BGR picture of shape (height, width, 3): float32, shape (192,)."""
    small = _reduced(pixels)
    return np.asarray(np.rint((small - np.median(small)) * _STEPS) / np.float32(_STEPS), np.float32)


def brightness(pixels: Pixels) -> float:
    """The mean of the grey picture, from 0 (black) to 1 (white). pixels: as for `signature`."""
    return float(_reduced(pixels).mean())


def _reduced(pixels: Pixels) -> NDArray[np.float32]:
    """The grey picture in [0, 1], reduced to 16 x 12 by area averaging: shape (192,)."""
    if pixels.shape[1] > _STEP_WIDTH and pixels.shape[0] > _STEP_HEIGHT:
        pixels = cv2.resize(pixels, (_STEP_WIDTH, _STEP_HEIGHT), interpolation=cv2.INTER_LINEAR)  # type: ignore[assignment]  # cv2's stubs don't know that uint8 stays uint8
    grey = cv2.cvtColor(pixels, cv2.COLOR_BGR2GRAY).astype(np.float32)
    small = cv2.resize(grey, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA).reshape(-1) / np.float32(255)
    return np.asarray(small, np.float32)


def signature_bytes(made: Signature) -> bytes:
    """What is stored of a picture's signature: 192 numbers of 2 bytes each, little-endian."""
    return np.rint(made * _STEPS).astype("<i2").tobytes()


def read_signature(stored: bytes) -> Signature | None:
    """The picture's signature that was stored; None if these bytes are none."""
    if len(stored) != _PICTURE_BYTES:
        return None
    return np.asarray(np.frombuffer(stored, "<i2").astype(np.float32) / np.float32(_STEPS), np.float32)


def picture_distances(stored: NDArray[np.float32], new: NDArray[np.float32]) -> NDArray[np.floating]:
    """Mean absolute differences: see `Distances`."""
    apart = stored - new
    np.abs(apart, out=apart)
    return np.asarray(np.add.reduce(apart, axis=1) / np.float32(apart.shape[1]))  # mean() takes as long once more


def cosine_distances(stored: NDArray[np.float32], new: NDArray[np.float32]) -> NDArray[np.floating]:
    """1 - cos of the angles, from 0 to 2: see `Distances`. All vectors have the length 1.

    In steps of a hundred-thousandth: between equal ones it is 0, whatever a sum of products was rounded to. (Not by
    BLAS: where all cores are busy its threads wait for each other, and a third of a millisecond becomes 24.)
    """
    cosines = np.einsum("ij,j->i", stored, new)
    return np.asarray(np.round(np.maximum(1.0 - cosines, 0.0), _COSINE_DIGITS))


DISTANCES: dict[SignatureKind, Distances] = {"picture": picture_distances, "embedding": cosine_distances}
# How far apart embeddings lie is another matter for each network: different shots of one clip were 0.003 (channels of a
# detector) to 0.17 (the last layer of a classifier). So what is not measured yet is below all of that.
INITIAL_THRESHOLDS: dict[SignatureKind, float] = {"picture": INITIAL_THRESHOLD, "embedding": 0.002}


def distance(one: Signature, other: Signature, kind: SignatureKind = "picture") -> float:
    """The distance of two signatures of a kind; infinite where they have another length."""
    return float(DISTANCES[kind](one[None], other)[0]) if len(one) == len(other) else math.inf


class SignatureMemory:
    """The signatures of accepted frames. When it is full, the least recently matched one is replaced.

    Those of one length are compared: another model's embeddings may have another one. size: how many are stored at
    most. kind: which signature of a frame. is_restored: whether those of earlier processes were added.
    """

    def __init__(self, size: int, kind: SignatureKind = "picture") -> None:
        """kind: which signature of a frame is stored; frames without it are not."""
        self.size = size
        self.is_restored = False
        self.kind: SignatureKind = kind
        self._rows: dict[int, NDArray[np.float32]] = {}  # by length, at the places where those of this length are
        self._lengths = np.zeros(size, np.int64)  # by place
        self._ids = [""] * size
        self._used_at = np.zeros(size, np.int64)
        self._now = 0
        self._count = 0

    def find_similar(self, new: Signature, threshold: float) -> SimilarFrame | None:
        """The nearest frame, if its signature lies within `threshold` of `new`; it counts as matched now."""
        distances = self._distances(new)
        if not len(distances):
            return None
        nearest = int(distances.argmin())
        if distances[nearest] > threshold:
            return None
        self._touch(nearest)
        return SimilarFrame(self._ids[nearest], float(distances[nearest]), threshold)

    def nearest_distance(self, new: Signature) -> float:
        """The distance of `new` from the nearest stored signature; infinite where there is none."""
        return float(self._distances(new).min(initial=math.inf))

    def _distances(self, new: Signature) -> NDArray[np.floating]:
        rows = self._rows.get(len(new))
        if rows is None:
            return np.zeros(0)
        distances = DISTANCES[self.kind](rows[: self._count], new)
        if len(self._rows) > 1:
            distances[self._lengths[: self._count] != len(new)] = math.inf
        return distances

    def add(self, accepted: RememberedFrame) -> None:
        """Stores an accepted frame, if it has a signature of this kind."""
        found = accepted.of(self.kind)
        if found is not None:
            self._add(accepted.id, found)

    def _add(self, id: str, found: Signature | Embedding) -> int:
        """Stores a signature, and returns its place."""
        if len(found) not in self._rows:
            self._rows[len(found)] = np.zeros((self.size, len(found)), np.float32)
        if self._count < self.size:
            slot = self._count
            self._count += 1
        else:
            slot = int(self._used_at.argmin())
        self._rows[len(found)][slot] = found
        self._lengths[slot], self._ids[slot] = len(found), id
        self._touch(slot)
        return slot

    def add_all(self, others: Iterable[RememberedFrame]) -> None:
        """Adds frames, in this order; one whose signature is stored already counts as matched once more."""
        slots = {self._row(slot).tobytes(): slot for slot in range(self._count)}
        for other in others:
            found = other.of(self.kind)
            if found is None:
                continue
            content = found.tobytes()
            slot = slots.get(content)
            if slot is not None and self._row(slot).tobytes() == content:  # not replaced in the meantime
                self._touch(slot)
            else:
                slots[content] = self._add(other.id, found)

    def oldest_first(self) -> list[RememberedFrame]:
        """The frames, the least recently matched first. They have a signature of this kind only."""
        slots = np.argsort(self._used_at[: self._count])
        if self.kind == "picture":
            return [RememberedFrame(self._ids[slot], self._row(slot)) for slot in slots]
        return [RememberedFrame(self._ids[slot], None, self._row(slot)) for slot in slots]

    def __len__(self) -> int:
        """How many signatures are stored."""
        return self._count

    def _row(self, slot: int) -> NDArray[np.float32]:
        return np.asarray(self._rows[int(self._lengths[slot])][slot])

    def _touch(self, slot: int) -> None:
        self._now += 1
        self._used_at[slot] = self._now


class NoiseEstimate:
    """How far apart consecutive frames of a stream lie when nothing happens; it gives the `auto` threshold.

    The threshold is MARGIN times the 95th percentile of the first 500 distances of consecutive frames with the same
    number of objects (or the same labels), and the initial one of the kind of signatures until then.
    """

    def __init__(self, kind: SignatureKind = "picture") -> None:
        """kind: of the signatures that it observes."""
        self._kind = kind
        self.threshold = INITIAL_THRESHOLDS[kind]
        self.measured: float | None = None  # the last threshold from 500 distances; None if there was none yet
        self._distances: list[float] = []
        self._before: tuple[Signature, object] | None = None

    @property
    def calibrating(self) -> bool:
        """Whether more distances are needed."""
        return len(self._distances) < CALIBRATION_DISTANCES

    def observe(self, new: Signature, prediction: Prediction) -> None:
        """Adds the next frame of the stream; to be called for every frame while calibrating."""
        content = _content(prediction)
        if self._before is not None and self._before[1] == content and len(self._before[0]) == len(new):
            self._distances.append(distance(self._before[0], new, self._kind))
            if not self.calibrating:
                self.threshold = self.measured = MARGIN * float(np.percentile(self._distances, PERCENTILE))
        self._before = (new, content)

    def restore(self, measured: float) -> None:
        """Begins with the threshold that an earlier process measured.

        Until it is measured again, it is at least the initial one: so the first frames of a file that is run again are
        judged no finer than at the first time, and a noisy camera's noise is not collected after each restart.
        """
        self.measured = measured
        self.threshold = max(INITIAL_THRESHOLDS[self._kind], measured)

    def recalibrate(self) -> None:
        """Begins to measure again, for a stream that has changed.

        The threshold stays until enough is measured: after a mere reconnection it is right, and otherwise no worse than
        the initial one.
        """
        self._distances = []
        self._before = None


def _content(prediction: Prediction) -> object:
    if isinstance(prediction, Detections):
        return len(prediction.columns)
    if isinstance(prediction, Classification):
        return prediction.top
    if isinstance(prediction, MultiLabel):
        return frozenset(prediction.predicted)
    return None
