"""AvPixels: decoded pictures of PyAV as BGR, upright."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from framesift.streams.channel import MAX_PICTURE_PIXELS
from framesift.streams.engines.capture import PictureUnusable
from framesift.streams.engines.orientation import Orientation

if TYPE_CHECKING:
    from av.video.frame import VideoFrame


class AvPixels:
    """Converts the pictures of one source. For one thread."""

    def __init__(self, *, rotate: int, threads: int) -> None:
        """rotate: degrees, clockwise, after what the picture itself asks for. threads: that convert."""
        import av

        self._rotate = rotate
        self._threads = threads  # more take more processor time in all, and a reader has others beside it
        self._reformatter = av.video.reformatter.VideoReformatter()
        self._orientation: tuple[int, Orientation] | None = None  # with PyAV's `rotation` of the picture that had it

    def convert(self, frame: VideoFrame | None, target: NDArray[np.uint8] | None) -> NDArray[np.uint8]:
        """Convert a picture, as Capture.convert does. Raises PictureUnusable."""
        import av

        if frame is None or not _is_picture(frame):
            raise PictureUnusable("its size is not a camera's")
        try:
            bgr = self._reformatter.reformat(frame, format="bgr24", threads=self._threads)
        except (av.error.FFmpegError, ValueError, MemoryError) as error:
            raise PictureUnusable(f"it could not be converted: {error}") from None
        plane = bgr.planes[0]
        rows = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)[: bgr.height]
        pixels = rows[:, : bgr.width * 3].reshape(bgr.height, bgr.width, 3)
        upright = self._orientation_of(frame).turned(self._rotate).apply(pixels)
        if target is None or target.shape != upright.shape:
            return upright
        np.copyto(target, upright)
        return target

    def _orientation_of(self, frame: VideoFrame) -> Orientation:
        """Return what a picture's own side data say; read at key frames, and where PyAV sees another rotation.

        PyAV's object of side data and its picture refer to each other. Each picture whose side data were read stays in
        memory until Python collects such cycles: that was hundreds of pictures.
        """
        if self._orientation is None or frame.key_frame or frame.rotation != self._orientation[0]:
            gc.collect()  # earlier pictures; cheap in a reader, a fork whose other objects are frozen
            self._orientation = frame.rotation, _orientation(frame)
        return self._orientation[1]


def _is_picture(frame: VideoFrame) -> bool:
    return frame.width >= 2 and frame.height >= 2 and frame.width * frame.height <= MAX_PICTURE_PIXELS


def _orientation(frame: VideoFrame) -> Orientation:
    side_data: Any = frame.side_data
    for found in side_data:
        data = found if hasattr(found, "type") else side_data[found]  # a mapping whose keys come only since PyAV 19
        if data.type.name == "DISPLAYMATRIX":
            return Orientation.of_matrix(bytes(data))
    return Orientation()
