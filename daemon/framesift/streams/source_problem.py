"""What is wrong on this machine with a source, found before a reader opens it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from framesift.streams.away_reasons import AwayReason
from framesift.streams.stream_settings import StreamSettings, webcam_index


def source_problem(settings: StreamSettings) -> tuple[AwayReason, str] | None:
    """Return why a file, a webcam or `ca_file` can't be opened, and the details; None if all seems well."""
    if settings.ca_file is not None and not settings.ca_file.is_file():
        problem = "is a folder, not a file" if settings.ca_file.is_dir() else "is not there"
        return AwayReason.TLS, f"its ca_file {settings.ca_file} {problem}"
    if settings.webcam is not None:
        return _webcam_problem(settings.webcam) if sys.platform == "linux" else None
    if not settings.is_path:
        return None
    path = settings.folder if settings.is_pictures else settings.path
    try:
        if settings.is_pictures and path.exists() and not path.is_dir():
            return AwayReason.NO_FILE, f"{path} is no folder"
        path.stat()
    except FileNotFoundError:
        return AwayReason.NO_FILE, "no such folder" if settings.is_pictures else ""
    except PermissionError:
        return AwayReason.NOT_PERMITTED, ""
    except OSError as error:
        return AwayReason.NO_FILE, f"can't be read: {error.strerror}"
    needed = os.R_OK | os.X_OK if settings.is_pictures else os.R_OK
    return None if os.access(path, needed) else (AwayReason.NOT_PERMITTED, "")


def _webcam_problem(device: Path) -> tuple[AwayReason, str] | None:
    if not device.exists():
        return AwayReason.NO_DEVICE, f"no such webcam: {device} does not exist"
    if webcam_index(device) is None:
        return AwayReason.NO_DEVICE, f"{device} is no webcam: it leads to {os.path.realpath(device)}"
    if not os.access(device, os.R_OK):
        return AwayReason.NOT_PERMITTED, f"{device} may not be read by this user; its group is `video`"
    return None
