"""Reads JSON that people write: every problem of a text at once, each with its line, column and reason.

A text that is not JSON is mended where it is clear what was meant (a comma too many, a comment, `True`), only to find
what else is wrong in it: it stays an error.
"""

from __future__ import annotations

import json
import math
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from framesift.config.types import ConfigError, format_value

_MAX_PROBLEMS = 100
MAX_VALUES = 20_000
MAX_DEPTH = 50
NESTED_TOO_DEEPLY = f"is nested too deeply: at most {MAX_DEPTH} levels are allowed; is a bracket not closed?"
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\]:,]|[^\s{}\[\]:,"]+')
_FRACTION = re.compile(r"-?\d+(?:\.\d+|(?=[eE]))(?:[eE][+-]?\d+)?")
_WORD = re.compile(r"[A-Za-z_][\w-]*")
_PYTHON_WORDS = {"True": "true", "False": "false", "None": "null"}
_TYPOGRAPHIC = "“”„‟«»‘’‚‛"


@dataclass(frozen=True, slots=True)
class _Mistake:
    """A place that is not JSON. mended: the whole text without it, as long as before; None if nobody knows how."""

    offset: int
    reason: str
    mended: str | None = None


def read_json(text: str, source: str) -> tuple[Any, tuple[str, ...], str]:
    """The data of a JSON text, its problems, a line each, and the text that was read in the end.

    source: its name in messages. Raises ConfigError with all problems where there are no data.
    """
    problems: list[str] = []
    data: Any = None
    while True:
        try:
            data = json.loads(text)
            break
        except json.JSONDecodeError as error:
            found = _mistake(text, error)
            problems.append(f"{_place(text, source, found.offset)}: is not JSON: {found.reason}")
            if found.mended is None or found.mended == text or len(problems) >= _MAX_PROBLEMS:
                raise ConfigError(*problems) from None
            text = found.mended
        except RecursionError:
            raise ConfigError(*problems, f"{_place(text, source, _too_deep(text))}: {NESTED_TOO_DEEPLY}") from None
        except ValueError:  # Python reads 4300 digits
            at = next(found.start() for found in _TOKEN.finditer(text) if _is_long(found[0]))
            raise ConfigError(*problems, f"{_place(text, source, at)}: a number of too many digits") from None
    _refuse_too_much(data, text, source)
    problems += [f"{_place(text, source, offset)}: {reason}" for offset, reason in _twice(text)]
    no_numbers = [f"{_place(text, source, offset)}: {reason}" for offset, reason in _no_numbers(text)]
    if no_numbers:
        raise ConfigError(*problems, *no_numbers)
    return data, tuple(problems), text


def _refuse_too_much(data: object, text: str, source: str) -> None:
    """Raises ConfigError."""
    values = 0
    level = [data]
    for _ in range(MAX_DEPTH + 1):
        values += len(level)
        if not level or values > MAX_VALUES:
            break
        level = [
            inner
            for value in level
            if isinstance(value, dict | list)
            for inner in (value.values() if isinstance(value, dict) else value)
        ]
    if values > MAX_VALUES:
        raise ConfigError(f"{source}: more than {MAX_VALUES} values: that is too large for a configuration")
    if level:
        raise ConfigError(f"{_place(text, source, _too_deep(text))}: {NESTED_TOO_DEEPLY}")


def _is_long(token: str) -> bool:
    """Whether it is a whole number of more digits than Python reads."""
    try:
        int(token if token.lstrip("-").isdecimal() else "0")
    except ValueError:
        return True
    return False


def _too_deep(text: str) -> int:
    """The offset of the bracket that begins one level too many."""
    depth = 0
    for found in _TOKEN.finditer(text):
        depth += (found[0] in "{[") - (found[0] in "}]")
        if depth > MAX_DEPTH:
            return found.start()
    return 0


def _place(text: str, source: str, offset: int) -> str:
    line = text.count("\n", 0, offset) + 1
    return f"{source}:{line}: column {offset - text.rfind(chr(10), 0, offset)}"


def _twice(text: str) -> Iterator[tuple[int, str]]:
    """Keys that are set twice, of which Python's reader takes the last one. text: is read by `json.loads`."""
    keys: list[set[str] | None] = []  # of the objects around; None for a list
    tokens = list(_TOKEN.finditer(text))
    for found, following in zip(tokens, [*tokens[1:], None], strict=True):
        token = found[0]
        if token in ("{", "["):
            keys.append(set() if token == "{" else None)
        elif token in ("}", "]"):
            keys.pop()
        elif keys and keys[-1] is not None and following is not None and following[0] == ":":
            key = json.loads(token, strict=False)
            if key in keys[-1]:
                yield found.start(), f"the key {format_value(key)} is set twice in one object"
            keys[-1].add(key)


def _no_numbers(text: str) -> Iterator[tuple[int, str]]:
    """What Python's reader takes for numbers, and JSON does not. text: is read by `json.loads`."""
    for found in _TOKEN.finditer(text):
        token = found[0]
        if token in ("NaN", "Infinity", "-Infinity"):
            yield found.start(), f"{token} is not a number in JSON"
        elif _FRACTION.fullmatch(token) and not math.isfinite(float(token)):
            yield found.start(), "is too large for a number"


def _mistake(text: str, error: json.JSONDecodeError) -> _Mistake:
    """What is wrong where the reader stopped, in plain words."""
    at = error.pos
    before, rest = text[:at].rstrip(), text[at:]
    follows = rest[1:].lstrip()[:1]
    here, previous = rest[:1], before[-1:]
    if error.msg.startswith("Unterminated string"):
        return _Mistake(at, "this text has no closing quote")
    if not here:
        return _Mistake(at, "it ends here, and a } or ] is missing")
    if previous == "," and here in "}]":
        return _Mistake(len(before) - 1, f"a comma before {here}: remove it", _blanked(text, len(before) - 1))
    if here == "," and follows and follows in "}]":  # newer readers stop at the comma
        return _Mistake(at, f"a comma before {follows}: remove it", _blanked(text, at))
    if here == ",":
        return _Mistake(at, "a comma too many: remove it", _blanked(text, at))
    for found in (_comment(text, at), _quote(text, at), _word(text, at, error.msg)):
        if found is not None:
            return found
    if unicodedata.category(here) in ("Cf", "Zs", "Zl", "Zp", "Cc") and not error.msg.startswith("Invalid control"):
        return _Mistake(at, f"a character that can't be seen (U+{ord(here):04X}): remove it", _blanked(text, at))
    return _Mistake(at, *_reason(text, at, error.msg))


def _reason(text: str, at: int, message: str) -> tuple[str, str | None]:
    """The reason in words, and the mended text where that is possible, for what only the reader's message tells."""
    if message.startswith("Expecting ',' delimiter") and text[at] in '"{[-0123456789':
        has_space = text[at - 1] in " \t"
        return "a comma is missing before this", (text[: at - 1] if has_space else text[:at]) + "," + text[at:]
    if text[at] == "<":
        return "this is a web page or XML: is it the right file, or a login page in its place?", None
    if message == "Expecting value":
        return "a value is missing here", None
    if message.startswith("Expecting ':'"):
        return "a colon is missing after the key", None
    if message.startswith("Extra data"):
        return "something stands behind its end: is there one } or ] too many?", None
    if message.startswith("Invalid control character"):
        return "a line break or a tab inside a text: is its closing quote missing?", None
    if message.startswith("Invalid \\"):
        return "a backslash: write \\\\ in its place", None
    return message, None


def _comment(text: str, at: int) -> _Mistake | None:
    long = text.startswith("/*", at)
    if not long and not text.startswith(("//", "#"), at):
        return None
    end = text.find("*/" if long else "\n", at)
    end = len(text) if end < 0 else end + 2 * long
    return _Mistake(at, "a comment, which JSON does not have (YAML has # comments)", _blanked(text, at, end))


def _quote(text: str, at: int) -> _Mistake | None:
    here = text[at]
    if here != "'" and here not in _TYPOGRAPHIC:
        return None
    closing = re.compile("'" if here == "'" else f'[{_TYPOGRAPHIC}"]').search(text, at + 1)
    inside = '"' if closing is None else text[at + 1 : closing.start()]
    reason = f"the quote {here}: JSON has texts in plain double quotes"
    if closing is None or re.search(r'["\\\n]', inside):
        return _Mistake(at, reason)
    return _Mistake(at, reason, f'{text[:at]}"{inside}"{text[closing.end() :]}')


def _word(text: str, at: int, message: str) -> _Mistake | None:
    found = _WORD.match(text, at)
    if found is None or message.startswith(("Extra data", "Invalid")):
        return None
    word = found[0]
    meant = _PYTHON_WORDS.get(word)
    if meant is not None:
        padded = meant.ljust(len(word))
        return _Mistake(at, f"{word}: write {meant}", text[:at] + padded + text[found.end() :])
    # The word is not shown: it may be a secret.
    if message.startswith("Expecting property name"):
        return _Mistake(at, "a key needs double quotes")
    return _Mistake(at, "a word without quotes: a text needs double quotes, and others are true, false and null")


def _blanked(text: str, start: int, end: int | None = None) -> str:
    """The text with blanks in place of a part, so that all else keeps its line and its column."""
    end = start + 1 if end is None else end
    return text[:start] + "".join("\n" if character == "\n" else " " for character in text[start:end]) + text[end:]
