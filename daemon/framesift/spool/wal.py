"""Repairs flipped bits in the write-ahead log that a crash left behind. The log's checksums show them.

SQLite treats everything from the first frame with wrong checksums on as not committed, and drops it without a message:
acknowledged rows, charges and deliveries. But the checksums are linear: one flipped bit changes them by an amount that
shows that it was one bit, and mostly which one. If it doesn't show which one, the frame is accepted as it is; its page
is then damaged like any page of the file may be. Any other difference stays the end of the log, because an unfinished
write before a power cut looks like this.

The format: https://www.sqlite.org/fileformat2.html#the_write_ahead_log
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from framesift.atomic_files import sync_file

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_HEADER_BYTES, _FRAME_BYTES = 32, 24
_VERSION = (3007000).to_bytes(4, "big")
_MAGIC = {
    "<u4": bytes.fromhex("377F0682"),
    ">u4": bytes.fromhex("377F0683"),
}  # by the byte order in which the checksums read the words
_LONGEST_BYTES = 2**30  # far more than a spool's log can have

Sums = tuple[int, int]


def repair_flipped_bits(path: Path) -> bool:
    """Repairs flipped bits of the log, at most one per frame. Returns whether there were any.

    No connection may be open. Raises OSError.
    """
    if path.is_symlink() or not path.exists() or not _HEADER_BYTES < path.stat().st_size < _LONGEST_BYTES:
        return False
    before = path.read_bytes()
    content = bytearray(before)
    _repair(content)
    changed = [at for at in range(0, len(content), 8) if content[at : at + 8] != before[at : at + 8]]
    if changed:
        with path.open("r+b") as file:
            for at in changed:
                file.seek(at)
                file.write(content[at : at + 8])
            sync_file(file)
    return bool(changed)


@dataclass(frozen=True, slots=True)
class CommittedPages:
    """The pages that a log holds. offsets: where each begins in the log, by its number from 1."""

    page_bytes: int
    offsets: dict[int, int]


def committed_pages(path: Path) -> CommittedPages | None:
    """The pages of the transactions in a log that SQLite regards as committed; None if it has none. Raises OSError."""
    size_bytes = path.stat().st_size
    if not _HEADER_BYTES < size_bytes < _LONGEST_BYTES:
        return None
    content = bytearray(path.read_bytes())
    order = next((order for order, magic in _MAGIC.items() if content[:4] == magic), None)
    page_bytes = int.from_bytes(content[8:12], "big")
    if order is None or not 512 <= page_bytes <= 65536 or page_bytes.bit_count() != 1:
        return None
    sums = _sums(bytes(content[:24]), order, (0, 0))
    if sums != _stored(content, 24):
        return None
    size = _FRAME_BYTES + page_bytes
    committed: dict[int, int] = {}
    pages: dict[int, int] = {}  # of the transaction that is being read
    for at in range(_HEADER_BYTES, len(content) - size + 1, size):
        sums = _sums(_checked(content, at, size), order, sums)
        if content[at + 8 : at + 16] != content[16:24] or sums != _stored(content, at + 16):
            break
        pages[int.from_bytes(content[at : at + 4], "big")] = at + _FRAME_BYTES
        if any(content[at + 4 : at + 8]):  # the last frame of a transaction
            committed |= pages
            pages = {}
    return CommittedPages(page_bytes, committed) if committed else None


def _repair(content: bytearray) -> None:
    order = _header(content)
    if order is None:
        return
    size = _FRAME_BYTES + int.from_bytes(content[8:12], "big")
    salts = bytes(content[16:24])
    # The checksums of everything before a frame: as they were written, and as they are after the repair.
    was = now = _stored(content, 24)
    for at in range(_HEADER_BYTES, len(content) - size + 1, size):
        # The salts are in no checksum, but equal in all frames.
        salted = int.from_bytes(content[at + 8 : at + 16], "little") ^ int.from_bytes(salts, "little")
        if salted.bit_count() > 1:
            return  # a frame of an earlier log
        wanted, found = _stored(content, at + 16), _sums(_checked(content, at, size), order, was)
        if found != wanted:
            bits = _bits_between(_checked(content, at, size), order, found, wanted)
            if _bits(found, wanted) == 1 and not (bits and _follows(content, at + size, size, order, wanted)):
                wanted = found  # the flipped bit is in the checksums
            elif not bits:
                return
            elif len(bits) == 1:
                byte = at + bits[0] // 8 + (0 if bits[0] < 64 else 16)
                content[byte] ^= 1 << bits[0] % 8
        content[at + 8 : at + 16] = salts
        was, now = wanted, _sums(_checked(content, at, size), order, now)
        content[at + 16 : at + 24] = _written(now)


def _header(content: bytearray) -> str | None:
    """Repairs the header. Returns the byte order of the checksums; None if this is no log."""
    for order, magic in _MAGIC.items():
        wanted, found = _stored(content, 24), _sums(bytes(content[:24]), order, (0, 0))
        is_whole = content[:4] == magic and found == wanted
        tries = [None] if _bits(found, wanted) <= 1 else []
        for bit in (*tries, *_bits_between(bytes(content[:24]), order, found, wanted)):
            header = content[:24]
            if bit is not None:
                header[bit // 8] ^= 1 << bit % 8
            # Several bits may explain the checksums, but the page size is a power of 2, and frame 0 has the salts.
            is_size = int.from_bytes(header[8:12], "big").bit_count() == 1
            if is_whole or (header[:8] == magic + _VERSION and is_size and header[16:24] == content[40:48]):
                content[:32] = header + _written(_sums(bytes(header), order, (0, 0)))
                return order
    return None


def _checked(content: bytearray, at: int, size: int) -> bytes:
    """The bytes of a frame that its checksums cover."""
    return bytes(content[at : at + 8] + content[at + _FRAME_BYTES : at + size])


def _follows(content: bytearray, at: int, size: int, order: str, sums: Sums) -> bool:
    """Whether the frame is correct if these are the checksums of everything before it."""
    if at + size > len(content):
        return False
    return _sums(_checked(content, at, size), order, sums) == _stored(content, at + 16)


def _stored(content: bytearray, at: int) -> Sums:
    return int.from_bytes(content[at : at + 4], "big"), int.from_bytes(content[at + 4 : at + 8], "big")


def _written(sums: Sums) -> bytes:
    return sums[0].to_bytes(4, "big") + sums[1].to_bytes(4, "big")


def _bits(one: Sums, other: Sums) -> int:
    return (one[0] ^ other[0]).bit_count() + (one[1] ^ other[1]).bit_count()


def _sums(data: bytes, order: str, before: Sums) -> Sums:
    """The checksums of the data, continued from `before`."""
    import numpy as np  # imported here, because a log exists only after a crash

    words = np.frombuffer(data, order).astype(np.uint64)
    first, second = (
        (int((words * w[1:]).sum()) + before[0] * int(w[1]) + before[1] * int(w[0])) % 2**32
        for w in _weights(len(words))
    )
    return first, second


def _bits_between(data: bytes, order: str, found: Sums, wanted: Sums) -> list[int]:
    """Numbers of the bits that would turn the checksums `found` into `wanted` if only that bit were flipped.

    Bit 0 is the lowest bit of the first byte.
    """
    import numpy as np

    words = np.frombuffer(data, order).astype(np.uint64)
    bits = np.arange(32, dtype=np.uint64)[:, None]
    # A flip adds the bit's value if the bit is 0, and subtracts it if it is 1.
    amounts = np.where(words >> bits & np.uint64(1), np.uint64(2**32) - (np.uint64(1) << bits), np.uint64(1) << bits)
    fits = True
    for w, one, other in zip(_weights(len(words)), found, wanted, strict=True):
        fits &= (amounts * w[1:]) & np.uint64(2**32 - 1) == np.uint64((other - one) % 2**32)
    return [
        32 * int(word) + 8 * (int(bit) // 8 if order == "<u4" else 3 - int(bit) // 8) + int(bit) % 8
        for bit, word in np.argwhere(fits)
    ]


@lru_cache
def _weights(count: int) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """The weight of each word in the first and in the second checksum, modulo 2^32: Fibonacci numbers.

    Element 0 is the weight of the previous second checksum, element 1 that of the previous first one and of word 0.
    """
    import numpy as np

    series = [0, 1]
    while len(series) < count + 2:
        series.append((series[-1] + series[-2]) % 2**32)
    falling = np.array(series[::-1], np.uint64)
    return falling[1:], falling[:-1]
