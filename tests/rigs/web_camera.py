"""A camera that speaks HTTP: MJPEG, and HLS of a clip, live or with a playlist of the test's own."""

from __future__ import annotations

import base64
import hashlib
import re
import ssl
import threading
import time
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.request import parse_http_list, parse_keqv_list

import av
import cv2
import numpy as np

from rigs.footage import draw_number

_WINDOW = 3  # segments in a live playlist
_FPS = 25


def hls_segments(clip: Path, folder: Path) -> list[bytes]:
    """The clip as segments of MPEG-TS, a second each."""
    folder.mkdir()
    options = {"hls_time": "1", "hls_list_size": "0"}
    with av.open(str(clip)) as source, av.open(str(folder / "x.m3u8"), "w", options=options) as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.size:
                packet.stream = stream
                target.mux(packet)
    return [part.read_bytes() for part in sorted(folder.glob("*.ts"), key=lambda part: int(part.stem[1:]))]


class WebCamera:
    """Answers on a port of its own, until it is left.

    /video.mjpg: numbered pictures without end. /live.m3u8: the segments, a window that moves with the time. A name in
    `pages`: these bytes; in `redirects`: 302 to this address. credentials: "user:password", asked for as HTTP Basic.
    """

    def __init__(
        self,
        segments: Sequence[bytes] = (),
        *,
        credentials: str | None = None,
        digest: bool = False,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """digest: asks for the credentials by HTTP Digest, with a nonce that is good for three requests."""
        self.pages: dict[str, bytes] = {}
        self.redirects: dict[str, str] = {}
        self.authorizations: list[str | None] = []
        self.stopped = threading.Event()
        self.stalls = threading.Event()  # while it is set, answers wait
        self.goes_on = threading.Event()
        began_s = time.monotonic()
        basic = None if credentials is None else "Basic " + base64.b64encode(credentials.encode()).decode()
        nonces = _Nonces("" if credentials is None else credentials)
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                path = self.path.partition("?")[0]
                given = self.headers.get("Authorization")
                outer.authorizations.append(given)
                if outer.stalls.is_set():
                    outer.goes_on.wait(30)
                if digest and not nonces.accept(given or ""):
                    challenge = f'Digest realm="camera", nonce="{nonces.nonce}", qop="auth", algorithm=MD5'
                    self._answer(401, b"", "text/plain", ("WWW-Authenticate", challenge))
                elif not digest and basic not in (None, given):
                    self._answer(401, b"", "text/plain", ("WWW-Authenticate", 'Basic realm="camera"'))
                elif path in outer.redirects:
                    self._answer(302, b"", "text/plain", ("Location", outer.redirects[path]))
                elif path == "/video.mjpg":
                    self._play()
                elif path == "/live.m3u8":
                    self._answer(200, _playlist(len(segments), int(time.monotonic() - began_s)), _M3U8)
                elif found := re.fullmatch(r"/(\d+)\.ts", path):
                    self._answer(200, segments[int(found[1])], "video/mp2t")
                elif path in outer.pages:
                    self._answer(200, outer.pages[path], _M3U8 if path.endswith(".m3u8") else "text/html")
                else:
                    self._answer(404, b"", "text/plain")

            def _answer(self, status: int, content: bytes, media_type: str, *headers: tuple[str, str]) -> None:
                self.send_response(status)
                for name, value in (("Content-Type", media_type), ("Content-Length", str(len(content))), *headers):
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(content)

            def _play(self) -> None:
                self.send_response(200)
                self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=picture")
                self.end_headers()
                number = 0
                while not outer.stopped.wait(1 / _FPS):
                    picture = numbered_jpeg(number)
                    head = b"--picture\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(picture)
                    try:
                        self.wfile.write(head + picture + b"\r\n")
                    except OSError:  # the viewer left
                        return
                    number += 1

            def log_message(self, format: str, *args: Any) -> None:  # the library's own name
                """Not on stderr."""

        self._server = _Server(("127.0.0.1", 0), Handler)
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self.url = f"{'http' if tls is None else 'https'}://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    def __enter__(self) -> WebCamera:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stopped.set()
        self.goes_on.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)


class _Nonces:
    """HTTP Digest's other side (RFC 7616): each nonce is good for three requests, counted without a gap."""

    def __init__(self, credentials: str) -> None:
        self._credentials = credentials
        self._number = self._used = 0
        self.nonce = "n0"

    def accept(self, authorization: str) -> bool:
        """Whether this header answers the present nonce; else there is a new one."""
        scheme, _, parameters = authorization.partition(" ")
        given = parse_keqv_list(parse_http_list(parameters)) if scheme == "Digest" else {}
        user, _, password = self._credentials.partition(":")
        one = _md5(f"{user}:camera:{password}")
        two = _md5(f"GET:{given.get('uri')}")
        count = f"{self._used + 1:08x}"
        right = _md5(f"{one}:{self.nonce}:{count}:{given.get('cnonce')}:auth:{two}")
        if given.get("nc") == count and given.get("response") == right and self._used < 3:
            self._used += 1
            return True
        self._number += 1
        self.nonce, self._used = f"n{self._number}", 0
        return False


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A viewer that leaves in the middle is none."""


_M3U8 = "application/vnd.apple.mpegurl"


def numbered_jpeg(number: int) -> bytes:
    pixels = np.full((192, 320, 3), 90, np.uint8)
    draw_number(pixels, number)
    return bytes(cv2.imencode(".jpg", pixels)[1])


def playlist(*segments: str, head: str = "", first: int = 0) -> bytes:
    """A playlist of segments of a second."""
    lines = ["#EXTM3U", "#EXT-X-VERSION:3", "#EXT-X-TARGETDURATION:1", f"#EXT-X-MEDIA-SEQUENCE:{first}"]
    lines += [head] if head else []
    for segment in segments:
        lines += ["#EXTINF:1.0,", segment]
    return "\n".join([*lines, ""]).encode()


def _playlist(count: int, second: int) -> bytes:
    first = min(second, count - _WINDOW)
    return playlist(*(f"{number}.ts" for number in range(first, first + _WINDOW)), first=first)
