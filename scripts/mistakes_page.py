"""Writes docs/mistakes.md: common mistakes, and what framesift says to each, by trying them.

.venv/bin/python scripts/mistakes_page.py [FILE]
"""

from __future__ import annotations

import textwrap
from pathlib import Path
from tempfile import TemporaryDirectory

from markdown_pages import write
from mistakes import MISTAKES, Mistake, said

_INTRODUCTION = """
# What framesift says to common mistakes

Each was made in a small `framesift.yaml` or its `policy.json`, and tried with `framesift check`. What it says names the
place, the value (never a secret), what is allowed or what was meant, and the way out. `->` stands for the column *what
to do*. All keys: [settings.md](settings.md), [policy.md](policy.md).

This page is written by `scripts/mistakes_page.py`, which makes each mistake of `scripts/mistakes.py`.
"""


def section(mistake: Mistake, answer: str) -> str:
    """The part of the page about one mistake. answer: what framesift says to it."""
    written = mistake.policy[1] if mistake.policy else mistake.wrong
    where = "policy.json" if mistake.in_policy or mistake.policy else "framesift.yaml"
    given = "".join(f"    {name}={value}\n" for name, value in mistake.environment.items())
    title = f"**{mistake.what[0].upper()}{mistake.what[1:]}**, in {where}:"
    shown, answered = (textwrap.indent(text, "    ") for text in (written.strip("\n"), answer))
    return f"{title}\n\n{shown}\n{given}\nsays\n\n{answered}\n"


def page() -> str:
    """The text of docs/mistakes.md."""
    sections = []
    for mistake in MISTAKES:
        with TemporaryDirectory() as folder:
            sections.append(section(mistake, said(mistake, Path(folder))))
    return "\n".join([_INTRODUCTION.lstrip(), *sections])


if __name__ == "__main__":
    write(page, "mistakes.md")
