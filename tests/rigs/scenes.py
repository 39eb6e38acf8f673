"""Clips of scenes that differ from each other, and whose frames differ by a camera's noise."""

from __future__ import annotations

from pathlib import Path

import av
import cv2
import numpy as np

from framesift.frame import Pixels

WIDTH, HEIGHT = 320, 240


def scene(number: int, frame: int = 0, noise: float = 2.0) -> Pixels:
    """A frame of a scene: BGR. noise: its standard deviation in grey levels."""
    coarse = np.random.default_rng(number).integers(30, 220, (6, 8), np.uint8)
    ground = cv2.resize(coarse, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC).astype(np.float64)
    ground += np.random.default_rng((number, frame)).normal(0.0, noise, ground.shape)
    grey = np.clip(ground, 0, 255).astype(np.uint8)
    return np.repeat(grey[:, :, None], 3, axis=2)


def jpeg_of(pixels: Pixels) -> bytes:
    made, encoded = cv2.imencode(".jpg", pixels)
    assert made
    return encoded.tobytes()


def scene_clip(path: Path, scenes: int, frames: int = 6, first: int = 0) -> Path:
    """A clip of so many scenes, each with so many frames."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=10)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "bgr0"
        for number in range(first, first + scenes):
            for frame in range(frames):
                picture = av.VideoFrame.from_ndarray(scene(number, frame), format="bgr24")
                container.mux(stream.encode(picture.reformat(format="bgr0")))
        container.mux(stream.encode())
    return path
