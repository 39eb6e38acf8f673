"""Opening a source with the engine that was chosen for it (StreamSettings.chosen_engine)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from framesift.streams.away_reasons import AwayReason
from framesift.streams.channel import OpenRequest
from framesift.streams.decoder_log import DecoderLog
from framesift.streams.engines.capture import Capture, ReaderHooks, SourceError
from framesift.streams.engines.gstreamer import GStreamerCapture
from framesift.streams.engines.image_files import ImageFilesCapture
from framesift.streams.engines.opencv import OpenCvCapture
from framesift.streams.engines.watched_folder import WatchedFolderCapture

_Opened = TypeVar("_Opened")


def open_with_transport(request: OpenRequest, open_: Callable[[OpenRequest], _Opened]) -> tuple[_Opened, str]:
    """Open a source with `open_`, over UDP where that is left open and the camera does not offer TCP.

    Returns what `open_` returned and the transport: see channel.SourceOpened. Raises SourceError.
    """
    try:
        return open_(request), request.transport
    except SourceError as error:
        if error.reason is not AwayReason.TRANSPORT or request.transport or request.address.startswith("rtsps:"):
            raise
    return open_(replace(request, transport="udp")), "udp"


def open_source(request: OpenRequest, log: DecoderLog, hooks: ReaderHooks) -> Capture:
    """Open a source with the engine that is asked for. log: where the decoder writes. Raises SourceError."""
    if request.pictures:
        return WatchedFolderCapture(request, hooks) if request.watch else ImageFilesCapture(request)
    if request.engine == "opencv" and (request.fifo or request.follow):
        raise SourceError(AwayReason.ENGINE, "PyAV reads FIFOs and files that are being written, and OpenCV does not")
    if request.engine == "opencv":
        return OpenCvCapture(request, log)
    if request.engine == "gstreamer":
        return GStreamerCapture(request, log)
    try:
        from framesift.streams.engines.pyav import PyAvCapture

        return PyAvCapture(request, log, hooks)
    except ImportError as error:
        raise SourceError(AwayReason.ENGINE, f"PyAV can't be loaded: {error}") from None
