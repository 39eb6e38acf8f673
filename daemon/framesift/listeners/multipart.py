"""Parses multipart/form-data (RFC 7578) from a body that is complete and limited in size."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

MAX_PARTS = 256
_MAX_HEAD_BYTES = 4096
_BOUNDARY = re.compile(r'(?:^|;)\s*boundary=(?:"([^"]{1,70})"|([^\s;"]{1,70}))\s*(?:;|$)', re.IGNORECASE)
_NAME = re.compile(r';\s*name="((?:[^"\\]|\\.)*)"', re.IGNORECASE)


class BadMultipart(ValueError):
    """The body is not a correct form; the text says why."""


@dataclass(frozen=True, slots=True)
class FormPart:
    """One part of a form. content: its bytes."""

    name: str
    content: bytes = field(repr=False)


def boundary_of(content_type: str) -> bytes | None:
    """Return the boundary that a Content-Type names, b"" if it names none; None for other types than a form."""
    kind, _, rest = content_type.partition(";")
    if kind.strip().lower() != "multipart/form-data":
        return None
    found = _BOUNDARY.search(rest)
    return (found[1] or found[2]).encode("latin-1") if found else b""


def parse_parts(body: bytes | bytearray, boundary: bytes) -> tuple[FormPart, ...]:
    """Return the parts in their order. Raises BadMultipart."""
    if not boundary:
        raise BadMultipart("the Content-Type names no boundary")
    delimiter = b"\r\n--" + boundary
    if body.startswith(delimiter[2:]):  # the first boundary may stand at the very beginning
        position = len(delimiter) - 2
    else:
        first = body.find(delimiter)
        if first < 0:
            raise BadMultipart("the boundary that the Content-Type names is nowhere in the body")
        position = first + len(delimiter)
    found: list[FormPart] = []
    while body[position : position + 2] != b"--":
        start = body.find(b"\r\n", position, position + 200)  # a boundary's line may end in white space
        if start < 0 or body[position:start].strip(b" \t"):
            raise BadMultipart(f"part {len(found)} does not begin after a boundary")
        if len(found) == MAX_PARTS:
            raise BadMultipart(f"there are more than {MAX_PARTS} parts")
        head_end = body.find(b"\r\n\r\n", start, start + _MAX_HEAD_BYTES)
        end = body.find(delimiter, start)
        if head_end < 0 or end < head_end + 2:
            raise BadMultipart(f"part {len(found)} has no end, or no head of at most {_MAX_HEAD_BYTES} bytes")
        head = body[start + 2 : head_end].decode("utf-8", "replace")
        found.append(FormPart(_name(head, len(found)), bytes(memoryview(body)[head_end + 4 : end])))
        position = end + len(delimiter)
    return tuple(found)


def _name(head: str, number: int) -> str:
    lines = [
        (key.strip().lower(), value.strip()) for key, _, value in (line.partition(":") for line in head.split("\r\n"))
    ]
    for key, value in lines:
        if key == "content-transfer-encoding" and value.lower() not in ("binary", "8bit", "7bit"):
            raise BadMultipart(f"part {number} is encoded as {value[:40]!r}; send it as plain bytes")
    for key, value in lines:
        found = _NAME.search(value) if key == "content-disposition" else None
        if found and value.lower().startswith("form-data"):
            return found[1]
    raise BadMultipart(f"part {number} has no name")
