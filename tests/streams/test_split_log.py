"""What FFmpeg writes about packets and about pictures that are decoded, in one log for two threads."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from framesift.streams.decoder_log import DecoderLog
from framesift.streams.snapshots.split_log import SplitLog

LOST = b"[rtsp @ 0x55d0] RTP: missed 3 packets\n"
WRONG = b"[h264 @ 0x7f10] error while decoding MB 3 2, bytestream -7\n"
ODD = b"[h264 @ 0x7f10] concealing 40 DC, 40 AC, 40 MV errors in P frame"  # without its end


@pytest.fixture
def log() -> Iterator[SplitLog]:
    file = DecoderLog.create()
    yield SplitLog(file.fileno())
    file.close()


def write(log: SplitLog, lines: bytes) -> None:
    os.write(log.fileno(), lines)


def test_each_thread_gets_its_lines_once(log: SplitLog) -> None:
    write(log, WRONG)
    assert log.take_new_lines() == WRONG  # as long as nothing is decoded
    log.split_off("h264")
    write(log, WRONG + LOST + WRONG)
    assert log.new_lines() == LOST
    assert log.take_decoder_lines() == WRONG + WRONG
    assert log.take_new_lines() == LOST
    write(log, LOST + ODD)
    assert log.take_decoder_lines() == ODD
    assert log.take_new_lines() == LOST
    assert log.take_decoder_lines() == log.take_new_lines() == b""


def test_a_mark_forgets_what_was_written_about_packets(log: SplitLog) -> None:
    log.split_off("h264")
    write(log, LOST)
    log.new_lines()
    log.mark()
    assert log.take_new_lines() == b""
    write(log, LOST)
    assert log.take_new_lines() == LOST


def test_a_log_that_nobody_looks_at_is_bounded(log: SplitLog) -> None:
    log.split_off("h264")
    for _ in range(3_000):
        write(log, WRONG + LOST)
        log.take_new_lines()
    assert os.fstat(log.fileno()).st_size < 200_000
    assert 0 < len(log.take_decoder_lines()) <= 65_536
