"""Which engines this installation has."""

from __future__ import annotations

import re
from importlib.util import find_spec


def has_pyav() -> bool:
    """Return whether PyAV is installed. Only a reader loads it, which may fail for a library that the system lacks."""
    return find_spec("av") is not None


def gstreamer_problem() -> str:
    """Return why OpenCV can't read a pipeline of GStreamer, "" if it can. Loads OpenCV."""
    import cv2

    if re.search(r"GStreamer:\s+YES", cv2.getBuildInformation()):
        return ""
    return f"OpenCV {cv2.__version__} was built without GStreamer"
