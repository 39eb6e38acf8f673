"""Faults: what the stand-in for the platform does wrong, how often, and with which share of the requests.

    platform.orders.add(Fault("upload", Cut(stored=True)))                   # stores the next upload, then hangs up
    platform.orders.add(Fault("annotate", Status(503), times=None, share=0.5))  # half of all annotations, for ever
    platform.orders.add(Fault("any", Status(429, {"Retry-After": "7"}), times=3, skip=10))
    platform.orders.clear()

The first fault in the list that fits a request is applied to it, before the key is checked: so a faulty proxy on the
way can be simulated as well as the platform itself. `stored`: whether the platform has done its work all the same.
"""

from __future__ import annotations

import json
import random
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from rigs.platform.records import Call, InferenceCall, Reply, refusal, reply

_PORTAL = b"<!DOCTYPE html><html><head><title>Welcome</title></head><body>Accept the terms to go online.</body></html>"


@dataclass(frozen=True)
class Delay:
    """Does as asked, and answers after so many seconds (math.inf: never)."""

    seconds: float
    stored: bool = True


@dataclass(frozen=True)
class Status:
    """Answers with that status. body: an object is sent as JSON, None becomes a refusal as the platform words it."""

    code: int
    headers: dict[str, str] = field(default_factory=dict)
    body: Any = None
    stored: bool = False


@dataclass(frozen=True)
class Answer:
    """Answers 200 with this content instead of its own."""

    content: Any
    stored: bool = False


@dataclass(frozen=True)
class Html:
    """Answers with a page, as a hotel's network does before somebody has paid."""

    code: int = 200
    stored: bool = False


@dataclass(frozen=True)
class Cut:
    """Hangs up. stored: before or after it did its work. sent: the share of its answer's body that goes out first, 0
    for not even a status line. reset: with a reset."""

    stored: bool = False
    sent: float = 0.0
    reset: bool = False


@dataclass(frozen=True)
class Trickle:
    """Does as asked, and sends the answer, status line included, byte for byte."""

    bytes_per_s: float
    stored: bool = True


@dataclass(frozen=True)
class Redirect:
    """Sends the client to another address."""

    to: str
    code: int = 302


@dataclass(frozen=True)
class BadJson:
    """Answers 200 and the first half of its JSON, as if that were all."""

    stored: bool = True


@dataclass(frozen=True)
class Oversized:
    """Answers 200 with its JSON behind so many spaces."""

    size_bytes: int = 1024 * 1024
    stored: bool = True


@dataclass(frozen=True)
class SayDuplicate:
    """Answers that the image was there before. image_id: None for one that nobody knows."""

    image_id: str | None = None
    stored: bool = False


Action = Delay | Status | Answer | Html | Cut | Trickle | Redirect | BadJson | Oversized | SayDuplicate


@dataclass(frozen=True)
class Fault:
    """when: which endpoint. do: what. times: on how many requests, None for all. share: how many of the requests that
    fit are meant, 0 to 1, drawn from a seeded generator. skip: how many that fit are let through first."""

    when: Call | InferenceCall | Literal["any"]
    do: Action
    times: int | None = 1
    share: float = 1.0
    skip: int = 0


@dataclass
class _ActiveFault:
    order: Fault
    done: int = 0
    passed: int = 0


class Faults:
    """The active faults. Safe to use from any thread."""

    def __init__(self, seed: int = 3) -> None:
        self._lock = threading.Lock()
        self._chance = random.Random(seed)
        self._active: list[_ActiveFault] = []

    def add(self, *orders: Fault) -> None:
        with self._lock:
            self._active.extend(_ActiveFault(order) for order in orders)

    def clear(self) -> None:
        with self._lock:
            self._active.clear()

    def left(self) -> int:
        """How many faults are still active."""
        with self._lock:
            return len(self._active)

    def next_action(self, call: Call | InferenceCall) -> Action | None:
        """The fault for a request that has just come, None for none; it is counted."""
        with self._lock:
            for active in self._active:
                order = active.order
                if order.when not in (call, "any"):
                    continue
                if active.passed < order.skip:
                    active.passed += 1
                    continue
                if order.share < 1.0 and self._chance.random() >= order.share:
                    continue
                active.done += 1
                if active.done == order.times:
                    self._active.remove(active)
                return order.do
        return None


def apply_fault(action: Action, work: Callable[[], Reply], wait: Callable[[float], object]) -> Reply:
    """The answer with a fault. work: does what was asked. wait: waits so many seconds, less if the server ends."""
    # An action without `stored` is one that comes from before the platform.
    own = work() if getattr(action, "stored", False) else reply(200, {"success": True})
    if isinstance(action, Delay):
        wait(min(action.seconds, threading.TIMEOUT_MAX))
        return own
    if isinstance(action, Cut):
        return own.cut(action.sent, action.reset)
    if isinstance(action, Trickle):
        return Reply(own.status, own.body, own.headers, bytes_per_s=action.bytes_per_s)
    if isinstance(action, Status):
        answer = _with_status(action)
        return Reply(answer.status, answer.body, (*answer.headers, *action.headers.items()))
    if isinstance(action, Answer):
        return reply(200, action.content)
    if isinstance(action, Html):
        return Reply(action.code, _PORTAL, (("Content-Type", "text/html"),))
    if isinstance(action, Redirect):
        return Reply(action.code, b"", (("Location", action.to),))
    if isinstance(action, BadJson):
        return Reply(200, own.body[: len(own.body) // 2])
    if isinstance(action, Oversized):
        return Reply(200, b" " * action.size_bytes + own.body)
    return reply(200, {"duplicate": True, "id": action.image_id or "somebody-elses"})


def _with_status(action: Status) -> Reply:
    if action.body is None:
        return refusal(action.code, "as ordered")
    if isinstance(action.body, bytes):
        return Reply(action.code, action.body, ())
    if isinstance(action.body, str):
        return Reply(action.code, action.body.encode(), (("Content-Type", "text/plain"),))
    return Reply(action.code, json.dumps(action.body).encode())
