"""A reader with PyAV keeps none of the pictures that it has shown, whether Python collects its garbage or not."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from framesift.streams.channel import OpenRequest
from framesift.streams.decoder_log import DecoderLog
from framesift.streams.engines.capture import ReaderHooks
from framesift.streams.engines.pyav import PyAvCapture
from rigs.footage import numbered_clip

_MOST_PICTURES = 12  # that the decoder, the deinterlacer and the reader may work on


_NOTHING = {"str": "", "int": 0, "float": 10.0, "bool": False}


def _request_for(path: Path) -> OpenRequest:
    nothing = {field.name: _NOTHING[str(field.type)] for field in fields(OpenRequest)}
    return OpenRequest(**{**nothing, "address": str(path), "webcam_index": -1, "engine": "av", "local": True})  # type: ignore[arg-type]


@pytest.fixture
def no_collection() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("no_collection")
@pytest.mark.parametrize("interlaced", [False, True])
def test_a_picture_that_was_shown_is_not_kept(interlaced: bool, tmp_path: Path) -> None:
    numbered_clip(tmp_path / "clip.mp4", 200, interlaced=interlaced)
    capture = PyAvCapture(_request_for(tmp_path / "clip.mp4"), DecoderLog(), ReaderHooks(lambda _: None, lambda: 0))
    pixels = np.zeros((192, 320, 3), np.uint8)
    shown = 0
    most = 0
    while capture.next_picture() is not None:
        capture.convert(pixels)
        shown += 1
        if shown % 50 == 0:
            most = max(most, sum(type(found).__name__ == "VideoFrame" for found in gc.get_objects()))
    capture.close()
    assert shown == 200
    assert 0 < most <= _MOST_PICTURES
