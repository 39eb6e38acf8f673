"""What the proxy adds: clients call an inference server directly and through the proxy, by turns, in one run.

    .venv/bin/python benchmarks/proxy.py [--requests 1000] [--clients 8] [--thinks-ms 50] [--size 640x480]

Each way the same clients send the same pictures, each on a connection that is kept, and every answer is compared byte
for byte with what the server says to that picture. The server is a small one of this file, in a process of its own: it
thinks for a fixed time, without using a processor, and answers with a prediction that depends on the request's bytes.
The proxies are those of three `framesift run` in processes of their own:

    sampled     its policy accepts a tenth of what passes, into a folder
    policy off  its policy collects nothing: what passing alone costs
    full        its policy accepts all, its spool is full and refuses, and its workers wait for a platform that is away

The turns are short, so that all ways meet the same load on a shared machine; which way begins changes with each.
`--proxies sampled` measures one of them.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import hashlib
import http.client
import json
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from base64 import b64encode
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2

from framesift.demo.scene import Street

TURNS = 10
MODEL = "street/1"
TENTH = {
    "enabled": True,
    "persist_predictions": True,
    "sampling_strategies": [{"name": "some", "type": "random", "traffic_percentage": 0.1}],
    "batching_strategy": {"batches_name_prefix": "bench", "recreation_interval": "never"},
}
ALL = {**TENTH, "sampling_strategies": [{"name": "all", "type": "random", "traffic_percentage": 1.0}]}
# Nothing listens at port 9: uploads to it wait.
GONE = {
    "roboflow": {"api_key": "none", "api_url": "http://127.0.0.1:9"},
    "sink": {"type": "roboflow", "project": "street"},
    "spool": {"max_bytes": "1MiB", "min_free_bytes": "1MiB", "when_full": "refuse"},
}


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy to be measured. settings: beside those that all have."""

    name: str
    policy: dict[str, Any]
    settings: dict[str, Any]


PROXIES = (
    Proxy("sampled", TENTH, {"sink": {"type": "folder", "path": "collected"}}),
    Proxy("policy off", {"enabled": False}, {"sink": {"type": "folder", "path": "collected"}}),
    Proxy("full", ALL, GONE),
)


@dataclass(frozen=True, slots=True)
class Call:
    """One request that was answered."""

    took_s: float
    is_exact: bool


def main() -> None:
    """Measure all ways by turns, and print what each adds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=1000, help="each way")
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--thinks-ms", type=float, default=50.0)
    parser.add_argument("--size", default="640x480")
    parser.add_argument("--proxies", nargs="+", choices=[proxy.name for proxy in PROXIES], help="which of them (all)")
    parser.add_argument("--serve", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    width, height = map(int, given.size.split("x"))
    if given.serve is not None:
        asyncio.run(_serve(given.serve, given.thinks_ms / 1000, width, height))
        return
    bodies = _bodies(width, height)
    answers = [_answer(body, width, height) for body in bodies]
    proxies = [proxy for proxy in PROXIES if given.proxies is None or proxy.name in given.proxies]
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        server_port, *free = _free_ports(1 + 2 * len(proxies))
        serving = ["--serve", str(server_port), "--thinks-ms", str(given.thinks_ms), "--size", given.size]
        _started(stack, [sys.executable, str(Path(__file__).resolve()), *serving], Path(name))
        ways = {"directly": server_port}
        windows: dict[str, int] = {}
        for proxy in proxies:
            ways[proxy.name], windows[proxy.name] = free.pop(), free.pop()
            folder = Path(name) / proxy.name.replace(" ", "-")
            _configured(folder, proxy, server_port, ways[proxy.name], windows[proxy.name])
            _started(stack, [sys.executable, "-m", "framesift", "run"], folder)
        for port in (*ways.values(), *windows.values()):
            _wait_for(port)
        calls: dict[str, list[Call]] = {way: [] for way in ways}
        each = max(1, -(-given.requests // (TURNS * given.clients)))
        for port in ways.values():  # so that no way pays for what is done once
            _turn(port, bodies, answers, given.clients, 2)
        for turn in range(TURNS):
            order = list(ways)
            for way in (*order[turn % len(order) :], *order[: turn % len(order)]):
                calls[way] += _turn(ways[way], bodies, answers, given.clients, each)
        pictures = f"pictures of {given.size} ({len(bodies[0]) // 1024} KiB in base64)"
        thinks = f"the server thinks for {given.thinks_ms:g} ms"
        print(f"{len(calls['directly'])} requests each way, {given.clients} clients, {pictures}, {thinks}")
        for way, made in calls.items():
            _show(way, made, calls["directly"])
        for way, window in windows.items():
            seen = _status(window)
            print(f"{way}: {seen['listeners']}; accepted {seen['frames_accepted']}, refused {seen['refused']}")


def _show(way: str, calls: list[Call], direct: list[Call]) -> None:
    exact = sum(call.is_exact for call in calls)
    parts = []
    for title, share in (("median", 0.5), ("p99", 0.99), ("worst", 1.0)):
        took_ms, more_ms = 1000 * _at(calls, share), 1000 * (_at(calls, share) - _at(direct, share))
        parts.append(f"{title} {took_ms:.1f} ms" + ("" if calls is direct else f" ({more_ms:+.1f})"))
    print(f"{way:>10}: {', '.join(parts)}; {exact} answers are the server's own, byte for byte")


def _at(calls: list[Call], share: float) -> float:
    in_order = sorted(call.took_s for call in calls)
    return in_order[min(len(in_order) - 1, int(share * len(in_order)))]


# -- the clients


def _turn(port: int, bodies: list[bytes], answers: list[bytes], clients: int, each: int) -> list[Call]:
    calls: list[Call] = []
    begin = threading.Barrier(clients)
    threads = [
        threading.Thread(target=_client, args=(port, bodies, answers, number, each, begin, calls))
        for number in range(clients)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(calls) == clients * each, "a request was not answered"
    return calls


def _client(
    port: int,
    bodies: list[bytes],
    answers: list[bytes],
    number: int,
    each: int,
    begin: threading.Barrier,
    calls: list[Call],
) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.connect()
    connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    begin.wait()
    for turn in range(each):
        which = (number + turn) % len(bodies)
        started_s = time.perf_counter()
        connection.request("POST", f"/{MODEL}?api_key=none", bodies[which], {"Content-Type": "application/json"})
        response = connection.getresponse()
        content = response.read()
        took_s = time.perf_counter() - started_s
        calls.append(Call(took_s, response.status == 200 and content == answers[which]))
    connection.close()


def _bodies(width: int, height: int) -> list[bytes]:
    street = Street(width=width, height=height)
    made = []
    for number in range(16):
        done, jpeg = cv2.imencode(".jpg", street.render(number), [cv2.IMWRITE_JPEG_QUALITY, 95])
        assert done
        made.append(b64encode(jpeg.tobytes()))
    return made


# -- the server


def _answer(body: bytes, width: int, height: int) -> bytes:
    """A prediction for a picture of that size, another one for each body."""
    digest = hashlib.sha256(body).digest()
    cars = [
        {
            "x": width / 2,
            "y": height / 2,
            "width": 1.0 + digest[number],
            "height": 1.0 + digest[number + 8],
            "confidence": digest[number + 16] / 255,
            "class": "car",
            "class_id": 0,
        }
        for number in range(8)
    ]
    answer = {
        "inference_id": digest.hex(),
        "time": 0.05,
        "image": {"width": width, "height": height},
        "predictions": cars,
    }
    return json.dumps(answer).encode()


async def _serve(port: int, thinks_s: float, width: int, height: int) -> None:
    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = next(line for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:"))
                body = await reader.readexactly(int(length.split(b":")[1]))
                await asyncio.sleep(thinks_s)
                content = _answer(body, width, height)
                fields = f"content-type: application/json\r\ncontent-length: {len(content)}"
                writer.write(f"HTTP/1.1 200 OK\r\ndate: today\r\n{fields}\r\n\r\n".encode() + content)
                await writer.drain()
        except (asyncio.IncompleteReadError, OSError):
            writer.close()

    server = await asyncio.start_server(client, "127.0.0.1", port, limit=1 << 20)
    await server.serve_forever()


# -- the daemon


def _configured(folder: Path, proxy: Proxy, server_port: int, port: int, window: int) -> None:
    settings = {
        "device": "bench",
        "listeners": [{"listen": f"127.0.0.1:{port}", "upstream": f"http://127.0.0.1:{server_port}"}],
        "policy": "policy.json",
        "status": {"bind": f"127.0.0.1:{window}"},
        "log": {"level": "error"},
        **proxy.settings,
    }
    folder.mkdir()
    (folder / "framesift.yaml").write_text(json.dumps(settings))
    (folder / "policy.json").write_text(json.dumps(proxy.policy))


def _started(stack: contextlib.ExitStack, words: list[str], folder: Path) -> None:
    process = subprocess.Popen(words, cwd=folder)

    def end() -> None:
        process.send_signal(signal.SIGTERM)
        process.wait(20)

    stack.callback(end)


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


def _status(port: int) -> dict[str, object]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", "/status")
    status: dict[str, object] = json.loads(connection.getresponse().read())
    connection.close()
    return status


if __name__ == "__main__":
    main()
