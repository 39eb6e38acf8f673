"""RecordedFrame: one line of recorded predictions, read once, for any number of dry runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from framesift.prediction import wire_format as wire
from framesift.prediction.embedding import EMBEDDING, parse_embedding
from framesift.prediction.prediction import Prediction, with_origin
from framesift.sampling.recorded_lines import (
    format_short,
    mask_size,
    media_s,
    parse_time_s,
    prediction_in,
    whole_number,
)
from framesift.sampling.recorder import parse_signature
from framesift.strategies.near_duplicate import Signature


@dataclass(frozen=True, slots=True, eq=False)
class RecordedFrame:
    """A prediction, and what the line says beside it.

    captured_at_s: Unix time; None where the line has none. stream, number, epoch, media_s, seed: as in the file that
    `run --record` wrote; None, 0, 0, None and 0 in other predictions. signature: of the picture; None there.
    """

    prediction: Prediction
    captured_at_s: float | None
    stream: str | None = None
    number: int = 0
    epoch: int = 0
    media_s: float | None = None
    seed: int = 0
    signature: Signature | None = None

    @property
    def is_recorded(self) -> bool:
        """Whether `run --record` wrote it, with its picture's signature."""
        return self.signature is not None


def parse_recorded(payload: object) -> RecordedFrame:
    """Reads one line. payload: parsed JSON, see DryRun.evaluate. Raises ValueError that says what is wrong."""
    if not isinstance(payload, Mapping):
        raise ValueError(f"a prediction is a JSON object, not {type(payload).__name__}")
    captured_at = payload.get("captured_at")
    at_s = None if captured_at is None else parse_time_s(captured_at)
    inner = prediction_in(payload)
    width, height = (None, None) if isinstance(inner.get("image"), Mapping) else mask_size(inner)
    prediction: Prediction = wire.parse_prediction(inner, width=width, height=height)
    if EMBEDDING in payload:
        prediction = with_origin(prediction, embedding=parse_embedding(payload[EMBEDDING]))
    if "signature" not in payload:
        return RecordedFrame(prediction, at_s)
    found = parse_signature(payload["signature"])
    return RecordedFrame(
        prediction,
        at_s,
        _stream(payload),
        whole_number(payload, "frame"),
        whole_number(payload, "epoch"),
        media_s(payload),
        whole_number(payload, "seed"),
        found,
    )


def _stream(payload: Mapping[str, Any]) -> str:
    named = payload.get("stream")
    if not isinstance(named, str):
        raise ValueError(f"stream: {format_short(named)} is not allowed; it must be a text")
    return named
