"""A camera that speaks RTSP as a test says: it refuses, wants credentials, has no video, or shows H.264 by TCP or UDP.

with ScriptedCamera(answers={"DESCRIBE": "404 Not Found"}) as camera: ...
with ScriptedCamera(pictures=rtp_payloads(clip), transport="udp", credentials="viewer:word", digest=True) as camera:
    source = camera.url
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import math
import re
import socket
import ssl
import struct
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import av

AUDIO = "m=audio 0 RTP/AVP 0\r\na=control:track1\r\n"
VIDEO = "m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=fmtp:96 packetization-mode=1\r\na=control:track1\r\n"
NOTHING = ""
_MAX_PAYLOAD = 1200
_NONCE = "5f3e"
_SOURCE = 11  # of RTP packets


def rtp_payloads(clip: Path) -> list[list[bytes]]:
    """The RTP payloads (RFC 6184) of each picture of an H.264 clip."""
    pictures = []
    with av.open(str(clip)) as container:
        stream = container.streams.video[0]
        to_annex_b = av.bitstream.BitStreamFilterContext("h264_mp4toannexb", stream)
        for packet in container.demux(stream):
            for part in to_annex_b.filter(packet) if packet.size else []:
                units = [unit for unit in re.split(rb"\x00?\x00\x00\x01", bytes(part)) if unit]
                pictures.append([payload for unit in units for payload in _payloads(unit)])
    return pictures


def _payloads(unit: bytes) -> list[bytes]:
    if len(unit) <= _MAX_PAYLOAD:
        return [unit]
    head, body = unit[0], unit[1:]
    pieces = [body[at : at + _MAX_PAYLOAD] for at in range(0, len(body), _MAX_PAYLOAD)]
    return [
        bytes([head & 0xE0 | 28, head & 0x1F | (0x80 if index == 0 else 0) | (0x40 if index == len(pieces) - 1 else 0)])
        + piece
        for index, piece in enumerate(pieces)
    ]


class ScriptedCamera:
    """Serves any number of viewers, each in a thread.

    answers: the status line with which a method is answered, instead of 200 OK. media: the body of its SDP. pictures:
    see `rtp_payloads`; without them it plays nothing. fps: how many of them it sends a second. hangs_up_after: it sends
    each viewer so many, and hangs up. transport: the one that it offers; the other is answered 461. speaks: False
    accepts and says nothing; bytes are all that it says. tls: a context of a server. clock_ahead_s: its clock is so far
    ahead, which it tells in a sender report (RFC 3550) before each 25th picture; None tells nothing. Over TCP only.
    films_since_s: since then (monotonic) it films one scene, which several cameras may share, and a viewer begins with
    the next 25th picture; None begins with the first picture for each viewer. late_s: so much later it sends each.
    """

    def __init__(
        self,
        *,
        answers: Mapping[str, str] = {},
        media: str = VIDEO,
        pictures: Sequence[Sequence[bytes]] = (),
        fps: int = 25,
        hangs_up_after: int | None = None,
        transport: str = "tcp",
        credentials: str | None = None,
        digest: bool = False,
        speaks: bool | bytes = True,
        tls: ssl.SSLContext | None = None,
        host: str = "127.0.0.1",
        clock_ahead_s: float | None = None,
        films_since_s: float | None = None,
        late_s: float = 0.0,
    ) -> None:
        self._answers = answers
        self._media = media
        self._pictures = pictures
        self._fps = fps
        self._hangs_up_after = hangs_up_after
        self._transport = transport
        self._credentials = credentials
        self._digest = digest
        self._speaks = speaks
        self._tls = tls
        self._host = host
        self._clock_ahead_s = clock_ahead_s
        self._films_since_s = films_since_s
        self._late_s = late_s
        self._listening = socket.create_server((host, 0))
        self.port: int = self._listening.getsockname()[1]
        self._stopped = threading.Event()
        self._threads: list[threading.Thread] = []
        self._open: list[socket.socket] = []
        self.set_ups: list[str] = []  # the transports that viewers asked for
        self.requests = 0
        self.plays = 0

    @property
    def url(self) -> str:
        return f"{'rtsp' if self._tls is None else 'rtsps'}://{self._host}:{self.port}/live"

    def __enter__(self) -> ScriptedCamera:
        self._spawn(self._accept)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopped.set()
        for end in (self._listening, *self._open):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
        for thread in self._threads:
            thread.join(5)

    def hang_up(self) -> None:
        """End the connections of all viewers."""
        viewers, self._open = self._open, []
        for viewer in viewers:
            with contextlib.suppress(OSError):
                viewer.shutdown(socket.SHUT_RDWR)

    def _spawn(self, target: Any, *arguments: Any) -> None:
        thread = threading.Thread(target=target, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                viewer, _ = self._listening.accept()
                self._open.append(viewer)
                self._spawn(self._serve, viewer)

    def _serve(self, viewer: socket.socket) -> None:
        with contextlib.suppress(OSError):
            if self._tls is not None:
                viewer = self._tls.wrap_socket(viewer, server_side=True)
                self._open.append(viewer)
            self._talk(viewer)
        viewer.close()

    def _talk(self, viewer: socket.socket) -> None:
        received = b""
        target: tuple[str, int] | None = None  # of UDP
        while chunk := viewer.recv(65_536):
            if self._speaks is not True:
                if self._speaks:
                    viewer.sendall(self._speaks)
                    return
                continue
            received += chunk
            self.requests += 1
            while b"\r\n\r\n" in received:
                request, _, received = received.partition(b"\r\n\r\n")
                if request.startswith(b"$"):  # a viewer's report between requests
                    continue
                method, headers = request.split()[0].decode(), _headers(request)
                status, more, body = self._answer(method, headers)
                if method == "SETUP" and status.startswith("200"):
                    found = re.search(r"client_port=(\d+)", headers["transport"])
                    target = (viewer.getpeername()[0], int(found[1])) if found else None
                lines = [f"RTSP/1.0 {status}", f"CSeq: {headers.get('cseq', '0')}", *more]
                lines += ["Content-Type: application/sdp", f"Content-Length: {len(body)}"] if body else []
                viewer.sendall(("\r\n".join(lines) + "\r\n\r\n" + body).encode())
                if method == "PLAY" and status.startswith("200"):
                    self._spawn(self._play, viewer, target)

    def _answer(self, method: str, headers: Mapping[str, str]) -> tuple[str, list[str], str]:
        if method != "OPTIONS" and self._credentials is not None and not self._admits(method, headers):
            how = f'Digest realm="camera", nonce="{_NONCE}"' if self._digest else 'Basic realm="camera"'
            return "401 Unauthorized", [f"WWW-Authenticate: {how}"], ""
        status = self._answers.get(method, "200 OK")
        if method == "PLAY" and "session" not in headers:
            return "454 Session Not Found", [], ""
        if method == "SETUP":
            wanted = headers["transport"]
            kind = "tcp" if "/TCP" in wanted else "udp"
            self.set_ups.append(kind)
            if kind != self._transport:
                return "461 Unsupported transport", [], ""
            ports = ";server_port=50000-50001" if kind == "udp" else ""
            return status, ["Session: 7", f"Transport: {wanted}{ports}"], ""
        if method == "DESCRIBE" and status.startswith("200"):
            return status, [], f"v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=camera\r\nt=0 0\r\n{self._media}"
        return status, ["Session: 7"] if method == "PLAY" else [], ""

    def _admits(self, method: str, headers: Mapping[str, str]) -> bool:
        given, right = headers.get("authorization", ""), self._credentials or ""
        if not self._digest:
            return given == "Basic " + base64.b64encode(right.encode()).decode()
        fields = dict(re.findall(r'(\w+)="([^"]*)"', given))
        user, _, password = right.partition(":")
        first, second = _md5(f"{user}:camera:{password}"), _md5(f"{method}:{fields.get('uri')}")
        return fields.get("username") == user and fields.get("response") == _md5(f"{first}:{_NONCE}:{second}")

    def _play(self, viewer: socket.socket, target: tuple[str, int] | None) -> None:
        sequence = number = 0
        self.plays += 1
        began_s = time.monotonic()
        if self._films_since_s is not None:
            number = max(0, math.ceil((began_s - self._films_since_s - self._late_s) * self._fps / 25)) * 25
            began_s = self._films_since_s + self._late_s
        with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
            while self._pictures and not self._stopped.wait(max(0.0, began_s + number / self._fps - time.monotonic())):
                payloads = self._pictures[number % len(self._pictures)]
                sent = b""
                if self._clock_ahead_s is not None and number % 25 == 0:
                    taken_ago_s = time.monotonic() - (began_s - self._late_s + number / self._fps)
                    wall_s = time.time() - taken_ago_s + self._clock_ahead_s
                    report = _sender_report(wall_s, number * 90_000 // self._fps)
                    sent += struct.pack(">BBH", 0x24, 1, len(report)) + report
                for index, payload in enumerate(payloads):
                    marker = 0x80 if index == len(payloads) - 1 else 0
                    at = number * 90_000 // self._fps
                    packet = struct.pack(">BBHII", 0x80, marker | 96, sequence & 0xFFFF, at, _SOURCE) + payload
                    if target is None:
                        sent += struct.pack(">BBH", 0x24, 0, len(packet)) + packet
                    else:
                        datagrams.sendto(packet, target)
                    sequence += 1
                viewer.sendall(sent)
                number += 1
                if number == self._hangs_up_after:
                    viewer.shutdown(socket.SHUT_RDWR)
                    return


def _sender_report(wall_s: float, rtp_time: int) -> bytes:
    """What the sender's clock shows at an RTP time. NTP counts from 1900."""
    ntp = int((wall_s + 2_208_988_800) * 2**32)
    return struct.pack(">BBHIQIII", 0x80, 200, 6, _SOURCE, ntp, rtp_time, 0, 0)


def _headers(request: bytes) -> dict[str, str]:
    lines = [line.partition(":") for line in request.decode().split("\r\n")[1:]]
    return {name.strip().lower(): value.strip() for name, _, value in lines}


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
