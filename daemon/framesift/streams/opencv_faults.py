"""Known faults of the OpenCV that reads the streams."""

from __future__ import annotations

import re

OPENCV_ADVICE = (
    "use OpenCV 4.10 or 4.12: pip install 'opencv-python-headless>=4.10,!=4.11.*,<4.13', or an older system package"
)
_FIRST_FAULTY_VERSION = (4, 13)
_FIRST_FAULTY_SWSCALE = (8, 12)


def known_fault(version: str, build: str) -> str | None:
    """Describes the known fault of this OpenCV, None if there is none.

    version: `cv2.__version__`. build: `cv2.getBuildInformation()`. From 4.13 on, OpenCV leaves more of the conversion
    to FFmpeg's libswscale, which refuses interlaced pictures since FFmpeg 8; OpenCV does not check for the error. A
    build that does not say which libswscale it has counts as faulty.
    """
    if ignores_options(version) and re.search(r"FFMPEG:\s+YES", build):
        return "ignores the list of what a web address may lead to, so that it reads none"
    if not re.search(r"FFMPEG:\s+YES", build) or _version("", version, _FIRST_FAULTY_VERSION) < _FIRST_FAULTY_VERSION:
        return None
    if _version(r"swscale:\s+YES \(", build, _FIRST_FAULTY_SWSCALE) < _FIRST_FAULTY_SWSCALE:
        return None
    return "can't convert interlaced video, whose pictures count as unusable, and takes seconds to begin with HDR"


def ignores_options(version: str) -> bool:
    """Return whether OpenCV of this version ignores the options that it is given for FFmpeg; 4.11 does."""
    return _version("", version, _FIRST_FAULTY_VERSION) == (4, 11)


def _version(prefix: str, text: str, default: tuple[int, int]) -> tuple[int, int]:
    found = re.search(prefix + r"(\d+)\.(\d+)", text)
    return (int(found[1]), int(found[2])) if found else default
