"""What the pass-through adds: clients call an inference server directly and through the door, by turns, in one run.

    .venv/bin/python benchmarks/pass_through.py [--requests 1000] [--clients 8] [--thinks-ms 50] [--size 640x480]

Both ways the same clients send the same pictures, each on a connection that is kept, and every answer is compared byte
for byte with what the server says to that picture. The server is a small one of this file, in a process of its own: it
thinks for a fixed time, without using a processor, and answers with a prediction that depends on the request's bytes.
The door is that of a `framesift run` in another process, with a folder as sink. Its policy accepts a tenth of what
passes; `--policy off` shows what passing alone costs. The turns are short, so that both ways meet the same weather on a
shared machine.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import http.client
import json
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from base64 import b64encode
from dataclasses import dataclass
from pathlib import Path

import cv2

from framesift.demo.scene import Street

TURNS = 10
MODEL = "street/1"


@dataclass(frozen=True, slots=True)
class Call:
    """One request that was answered."""

    took_s: float
    is_exact: bool


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=1000, help="each way")
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--thinks-ms", type=float, default=50.0)
    parser.add_argument("--size", default="640x480")
    parser.add_argument("--policy", choices=("tenth", "off"), default="tenth")
    parser.add_argument("--serve", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    width, height = map(int, given.size.split("x"))
    if given.serve is not None:
        asyncio.run(_serve(given.serve, given.thinks_ms / 1000, width, height))
        return
    bodies = _bodies(width, height)
    answers = [_answer(body, width, height) for body in bodies]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        server_port, door_port, status_port = _free_ports(3)
        serving = ["--serve", str(server_port), "--thinks-ms", str(given.thinks_ms), "--size", given.size]
        server = subprocess.Popen([sys.executable, __file__, *serving])
        daemon = _daemon(folder, given.policy, server_port, door_port, status_port)
        try:
            for port in (server_port, door_port, status_port):
                _wait_for(port)
            direct: list[Call] = []
            through: list[Call] = []
            each = max(1, given.requests // TURNS // given.clients)
            _turn(server_port, bodies, answers, given.clients, 2)  # so that neither way pays for what is done once
            _turn(door_port, bodies, answers, given.clients, 2)
            for _ in range(TURNS):
                direct += _turn(server_port, bodies, answers, given.clients, each)
                through += _turn(door_port, bodies, answers, given.clients, each)
            pictures = f"pictures of {given.size} ({len(bodies[0]) // 1024} KiB in base64)"
            thinks = f"the server thinks for {given.thinks_ms:g} ms"
            print(f"{len(direct)} requests each way, {given.clients} clients, {pictures}, {thinks}")
            _show("directly", direct)
            _show("through the door", through)
            for title, share in (("median", 0.5), ("p99", 0.99)):
                print(f"added, {title}: {1000 * (_at(through, share) - _at(direct, share)):.2f} ms")
            exact = sum(call.is_exact for call in direct), sum(call.is_exact for call in through)
            print(f"answers that are the server's own, byte for byte: {exact[0]} directly, {exact[1]} through the door")
            seen = _status(status_port)
            print(f"the door says {seen['doors']}; accepted {seen['frames_accepted']}, refused {seen['refused']}")
        finally:
            for process in (daemon, server):
                process.send_signal(signal.SIGTERM)
                process.wait(20)


def _show(way: str, calls: list[Call]) -> None:
    worst_s = max(call.took_s for call in calls)
    middle_s, p99_s = _at(calls, 0.5), _at(calls, 0.99)
    print(f"{way}: median {1000 * middle_s:.2f} ms, p99 {1000 * p99_s:.2f} ms, worst {1000 * worst_s:.2f} ms")


def _at(calls: list[Call], share: float) -> float:
    return statistics.quantiles([call.took_s for call in calls], n=1000, method="inclusive")[round(share * 1000) - 1]


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
    said = {
        "inference_id": digest.hex(),
        "time": 0.05,
        "image": {"width": width, "height": height},
        "predictions": cars,
    }
    return json.dumps(said).encode()


async def _serve(port: int, thinks_s: float, width: int, height: int) -> None:
    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = next(line for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:"))
                body = await reader.readexactly(int(length.split(b":")[1]))
                await asyncio.sleep(thinks_s)
                said = _answer(body, width, height)
                fields = f"content-type: application/json\r\ncontent-length: {len(said)}"
                writer.write(f"HTTP/1.1 200 OK\r\ndate: today\r\n{fields}\r\n\r\n".encode() + said)
                await writer.drain()
        except (asyncio.IncompleteReadError, OSError):
            writer.close()

    server = await asyncio.start_server(client, "127.0.0.1", port, limit=1 << 20)
    await server.serve_forever()


# -- the daemon


def _daemon(folder: Path, policy: str, server_port: int, door_port: int, status_port: int) -> subprocess.Popen[bytes]:
    settings = {
        "device": "bench",
        "doors": [{"listen": f"127.0.0.1:{door_port}", "upstream": f"http://127.0.0.1:{server_port}"}],
        "policy": "policy.json",
        "sink": {"type": "folder", "path": "collected"},
        "status": {"bind": f"127.0.0.1:{status_port}"},
        "log": {"level": "warning"},
    }
    tenth = {
        "enabled": True,
        "persist_predictions": True,
        "sampling_strategies": [{"name": "some", "type": "random", "traffic_percentage": 0.1}],
        "batching_strategy": {"batches_name_prefix": "bench", "recreation_interval": "never"},
    }
    (folder / "framesift.yaml").write_text(json.dumps(settings))
    (folder / "policy.json").write_text(json.dumps(tenth if policy == "tenth" else {"enabled": False}))
    return subprocess.Popen([sys.executable, "-m", "framesift", "run"], cwd=folder)


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
    told: dict[str, object] = json.loads(connection.getresponse().read())
    connection.close()
    return told


if __name__ == "__main__":
    main()
