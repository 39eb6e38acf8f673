"""Daemons in which something hangs, one kind each: for tests and measurements of how they stop.

    with hanging("platform answer", folder) as hangs, Daemon(folder) as daemon:
        hangs.wait_until_it_hangs(daemon)

`folder` needs a `clip.mp4`; `hanging` writes the settings. The platform, the inference server, the Redis server, the
camera, the model and the sink hang; `reader` is a reader process that a signal has stopped.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

from canaries import KEY
from rigs.daemon import Daemon, children, unhurried, write_configuration
from rigs.hanging_server import HangingServer, HangsAt
from rigs.redis_server import RedisServer

KINDS = (
    *(f"platform {step}" for step in get_args(HangsAt)),
    "model",
    "sink",
    "inference server",
    "redis",
    "camera",
    "reader",
    "client",
    "upstream",
)
_HANGING_MODEL = """
import threading
def make():
    def predict(_):
        open('hangs', 'w').close()
        threading.Event().wait()
    return predict
"""
_HANGING_SINK = """
import threading
FRAMESIFT_EXTEND = 1
class Sink:
    def deliver(self, delivery, *, now_s, within_s):
        open('hangs', 'w').close()
        threading.Event().wait()
    def close(self):
        pass
"""


@dataclass
class Hanging:
    """What hangs. seen: whether it hangs already. begin: makes it hang, once the daemon works."""

    folder: Path
    seen: Callable[[], bool] = lambda: True
    begin: Callable[[Daemon], None] = lambda _daemon: None
    settings: dict[str, Any] = field(default_factory=dict)

    def wait_until_it_hangs(self, daemon: Daemon) -> None:
        daemon.wait_for("ready", 60.0)
        if self.settings.get("streams"):
            assert daemon.until(lambda: self.seen() or _is_running(daemon), 30.0)
        self.begin(daemon)
        assert daemon.until(self.seen, 30.0), f"it does not hang; the daemon logged {daemon.events} {daemon.stray}"


def _is_running(daemon: Daemon) -> bool:
    return any(line["event"] == "stream" and line.get("state") == "running" for line in daemon.events)


@contextlib.contextmanager
def hanging(kind: str, folder: Path) -> Iterator[Hanging]:
    """Write the settings of a daemon in which this hangs; what it needs lives until the end of the block."""
    streams = [{"name": "gate", "source": "clip.mp4", "loop": True, "pace": "realtime"}]
    settings: dict[str, Any] = {"streams": streams, "model": unhurried(folder)}
    hangs = Hanging(folder, settings=settings)
    with contextlib.ExitStack() as stack:
        what, _, step = kind.partition(" ")
        if what == "platform":
            server = stack.enter_context(HangingServer(step))  # type: ignore[arg-type]
            settings["roboflow"] = {"api_key": KEY, "api_url": server.url}
            settings["sink"] = {"type": "roboflow", "project": "street"}
            settings["upload"] = {"workers": 4}
            hangs.seen = lambda: server.hangs
        elif kind in ("model", "sink"):
            text = _HANGING_MODEL if kind == "model" else _HANGING_SINK
            (folder / "hanging_code.py").write_text(text)
            settings[kind] = {
                "type": "python",
                "factory": f"hanging_code:{'make' if kind == 'model' else 'Sink'}",
                "path": ".",
            }
            hangs.seen = (folder / "hangs").exists
        elif kind == "inference server":
            server = stack.enter_context(HangingServer("answer"))
            settings["model"] = {
                "type": "inference_server",
                "url": server.url,
                "model_id": "street/1",
                "timeout_s": 20,
                "task": "object-detection",
            }
            hangs.seen = lambda: server.hangs
        elif kind == "redis":
            redis = RedisServer(folder)
            redis.start()
            stack.callback(redis.stop)
            settings["limits"] = {"redis": {"url": f"redis://127.0.0.1:{redis.port}/0"}}
            hangs.begin = lambda _daemon: redis.freeze()
        elif kind == "camera":
            server = stack.enter_context(HangingServer("answer"))
            settings["streams"] = [{"name": "gate", "source": f"rtsp://{server.address}/1", "open_timeout_s": 60}]
            hangs.seen = lambda: server.hangs
        elif kind == "reader":
            hangs.begin = _stop_readers
        elif kind in ("client", "upstream"):
            server = stack.enter_context(HangingServer("answer"))
            listen = _free_address()
            proxy = {"listen": listen, "type": "proxy", "upstream": server.url}
            settings["listeners"] = [proxy if kind == "upstream" else {"listen": listen}]
            hangs.begin = lambda _daemon: _begin_request(stack, listen)
            hangs.seen = lambda: kind == "client" or server.hangs
        else:
            raise ValueError(f"nothing hangs in this way: {kind}")
        write_configuration(folder, settings)
        yield hangs


def _begin_request(stack: contextlib.ExitStack, address: str) -> None:
    """A request to a listener: all of it for a proxy, less than its body for another."""
    host, _, port = address.partition(":")
    client = stack.enter_context(socket.create_connection((host, int(port))))
    client.sendall(b"POST /v1/frames/gate HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 10\r\n\r\n{}")


def _free_address() -> str:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return f"127.0.0.1:{free.getsockname()[1]}"


def reader_pids(pid: int) -> list[int]:
    """The reader processes of a daemon: the children of its child, the template."""
    return [reader for template in children(pid) for reader in children(template)]


def _stop_readers(daemon: Daemon) -> None:
    for reader in reader_pids(daemon.process.pid):
        os.kill(reader, signal.SIGSTOP)
