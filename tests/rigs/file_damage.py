"""Damage to a spool's file that is larger than a bit: bytes of the header, pages that are zeroed, swapped or there
twice, files that were cut off, and garbage in place of the log.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rigs.bit_flips import HEADER, page_size

FLIPPED, ZEROED, FULL, RANDOM = "flipped", "zeroed", "0xFF", "random"
HEADER_BYTES = 100


@dataclass(frozen=True)
class HeaderByte:
    """One byte of the header gets another value."""

    offset: int
    how: str
    tree: str = HEADER
    most_rows: int = 0  # what it may cost

    def into(self, folder: Path) -> None:
        path = folder / "spool.db"
        content = bytearray(path.read_bytes())
        content[self.offset] = _other(content[self.offset], self.how, self.offset)
        path.write_bytes(content)


def _other(byte: int, how: str, seed: int) -> int:
    chance = random.Random(f"{seed} {how}")
    if how == FLIPPED:
        return byte ^ 1 << chance.randrange(8)
    if how == ZEROED:
        return 0
    return 0xFF if how == FULL else chance.randrange(256)


def every_header_byte(*hows: str) -> list[HeaderByte]:
    return [HeaderByte(offset, how) for offset in range(HEADER_BYTES) for how in hows]


@dataclass(frozen=True)
class Pages:
    """Two pages (numbers from 1) change places; or the first is copied over the second; or the first is overwritten."""

    how: str
    first: int
    second: int
    tree: str
    most_rows: int = 60

    def into(self, folder: Path) -> None:
        path = folder / "spool.db"
        content, page_bytes = bytearray(path.read_bytes()), page_size(path)
        one, other = (slice((n - 1) * page_bytes, n * page_bytes) for n in (self.first, self.second))
        if self.how == "swapped":
            content[one], content[other] = content[other], content[one]
        elif self.how == "twice":
            content[other] = content[one]
        else:
            content[one] = random.Random(self.first).randbytes(page_bytes) if self.how == RANDOM else bytes(page_bytes)
        path.write_bytes(content)


def some_pages(trees: dict[str, list[int]], number: int, seed: int) -> Iterator[Pages]:
    """trees: the pages of each tree, numbers from 0. Every tree is as likely as the others."""
    chance = random.Random(seed)
    for _ in range(number):
        one, other = chance.choice([*trees]), chance.choice([*trees])
        first, second = (chance.choice(trees[name]) + 1 for name in (one, other))
        yield Pages(chance.choice(("swapped", "twice", ZEROED, RANDOM)), first, second, f"{one}, {other}")


@dataclass(frozen=True)
class CutOff:
    """The file ends here."""

    size_bytes: int
    tree: str = "the end"
    most_rows: int = 1_000_000

    def into(self, folder: Path) -> None:
        with (folder / "spool.db").open("r+b") as file:
            file.truncate(self.size_bytes)
        (folder / "spool.db.reserve").touch()  # as it lies beside every file that was a spool


@dataclass(frozen=True)
class Garbage:
    """A file beside the database has garbage in it. seed 0: zeros."""

    suffix: str
    size_bytes: int
    seed: int
    tree: str = "beside"
    most_rows: int = 0

    def into(self, folder: Path) -> None:
        content = random.Random(self.seed).randbytes(self.size_bytes) if self.seed else bytes(self.size_bytes)
        (folder / f"spool.db{self.suffix}").write_bytes(content)
