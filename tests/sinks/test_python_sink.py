"""Sinks from outside: their answers pass, and their mistakes are deliveries that are tried again."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from deliveries import delivery
from framesift.config.types import ConfigError
from framesift.sinks import (
    Delivered,
    DeliveryResult,
    Duplicate,
    FailureScope,
    PythonSinkSettings,
    Registered,
    Rejected,
    RetryLater,
    Sink,
    open_sink,
)

MODULE = """
import datetime
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
class NoAttributes:
    def __getattr__(self, name): raise KeyError(name)
class OnlyDeliver(NoAttributes):
    def deliver(self, delivery, *, now_s, within_s): return f.Delivered()
class NoText(Exception):
    def __str__(self): raise RuntimeError("no text")
def raises(error): raise error
class Mine(f.Delivered): pass
class Text(str):
    def __str__(self): return "another"
class BadParts(f.RetryLater):
    def __getattribute__(self, name): raise OSError("parts")
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
        ("raises(NoText())", "NoText: its text can't be read (RuntimeError)"),
        (
            "f.RetryLater('tomorrow', 'why')",
            "outside_sink:Answers answered with a RetryLater whose retry_at_s is a str, not Unix time (why)",
        ),
        (
            "f.RetryLater(datetime.datetime.now(), 'why')",
            "outside_sink:Answers answered with a RetryLater whose retry_at_s is a datetime, not Unix time (why)",
        ),
        (
            "f.RetryLater(True, 'why')",
            "outside_sink:Answers answered with a RetryLater whose retry_at_s is a bool, not Unix time (why)",
        ),
        (
            "f.RetryLater(10**400, 'why')",
            "ValueError: RetryLater with a retry_at_s that is no Unix time: it is too large",
        ),
        (
            "f.RetryLater(None, 'why', 'item')",
            "outside_sink:Answers answered with a RetryLater whose scope is a str, not a FailureScope (why)",
        ),
        (
            "f.Registered(object())",
            "outside_sink:Answers answered with a Registered whose image_id is a object, not a usable text",
        ),
        (
            "f.Registered('')",
            "outside_sink:Answers answered with a Registered whose image_id is a str, not a usable text",
        ),
        (
            "f.Registered('half \\udcff')",
            "outside_sink:Answers answered with a Registered whose image_id is a str, not a usable text",
        ),
        ("BadParts(None, 'x')", "OSError: parts"),
    ],
)
def test_a_mistake_is_a_delivery_to_try_again(folder: Path, text: str, reason: str) -> None:
    assert answer(folder, text) == RetryLater(None, reason, FailureScope.UNSURE)


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("Mine()", Delivered()),
        ("f.Duplicate()", Duplicate()),
        ("f.Registered(Text('their-id'))", Registered("their-id")),
        ("f.Rejected(ValueError('x'))", Rejected("ValueError: x")),
        ("f.Rejected(None)", Rejected("the sink gave no reason")),
        ("f.Rejected(NoText())", Rejected("NoText: its text can't be read (RuntimeError)")),
        ("f.Rejected('half \\udcff')", Rejected("half \ufffd")),
        ("f.RetryLater(None, 5)", RetryLater(None, "5")),
        ("f.RetryLater(None, 'x\\n' * 1000)", RetryLater(None, ("x " * 150))),
        ("f.RetryLater(__import__('numpy').float32(9), 'x')", RetryLater(9.0, "x")),
        ("f.RetryLater(9, 'x', may_have_arrived='')", RetryLater(9.0, "x", may_have_arrived=False)),
        ("f.RetryLater(float('nan'), 'x')", RetryLater(None, "x")),
        ("f.RetryLater(float('inf'), 'x')", RetryLater(None, "x")),
        ("f.RetryLater(5.0, 'x')", RetryLater(None, "x")),
        ("f.RetryLater(-1e300, 'x')", RetryLater(None, "x")),
        ("f.RetryLater(1e300, 'x')", RetryLater(86_405.0, "x")),
    ],
)
def test_an_answer_is_made_anew_of_plain_values(folder: Path, text: str, result: DeliveryResult) -> None:
    got = answer(folder, text)
    assert got == result
    assert type(got) is type(result)
    assert all(type(getattr(got, part)) is type(value) for part, value in asdict(result).items())


def test_what_its_attributes_raise_ends_nothing(folder: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"outside_sink:NoAttributes: reading its deliver failed: KeyError: 'deliver'"
    ):
        sink(folder, "NoAttributes")
    opened = sink(folder, "OnlyDeliver")
    assert opened.check() == "KeyError: 'check'"
    opened.close()


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
