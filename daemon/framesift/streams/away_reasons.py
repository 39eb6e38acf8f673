"""AwayReason: why a source gives no pictures, a closed list, and how a reason is recognised.

An engine knows FFmpeg's error code, or only the lines that FFmpeg wrote, or both: each row of the table below has the
codes and the lines that mean the same.
"""

from __future__ import annotations

import errno
import re
from dataclasses import dataclass
from enum import Enum


class AwayReason(str, Enum):
    """Why a source gives no pictures. Its value is the word in logs, in /status and in metrics."""

    REFUSED = "refused"
    NO_ROUTE = "no_route"
    NAME_UNKNOWN = "name_unknown"
    SILENT = "silent"
    UNAUTHORIZED = "unauthorized"
    FORBIDDEN = "forbidden"
    NOT_FOUND = "not_found"
    BUSY = "busy"
    SERVER_ERROR = "server_error"
    TRANSPORT = "transport"
    TLS = "tls"
    BLOCKED = "blocked"
    WRONG_PROTOCOL = "wrong_protocol"
    NO_VIDEO = "no_video"
    DECODER = "decoder"
    OUT_OF_MEMORY = "out_of_memory"
    ENDED = "ended"
    NO_FILE = "no_file"
    NO_PICTURES = "no_pictures"
    NO_DEVICE = "no_device"
    NOT_PERMITTED = "not_permitted"
    UNUSABLE = "unusable"
    FROZEN = "frozen"
    ENGINE = "engine"
    NO_READER = "no_reader"
    UNKNOWN = "unknown"

    def __str__(self) -> str:
        return self.value

    @property
    def meaning(self) -> str:
        """What happened, in a few words."""
        return _TEXTS[self][0]

    @property
    def advice(self) -> str:
        """What to do about it."""
        return _TEXTS[self][1]


_TEXTS = {
    AwayReason.REFUSED: (
        "connection refused",
        "is the camera's streaming service on, and is the port in the address right (usually 554)?",
    ),
    AwayReason.NO_ROUTE: (
        "no route to the host",
        "is this machine's network up, and is the camera's address in a network that it can reach?",
    ),
    AwayReason.NAME_UNKNOWN: (
        "the host's name can't be resolved",
        "check the name in the address and this machine's name server, or write the camera's IP address",
    ),
    AwayReason.SILENT: (
        "it does not answer",
        "is the camera on and reachable, and are address and port right? If it is only slow, raise open_timeout_s or "
        "read_timeout_s",
    ),
    AwayReason.UNAUTHORIZED: ("credentials rejected (401)", "check the stream's username and password"),
    AwayReason.FORBIDDEN: ("access forbidden (403)", "give this user the right to view the stream, in the camera"),
    AwayReason.NOT_FOUND: (
        "the camera has no such stream (404)",
        "check the path in the address; the camera's manual or its ONVIF page names it",
    ),
    AwayReason.BUSY: (
        "it serves no more viewers",
        "close other viewers and programs that use it, or take its substream",
    ),
    AwayReason.SERVER_ERROR: (
        "the camera answers with an error",
        "check the address; if it is right, restart the camera and look at its own log",
    ),
    AwayReason.TRANSPORT: ("the camera does not offer this transport", "set the stream's transport to the other one"),
    AwayReason.TLS: (
        "its certificate can't be verified, or TLS fails",
        "give the certificate that the camera uses, or that of its authority, in the stream's ca_file; the source must "
        "have the name that stands in it",
    ),
    AwayReason.BLOCKED: (
        "it leads to an address, or is of a format, that is not allowed for it",
        "an http:// address may be that of an MJPEG or HLS stream; enter what it leads to as the source, if you trust "
        "that",
    ),
    AwayReason.WRONG_PROTOCOL: (
        "what answers there does not speak RTSP, or closes the connection at once",
        "is the port in the address that of RTSP (usually 554)? Does the camera serve another viewer?",
    ),
    AwayReason.NO_VIDEO: ("there is no video in it", "choose another stream of the camera, or switch its video on"),
    AwayReason.DECODER: (
        "not a video that can be decoded",
        "is it a video, in a common format (H.264, H.265, MJPEG)? Other programs can play it: try the other engine",
    ),
    AwayReason.OUT_OF_MEMORY: (
        "not enough memory for its pictures",
        "`dmesg` says whether memory ran out: free some, raise the limit of the service or the container, or take a "
        "stream with smaller pictures",
    ),
    AwayReason.ENDED: (
        "the connection ended",
        "if it does not come back, look at the camera's power and network, and at its limit of viewers",
    ),
    AwayReason.NO_FILE: ("no such file", "check the path; relative paths count from the settings file"),
    AwayReason.NO_PICTURES: (
        "no picture is in the folder",
        "check the path and the pattern; .jpg, .jpeg, .png, .bmp, .webp, .tif and .tiff files count, those in folders "
        "below do not; with watch: true the stream waits for them",
    ),
    AwayReason.NO_DEVICE: (
        "no such webcam",
        "is it plugged in? `ls /dev/video*` shows the numbers; a container needs the device handed in",
    ),
    AwayReason.NOT_PERMITTED: (
        "may not be read by this user",
        "let the user of the service read it; for a webcam, add the user to the group `video`",
    ),
    AwayReason.UNUSABLE: (
        "pictures come, but none can be used",
        "look at the stream in another program; choose another size or format in the camera, or the other engine",
    ),
    AwayReason.FROZEN: (
        "the picture stands still",
        "restart the camera; if it films a still picture, nothing is wrong",
    ),
    AwayReason.ENGINE: (
        "its engine can't read it",
        "a pipeline: correct its text, or install the GStreamer plugin that has the element (`gst-inspect-1.0 ELEMENT` "
        "says whether it is there); else install PyAV (`pip install av`) and leave `engine` out",
    ),
    AwayReason.NO_READER: (
        "no reader process can be started",
        "look at this machine's limits of processes, file descriptors and memory; it is tried again",
    ),
    AwayReason.UNKNOWN: (
        "it does not open",
        "try the address in another program, such as ffplay or VLC; is it right, and the camera on?",
    ),
}


@dataclass(frozen=True, slots=True)
class _Sign:
    """What means a reason: FFmpeg's error codes, or a line in its log. The first sign that is found counts."""

    reason: AwayReason
    codes: tuple[int, ...]
    line: re.Pattern[bytes]


def _tag(*parts: str | int) -> int:
    """Return the error code that FFmpeg makes of four characters (FFERRTAG in libavutil/error.h)."""
    return int.from_bytes(bytes(part if isinstance(part, int) else ord(part) for part in parts), "little")


def _status(*numbers: int) -> re.Pattern[bytes]:
    """Return what matches lines about these answers.

    FFmpeg's are "method SETUP failed: 461 ..." and "HTTP error 404 ...", GStreamer's "error: Not Found (404)".
    """
    answer = "|".join(map(str, numbers))
    return re.compile(rf"(?:failed:|error|returned) (?:{answer})\b|error: [^\n]{{1,80}} \((?:{answer})\)".encode())


_NEVER = re.compile(rb"(?!)")
_INVALID_DATA = _tag("I", "N", "D", "A")
_SIGNS = (
    _Sign(AwayReason.UNAUTHORIZED, (_tag(0xF8, "4", "0", "1"),), _status(401)),
    _Sign(AwayReason.FORBIDDEN, (_tag(0xF8, "4", "0", "3"),), _status(403)),
    _Sign(AwayReason.NOT_FOUND, (_tag(0xF8, "4", "0", "4"),), _status(404)),
    _Sign(AwayReason.BUSY, (errno.EBUSY,), _status(429, 453, 503)),
    _Sign(AwayReason.BUSY, (), re.compile(rb"Device or resource busy")),
    _Sign(AwayReason.TRANSPORT, (errno.EPROTONOSUPPORT,), _status(461)),
    # No session, as nothing was set up: only video is asked for.
    _Sign(AwayReason.NO_VIDEO, (), re.compile(rb"method PLAY failed: 45[45]\b")),
    _Sign(
        AwayReason.SERVER_ERROR,
        (_tag(0xF8, "4", "0", "0"), _tag(0xF8, "4", "X", "X")),
        re.compile(rb"failed: [45]\d\d\b"),
    ),
    _Sign(AwayReason.SERVER_ERROR, (_tag(0xF8, "5", "X", "X"),), re.compile(rb"HTTP error [45]\d\d\b")),
    _Sign(AwayReason.TLS, (), re.compile(rb"\[tls @ |certificate")),
    _Sign(AwayReason.BLOCKED, (), re.compile(rb"not on whitelist")),
    _Sign(AwayReason.NAME_UNKNOWN, (), re.compile(rb"Failed to resolve hostname|Error resolving")),
    _Sign(
        AwayReason.NO_ROUTE,
        (errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ENETDOWN, errno.EHOSTDOWN),
        # What routes that throw packets away answer.
        re.compile(
            rb"No route to host|Network is (?:unreachable|down)|Connection to \S+ failed: (?:Invalid arg|Permission)"
        ),
    ),
    _Sign(AwayReason.REFUSED, (errno.ECONNREFUSED,), re.compile(rb"Connection refused")),
    _Sign(
        AwayReason.SILENT,
        (errno.ETIMEDOUT, _tag("E", "X", "I", "T")),
        re.compile(rb"Connection timed out|Stream timeout triggered|Immediate exit requested"),
    ),
    _Sign(
        AwayReason.ENDED,
        (errno.ECONNRESET, errno.ECONNABORTED, errno.EPIPE, _tag("E", "O", "F", " ")),
        re.compile(rb"Connection reset by peer"),
    ),
    _Sign(
        AwayReason.OUT_OF_MEMORY, (errno.ENOMEM,), re.compile(rb"Cannot allocate memory|Insufficient memory|bad_alloc")
    ),
    _Sign(AwayReason.NO_FILE, (errno.ENOENT, errno.ENOTDIR), _NEVER),
    _Sign(AwayReason.NO_DEVICE, (errno.ENODEV, errno.ENXIO), re.compile(rb"No such device")),
    _Sign(AwayReason.NOT_PERMITTED, (errno.EACCES, errno.EPERM), _NEVER),
    _Sign(
        AwayReason.DECODER,
        (_INVALID_DATA, *(_tag(0xF8, *name) for name in ("DEC", "DEM")), _tag("P", "A", "W", "E")),
        re.compile(rb"Invalid data found when processing input|moov atom not found"),
    ),
)


# Of these, FFmpeg's line says more than the reason does.
_LINE_HELPS = (AwayReason.SERVER_ERROR, AwayReason.TLS, AwayReason.BLOCKED)
_PREFIX = re.compile(rb"^(?:\[[^\]]*\]\s*)+")  # [rtsp @ 0x5580]


def recognise_reason(code: int | None, lines: bytes) -> tuple[AwayReason, str]:
    """Return what an error means, and a text where FFmpeg's lines tell more than its meaning: not redacted, or "".

    code: FFmpeg's, as a positive number; None if the engine does not tell it. lines: what FFmpeg has written since the
    beginning of the step that failed.
    """
    for sign in _SIGNS:
        found = sign.line.search(lines)
        if found or code in sign.codes:
            if found and sign.reason in _LINE_HELPS:
                return sign.reason, f"{sign.reason.meaning}: {_line_around(lines, found)}"
            return sign.reason, ""
    return AwayReason.UNKNOWN, ""


def _line_around(lines: bytes, found: re.Match[bytes]) -> str:
    begin, end = lines.rfind(b"\n", 0, found.start()) + 1, lines.find(b"\n", found.end())
    return _PREFIX.sub(b"", lines[begin : end if end >= 0 else None]).decode(errors="replace").strip()
