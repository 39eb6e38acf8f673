"""Why a source gives no pictures: real servers that fail in one way each, and what both engines say of them."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Callable
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from framesift.clock.clock import SystemClock
from framesift.service.reports import StreamReports
from framesift.settings import LogSettings
from framesift.streams import StreamEvent, StreamLost, StreamState
from framesift.streams.away_reasons import AwayReason
from framesift.telemetry import Telemetry
from rigs.daemon import framesift, write_configuration
from rigs.rtsp import reserved_port
from rigs.scripted_camera import AUDIO, NOTHING, ScriptedCamera
from rigs.stream_reader import RecordedStream

Opened = Callable[[ExitStack], str]


def scripted(**options: Any) -> Opened:
    return lambda stack: stack.enter_context(ScriptedCamera(**options)).url


def nobody_listens(stack: ExitStack) -> str:
    return f"rtsp://127.0.0.1:{stack.enter_context(reserved_port()).getsockname()[1]}/live"


class SilentHandler(BaseHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:  # the library's own name
        """Not on stderr."""


def web_server(stack: ExitStack) -> str:
    server = ThreadingHTTPServer(("127.0.0.1", 0), SilentHandler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    stack.callback(thread.join)
    stack.callback(server.shutdown)
    return f"rtsp://127.0.0.1:{server.server_address[1]}/live"


# What fails, the reason, and whether OpenCV sees it too: it hides FFmpeg's error codes and most of its lines.
FAILURES: dict[str, tuple[Opened, AwayReason, bool]] = {
    "nobody listens": (nobody_listens, AwayReason.REFUSED, True),
    "no network leads there": (lambda _: "rtsp://255.255.255.255/live", AwayReason.NO_ROUTE, True),
    "its name is unknown": (lambda _: "rtsp://camera.invalid/live", AwayReason.NAME_UNKNOWN, True),
    "it accepts and says nothing": (scripted(speaks=False), AwayReason.SILENT, True),
    "it plays and sends nothing": (scripted(), AwayReason.SILENT, True),
    "it wants credentials": (scripted(credentials="a:b"), AwayReason.UNAUTHORIZED, True),
    "it wants credentials by digest": (scripted(credentials="a:b", digest=True), AwayReason.UNAUTHORIZED, True),
    "this user may not": (scripted(answers={"DESCRIBE": "403 Forbidden"}), AwayReason.FORBIDDEN, True),
    "it has no such stream": (scripted(answers={"DESCRIBE": "404 Not Found"}), AwayReason.NOT_FOUND, True),
    "it has enough viewers": (scripted(answers={"SETUP": "453 Not Enough Bandwidth"}), AwayReason.BUSY, True),
    "it is overloaded": (scripted(answers={"DESCRIBE": "503 Service Unavailable"}), AwayReason.BUSY, True),
    "it has a fault": (scripted(answers={"DESCRIBE": "500 Internal Server Error"}), AwayReason.SERVER_ERROR, True),
    "it wants another method": (
        scripted(answers={"DESCRIBE": "405 Method Not Allowed"}),
        AwayReason.SERVER_ERROR,
        True,
    ),
    "it has audio only": (scripted(media=AUDIO), AwayReason.NO_VIDEO, True),
    "it has nothing": (scripted(media=NOTHING), AwayReason.NO_VIDEO, False),
    "it sends garbage": (scripted(speaks=bytes(range(256)) * 20), AwayReason.WRONG_PROTOCOL, False),
    "it is a web server": (web_server, AwayReason.WRONG_PROTOCOL, False),
}


@pytest.mark.parametrize("failure", FAILURES)
def test_each_way_to_fail_has_its_reason(failure: str) -> None:
    opened, reason, _ = FAILURES[failure]
    with ExitStack() as stack:
        watched = RecordedStream(source=opened(stack), open_timeout_s=1.5, read_timeout_s=1.5)
        with pytest.raises(StreamLost) as lost:
            watched.stream.first_frame(15.0)
    assert lost.value.reason is reason, str(lost.value)
    assert str(lost.value).startswith("rtsp://")


@pytest.mark.parametrize("failure", [name for name, (_, _, seen) in FAILURES.items() if seen])
def test_opencv_has_the_same_reasons_from_the_lines_of_its_ffmpeg(failure: str) -> None:
    opened, reason, _ = FAILURES[failure]
    with ExitStack() as stack:
        watched = RecordedStream(source=opened(stack), engine="opencv", open_timeout_s=1.5, read_timeout_s=1.5)
        with pytest.raises(StreamLost) as lost:
            watched.stream.first_frame(15.0)
    assert lost.value.reason is reason, str(lost.value)


def text(folder: Path) -> Path:
    path = folder / "text.mp4"
    path.write_text("this is no video\n" * 100)
    return path


FILES: dict[str, tuple[Callable[[Path], Path], AwayReason]] = {
    "not there": (lambda folder: folder / "none.mp4", AwayReason.NO_FILE),
    "not a video": (text, AwayReason.DECODER),
}


@pytest.mark.parametrize("engine", ["av", "opencv"])
@pytest.mark.parametrize("file", FILES)
def test_a_file_that_can_not_be_read_has_its_reason(file: str, engine: str, tmp_path: Path) -> None:
    make, reason = FILES[file]
    with pytest.raises(StreamLost) as lost:
        next(RecordedStream(source=str(make(tmp_path)), engine=engine).stream.frames())
    assert lost.value.reason is reason, str(lost.value)


def test_a_reason_has_a_meaning_and_an_advice_each_and_no_two_the_same() -> None:
    assert len({reason.meaning for reason in AwayReason}) == len({reason.advice for reason in AwayReason})
    assert len({reason.meaning for reason in AwayReason}) == len(AwayReason)


def test_the_documentation_has_the_reasons_with_their_words() -> None:
    rows = [f"| `{reason}` | {reason.meaning} | {reason.advice} |" for reason in AwayReason]
    lines = (Path(__file__).parents[2] / "docs" / "operating.md").read_text().splitlines()
    first = lines.index(rows[0])
    assert lines[first : first + len(rows) + 1] == [*rows, ""]


def test_a_camera_that_stays_away_for_another_reason_says_so_and_each_reason_once() -> None:
    out = io.StringIO()
    telemetry = Telemetry(SystemClock(), LogSettings(), out=out)
    reports = StreamReports(telemetry, "gate")
    reports.on_event(StreamEvent("gate", StreamState.LOST, "rtsp: gone", AwayReason.ENDED))
    for _ in range(3):
        for reason in (AwayReason.REFUSED, AwayReason.UNAUTHORIZED):
            reports.on_reason(StreamEvent("gate", StreamState.LOST, f"rtsp: {reason.meaning}", reason))
    lines = [json.loads(line) for line in out.getvalue().splitlines()]
    assert [line["event"] for line in lines] == ["stream", "health", "health"]
    assert (lines[0]["reason"], lines[0]["advice"]) == ("ended", AwayReason.ENDED.advice)
    assert AwayReason.REFUSED.advice in lines[1]["why"]
    assert AwayReason.UNAUTHORIZED.advice in lines[2]["why"]
    [gate] = telemetry.report().streams
    assert gate.away is not None
    assert (gate.away.reason, gate.away.advice) == ("unauthorized", AwayReason.UNAUTHORIZED.advice)
    metrics = telemetry.metrics_text().decode()
    assert 'framesift_stream_away{reason="unauthorized",stream="gate"} 1.0' in metrics
    assert 'framesift_stream_away{reason="refused",stream="gate"} 0.0' in metrics
    reports.on_event(StreamEvent("gate", StreamState.RUNNING, "pictures of 320 x 192"))
    assert telemetry.report().streams[0].away is None
    assert 'framesift_stream_away{reason="unauthorized",stream="gate"} 0.0' in telemetry.metrics_text().decode()


def test_check_says_what_to_do_about_each_and_asks_no_password_of_a_webcam_that_is_not_there(tmp_path: Path) -> None:
    with ExitStack() as stack:
        streams = [
            {"name": "desk", "source": 63},
            {"name": "gate", "source": nobody_listens(stack)},
            {"name": "yard", "source": scripted(credentials="viewer:right")(stack)},
        ]
        write_configuration(tmp_path, {"streams": streams})
        checked = framesift(tmp_path, "check", COLUMNS="300")
    assert checked.returncode == 1
    _, desk, gate, yard = checked.stdout.split("stream ", 4)[:4]
    assert AwayReason.NO_DEVICE.advice in desk
    assert "password" not in desk
    assert AwayReason.REFUSED.advice in gate
    assert AwayReason.UNAUTHORIZED.advice in yard
