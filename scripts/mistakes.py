"""Common mistakes, each tried with the real command: what somebody wrote, and what framesift says to it."""

from __future__ import annotations

import functools
import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from framesift import demo
from framesift.demo.scene import Street, write_video

SETTINGS = """device: gate-7
streams:
  - name: gate
    source: gate.mp4
model: {type: stub}
policy: policy.json
sink: {type: folder, path: collected}
spool: {path: spool.db, min_free_bytes: 1MiB}
status: {bind: null}
"""
POLICY = """{"enabled": true, "persist_predictions": true,
 "batching_strategy": {"batches_name_prefix": "gate", "recreation_interval": "daily"},
 "sampling_strategies": [
  {"name": "now-and-then", "type": "random", "traffic_percentage": 0.1,
   "limits": [{"type": "daily", "value": 100}]}]}
"""


# Runs the command in a folder, with variables of ours; returns what it printed to stdout and stderr.
Check = Callable[[Path, Mapping[str, str]], tuple[str, str]]
_OURS = ("FRAMESIFT_", "ROBOFLOW_", "REDIS_", "ACTIVE_LEARNING_", "GATE_")


@dataclass(frozen=True)
class Mistake:
    """What somebody did wrong.

    right, wrong: the text in the settings before and after, or in the policy where `in_policy`. files: what lies beside
    them, by name. environment: variables. policy: what is changed there too. is_taken: another program has the port.
    """

    what: str
    right: str
    wrong: str
    in_policy: bool = False
    files: Mapping[str, bytes] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    policy: tuple[str, str] | None = None
    is_taken: bool = False


def _m(what: str, right: str, wrong: str, **more: object) -> Mistake:
    return Mistake(what, right, wrong, **more)  # type: ignore[arg-type]


_SOURCE, _MODEL, _STATUS = "source: gate.mp4", "model: {type: stub}", "status: {bind: null}"
_SINK, _RANDOM = "sink: {type: folder, path: collected}", '"traffic_percentage": 0.1'
_CAMERA = "source: rtsp://10.0.0.5/s"
_ONNX, _STREET_MODEL = "model: {type: onnx, path: detector.onnx}", "model: {type: onnx, path: street.onnx}"
_STREET = {"street.onnx": Path(demo.__file__).with_name("street.onnx").read_bytes()}
_POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 10635008\n"
_LORRIES = (
    '"random", "traffic_percentage": 0.1',
    '"detections_number_based", "selected_class_names": ["lorry"], "probability": 1',
)
_SETTINGS = (
    _m("a tab in front of a key", "    source: gate.mp4", "\tsource: gate.mp4"),
    _m("a key that is indented too far", _MODEL, f"  {_MODEL}"),
    _m("a missing closing bracket", _SINK, _SINK[:-1]),
    _m("a colon without a space", "device: gate-7", "device:gate-7"),
    _m("a key twice", "policy: policy.json", "policy: policy.json\npolicy: night.json"),
    _m("a misspelt block", _SINK, _SINK.replace("sink", "sinc")),
    _m("a misspelt key of a stream", _SOURCE, "sauce: gate.mp4"),
    _m("a misspelt key of a limit", _SINK, f"{_SINK[:-1]}, limits: [{{type: daily, valu: 5}}]}}"),
    _m("a word for a number", _SOURCE, f"{_SOURCE}\n    fps: five"),
    _m("fps of 0", _SOURCE, f"{_SOURCE}\n    fps: 0"),
    _m("a size that is none", "min_free_bytes: 1MiB", "max_bytes: 2 gigs"),
    _m("a variable that is not set", _SOURCE, f"{_CAMERA}\n    password: ${{GATE_PASSWORD}}"),
    _m(
        "a file for a secret that is not there",
        *(_SOURCE, f"{_CAMERA}\n    password: ${{GATE_PASSWORD}}"),
        environment={"GATE_PASSWORD_FILE": "/run/secrets/gate"},
    ),
    _m("a policy that is not there", "policy: policy.json", "policy: polcy.json"),
    _m("a video that is not there", _SOURCE, "source: videos/gate.mp4"),
    _m("a camera's address without a host", _SOURCE, "source: rtsp:///stream1"),
    _m("a camera's address without its scheme", _SOURCE, "source: 10.0.0.5/stream1"),
    _m("a / in a password in an address", _SOURCE, "source: rtsp://viewer:pa/ss@10.0.0.5/s"),
    _m("a webcam's number as a text", _SOURCE, 'source: "0"'),
    _m("two streams of one name", _SOURCE, f"{_SOURCE}\n  - name: gate\n    {_SOURCE}"),
    _m("a snapshot of a file", _SOURCE, f"{_SOURCE}\n    snapshot: {{source: rtsp://10.0.0.5/main}}"),
    _m("an unknown type of model", _MODEL, "model: {type: yolo, path: detector.onnx}"),
    _m("a model that is not there", _MODEL, _ONNX),
    _m("a web page for a model", _MODEL, _ONNX, files={"detector.onnx": b"<!DOCTYPE html><html></html>"}),
    _m("a model that Git LFS has not loaded", _MODEL, _ONNX, files={"detector.onnx": _POINTER}),
    _m("a PyTorch file", _MODEL, "model: {type: onnx, path: best.pt}", files={"best.pt": b"PK\x03\x04archive"}),
    _m("a strategy for a class that the model lacks", _MODEL, _STREET_MODEL, files=_STREET, policy=_LORRIES),
    _m(
        "privacy for a class that the model lacks",
        *(_MODEL, f"{_STREET_MODEL}\nprivacy: {{classes: [persons]}}"),
        files=_STREET,
    ),
    _m("a sink whose folder is a file", _SINK, "sink: {type: folder, path: gate.mp4}"),
    _m("the platform without a key", _SINK, "sink: {type: roboflow, project: parking}"),
    _m("a workspace in the project's name", _SINK, "sink: {type: roboflow, project: acme/parking}"),
    _m("a spool where nothing can be kept", "path: spool.db", "path: /proc/framesift/spool.db"),
    _m("more free space than the disk has", "min_free_bytes: 1MiB", "min_free_bytes: 900TiB"),
    _m("a status page for all, without a token", _STATUS, "status: {bind: '0.0.0.0:9464'}"),
    _m("a port that another program has", _STATUS, "status: {bind: '127.0.0.1:PORT'}", is_taken=True),
    _m(
        "a listener on the status server's port",
        *(_STATUS, "status: {bind: '127.0.0.1:9464'}\nlisteners: [{listen: '127.0.0.1:9464'}]"),
    ),
    _m("a Redis address that is none", _STATUS, f"{_STATUS}\nlimits: {{redis: {{url: 'http://10.0.0.7:6379'}}}}"),
)
_POLICIES = (
    ("a policy that is a web page", POLICY, "<!DOCTYPE html>\n"),
    ("a comma too few", '"enabled": true,', '"enabled": true'),
    ("a comma too many", '"value": 100}', '"value": 100},'),
    ("an unknown strategy", '"random"', '"randomly"'),
    ("a probability in percent", _RANDOM, '"traffic_percentage": 10'),
    ("a negative probability", _RANDOM, '"traffic_percentage": -0.1'),
    ("a limit per week", '"type": "daily"', '"type": "weekly"'),
    ("a zone in pixels", _RANDOM, f'{_RANDOM}, "zones": [[[0, 0], [640, 0], [0, 1]]]'),
    ("hours after midnight", _RANDOM, f'{_RANDOM}, "hours": ["22:00-25:00"]'),
    ("an unknown time zone", '"enabled": true,', '"enabled": true, "time_zone": "Europe/Berln",'),
)
MISTAKES = (*_SETTINGS, *(_m(*texts, in_policy=True) for texts in _POLICIES))


@contextmanager
def _port(is_taken: bool) -> Iterator[int]:
    with socket.socket() as other:
        if is_taken:
            other.bind(("127.0.0.1", 0))
            other.listen()
            yield other.getsockname()[1]
        else:
            yield 0


@functools.cache
def _clip() -> bytes:
    with TemporaryDirectory() as folder:
        write_video(Street(frames=3), Path(folder) / "gate.mp4")
        return (Path(folder) / "gate.mp4").read_bytes()


def run_check(folder: Path, environment: Mapping[str, str]) -> tuple[str, str]:
    """What `framesift check --json` prints to stdout and stderr, with no other variables of ours than these."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}
    words = [sys.executable, "-m", "framesift", "check", "--json"]
    variables = {**kept, **environment}
    ran = subprocess.run(words, cwd=folder, env=variables, capture_output=True, text=True, check=False)
    return ran.stdout, ran.stderr


def said(mistake: Mistake, folder: Path, check: Check = run_check) -> str:
    """What `framesift check` says to it, in an empty folder: one line for each problem, as an operator sees them.

    check: runs the command, like `run_check`.
    """
    settings, policy = SETTINGS, POLICY
    if mistake.in_policy:
        assert mistake.right in policy, mistake.what
        policy = policy.replace(mistake.right, mistake.wrong, 1)
    else:
        assert mistake.right in settings, mistake.what
        settings = settings.replace(mistake.right, mistake.wrong, 1)
    if mistake.policy:
        policy = policy.replace(*mistake.policy)
    (folder / "gate.mp4").write_bytes(_clip())
    (folder / "policy.json").write_text(policy)
    for name, content in mistake.files.items():
        (folder / name).write_bytes(content)
    with _port(mistake.is_taken) as port:
        (folder / "framesift.yaml").write_text(settings.replace("PORT", str(port)))
        found, errors = check(folder, mistake.environment)
    lines = errors.splitlines()
    for finding in json.loads(found or "[]"):
        if finding["status"] != "ok":
            lines.append(f"{finding['name']}: {finding['message']} -> {finding['advice']}")
    text = "\n".join(lines).replace(f"{folder}/", "").replace(str(folder), ".")
    # What differs from one machine to the next.
    text = re.sub(r"[\d.]+ GiB free at [^:]*", "18.8 GiB free at /data", text).replace(f"uid {os.getuid()}", "uid 990")
    text = re.sub(r"process \d+ \([^)]*\)", "process 4711 (python)", text)
    return text.replace(f":{port}", ":9464") if port else text
