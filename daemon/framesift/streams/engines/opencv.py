"""The engine on OpenCV: webcams, and every source where PyAV is not installed.

OpenCV tells little of a source: no times but the stated rate, no key frames, no damage. Its pictures are checked for
what is known to go wrong, see decoder_log.py.
"""

from __future__ import annotations

import math
import os
import sys
import time
from typing import TYPE_CHECKING, cast

import numpy as np
from numpy.typing import NDArray

from framesift.streams.away_reasons import AwayReason, recognise_reason
from framesift.streams.channel import MAX_PICTURE_PIXELS, OpenRequest
from framesift.streams.decoder_log import DecoderLog
from framesift.streams.engines.capture import CapturedPicture, PictureUnusable, SourceError
from framesift.streams.engines.ffmpeg_options import as_opencv_text, ffmpeg_options
from framesift.streams.engines.orientation import Orientation
from framesift.streams.opencv_faults import ignores_options

if TYPE_CHECKING:
    import cv2

_DEFAULT_FPS = 25.0  # for files that don't state their rate


def as_bgr(decoded: NDArray[np.generic] | None) -> NDArray[np.uint8] | None:
    """Converts a decoder's result to BGR uint8, shape (height, width, 3); None if it is not a picture."""
    if decoded is None or decoded.dtype != np.uint8 or decoded.ndim not in (2, 3):
        return None
    height, width = decoded.shape[:2]
    if height < 2 or width < 2 or height * width > MAX_PICTURE_PIXELS:
        return None
    picture = cast("NDArray[np.uint8]", decoded)
    channels = 1 if picture.ndim == 2 else picture.shape[2]
    if channels == 1:
        return np.repeat(picture.reshape(height, width, 1), 3, axis=2)
    return picture if channels == 3 else picture[:, :, :3] if channels == 4 else None


class OpenCvCapture:
    """An open `cv2.VideoCapture`. `cv2` is imported earlier, because importing it takes longer than opening."""

    jpeg = b""

    def __init__(self, request: OpenRequest, log: DecoderLog) -> None:
        """Opens the source. log: where the decoder writes its errors. Raises SourceError."""
        import cv2

        self._request = request
        self._log = log
        log.mark()
        began_s = time.monotonic()
        try:
            self._capture = self._open()
            opened = self._capture.isOpened()
        except ValueError as error:
            raise SourceError(AwayReason.ENGINE, str(error)) from None
        except cv2.error as error:
            raise SourceError(*_reason(log, error)) from None
        if not opened:
            reason, detail = recognise_reason(None, log.new_lines())
            is_late = time.monotonic() - began_s >= request.open_timeout_s
            if is_late and reason is not AwayReason.BLOCKED:
                raise SourceError(AwayReason.SILENT, f"did not open within {request.open_timeout_s:g} s")
            raise SourceError(
                reason if request.live or reason is not AwayReason.UNKNOWN else AwayReason.DECODER, detail
            )
        stated_fps = self._capture.get(cv2.CAP_PROP_FPS)
        self._fps = stated_fps if math.isfinite(stated_fps) and 0.0 < stated_fps <= 1000.0 else _DEFAULT_FPS
        pixels = self._capture.get(cv2.CAP_PROP_FRAME_WIDTH) * self._capture.get(cv2.CAP_PROP_FRAME_HEIGHT)
        self._too_large = pixels > MAX_PICTURE_PIXELS
        self._index = -1

    def _open(self) -> cv2.VideoCapture:
        import cv2

        request = self._request
        # Its FFmpeg compares no certificate with the name of the host, and of RTSP's verifies none.
        if request.ca_file and request.address.startswith(("rtsps:", "https:")):
            raise ValueError("OpenCV verifies no certificates: install PyAV, or set verify: false")
        if ignores_options(cv2.__version__) and request.address.startswith(("http:", "https:")):
            raise ValueError(f"OpenCV {cv2.__version__} ignores the list of what a web address may lead to")
        # There is no other way to give them.
        os.environ["OPENCV_FFMPEG_CAPTURE_OPTIONS"] = as_opencv_text(ffmpeg_options(request))
        if request.webcam_index >= 0:
            return cv2.VideoCapture(request.webcam_index, cv2.CAP_V4L2 if sys.platform == "linux" else cv2.CAP_ANY)
        if not cv2.videoio_registry.hasBackend(cv2.CAP_FFMPEG):
            return cv2.VideoCapture(request.address, cv2.CAP_ANY)  # a system build without FFmpeg, but with GStreamer
        parameters = [
            *(cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, int(request.open_timeout_s * 1000)),
            *(cv2.CAP_PROP_READ_TIMEOUT_MSEC, int(request.read_timeout_s * 1000)),
        ]
        if hasattr(cv2, "CAP_PROP_N_THREADS"):  # OpenCV 4.6 (Debian 12) does not have it
            parameters += [cv2.CAP_PROP_N_THREADS, request.threads or 1]
        return cv2.VideoCapture(request.address, cv2.CAP_FFMPEG, parameters)

    def next_picture(self) -> CapturedPicture | None:
        """Read the next picture from the source. Its time is its index by the stated rate, as OpenCV tells no other.

        Raises SourceError after a timeout: then OpenCV may report success although it still holds the previous picture.
        """
        self._log.mark()
        began_s = time.monotonic()
        grabbed = self._capture.grab()
        arrived_s = time.monotonic()
        if arrived_s - began_s >= self._request.read_timeout_s:
            raise SourceError(AwayReason.SILENT, f"no picture for {self._request.read_timeout_s:g} s")
        if not grabbed:
            return None
        self._index += 1
        return CapturedPicture(arrived_s, self._index / self._fps)

    def convert(self, target: NDArray[np.uint8] | None) -> NDArray[np.uint8]:
        """Decode the picture that was read, into `target` if it fits. Raises PictureUnusable."""
        import cv2

        if self._too_large:
            raise PictureUnusable("too large for a camera's picture")
        self._log.mark()
        try:
            into = None if self._request.rotate else target
            good, decoded = self._capture.retrieve() if into is None else self._capture.retrieve(into)
        except cv2.error as error:
            raise PictureUnusable(f"it could not be decoded: {error.err}") from None
        error_text = self._log.conversion_error()
        if error_text:
            raise PictureUnusable(f"the decoder did not convert it: {error_text}")
        picture = as_bgr(decoded) if good else None
        if picture is None:
            raise PictureUnusable("its size is not a camera's")
        return Orientation().turned(self._request.rotate).apply(picture)

    def close(self) -> None:
        """Close the source."""
        self._capture.release()


def _reason(log: DecoderLog, error: cv2.error) -> tuple[AwayReason, str]:
    """Return why OpenCV raised an error when it opened a source."""
    reason, detail = recognise_reason(None, log.new_lines() + str(error.err).encode())
    return reason, detail or str(error.err)
