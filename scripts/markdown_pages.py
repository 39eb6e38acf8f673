"""What the scripts share that write pages of docs/ from the code: tables, and where the text goes."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]


def table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    """The lines of a table. head: its columns' titles. rows: the cells of each line, as Markdown on one line."""
    yield f"| {' | '.join(head)} |"
    yield "|---" * len(head) + "|"
    for row in rows:
        yield f"| {' | '.join(row)} |"


def write(page: Callable[[], str], name: str) -> None:
    """Writes the page to docs/`name`, or to the file that the command line names."""
    parser = argparse.ArgumentParser(description=f"Writes docs/{name} from the code.")
    parser.add_argument("file", nargs="?", type=Path, default=ROOT / "docs" / name, help="written in its place")
    parser.parse_args().file.write_text(page(), encoding="utf-8")
