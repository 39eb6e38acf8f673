"""near_duplicate's scope: with `all`, a frame is compared with what any stream of the device accepted."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from clocks import ManualClock
from framesift.decisions.decision import SimilarFrame
from framesift.frame import Frame, Pixels, RefusalReason
from framesift.policy.policy import Policy, parse
from framesift.sampling.accepted_frames import AcceptedFrames
from framesift.sampling.admission import Admission
from framesift.sampling.candidates import CollectionOrigin
from framesift.sampling.dry_run import DryRun
from framesift.sampling.frame_memories import FrameMemories
from framesift.sampling.intake import Intake
from framesift.sampling.recorder import format_signature
from framesift.service.alike_recorder import STORE_EVERY_S, AlikeRecorder
from framesift.spool.admin import list_alike
from framesift.strategies import NearDuplicateOptions
from framesift.strategies.near_duplicate import RememberedFrame, signature
from framesift.streams.snapshots.ticket import SnapshotMissed, SnapshotMissReason, SnapshotTicket
from framesift.telemetry import Telemetry
from rigs.spools import make_spool
from sampling_data import objects

SOON_S = 20.0


@dataclass(frozen=True)
class _Style:
    format: str = "json"
    level: str = "error"


def policy(near_duplicate: dict[str, Any] | None = None, **fields: Any) -> Policy:
    whole = {
        "enabled": True,
        "persist_predictions": True,
        "batching_strategy": {"batches_name_prefix": "al", "recreation_interval": "never"},
        "sampling_strategies": [{"name": "all", "type": "random", "traffic_percentage": 1}],
        "near_duplicate": near_duplicate,
        **fields,
    }
    return parse(json.dumps(whole), "policy.json")


def everywhere(**more: Any) -> Policy:
    return policy({"threshold": 0.05, "memory": 8, "scope": "all", **more})


ONE_STREAM = policy({"threshold": 0.05, "memory": 8})


def scene(column: int) -> Pixels:
    """A grey picture with one white column of sixteen: any two of them are 2/16 apart."""
    picture = np.full((24, 32, 3), 100, np.uint8)
    picture[:, 2 * column : 2 * column + 2] = 255
    return picture


class HeldTickets:
    """Snapshots that come when the test says so."""

    wait_s = 1000.0

    def __init__(self, clock: ManualClock) -> None:
        self._clock = clock
        self.given: list[SnapshotTicket] = []

    def request(self, frame: Frame, *, deadline_s: float) -> SnapshotTicket:  # noqa: ARG002
        self.given.append(SnapshotTicket(self._clock, deadline_s))
        return self.given[-1]

    def close(self) -> None:
        for ticket in self.given:
            ticket.answer(SnapshotMissed(SnapshotMissReason.AWAY))


class Device:
    """A device with a spool, and what its streams share."""

    def __init__(self, folder: Path) -> None:
        self.clock = ManualClock()
        self.spool = make_spool(folder, self.clock)
        self.spool.open()
        self.accepted = AcceptedFrames()
        self.telemetry = Telemetry(self.clock, _Style(), out=io.StringIO())
        self.stored = threading.Semaphore(0)

    def intake(self, stream: str, what: Policy, *, memory: str = "", snapshots: HeldTickets | None = None) -> Intake:
        return Intake(
            stream,
            CollectionOrigin("gate-7", (), (), seed=0, memory=memory),
            policy=what,
            accepted=self.accepted,
            admission=Admission(self.spool, self.clock),
            telemetry=self.telemetry,
            on_accepted=self.stored.release,
            snapshots=snapshots,
        )

    def offer(self, intake: Intake, pixels: Pixels) -> str | None:
        """Why the frame is refused, None if it is not."""
        refusal = intake.offer(Frame("it", 0, pixels, self.clock.now()), objects()).refusal
        return None if refusal is None else refusal.value

    def close(self) -> None:
        self.spool.close(5.0)
        self.telemetry.close()


@pytest.fixture
def device(tmp_path: Path) -> Iterator[Device]:
    device = Device(tmp_path)
    yield device
    device.close()


def test_what_one_stream_accepted_is_a_near_duplicate_on_another(device: Device) -> None:
    gate, yard = (device.intake(name, everywhere()) for name in ("gate", "yard"))
    assert device.offer(gate, scene(3)) is None
    assert device.offer(yard, scene(3)) == "near_duplicate"
    assert device.offer(yard, scene(4)) is None
    assert device.offer(gate, scene(4)) == "near_duplicate"


def test_a_stream_whose_own_policy_does_not_ask_adds_what_it_accepts_and_takes_everything(device: Device) -> None:
    asking, silent, alone = (device.intake(*one) for one in (("a", everywhere()), ("b", policy()), ("c", ONE_STREAM)))
    assert device.offer(asking, scene(1)) is None
    assert device.offer(silent, scene(1)) is None
    assert device.offer(alone, scene(1)) is None
    assert device.offer(silent, scene(2)) is None
    assert device.offer(alone, scene(3)) is None
    assert [device.offer(asking, scene(column)) for column in (1, 2, 3)] == ["near_duplicate"] * 3


def test_what_goes_to_another_project_is_not_compared(device: Device) -> None:
    gate = device.intake("gate", everywhere())
    assert device.offer(gate, scene(3)) is None
    device.accepted = AcceptedFrames()  # as Intakes makes one for each memory
    other = device.intake("gate", everywhere(), memory="parking/parking")
    assert device.offer(other, scene(3)) is None


def test_after_a_restart_the_frames_of_all_streams_are_known(tmp_path: Path, device: Device) -> None:
    for column, name in enumerate(("gate", "yard", "roof")):
        assert device.offer(device.intake(name, everywhere()), scene(column)) is None
    device.close()
    again = Device(tmp_path)
    intake = again.intake("cellar", everywhere(threshold="auto"))
    assert [again.offer(intake, scene(column)) for column in (0, 1, 2, 3)] == ["near_duplicate"] * 3 + [None]
    again.close()


def test_what_was_accepted_before_a_restart_is_added_once_and_before_what_came_since(device: Device) -> None:
    first = device.intake("gate", everywhere(memory=2))
    assert device.offer(first, scene(0)) is None
    second = device.intake("yard", everywhere(memory=2))
    assert device.offer(second, scene(1)) is None
    assert device.offer(second, scene(0)) == "near_duplicate", "which makes 1 the least recently matched"
    third = device.intake("roof", everywhere(memory=2))
    assert device.offer(third, scene(2)) is None
    assert device.offer(third, scene(0)) == "near_duplicate"
    assert device.offer(third, scene(1)) is None


def test_a_policy_that_begins_to_compare_all_streams_knows_what_they_accepted_before(device: Device) -> None:
    gate, yard = (device.intake(name, ONE_STREAM) for name in ("gate", "yard"))
    assert device.offer(gate, scene(3)) is None
    assert device.offer(yard, scene(3)) is None
    assert device.offer(yard, scene(5)) is None
    gate.set_policy(everywhere())
    assert device.offer(gate, scene(5)) == "near_duplicate"
    gate.set_policy(everywhere(memory=16))
    assert device.offer(gate, scene(5)) == "near_duplicate"
    gate.set_policy(ONE_STREAM)
    assert device.offer(gate, scene(3)) == "near_duplicate"


def test_a_frame_that_waits_on_another_stream_is_known_until_it_is_decided(device: Device) -> None:
    tickets = HeldTickets(device.clock)
    gate = device.intake("gate", everywhere(), snapshots=tickets)
    yard = device.intake("yard", everywhere())
    decision = gate.offer(Frame("gate", 0, scene(3), device.clock.now()), objects())
    assert (decision.accepted, decision.refusal) == (None, None), "it waits"
    assert device.offer(yard, scene(3)) == "near_duplicate"
    tickets.given[0].answer(SnapshotMissed(SnapshotMissReason.AWAY))
    assert device.stored.acquire(timeout=SOON_S)
    assert device.offer(yard, scene(3)) == "near_duplicate"
    gate.end_stream()


def test_a_memory_lasts_as_long_as_somebody_uses_it() -> None:
    memories = FrameMemories()
    options = NearDuplicateOptions(scope="all")
    used = [memories.use(options), memories.use(options)]
    assert used[0] is used[1]
    used.pop()
    assert memories.is_used
    used.clear()
    assert not memories.is_used


def test_threads_that_remember_at_once_lose_nothing() -> None:
    memories = FrameMemories()
    options = NearDuplicateOptions(scope="all", memory=4096)
    kept = memories.use(options)

    def remember(part: int) -> None:
        rng = np.random.default_rng(part)
        for number in range(200):
            found = rng.random(192, np.float32)
            id = f"{part} {number}"
            memories.add_waiting(RememberedFrame(id, found))
            assert memories.find_similar(found, kept, 0.0) == SimilarFrame(id, 0.0, 0.0)
            memories.end_waiting(id, is_accepted=True)
            assert memories.find_similar(found, kept, 0.0) == SimilarFrame(id, 0.0, 0.0)

    threads = [threading.Thread(target=remember, args=(part,)) for part in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SOON_S)
    assert len(kept) == 800
    assert {one.id for one in kept.oldest_first()} == {f"{part} {n}" for part in range(4) for n in range(200)}


def line(stream: str, column: int) -> dict[str, Any]:
    signed = format_signature(signature(scene(column)))
    shape = {"image": {"width": 32, "height": 24}, "predictions": [], "task_type": "object-detection"}
    return {**shape, "stream": stream, "frame": 0, "epoch": 0, "captured_at": 1.8e9, "seed": 0, "signature": signed}


@pytest.mark.parametrize(("what", "expected"), [(everywhere(), "near_duplicate"), (ONE_STREAM, None)])
def test_a_recording_of_several_streams_is_judged_as_the_run_did(what: Policy, expected: str | None) -> None:
    trying = DryRun(what, seed=None, stream=None, started_s=0.0)
    assert trying.evaluate(line("gate", 3)).refusal is None
    refusal = trying.evaluate(line("yard", 3)).refusal
    assert (None if refusal is None else refusal.value) == expected
    trying.close()


def test_the_spool_reads_the_newest_of_all_streams_of_one_memory(device: Device) -> None:
    for column, (stream, memory) in enumerate((("gate", ""), ("yard", ""), ("gate", "a/b"), ("roof", ""))):
        intake = device.intake(stream, everywhere(), memory=memory)
        assert device.offer(intake, scene(column)) is None
    found = device.spool.signatures(None, "", 2)
    wanted = [RememberedFrame("", signature(scene(column))).to_bytes() for column in (1, 3)]
    assert [one.content for one in found.frames] == wanted
    assert found.threshold is None


# For how many others a frame stands


def test_a_refused_frame_counts_for_the_accepted_one_that_it_looks_like(device: Device) -> None:
    gate, yard = device.intake("gate", everywhere()), device.intake("yard", ONE_STREAM)
    ids: list[str] = []
    for intake, column in ((gate, 1), (gate, 2), (yard, 3)):
        made = intake.offer(Frame("it", 0, scene(column), device.clock.now()), objects()).accepted
        assert made is not None
        ids.append(made.id)
    for number, (intake, column) in enumerate(((gate, 1), (gate, 1), (gate, 3), (yard, 3), (gate, 2), (yard, 3)), 1):
        decision = intake.offer(Frame("it", number, scene(column), device.clock.now()), objects())
        assert decision.refusal is RefusalReason.NEAR_DUPLICATE
    assert device.accepted.alike.take() == {ids[0]: 2, ids[1]: 1, ids[2]: 3}
    assert device.accepted.alike.take() == {}


def test_a_frame_that_another_strategy_takes_or_none_wants_counts_for_nothing(device: Device) -> None:
    twice = [{"name": name, "type": "random", "traffic_percentage": 1} for name in ("a", "b")]
    both = policy(sampling_strategies=[{**twice[0], "near_duplicate": {"threshold": 0.05}}, twice[1]])
    gate = device.intake("gate", both)
    assert [device.offer(gate, scene(1)) for _ in range(2)] == [None] * 2
    nobody = {"name": "a", "type": "random", "traffic_percentage": 0}
    yard = device.intake("yard", policy({"threshold": 0.05}, sampling_strategies=[nobody]))
    assert device.offer(yard, scene(1)) == "no_match"
    assert device.accepted.alike.take() == {}


def test_a_frame_that_looks_like_a_known_picture_counts_for_no_accepted_one(device: Device, tmp_path: Path) -> None:
    made, content = cv2.imencode(".png", scene(1))
    assert made
    (tmp_path / "have.png").write_bytes(content.tobytes())
    what = policy({"threshold": 0.01, "known": str(tmp_path / "have.png")})
    assert device.accepted.known.read(what.known_paths[0]) is not None
    gate = device.intake("gate", what)
    assert [device.offer(gate, scene(column)) for column in (1, 2)] == ["near_duplicate", None]
    assert device.accepted.alike.take() == {}


def test_the_numbers_are_stored_every_five_minutes_and_at_the_end(device: Device) -> None:
    gate = device.intake("gate", ONE_STREAM)
    recorder = AlikeRecorder(device.accepted.alike, device.spool, device.clock)
    recorder.start()
    for number in range(3):
        gate.offer(Frame("gate", number, scene(1), device.clock.now()), objects())
    recorder.check()
    assert len(device.accepted.alike.take()) == 1, "not yet"
    for number in range(3, 5):
        gate.offer(Frame("gate", number, scene(1), device.clock.now()), objects())
    device.clock.advance(STORE_EVERY_S)
    recorder.check()
    gate.offer(Frame("gate", 5, scene(1), device.clock.now()), objects())
    assert recorder.stop(1.0)
    device.spool.close(5.0)
    assert [one.alike for one in list_alike(device.spool.path)] == [3]
