"""Decodes chunked bodies (RFC 9112, section 7.1), block by block.

Whatever two programs could read in different ways is refused: a line that ends in a line feed alone, a length that is
no plain number, a chunk that is longer than it says, a malformed trailer.
"""

from __future__ import annotations

import re

# About 0.1 ms of work: fifty clients that send tiny chunks together delay the others by a few milliseconds.
MAX_CHUNKS_PER_READ = 128
_MAX_LINE_BYTES = 1024
_MAX_TRAILERS = 100
_LINE = re.compile(rb"([0-9A-Fa-f]{1,10})[ \t]{0,16}(?:;[^\r\n]{0,990})?\r\n")
_TRAILER = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+:[^\x00-\x08\x0a-\x1f\x7f]*\r\n")


class BadChunkedBody(ValueError):
    """The body is not correctly chunked; the text says why."""


class ChunkedDecoder:
    """Decodes one body. ended: whether its end has been read."""

    def __init__(self) -> None:
        self.ended = False
        self._inside = False  # a chunk: its content, or the line end behind it
        self._left = 0  # bytes of the chunk's content that are missing
        self._trailers: int | None = None  # number of trailers read so far; None before the last chunk

    def decode(self, block: bytes) -> tuple[int, bytes]:
        """Decode a block of bytes. Return how many bytes were used, and the content that they hold.

        Pass the unused bytes again with more behind them: they are the beginning of a line, what follows the body, or
        chunks beyond MAX_CHUNKS_PER_READ. Raises BadChunkedBody.
        """
        at = 0
        contents = []
        for _ in range(MAX_CHUNKS_PER_READ):
            if self._inside:
                end = at + self._left
                content = block[at:end]
                contents.append(content)
                at += len(content)
                self._left -= len(content)
                behind = block[at : at + 2]
                if self._left or behind != b"\r\n":
                    if not self._left and not b"\r\n".startswith(behind):
                        raise BadChunkedBody("a chunk is longer than it says")
                    break
                at += 2
                self._inside = False
            found = _LINE.match(block, at) if self._trailers is None else None
            if found is None:
                at = self._read_trailers(block, at)
                break
            at = found.end()
            self._left = int(found[1], 16)
            if self._left:
                self._inside = True
            else:
                self._trailers = 0
        return at, b"".join(contents)

    def _read_trailers(self, block: bytes, at: int) -> int:
        """Read trailer lines from `at` on, and return where reading stopped."""
        while not self.ended and (line := _line(block, at)) is not None:
            if self._trailers is None:
                raise BadChunkedBody("a chunk's length is a hexadecimal number")
            self.ended = line == b"\r\n"
            if not self.ended and (self._trailers == _MAX_TRAILERS or _TRAILER.fullmatch(line) is None):
                raise BadChunkedBody("the trailers are too many, or one is not a name, a colon and a value")
            self._trailers += 1
            at += len(line)
        return at


def _line(block: bytes, at: int) -> bytes | None:
    """Return the line that begins at `at`, None if its end has not arrived yet."""
    end = block.find(b"\n", at, at + _MAX_LINE_BYTES) + 1
    if end and block[end - 2 : end] != b"\r\n":
        raise BadChunkedBody("a chunk's line ends in a line feed alone")
    if not end and len(block) - at >= _MAX_LINE_BYTES:
        raise BadChunkedBody("a chunk's line is too long")
    return block[at:end] if end else None
