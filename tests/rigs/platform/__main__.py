"""The stand-in for the platform, by hand: try the delivery to a platform without an account.

PYTHONPATH=tests python -m rigs.platform --port 9200 --folder got --project parking:object-detection
"""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from pathlib import Path

from rigs.platform.records import Received
from rigs.platform.server import Platform

_HOW = """\
The stand-in listens at {url}, and shows what it got at {url}/stand-in

Point framesift at it in framesift.yaml:

    roboflow:
      api_key: {key}
      api_url: {url}
    sink:
      type: roboflow
      project: {project}

A project has no policy that collects anything until you push one: framesift policy push policy.json {project}

Ctrl-C ends it.
"""


def _line(received: Received) -> str:
    query = " ".join(f"{name}={value}" for name, value in received.query)
    key = "" if received.key_known else " (with no key that it knows)"
    return f"{received.status or 'cut'}  {received.method} {received.path}  {query}  {received.size_bytes} bytes{key}"


def main() -> None:
    parser = argparse.ArgumentParser(prog="rigs.platform", description="A stand-in for the labelling platform.")
    parser.add_argument("--port", type=int, default=9200, help="on 127.0.0.1; 0 for any free one (9200)")
    parser.add_argument("--folder", type=Path, help="where it writes what it gets; without one it only remembers")
    parser.add_argument("--key", default="try-me", help="the API key that it knows (try-me)")
    parser.add_argument(
        "--project", action="append", metavar="NAME:TYPE", help="a project; repeatable (parking:object-detection)"
    )
    given = parser.parse_args()

    def say(text: str) -> None:
        sys.stdout.write(text + "\n")
        sys.stdout.flush()

    projects = given.project or ["parking:object-detection"]
    ended = threading.Event()
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, lambda *_: ended.set())
    try:
        started = Platform(folder=given.folder, port=given.port, key=given.key, heard=lambda got: say(_line(got)))
    except OSError as error:
        parser.error(f"--port {given.port}: {error.strerror}")
    with started as platform:
        for project in projects:
            name, _, kind = project.partition(":")
            platform.add_project(name, kind or "object-detection", active_learning={"enabled": False})
        say(_HOW.format(url=platform.url, key=given.key, project=projects[0].partition(":")[0]))
        ended.wait()


if __name__ == "__main__":
    main()
