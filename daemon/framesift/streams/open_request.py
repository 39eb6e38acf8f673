"""What a stream asks of its reader, by the stream's settings."""

from __future__ import annotations

from pathlib import Path

import certifi

from framesift.streams.channel import OpenRequest
from framesift.streams.stream_settings import StreamSettings, webcam_index


def create_open_request(
    settings: StreamSettings,
    *,
    number: int,
    resume_at: int,
    transport: str,
    full_probe: bool,
    taken_file: Path | None,
) -> OpenRequest:
    """Return the request for one reader. number, resume_at, transport, taken_file: see OpenRequest."""
    index = None if settings.webcam is None else webcam_index(settings.webcam)
    return OpenRequest(
        address=_address(settings),
        webcam_index=-1 if index is None else index,
        live=settings.is_live,
        loop=settings.loop,
        fps=settings.fps or 0.0,
        first_number=number,
        resume_at=resume_at,
        open_timeout_s=settings.open_timeout_s,
        read_timeout_s=settings.read_timeout_s,
        short_probe=not full_probe,
        engine=settings.chosen_engine,
        keyframes_only=settings.decode == "keyframes",
        threads=settings.threads or 0,
        rotate=settings.rotate,
        show_damaged=settings.show_damaged,
        transport=transport,
        ca_file=str((settings.ca_file or Path(certifi.where())).absolute()) if settings.verify else "",
        pictures=settings.is_pictures,
        pattern=settings.pattern if settings.is_pictures else "",
        watch=settings.watch,
        taken_file="" if taken_file is None else str(taken_file.absolute()),
        local=settings.is_path,
        realtime=settings.pace == "realtime" and not settings.is_fifo,
        fifo=settings.is_fifo,
        follow=settings.follow,
    )


def _address(settings: StreamSettings) -> str:
    if not settings.is_path:
        return settings.address()
    # The reader has another working directory, where a relative path would mean another file.
    return str((settings.folder if settings.is_pictures else settings.path).absolute())
