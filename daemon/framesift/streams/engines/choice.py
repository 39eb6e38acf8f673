"""Which engine reads a source."""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec

from framesift.streams.away_reasons import AwayReason
from framesift.streams.channel import OpenRequest
from framesift.streams.decoder_log import DecoderLog
from framesift.streams.engines.capture import Capture, SourceError
from framesift.streams.engines.opencv import OpenCvCapture


def open_with_transport(request: OpenRequest, log: DecoderLog) -> tuple[Capture, str]:
    """Open a source as `open_source` does, over UDP where that is left open and the camera does not offer TCP.

    Returns the capture and the transport: see channel.SourceOpened. Raises SourceError.
    """
    try:
        return open_source(request, log), request.transport
    except SourceError as error:
        if error.reason is not AwayReason.TRANSPORT or request.transport or request.address.startswith("rtsps:"):
            raise
    return open_source(replace(request, transport="udp"), log), "udp"


def open_source(request: OpenRequest, log: DecoderLog) -> Capture:
    """Open a source with the engine that is asked for; `auto` is PyAV where it is installed, but for webcams.

    log: where the decoder writes. Raises SourceError.
    """
    if request.engine == "opencv" or (request.engine == "auto" and not reads_with_pyav(request.webcam_index)):
        return OpenCvCapture(request, log)
    try:
        from framesift.streams.engines.pyav import PyAvCapture

        return PyAvCapture(request, log)
    except ImportError as error:
        raise SourceError(AwayReason.ENGINE, f"its engine is av, which is not installed: {error}") from None


def reads_with_pyav(webcam_index: int) -> bool:
    """Whether `auto` means PyAV for this source. webcam_index: -1 if it is no webcam."""
    return webcam_index < 0 and find_spec("av") is not None
