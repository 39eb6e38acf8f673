"""Starts the stand-in for the inference server from a shell.

PYTHONPATH=tests python -m rigs.inference --port 9001
"""

from __future__ import annotations

import argparse
import signal
import sys
import threading

from rigs.inference.server import MODELS, InferenceServer, Received

_HOW = """\
The stand-in listens at {url}; it knows {models}

Point framesift at it in framesift.yaml:

    model: {{type: inference_server, url: "{url}", model_id: boxes/1, task: object-detection}}

Ctrl-C ends it.
"""


def _line(received: Received) -> str:
    learns = "" if received.wanted is None or received.wanted.learning_disabled else " (with its own active learning)"
    return f"{received.status or 'cut'}  {received.method} {received.path}  {received.size_bytes} bytes{learns}"


def main() -> None:
    parser = argparse.ArgumentParser(prog="rigs.inference", description="A stand-in for the inference server.")
    parser.add_argument("--port", type=int, default=9001, help="on 127.0.0.1; 0 for any free one (9001)")
    parser.add_argument("--key", help="the API key that it asks for; without one it needs none")
    given = parser.parse_args()

    def say(text: str) -> None:
        sys.stdout.write(text + "\n")
        sys.stdout.flush()

    ended = threading.Event()
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, lambda *_: ended.set())
    try:
        started = InferenceServer(port=given.port, key=given.key, heard=lambda got: say(_line(got)))
    except OSError as error:
        parser.error(f"--port {given.port}: {error.strerror}")
    with started as server:
        say(_HOW.format(url=server.url, models=", ".join(MODELS)))
        ended.wait()


if __name__ == "__main__":
    main()
