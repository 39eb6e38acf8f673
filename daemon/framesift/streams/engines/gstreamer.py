"""The engine on GStreamer: a pipeline's text, through an OpenCV that was built with GStreamer, as JetPack's is."""

from __future__ import annotations

import ctypes
import os
from typing import TYPE_CHECKING

from framesift.streams.engines.opencv import OpenCvCapture

if TYPE_CHECKING:
    import cv2

_LIBRARY = "libgstreamer-1.0.so.0"
_WARNINGS = "2"  # of GST_DEBUG: they say why a source does not open, which OpenCV does not


class GStreamerCapture(OpenCvCapture):
    """An open pipeline. It is always live: what is not taken from it in time is for the pipeline to drop."""

    def _open(self) -> cv2.VideoCapture:
        import cv2

        os.environ.setdefault("GST_DEBUG", _WARNINGS)
        os.environ["GST_DEBUG_NO_COLOR"] = "1"
        problem = _parse_problem(self._request.address)
        if problem:
            raise ValueError(f"the pipeline can't be made: {problem}")
        return cv2.VideoCapture(self._request.address, cv2.CAP_GSTREAMER)


class _Error(ctypes.Structure):
    """GError of GLib."""

    _fields_ = (("domain", ctypes.c_uint32), ("code", ctypes.c_int), ("message", ctypes.c_char_p))


def _parse_problem(pipeline: str) -> str:
    """Return what GStreamer finds wrong in a pipeline's text, "" if nothing, or if it can't be asked.

    OpenCV takes what could be made of a wrong text, and waits for it for ever.
    """
    try:
        library = ctypes.CDLL(_LIBRARY)
    except OSError:
        return ""
    if not library.gst_init_check(None, None, None):
        return "GStreamer does not start"
    error = ctypes.POINTER(_Error)()
    library.gst_parse_launch.restype = library.gst_object_unref.restype = ctypes.c_void_p
    made = library.gst_parse_launch(pipeline.encode(), ctypes.byref(error))
    if made:
        library.gst_object_unref(ctypes.c_void_p(made))
    return error.contents.message.decode(errors="replace") if error else ""
