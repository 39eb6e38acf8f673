"""The stand-in for the platform as a real HTTP server, one thread a connection, connections kept alive."""

from __future__ import annotations

import contextlib
import errno
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Protocol
from urllib.parse import parse_qsl, urlsplit

from canaries import KEY
from rigs.platform.faults import Faults, apply_fault
from rigs.platform.page import page
from rigs.platform.records import (
    PlatformRequest,
    Project,
    Received,
    Reply,
    StoredAnnotation,
    StoredBatch,
    StoredImage,
    refusal,
)
from rigs.platform.store import Store, call_of

WORKSPACE = "yard"

_MOST_BODY_BYTES = 64 * 1024 * 1024


class Platform:
    """A stand-in for the labelling platform: its documented endpoints on 127.0.0.1, at a port of its own choice.

        with Platform() as platform:
            platform.add_project("parking", "object-detection", active_learning={"enabled": False})
            ... point the client at platform.url with KEY ...
            assert platform.until(lambda: len(platform.images) == 3)
            assert platform.annotations_of(platform.images[0].id)[0].json()["predictions"]

    It starts with one key, KEY, of the workspace `yard`, and no project. It stores what it gets, answers `duplicate` to
    bytes that the project has already, 404 to what it doesn't know, 409 to a second annotation, 401 to another key, and
    400 to what the documented client would not send. `orders` makes it fail, see faults.py; `go_away` and `come_back`
    refuse connections in between, at the same port. At /stand-in it shows what it got.

    folder: where it also writes what it gets, and from which it knows it again. one_of: whether equal bytes are one
    `image`, or only under the same `name`, for cameras that show the same again and again. certificate: files of a
    certificate chain and its key, for https. heard: called with every request, once it is answered. port: 0 for any
    free one; OSError where it is taken.
    """

    def __init__(
        self,
        *,
        folder: Path | None = None,
        one_of: Literal["image", "name"] = "image",
        certificate: tuple[Path, Path] | None = None,
        port: int = 0,
        key: str = KEY,
        workspace: str = WORKSPACE,
        heard: Callable[[Received], None] = lambda _: None,
    ) -> None:
        self.orders = Faults()
        self.bugs: list[str] = []  # what went wrong in the stand-in itself
        self._store = Store(folder, one_of, workspace)
        self._heard = heard
        self._received: list[Received] = []
        self._grown = threading.Condition()
        self._tls: ssl.SSLContext | None = None
        if certificate is not None:
            self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._tls.load_cert_chain(*certificate)
        if port and _is_listening(port):  # the kernel would let us share it
            raise OSError(errno.EADDRINUSE, f"port {port} of 127.0.0.1 is taken")
        # Holds the port while the platform is away, without listening: connections are refused, nobody else gets it.
        self._place = socket.socket()
        self._place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        self._place.bind(("127.0.0.1", port))
        self.port: int = self._place.getsockname()[1]
        self.url = f"{'http' if certificate is None else 'https'}://127.0.0.1:{self.port}"
        self.workspace = workspace
        self._key = key
        self.add_key(key)
        self._server: _Server | None = None
        self.come_back()

    # What there is

    def add_key(self, key: str, workspace: str | None = None) -> None:
        with self._store.lock:
            self._store.keys[key] = workspace or self.workspace

    def revoke_key(self, key: str | None = None) -> None:
        """Forgets a key: the one that it began with, unless another is named."""
        with self._store.lock:
            self._store.keys.pop(key or self._key, None)

    def restore_key(self) -> None:
        self.add_key(self._key)

    def add_project(
        self,
        name: str,
        type: str | None = "object-detection",
        *,
        active_learning: Any = None,
        models: dict[int, str] | None = None,
        workspace: str | None = None,
    ) -> None:
        """Adds a project, or replaces what is known of it; its images stay."""
        project = Project(workspace or self.workspace, name, type, active_learning, models or {})
        with self._store.lock:
            self._store.projects[project.workspace, name] = project

    def project(self, name: str, workspace: str | None = None) -> Project:
        with self._store.lock:
            return self._store.projects[workspace or self.workspace, name]

    def add_image(self, project: str, jpeg: bytes, batch: str = "somebody else's") -> StoredImage:
        """An image that somebody else has uploaded."""
        with self._store.lock:
            image = StoredImage(self._store.next_id(), project, "theirs.jpg", batch, (), None, jpeg, uploads=0)
            return self._store.put((self.workspace, project), image)

    def set_batch(self, project: str, name: str, images: int, jobs: tuple[int, ...] = ()) -> None:
        """How many images a batch has that are in no job, and how many each of its jobs has."""
        place = (self.workspace, project)
        with self._store.lock:
            batch = self._store.batch(place, name)
            self._store.batches[place, name] = replace(batch, images=images, jobs=jobs)

    def batch(self, project: str, name: str) -> StoredBatch:
        with self._store.lock:
            return self._store.batches[(self.workspace, project), name]

    def settings(self, project: str) -> dict[str, Any]:
        """The part of a framesift.yaml that delivers here; the key is in the variable ROBOFLOW_API_KEY."""
        account = {"api_key": "${ROBOFLOW_API_KEY}", "api_url": self.url}
        return {"roboflow": account, "sink": {"type": "roboflow", "project": project}}

    # What came

    @property
    def images(self) -> tuple[StoredImage, ...]:
        """In the order in which they came, others' included."""
        with self._store.lock:
            return tuple(self._store.images.values())

    @property
    def annotations(self) -> tuple[StoredAnnotation, ...]:
        with self._store.lock:
            return tuple(self._store.annotations)

    @property
    def requests(self) -> tuple[Received, ...]:
        with self._grown:
            return tuple(self._received)

    def annotations_of(self, image_id: str) -> tuple[StoredAnnotation, ...]:
        return tuple(annotation for annotation in self.annotations if annotation.image_id == image_id)

    def asked(self, call: str) -> tuple[Received, ...]:
        """The requests of one endpoint."""
        return tuple(received for received in self.requests if received.call == call)

    def until(self, condition: Callable[[], bool], timeout_s: float = 30.0) -> bool:
        """Whether the condition came to hold within the time; looks at every request and answer."""
        with self._grown:
            return self._grown.wait_for(condition, timeout_s)

    # Where it is

    def go_away(self) -> None:
        """Cuts every connection and refuses new ones."""
        server, self._server = self._server, None
        if server is not None:
            server.end()

    def come_back(self) -> None:
        """Listens again, at the same port."""
        if self._server is None:
            self._server = _Server(self, self.port, self._tls)

    def close(self) -> None:
        self.go_away()
        self._place.close()

    def __enter__(self) -> Platform:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
        assert not self.bugs, self.bugs

    # For its server

    def answer(self, asked: PlatformRequest, wait: Callable[[float], object]) -> Reply:
        call = call_of(asked.method, asked.path)
        action = self.orders.next_action(call)
        number = self._note(asked)
        reply = self._work(asked) if action is None else apply_fault(action, lambda: self._work(asked), wait)
        self._note_answer(number, reply, None if action is None else repr(action))
        return reply

    def _work(self, asked: PlatformRequest) -> Reply:
        """What is stored is seen at once, though the answer may be long in coming."""
        reply = self._store.answer(asked)
        with self._grown:
            self._grown.notify_all()
        return reply

    def show(self, path: str) -> Reply:
        """The page at /stand-in, and the pictures on it."""
        if path == "/stand-in":
            content = page(self.images, self.annotations, self.requests)
            return Reply(200, content.encode(), (("Content-Type", "text/html; charset=utf-8"),))
        image = next((image for image in self.images if path == f"/stand-in/{image.id}.jpg"), None)
        if image is None:
            return refusal(404, "nothing to show")
        return Reply(200, image.jpeg, (("Content-Type", "image/jpeg"),))

    def _note(self, asked: PlatformRequest) -> int:
        with self._store.lock:
            key_known = asked.value("api_key") in self._store.keys
        received = Received(
            at_s=time.time(),
            call=call_of(asked.method, asked.path),
            method=asked.method,
            path=asked.path,
            query=tuple((name, value) for name, value in asked.query if name != "api_key"),
            headers=asked.headers,
            size_bytes=len(asked.body),
            key_known=key_known,
            by_gateway=asked.by_gateway,
        )
        with self._grown:
            self._received.append(received)
            self._grown.notify_all()
            return len(self._received) - 1

    def _note_answer(self, number: int, reply: Reply, ordered: str | None) -> None:
        with self._grown:
            status = reply.status if reply.sent > 0 else None
            answered = replace(self._received[number], status=status, ordered=ordered)
            self._received[number] = answered
            self._grown.notify_all()
        self._heard(answered)


class StandIn(Protocol):
    """What the server needs of the stand-in that it answers for."""

    bugs: list[str]

    def show(self, path: str) -> Reply:
        """The answer to somebody who looks at a path with a browser."""

    def answer(self, asked: PlatformRequest, wait: Callable[[float], object]) -> Reply:
        """The answer to a request. wait: waits so many seconds, less if the server ends."""


class _Server(ThreadingHTTPServer):
    allow_reuse_address = False  # the port is shared with the socket that holds it, and with nobody else
    request_queue_size = 128
    daemon_threads = True

    def __init__(self, platform: StandIn, port: int, tls: ssl.SSLContext | None) -> None:
        self.platform = platform
        self.ended = threading.Event()
        self._tls = tls
        self._changed = threading.Condition()
        self._open: set[socket.socket] = set()
        super().__init__(("127.0.0.1", port), _Handler)
        self._thread = threading.Thread(target=self.serve_forever, args=(0.05,), name="stand-in", daemon=True)
        self._thread.start()

    def end(self) -> None:
        self.ended.set()
        self.shutdown()
        self.server_close()
        with self._changed:
            for connection in self._open:
                _shut(connection)
            assert self._changed.wait_for(lambda: not self._open, 20.0), "a connection of the stand-in doesn't end"
        self._thread.join()

    def server_bind(self) -> None:
        # Not HTTPServer's, which asks the name service for this machine's name.
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        self.socket.bind(self.server_address)
        self.server_name, self.server_port = "127.0.0.1", self.server_address[1]

    def finish_request(self, request: Any, client_address: Any) -> None:
        """In the connection's thread, where a handshake holds up nobody else."""
        with self._changed:
            if self.ended.is_set():
                return
            connection = request
            if self._tls is not None:
                connection = self._tls.wrap_socket(request, server_side=True, do_handshake_on_connect=False)
            self._open.add(connection)
        try:
            if isinstance(connection, ssl.SSLSocket):
                connection.do_handshake()
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            _Handler(connection, client_address, self)
        except OSError:  # the client went away, or won't trust the certificate
            pass
        except Exception as error:  # noqa: BLE001  # a bug of the stand-in, which its test must see
            self.platform.bugs.append(repr(error))
        finally:
            with self._changed:
                self._open.discard(connection)
                self._changed.notify_all()
            connection.close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "stand-in"
    server: _Server

    def do_GET(self) -> None:
        self._exchange()

    do_POST = do_PUT = do_DELETE = do_HEAD = do_GET

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: its lines would carry the key."""

    def _exchange(self) -> None:
        url = urlsplit(self.path)
        if url.path.startswith("/stand-in"):
            self._send(self.server.platform.show(url.path))
            return
        length = self.headers.get("Content-Length", "0" if self.command == "GET" else "")
        if not length.isdigit() or int(length) > _MOST_BODY_BYTES:
            self.close_connection = True
            self._send(refusal(411 if not length else 413, "a body of this length is not taken"))
            return
        body = self.rfile.read(int(length))
        if len(body) < int(length):  # the client gave up
            self.close_connection = True
            return
        query = tuple(parse_qsl(url.query, keep_blank_values=True))
        by_gateway = url.path == "/proxy" and [key for key, _ in query] == ["url"]
        if by_gateway:
            url = urlsplit(query[0][1])
            query = tuple(parse_qsl(url.query, keep_blank_values=True))
        headers = {name.lower(): value for name, value in self.headers.items()}
        asked = PlatformRequest(self.command, url.path or "/", query, headers, body, by_gateway)
        self._send(self.server.platform.answer(asked, self.server.ended.wait))

    def _send(self, reply: Reply) -> None:
        head = f"HTTP/1.1 {reply.status} {self.responses.get(reply.status, ('Ordered',))[0]}\r\n"
        given = {name.lower() for name, _ in reply.headers}
        own = (("Date", self.date_time_string()), ("Content-Length", str(len(reply.body))))
        for name, value in (*((n, v) for n, v in own if n.lower() not in given), *reply.headers):
            head += f"{name}: {value}\r\n"
        whole = head.encode("latin-1") + b"\r\n" + reply.body
        if reply.sent < 1.0:
            sent = 0 if reply.sent <= 0 else len(whole) - len(reply.body) + int(len(reply.body) * reply.sent)
            self.wfile.write(whole[:sent])
            self.close_connection = True
            if reply.reset:  # when it is closed
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        elif reply.bytes_per_s is not None:
            for index in range(len(whole)):
                if self.server.ended.wait(1.0 / reply.bytes_per_s):
                    break
                self.wfile.write(whole[index : index + 1])
        elif not self.server.ended.is_set():
            self.wfile.write(whole)


def _is_listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _shut(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):  # it may be closed already
        # Of a TLS socket too, whose own shutdown would first undo the encryption under a thread that reads.
        socket.socket.shutdown(connection, socket.SHUT_RDWR)
