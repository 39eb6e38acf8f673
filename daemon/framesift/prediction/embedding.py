"""Embedding: what a model saw in the whole picture, as one vector: pictures that look alike have ones that lie near.

It has the length 1. Its values are those that half precision can store: so one that was stored is the same as before,
to the bit. It is no part of a prediction's wire format, and never leaves this machine.
"""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
from numpy.typing import NDArray

MAX_EMBEDDING_LENGTH = 4096
EMBEDDING = "embedding"  # the key of a recorded one

# float32, shape (n,), read-only; n is at most MAX_EMBEDDING_LENGTH, and the same for all pictures of a model.
Embedding = NDArray[np.float32]

_STORED = "<f2"


def make_embedding(values: NDArray[Any]) -> Embedding | None:
    """The embedding of a picture. values: what the model gave for it.

    Of shape (channels, height, width), each channel's mean is taken; any other shape is taken as one row of values.
    None where a value is not finite, or all are 0. Raises ValueError if they are no numbers, or too many.
    """
    if values.dtype.kind not in "fiu":
        raise ValueError(f"an embedding is an array of numbers, not of {values.dtype}")
    length = values.shape[0] if values.ndim == 3 else values.size
    if not 1 <= length <= MAX_EMBEDDING_LENGTH or not values.size:
        raise ValueError(
            f"an embedding has 1 to {MAX_EMBEDDING_LENGTH} values, and shape {values.shape} gives {length}"
        )
    with np.errstate(all="ignore"):
        means = values.mean(axis=(1, 2), dtype=np.float64) if values.ndim == 3 else values.astype(np.float64)
        return read_embedding(_scaled(means.reshape(-1)).tobytes())


def embedding_bytes(made: Embedding) -> bytes:
    """What is stored of an embedding: 2 bytes for each value."""
    return _scaled(made).tobytes()


def read_embedding(stored: bytes) -> Embedding | None:
    """The embedding that was stored; None if these bytes are none."""
    if len(stored) % 2 or not 2 <= len(stored) <= 2 * MAX_EMBEDDING_LENGTH:
        return None
    values = np.frombuffer(stored, _STORED).astype(np.float64)
    length = float(np.linalg.norm(values))
    if not 0.0 < length < np.inf:
        return None
    found: Embedding = (values / length).astype(np.float32)
    found.flags.writeable = False
    return found


def _scaled(values: NDArray[np.floating]) -> NDArray[np.float16]:
    """The values scaled so that the largest is 1 or -1, in half precision.

    The scale can be told from the values themselves: so an embedding that was read is stored as the same bytes again.
    """
    return np.asarray(values / np.abs(values).max(), _STORED)


def format_embedding(made: Embedding) -> str:
    """An embedding as text, without loss: base64 of what is stored."""
    return base64.b64encode(embedding_bytes(made)).decode("ascii")


def parse_embedding(text: object) -> Embedding:
    """The embedding of such a text. Raises ValueError for anything else."""
    found = None
    if isinstance(text, str):
        try:
            found = read_embedding(base64.b64decode(text, validate=True))
        except ValueError:
            found = None
    if found is None:
        raise ValueError("embedding: is not allowed; it must be what run --record wrote")
    return found
