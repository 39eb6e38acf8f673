"""Sinks from outside: their answers pass, and their mistakes are deliveries that are tried again."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deliveries import delivery
from framesift.config.types import ConfigError
from framesift.sinks import (
    Delivered,
    DeliveryResult,
    FailureScope,
    PythonSinkSettings,
    Rejected,
    RetryLater,
    Sink,
    open_sink,
)

MODULE = """
import framesift.extend as f
FRAMESIFT_EXTEND = 1
class Answers:
    def __init__(self, answer="f.Delivered()", check="None"): self.answer, self.problem = answer, check
    def deliver(self, delivery, *, now_s, within_s): return eval(self.answer)
    def check(self): return eval(self.problem)
    def close(self): raise OSError("too late")
class Least:
    def deliver(self, delivery, *, now_s, within_s): return f.Rejected(f"{delivery.strategy} {now_s} {within_s}")
class Idle: pass
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder with the module `outside_sink`, forgotten afterwards."""
    (tmp_path / "outside_sink.py").write_text(MODULE, encoding="utf-8")
    yield tmp_path
    sys.modules.pop("outside_sink", None)
    sys.path[:] = [entry for entry in sys.path if entry != str(tmp_path)]


def sink(folder: Path, factory: str, **options: Any) -> Sink:
    data = {"type": "python", "factory": f"outside_sink:{factory}", "path": str(folder), "options": options}
    return open_sink(PythonSinkSettings.model_validate_json(json.dumps(data)), class_names=None)


def answer(folder: Path, text: str) -> DeliveryResult:
    return sink(folder, "Answers", answer=text).deliver(delivery(1), now_s=5.0, within_s=45.0)


def test_its_answer_is_passed_on(folder: Path) -> None:
    assert answer(folder, "f.Delivered()") == Delivered()
    assert answer(folder, "f.RetryLater(9.0, 'busy', f.FailureScope.SINK)") == RetryLater(
        9.0, "busy", FailureScope.SINK
    )
    least = sink(folder, "Least")
    assert least.deliver(delivery(1), now_s=5.0, within_s=45.0) == Rejected("unsure 5.0 45.0")
    assert least.check() is None
    least.close()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("exit(3)", "SystemExit: 3"),
        ("True", "outside_sink:Answers answered with a bool, which is no DeliveryResult"),
        ("f.Delivered", "outside_sink:Answers answered with a type, which is no DeliveryResult"),
    ],
)
def test_a_mistake_is_a_delivery_to_try_again(folder: Path, text: str, reason: str) -> None:
    assert answer(folder, text) == RetryLater(None, reason, FailureScope.UNSURE)


@pytest.mark.parametrize(
    ("text", "problem"),
    [("None", None), ("'no\\nroom'", "no room"), ("1 / 0", "ZeroDivisionError: division by zero")],
)
def test_its_check_is_one_line(folder: Path, text: str, problem: str | None) -> None:
    opened = sink(folder, "Answers", check=text)
    assert opened.check() == problem
    opened.close()  # whose own mistake ends nothing


@pytest.mark.parametrize(
    ("factory", "options", "problem"),
    [
        ("Nothing", {}, "sink.factory: outside_sink has no callable 'Nothing'"),
        ("Idle", {}, "sink.factory: outside_sink:Idle returned a Idle, without a method deliver()"),
        ("Answers", {"odd": 1}, "sink.factory: outside_sink:Answers failed: TypeError: "),
    ],
)
def test_a_bad_factory_is_an_error_of_the_settings(
    folder: Path, factory: str, options: dict[str, Any], problem: str
) -> None:
    with pytest.raises(ConfigError) as refused:
        sink(folder, factory, **options)
    assert problem in str(refused.value)
