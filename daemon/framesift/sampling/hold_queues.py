"""HoldQueues: the hold queues of all strategies of this device, and the thread that gives held frames their turns.

Held frames are restored at the start. Streams offer frames, which costs them microseconds; the thread stores the best
ones, asks for turns when they are due, and drops what gets none. Each frame that was held ends as one accepted or one
refused frame in the counters.
"""

from __future__ import annotations

import contextlib
import math
import random
import threading
from collections.abc import Callable, Iterable
from dataclasses import replace

from framesift.clock.clock import Clock, MonitoredThread
from framesift.clock.moment import Moment
from framesift.datapoint import Datapoint
from framesift.frame import RefusalReason
from framesift.periodic import NextRun, PeriodicTask
from framesift.policy.baseline import NAME as BASELINE
from framesift.policy.policy import Policy
from framesift.prediction.prediction import Prediction
from framesift.sampling.admission import Admission
from framesift.sampling.baseline_queue import BaselineQueue
from framesift.sampling.held_frame import HeldFrame, HeldFrameGone, from_row, to_row
from framesift.sampling.hold_queue import Dropped, HeldCandidate, HoldQueue, QueueTime
from framesift.sampling.likeness import Likeness
from framesift.sampling.pacing_rules import PacingRule, rules_of
from framesift.sampling.waiting_frames import PICTURE_ERRORS, picture_refusal
from framesift.spool import Accepted, AcceptedSignature, SpoolBroken, SpoolFull
from framesift.telemetry import Telemetry

Candidate = HeldCandidate[HeldFrame]

_LONGEST_PAUSE_S = 60.0
_SHORTEST_PAUSE_S = 0.05
_RETRY_S = 5.0  # after a disk that failed
_STOP_WITHIN_S = 1.0
_OLDEST_S = 48 * 3600.0  # no window is longer, and no turn is asked for later


class HoldQueues:
    """A component: see service/components.py. Any thread may call the methods of the part for streams."""

    name = "hold queues"

    def __init__(
        self,
        admission: Admission,
        telemetry: Telemetry,
        clock: Clock,
        *,
        seed: int,
        on_accepted: Callable[[], None],
        on_failure: Callable[[BaseException], None],
        has_thread: bool = True,
    ) -> None:
        """admission: for the thread. seed: of the baseline's draws.

        on_accepted: called after each frame that is in the spool. has_thread: False where whoever moves the time calls
        `advance` (an Agenda of MediaClock).
        """
        self._has_thread = has_thread
        self._admission = admission
        self._held = admission.spool.held
        self._telemetry = telemetry
        self._on_accepted = on_accepted
        self._task = PeriodicTask("hold queues", self._run, clock, on_failure=on_failure)
        self._rng = random.Random(repr((seed, BASELINE)))
        self._advancing = threading.Lock()  # of what only one thread does at a time: storing and accepting
        self._lock = threading.Lock()  # of everything below
        self._rules: dict[str, PacingRule] = {}
        self._scopes: dict[str, str] = {}  # by account
        self._queues: dict[str, HoldQueue[HeldFrame]] = {}
        self._restored: dict[str, list[Candidate]] = {}  # of accounts whose policy is not known yet
        self._streams: dict[tuple[str, str], Callable[[str, Prediction, AcceptedSignature | None], None]] = {}
        self._to_delete: set[str] = set()  # ids of rows that are of no use

    # --- as a component -------------------------------------------------------------------------------------------

    @property
    def threads(self) -> tuple[MonitoredThread, ...]:
        """See Component."""
        return self._task.threads

    def start(self) -> None:
        """Restores the frames that were held when the last process ended, and starts the thread."""
        with contextlib.suppress(SpoolBroken):  # a disk that fails now: they are restored at the next start
            self._restore()
        if self._has_thread:
            self._task.start()

    def stop(self, within_s: float) -> bool:
        """Stores the frames that are in memory only, and ends the thread."""
        has_ended = self._task.stop(min(within_s, _STOP_WITHIN_S))
        if has_ended:
            with self._advancing:
                for _, queue in self._all():
                    self._write(queue, self._time(), at_once=True)
        return has_ended

    def idle_s(self) -> float:
        """See Component."""
        return self._task.idle_s()

    # --- for streams ----------------------------------------------------------------------------------------------

    def follow(self, scope: str, policy: Policy) -> None:
        """Applies a policy to the strategies of a scope. Frames of strategies that hold none any more are dropped."""
        rules = {rule.account: rule for rule in rules_of(policy, scope, "").values() if rule.holds and policy.enabled}
        dropped: list[Dropped[HeldFrame]] = []
        with self._lock:
            for account in [one for one, of in self._scopes.items() if of == scope and one not in rules]:
                dropped += self._queues.pop(account).drop_all()
                del self._rules[account], self._scopes[account]
            for account, rule in rules.items():
                assert rule.pacing is not None
                assert rule.turns is not None
                self._rules[account], self._scopes[account] = rule, scope
                queue = self._queues.get(account)
                if queue is None:
                    queue = self._queues[account] = self._create(account, rule)
                queue.options, queue.turns, queue.zone = rule.pacing, rule.turns, rule.zone
        self._drop(dropped)
        self._task.wake()

    def register(
        self, stream: str, memory: str, on_turn: Callable[[str, Prediction, AcceptedSignature | None], None]
    ) -> None:
        """Sets what is called when a held frame of a stream is accepted, with its id. memory: see CollectionOrigin."""
        with self._lock:
            self._streams[stream, memory] = on_turn

    def refusal(self, account: str, score: float, likeness: Likeness | None) -> RefusalReason | None:
        """Why a frame would not be held; None if it would: see `hold`."""
        with self._lock:
            queue = self._queues.get(account)
            return RefusalReason.OUTSCORED if queue is None else queue.refusal(score, likeness)

    def draw(self, account: str, captured: Moment) -> bool:
        """Whether the baseline takes a frame, which is to be held then: see BaselineQueue. account: of the baseline."""
        time = self._time()
        with self._lock:
            queue = self._queues.get(account)
            return isinstance(queue, BaselineQueue) and queue.draw(time.wall_s_of(captured))

    def hold(self, account: str, candidate: Candidate) -> RefusalReason | None:
        """Holds a frame, or returns why not. Its pixels are no longer needed: its `make` works at any time."""
        with self._lock:
            queue = self._queues.get(account)
            if queue is None:
                return RefusalReason.OUTSCORED
            refusal = queue.refusal(candidate.score, candidate.likeness)
            if refusal is not None:
                return refusal
            dropped = queue.offer(candidate)
        self._drop(dropped)
        self._task.wake()
        return None

    def drop_alike(self, accepted: Likeness) -> None:
        """A frame was accepted: what is held and looks like it is a near duplicate now."""
        with self._lock:
            dropped = [one for queue in self._queues.values() if len(queue) for one in queue.drop_alike(accepted)]
        self._drop(dropped)

    def counts(self) -> dict[str, int]:
        """How many frames each account holds."""
        with self._lock:
            return {account: len(queue) for account, queue in self._queues.items()}

    # --- turns ----------------------------------------------------------------------------------------------------

    def advance(self) -> float:
        """Does what is due now: drops, accepts and stores frames. Returns the seconds until more is due."""
        with self._advancing:
            waits_s = [self._advance(account, queue) for account, queue in self._all()]
            self._delete_rows()
        return min(waits_s, default=_LONGEST_PAUSE_S)

    def due_in_s(self) -> float:
        """Seconds until something is to be done; inf if that depends on new frames."""
        time = self._time()
        with self._lock:
            return min((queue.wake_s(time) for queue in self._queues.values()), default=math.inf)

    def _run(self) -> NextRun:
        in_s = min(max(self.advance(), _SHORTEST_PAUSE_S), _LONGEST_PAUSE_S)
        return NextRun(in_s, _SHORTEST_PAUSE_S)

    def _create(self, account: str, rule: PacingRule) -> HoldQueue[HeldFrame]:
        """The queue of an account, with what was held for it. Belongs under the lock."""
        assert rule.pacing is not None
        assert rule.turns is not None
        restored = self._restored.pop(account, [])
        if not rule.is_baseline:
            queue = HoldQueue[HeldFrame](rule.pacing, rule.turns, rule.zone)
            queue.restore(restored)
            return queue
        baseline = BaselineQueue[HeldFrame](rule.pacing, rule.turns, rule.zone, rng=self._rng)
        baseline.restore(restored)
        for one in restored:
            if one.content.baseline is not None and one.content.baseline.weight is not None:
                baseline.restore_weight(one, one.content.baseline.weight, self._time())
        return baseline

    def _all(self) -> list[tuple[str, HoldQueue[HeldFrame]]]:
        with self._lock:
            return list(self._queues.items())

    def _advance(self, account: str, queue: HoldQueue[HeldFrame]) -> float:
        while True:
            time = self._time()
            with self._lock:
                dropped = queue.expire(time)
                best = queue.best_to_ask(time)
                if best is not None:
                    queue.remove(best)  # nothing takes its place while it is asked for
                    _weigh(queue, best, time)
                rule = self._rules.get(account)
            self._drop(dropped)
            if best is None or rule is None:
                break
            if self._take_turn(queue, rule, best, time):
                return _RETRY_S
        self._write(queue, time)
        with self._lock:
            return queue.wake_s(self._time())

    def _take_turn(self, queue: HoldQueue[HeldFrame], rule: PacingRule, best: Candidate, time: QueueTime) -> bool:
        """Accepts a frame if a turn is due. Returns whether the disk has failed, so that it has to be tried again."""
        answer = self._accept(rule, best)
        if isinstance(answer, Accepted):
            with self._lock:
                queue.record_turn(best, time)
            return False
        dropped: list[Dropped[HeldFrame]] = []
        has_failed = answer in (RefusalReason.SPOOL_BROKEN, RefusalReason.SPOOL_FULL)
        with self._lock:
            if self._queues.get(rule.account) is not queue:  # its strategy holds no frames any more
                dropped = [Dropped(best, RefusalReason.OUTSCORED)]
            elif has_failed:
                dropped = queue.put_back(best)
            elif answer is None:
                dropped = queue.no_turn(best, time)
            else:
                dropped = [Dropped(best, answer)]
        self._drop(dropped)
        return has_failed

    def _accept(self, rule: PacingRule, best: Candidate) -> Accepted | RefusalReason | None:
        """Returns None if no turn is due."""
        content = best.content
        quota = replace(content.quota, limits=rule.limits, turns=rule.turns, max_batch_images=rule.max_batch_images)
        grant = self._admission.request(best.id, (content.candidate,), (quota,), (rule,), best.captured)
        if isinstance(grant, RefusalReason):
            return None if grant is RefusalReason.OUTSCORED else grant
        datapoint: Datapoint | None = None
        try:
            datapoint = content.make()
        except PICTURE_ERRORS as error:
            return picture_refusal(error)
        except HeldFrameGone:
            return RefusalReason.OUTSCORED
        except SpoolBroken:
            return RefusalReason.SPOOL_BROKEN
        finally:
            if datapoint is None:
                self._admission.discard(grant)
        if content.baseline is not None:
            datapoint = replace(datapoint, facts=replace(datapoint.facts, weight=content.baseline.weight))
        answer = self._admission.store(grant, datapoint, content.signature, was_held=best.is_stored)
        if isinstance(answer, RefusalReason):
            return None if answer is RefusalReason.OUTSCORED else answer
        self._telemetry.settle_decision(content.stream, answer.id, answer.strategy)
        self._telemetry.count_accepted(content.stream, answer.strategy)
        self._on_accepted()
        with self._lock:
            on_turn = self._streams.get((content.stream, content.memory))
        if on_turn is not None:
            on_turn(datapoint.id, datapoint.prediction, content.signature)
        if best.likeness is not None:
            self.drop_alike(best.likeness)
        return answer

    # --- rows -----------------------------------------------------------------------------------------------------

    def _write(self, queue: HoldQueue[HeldFrame], time: QueueTime, *, at_once: bool = False) -> None:
        """Stores the best frame that is in memory only, if it is time for that."""
        with self._lock:
            begun = queue.begin_write(time, at_once=at_once)
            if begun is None:
                return
            candidate, displaced = begun
            _weigh(queue, candidate, time)
        dropped = list(displaced)
        try:
            row, content = to_row(candidate, candidate.content.make())
            self._held.add(row, content, drop=[one.candidate.id for one in displaced if one.candidate.is_stored])
        except PICTURE_ERRORS as error:
            with self._lock:
                queue.remove(candidate)
            dropped.append(Dropped(candidate, picture_refusal(error)))
        except (SpoolFull, SpoolBroken):
            with self._lock:
                dropped += queue.undo_write(candidate)
        else:
            with self._lock:
                candidate.content, candidate.is_stored = from_row(row, self._held.content).content, True
                if all(candidate is not one for one in queue):  # dropped meanwhile
                    self._to_delete.add(candidate.id)
        self._drop(dropped)

    def _drop(self, dropped: Iterable[Dropped[HeldFrame]]) -> None:
        for one in dropped:
            content = one.candidate.content
            self._telemetry.settle_decision(content.stream, one.candidate.id, one.reason)
            if content.baseline is None:  # what it drew is counted by the strategies
                self._telemetry.count_refused(content.stream, one.reason)
            if one.candidate.is_stored:
                with self._lock:
                    self._to_delete.add(one.candidate.id)

    def _delete_rows(self) -> None:
        with self._lock:
            ids = set(self._to_delete)
        if ids:
            with contextlib.suppress(SpoolBroken):  # then at the next time
                self._held.drop(ids)
                with self._lock:
                    self._to_delete -= ids

    def _restore(self) -> None:
        self._held.drop_damaged()
        now = self._admission.clock.now()
        for row in self._held.rows():
            try:
                candidate = from_row(row, self._held.content)
            except ValueError:  # of another version
                self._to_delete.add(row.id)
                continue
            if row.captured.age_s(now) > _OLDEST_S:
                self._drop([Dropped(candidate, RefusalReason.OUTSCORED)])
            else:
                self._restored.setdefault(row.strategy, []).append(candidate)

    def _time(self) -> QueueTime:
        now = self._admission.clock.now()
        return QueueTime(now, self._admission.window_time_s(now))


def _weigh(queue: HoldQueue[HeldFrame], candidate: Candidate, time: QueueTime) -> None:
    """Notes how many frames a frame of the baseline stands for until now."""
    draw = candidate.content.baseline
    if draw is not None and isinstance(queue, BaselineQueue):
        weight = queue.weight(candidate, time)
        if weight is not None:
            candidate.content = replace(candidate.content, baseline=replace(draw, weight=weight))
