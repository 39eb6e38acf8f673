"""StatusAnswer: what a request is answered."""

from __future__ import annotations

from dataclasses import dataclass

ALWAYS = (("cache-control", "no-store"), ("x-content-type-options", "nosniff"))
_TEXT = "text/plain; charset=utf-8"
# Nothing of another server is loaded or sent to, and no other page shows this one.
_PAGE = (
    ("referrer-policy", "no-referrer"),
    (
        "content-security-policy",
        "default-src 'none'; img-src 'self' data:; style-src 'unsafe-inline'; script-src 'unsafe-inline';"
        " connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    ),
)


@dataclass(frozen=True, slots=True)
class StatusAnswer:
    """An answer. status: of HTTP. fields: of the head, their names in lower case."""

    status: int
    body: bytes
    fields: tuple[tuple[str, str], ...]


def text_answer(line: str, status: int = 200, *more: tuple[str, str]) -> StatusAnswer:
    """Return an answer of plain text. more: further fields of the head."""
    return StatusAnswer(status, f"{line}\n".encode(), (*ALWAYS, *more, ("content-type", _TEXT)))


def page_answer(content: bytes, content_type: str, status: int = 200) -> StatusAnswer:
    """Return an answer for a browser."""
    return StatusAnswer(status, content, (*ALWAYS, *_PAGE, ("content-type", content_type)))
