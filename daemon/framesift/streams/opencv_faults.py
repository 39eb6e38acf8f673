"""What is known to be wrong with an OpenCV that streams are read with."""

from __future__ import annotations

import re

OPENCV_ADVICE = "use one below 4.13: pip install 'opencv-python-headless<4.13', or an older build of the system's"
_FIRST_FAULTY = (4, 13)
_FIRST_FAULTY_SWSCALE = (8, 12)


def known_fault(version: str, build: str) -> str | None:
    """What an OpenCV with this `cv2.__version__` and `cv2.getBuildInformation()` does; None where nothing is known.

    From 4.13 on it leaves more of the conversion to FFmpeg's libswscale, which since FFmpeg 8 refuses interlaced
    pictures; OpenCV does not look at the answer. A build that doesn't say which libswscale it has is taken for faulty.
    """
    if not re.search(r"FFMPEG:\s+YES", build) or _numbers("", version, _FIRST_FAULTY) < _FIRST_FAULTY:
        return None
    if _numbers(r"swscale:\s+YES \(", build, _FIRST_FAULTY_SWSCALE) < _FIRST_FAULTY_SWSCALE:
        return None
    return "can't convert interlaced video, whose pictures count as unusable, and takes seconds to begin with HDR"


def _numbers(before: str, text: str, otherwise: tuple[int, int]) -> tuple[int, int]:
    found = re.search(before + r"(\d+)\.(\d+)", text)
    return (int(found[1]), int(found[2])) if found else otherwise
