"""What small chunks cost the daemon, and how long they keep another client waiting.

    .venv/bin/python benchmarks/small_chunks.py [--chunks 400000]

The same content comes whole, with its length, and in chunks of one byte each: as a request through the proxy, by either
route, as the server's answer, and to POST /datapoints. Printed are the processor time of the daemon, also for each
chunk, how much its memory grew at most, and how long a second client waited at most for its small answers meanwhile (at
the same listener, on a connection that stays open). The daemon is `framesift run`, the server a small one of this file;
both are processes of their own.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import yaml

END = b"0\r\n\r\n"
POLICY = """{"enabled": true, "persist_predictions": true,
 "sampling_strategies": [{"name": "some", "type": "random", "traffic_percentage": 0.1}],
 "batching_strategy": {"batches_name_prefix": "bench", "recreation_interval": "never"}}"""
TICK_S = 1 / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Way:
    """path: what is asked of which listener. by_server: the chunks are in the answer."""

    name: str
    path: str
    to_datapoints: bool = False
    by_server: bool = False


WAYS = (
    Way("request, model in the path", "/street/1"),
    Way("request, model in the body", "/infer/object_detection"),
    Way("request, nothing to sample", "/other"),
    Way("answer", "/street/1", by_server=True),
    Way("POST /datapoints", "/datapoints", to_datapoints=True),
)


@dataclass(frozen=True, slots=True)
class Cost:
    """What one exchange cost. processor_s: of the daemon. waited_s: the longest wait of the other client."""

    took_s: float
    processor_s: float
    grown_bytes: int
    waited_s: float


def main() -> None:
    """Measure each way, whole and in chunks, and print what both cost."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--chunks", type=int, default=400_000)
    parser.add_argument("--serve", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve is not None:
        _serve(given.serve)
        return
    print(f"{given.chunks} chunks of one byte, {len(_in_chunks(given.chunks))} bytes on the wire")
    for way in WAYS:
        whole, chunked = (_measured(way, given.chunks, in_chunks=in_chunks) for in_chunks in (False, True))
        each_us = 1e6 * (chunked.processor_s - whole.processor_s) / given.chunks
        print(f"{way.name}: {each_us:.2f} us of processor time a chunk")
        for title, cost in (("whole", whole), ("chunks", chunked)):
            print(
                f"    {title:>6}: {cost.took_s:6.2f} s, {cost.processor_s:6.2f} s of processor time, "
                f"+{cost.grown_bytes / 1e6:.1f} MB, another client waited {1000 * cost.waited_s:.0f} ms at most"
            )


def _in_chunks(count: int) -> bytes:
    return b"1\r\nA\r\n" * count + END


def _measured(way: Way, count: int, *, in_chunks: bool) -> Cost:
    """In a daemon of its own, so that memory that was used before hides nothing."""
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        server_port, proxy, datapoints = _free_ports(3)
        _started(stack, [sys.executable, str(Path(__file__).resolve()), "--serve", str(server_port)], Path(name))
        settings = {
            "device": "bench",
            "listeners": [
                {"listen": f"127.0.0.1:{proxy}", "upstream": f"http://127.0.0.1:{server_port}"},
                {"listen": f"127.0.0.1:{datapoints}", "stream": "handed-in"},
            ],
            "policy": "policy.json",
            "sink": {"type": "folder", "path": "collected"},
            "status": {"bind": None},
            "log": {"level": "error"},
        }
        (Path(name) / "framesift.yaml").write_text(yaml.safe_dump(settings))
        (Path(name) / "policy.json").write_text(POLICY)
        daemon = _started(stack, [sys.executable, "-m", "framesift", "run"], Path(name))
        for port in (server_port, proxy, datapoints):
            _wait_for(port)
        port = datapoints if way.to_datapoints else proxy
        _asked(port, way, 10, in_chunks=in_chunks)  # what is done once
        over = threading.Event()
        waited = [0.0]
        other = threading.Thread(target=_another_client, args=(port, over, waited))
        other.start()
        time.sleep(0.2)
        waited[0] = 0.0
        Path(f"/proc/{daemon.pid}/clear_refs").write_text("5")  # the peak is counted from here
        held_bytes, processor_s = _memory_bytes(daemon.pid, "VmRSS"), _processor_s(daemon.pid)
        started_s = time.perf_counter()
        _asked(port, way, count, in_chunks=in_chunks)
        took_s = time.perf_counter() - started_s
        cost = Cost(
            took_s,
            _processor_s(daemon.pid) - processor_s,
            _memory_bytes(daemon.pid, "VmHWM") - held_bytes,
            waited[0],
        )
        over.set()
        other.join()
        return cost


def _asked(port: int, way: Way, count: int, *, in_chunks: bool) -> None:
    head = f"POST {way.path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: text/plain\r\n"
    if way.by_server:
        head += f"X-Answer: {'chunks' if in_chunks else 'whole'} {count}\r\nContent-Length: 0\r\n\r\n"
        body = b""
    elif in_chunks:
        head += "Transfer-Encoding: chunked\r\n\r\n"
        body = _in_chunks(count)
    else:
        head += f"Content-Length: {count}\r\n\r\n"
        body = b"A" * count
    with socket.create_connection(("127.0.0.1", port)) as connection:
        sending = threading.Thread(target=connection.sendall, args=(head.encode() + body,))
        sending.start()
        got = bytearray()
        while some := connection.recv(1 << 20):
            got += some
        sending.join()
    assert got.startswith((b"HTTP/1.1 200", b"HTTP/1.1 415")), bytes(got[:100])
    if way.by_server:
        assert got.endswith(_in_chunks(count) if in_chunks else b"A" * count)


def _another_client(port: int, over: threading.Event, waited: list[float]) -> None:
    with socket.create_connection(("127.0.0.1", port)) as connection:
        while not over.wait(0.005):
            started_s = time.perf_counter()
            connection.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            got = b""
            while b"\r\n\r\n" not in got or not got.endswith(b"\n"):
                got += connection.recv(65536)
            waited[0] = max(waited[0], time.perf_counter() - started_s)


# -- the server


def _serve(port: int) -> None:
    with socket.create_server(("127.0.0.1", port), backlog=1024) as listening:
        while True:
            connection, _ = listening.accept()
            threading.Thread(target=_served, args=(connection,), daemon=True).start()


def _served(connection: socket.socket) -> None:
    with connection, contextlib.suppress(OSError):
        got = b""
        while some := connection.recv(1 << 18):
            got += some
            head, end, body = got.partition(b"\r\n\r\n")
            if not end:
                continue
            length = int(head.partition(b"Content-Length: ")[2].partition(b"\r\n")[0] or 0)
            count, last = len(body), body[-len(END) :]
            while last != END if b"chunked" in head else count < length:
                if not (some := connection.recv(1 << 18)):
                    return
                count, last = count + len(some), (last + some)[-len(END) :]
            connection.sendall(_answer(head))
            got = b""


def _answer(head: bytes) -> bytes:
    how, _, count = head.partition(b"X-Answer: ")[2].partition(b"\r\n")[0].partition(b" ")
    first = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"
    if how == b"chunks":
        return first + b"Transfer-Encoding: chunked\r\n\r\n" + _in_chunks(int(count))
    body = b"A" * int(count or 0) or b"\n"
    return first + b"Content-Length: %d\r\n\r\n" % len(body) + body


# -- the daemon


def _started(stack: contextlib.ExitStack, words: list[str], folder: Path) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(words, cwd=folder)

    def end() -> None:
        process.send_signal(signal.SIGTERM)
        process.wait(20)

    stack.callback(end)
    return process


def _free_ports(count: int) -> list[int]:
    places = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [place.getsockname()[1] for place in places]
    for place in places:
        place.close()
    return ports


def _wait_for(port: int) -> None:
    for _ in range(300):
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise SystemExit(f"nobody listens at port {port}")


def _processor_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * TICK_S


def _memory_bytes(pid: int, name: str) -> int:
    (line,) = (line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith(name))
    return int(line.split()[1]) * 1024


if __name__ == "__main__":
    main()
