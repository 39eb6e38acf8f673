"""Reading a file of recorded predictions: JSON lines, one prediction each, as from `run --record`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import IO, Any

from pydantic_core import from_json

from framesift.config.errors import ConfigError
from framesift.sampling.recorded_frame import RecordedFrame, parse_recorded

# A prediction of a thousand objects with masks has a few megabytes. A longer line is not JSON lines.
MAX_LINE_BYTES = 64 << 20


def read_recording(source: str, file: IO[bytes]) -> Iterator[tuple[int, RecordedFrame]]:
    """Yields the number of each line that is not empty, counted from 1, and what it says. One is in memory at a time.

    source: the file's name in messages. Raises ConfigError with the file and the line, and OSError.
    """
    number = 0
    try:
        while line := file.readline(MAX_LINE_BYTES + 1):
            number += 1
            if len(line) > MAX_LINE_BYTES:
                raise ValueError(f"is longer than {MAX_LINE_BYTES} bytes: a line is one prediction")
            if line := line.removeprefix(b"\xef\xbb\xbf" if number == 1 else b"").strip():
                recorded = parse_recorded(_parse_json(line))
                yield number, recorded
    except json.JSONDecodeError as error:
        raise ConfigError(f"{source}:{number}: column {error.colno}: is not JSON: {error.msg}") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{source}:{number}: is not UTF-8 text (byte 0x{line[error.start]:02x})") from None
    except RecursionError:
        raise ConfigError(f"{source}:{number}: is nested too deeply") from None
    except ValueError as error:
        raise ConfigError(f"{source}:{number}: {str(error)[:300]}") from None


def _parse_json(line: bytes) -> Any:
    """What json.loads gives, and raises, in half the time: most lines are well-formed, and then both give the same."""
    try:
        return from_json(line)
    except ValueError:
        return json.loads(line.decode())
