"""Whatever happens to the main stream or its process, no frame waits longer than it said, and snapshots come back."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from framesift.streams import StreamState
from framesift.streams.away_reasons import AwayReason
from framesift.streams.snapshots.ticket import SkewMeasure, SnapshotMissed, SnapshotMissReason, SnapshotPicture
from rigs.footage import numbered_clip, read_number
from rigs.rtp_faults import RtpFaults
from rigs.rtsp import CuttableConnection
from rigs.scripted_camera import ScriptedCamera, rtp_payloads
from rigs.stream_reader import has_exited, reader_pids
from rigs.two_streams import Snapshots, TwoStreams, numbers_apart
from rigs.web_camera import WebCamera, hls_segments

Missed = SnapshotMissReason


@pytest.fixture(scope="module")
def camera(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TwoStreams]:
    with TwoStreams(tmp_path_factory.mktemp("scene")) as camera:
        yield camera


def through(camera: TwoStreams, wire: CuttableConnection, **options: Any) -> Snapshots:
    return Snapshots(camera.sub.url, f"rtsp://127.0.0.1:{wire.port}/live", **options)


def test_a_main_stream_that_is_away_is_said_at_once_and_comes_back(camera: TwoStreams) -> None:
    wire = CuttableConnection(camera.main.port)
    with wire, through(camera, wire) as reading:
        wire.unplug()
        lost = reading.until(StreamState.LOST)
        assert lost.reason in (AwayReason.REFUSED, AwayReason.ENDED)
        frame = reading.frame()
        ticket = reading.request(frame)
        assert ticket.is_answered
        answer = ticket.wait()
        assert isinstance(answer, SnapshotMissed)
        assert answer.reason is Missed.AWAY
        assert f"127.0.0.1:{wire.port}" in answer.detail
        wire.plug()
        reading.until(StreamState.RUNNING)
        assert reading.snapshot(reading.frame()).width == 640


def test_nothing_stays_behind_when_the_connection_is_cut_again_and_again(camera: TwoStreams) -> None:
    wire = CuttableConnection(camera.main.port)
    with wire, through(camera, wire) as reading:
        used = []
        for times in range(1, 4):
            reading.until(StreamState.RUNNING, times)
            reading.snapshot(reading.frame()).release()
            used.append((descriptors(), threading.active_count(), len(reader_pids(reading.main_name))))
            wire.cut(reset=times % 2 == 0)
            reading.until(StreamState.LOST, times)
        assert used[1:] == used[:1] * 2


def descriptors() -> int:
    """How many the keeper's side of this process has; the rigs' own sockets are left out."""
    links = (link for fd in Path("/proc/self/fd").iterdir() if (link := _link(fd)))
    return sum("framesift" in link for link in links)


def _link(fd: Path) -> str:
    try:
        return str(fd.readlink())
    except OSError:
        return ""


def test_a_main_stream_that_hangs_keeps_a_frame_until_its_deadline_and_is_lost_then(camera: TwoStreams) -> None:
    wire = CuttableConnection(camera.main.port)
    with wire, through(camera, wire, read_timeout_s=1.5) as reading:
        reading.until(StreamState.RUNNING)
        reading.snapshot(reading.frame()).release()
        wire.stall()
        frame = reading.frame()
        while isinstance(answer := reading.request(frame, 0.4).wait(), SnapshotPicture):  # what had come before
            frame = reading.frame()
        assert answer.reason in (Missed.NO_PICTURE, Missed.AWAY)
        assert reading.until(StreamState.LOST).reason is AwayReason.SILENT
        assert reading.missed(frame).reason is Missed.AWAY
        wire.resume()
        reading.until(StreamState.RUNNING, 2)
        reading.snapshot(reading.frame()).release()


def test_a_process_that_hangs_is_replaced(camera: TwoStreams) -> None:
    with Snapshots(camera.sub.url, camera.main.url) as reading:
        reading.until(StreamState.RUNNING)
        frame = reading.frame()
        pid = reading.keeper_pid()
        os.kill(pid, signal.SIGSTOP)
        tickets = [reading.request(frame, 0.3) for _ in range(40)]
        assert {ticket.is_answered for ticket in tickets[:32]} == {False}
        assert tickets[-1].wait() == SnapshotMissed(Missed.NO_PICTURE, "too many requests have no answer yet")
        assert tickets[0].wait() == SnapshotMissed(Missed.NO_PICTURE, "no answer came in time")
        lost = reading.until(StreamState.LOST)
        assert lost.reason is AwayReason.SILENT
        assert lost.detail.endswith("the process that keeps its packets does not answer")
        assert has_exited(pid)
        reading.until(StreamState.RUNNING, 2)
        assert reading.keeper_pid() != pid
        reading.snapshot(reading.frame()).release()


def test_who_waits_for_a_process_that_dies_hears_it_at_once(camera: TwoStreams) -> None:
    wire = CuttableConnection(camera.main.port)
    with wire, through(camera, wire) as reading:
        reading.until(StreamState.RUNNING)
        pid = reading.keeper_pid()
        os.kill(pid, signal.SIGSTOP)  # so that it answers nothing before
        ticket = reading.request(reading.frame(), 600.0)
        assert not ticket.is_answered
        os.kill(pid, signal.SIGKILL)
        answer = ticket.wait()
        assert isinstance(answer, SnapshotMissed)
        assert answer.reason is Missed.AWAY
        reading.until(StreamState.RUNNING, 2)


def test_who_waits_when_it_is_stopped_hears_it_at_once(camera: TwoStreams) -> None:
    with Snapshots(camera.sub.url, camera.main.url) as reading:
        reading.until(StreamState.RUNNING)
        pid = reading.keeper_pid()
        os.kill(pid, signal.SIGSTOP)
        ticket = reading.request(reading.frame(), 600.0)
        assert reading.source.stop(10.0)
        answer = ticket.wait()
        assert isinstance(answer, SnapshotMissed)
        assert answer.reason is Missed.AWAY
        assert has_exited(pid)
        assert reading.missed(reading.frame()).reason is Missed.AWAY


def answers_over(reading: Snapshots, pictures: int, faults: RtpFaults, hit: Callable[[], None]) -> list[SnapshotMissed]:
    """What was missed over so many frames, of which the 30th is hit, until there are snapshots again."""
    missed: list[SnapshotMissed] = []
    for number in range(pictures):
        if number == 30:
            hit()
        frame = reading.frame()
        answer = reading.request(frame).wait()
        if isinstance(answer, SnapshotMissed):
            missed.append(answer)
            continue
        assert abs(numbers_apart(answer, frame)) <= 1
        if missed:
            break
    else:
        raise AssertionError(f"no snapshot came again after {faults.hit} packets were hit: {missed}")
    return missed


def test_behind_lost_packets_there_is_no_snapshot_until_the_next_key_frame(camera: TwoStreams) -> None:
    faults = RtpFaults()
    wire = CuttableConnection(camera.main.port, faults=faults)
    with wire, through(camera, wire) as reading:
        reading.until(StreamState.RUNNING)
        missed = answers_over(reading, 120, faults, lambda: faults.lose(1))
        assert {one.reason for one in missed} == {Missed.DAMAGED}
        assert all("RTP: missed 1 packets" in one.detail for one in missed)


def test_a_picture_whose_bytes_are_wrong_is_found_when_it_is_decoded(camera: TwoStreams) -> None:
    faults = RtpFaults()
    wire = CuttableConnection(camera.main.port, faults=faults)
    with wire, through(camera, wire) as reading:
        reading.until(StreamState.RUNNING)
        missed = answers_over(reading, 120, faults, lambda: faults.corrupt(5))
        assert {one.reason for one in missed} <= {Missed.DAMAGED, Missed.DECODER}
        assert not any("RTP" in one.detail for one in missed)


def test_too_far_from_its_key_frame_there_is_no_snapshot(camera: TwoStreams) -> None:
    with Snapshots(camera.sub.url, camera.main.url, snapshot={"max_decode_frames": 12}) as reading:
        reading.until(StreamState.RUNNING)
        found = set()
        for _ in range(100):
            answer = reading.request(reading.frame()).wait()
            found.add(None if isinstance(answer, SnapshotPicture) else answer.reason)
            if len(found) == 2:
                break
        assert found == {None, Missed.GROUP_TOO_LONG}


def test_a_main_stream_over_udp_where_the_camera_offers_nothing_else(camera: TwoStreams, tmp_path: Path) -> None:
    clip = numbered_clip(tmp_path / "clip.mp4", 50)
    main = ScriptedCamera(pictures=rtp_payloads(clip), transport="udp")
    with main, Snapshots(camera.sub.url, main.url) as reading:
        reading.until(StreamState.RUNNING)
        reading.snapshot(reading.frame()).release()
        assert reading.transports == ["udp"]
        main.hang_up()
        reading.until(StreamState.RUNNING, 2)
        assert main.set_ups == ["tcp", "udp", "udp"]


def test_mjpeg_over_http_is_a_main_stream_and_hls_is_none(camera: TwoStreams, tmp_path: Path) -> None:
    clip = numbered_clip(tmp_path / "clip.mp4", 100)
    with WebCamera(hls_segments(clip, tmp_path / "parts")) as web:
        with Snapshots(camera.sub.url, f"{web.url}/video.mjpg") as reading:
            reading.until(StreamState.RUNNING)
            snapshot = reading.snapshot(reading.frame())
            assert read_number(snapshot.pixels) >= 0
            assert snapshot.measured_by is SkewMeasure.ARRIVAL
        with Snapshots(camera.sub.url, f"{web.url}/live.m3u8") as reading:
            lost = reading.until(StreamState.LOST)
            assert lost.reason is AwayReason.UNUSABLE
            assert "take an RTSP stream" in lost.detail


def test_a_main_stream_that_is_slow_keeps_a_frame_until_its_deadline(tmp_path: Path) -> None:
    camera = TwoStreams(tmp_path, late_s=2.0)
    with camera, Snapshots(camera.sub.url, camera.main.url) as reading:
        reading.until(StreamState.RUNNING)
        frame = reading.frame()
        assert reading.missed(frame, 0.3).reason is Missed.NO_PICTURE
        assert abs(numbers_apart(reading.snapshot(frame, 30.0), frame)) <= 1


def test_neither_the_process_nor_a_message_shows_a_password(camera: TwoStreams) -> None:
    wire = CuttableConnection(camera.main.port, credentials="viewer:geheimnis")
    with wire, through(camera, wire, username="viewer", password="geheimnis") as reading:
        reading.until(StreamState.RUNNING)
        arguments = Path(f"/proc/{reading.keeper_pid()}/cmdline").read_bytes()
        assert b"geheimnis" not in arguments
        assert b"geheimnis" not in Path(f"/proc/{reading.keeper_pid()}/environ").read_bytes()
        wire.require("viewer:anderes")
        wire.cut()
        reading.until(StreamState.LOST)
        detail = reading.missed(reading.frame()).detail
        assert "geheimnis" not in detail + reading.source.detail + repr(reading.events)
