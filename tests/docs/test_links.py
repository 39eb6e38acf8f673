"""Every link from one page of the repository to another leads somewhere."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
_LINK = re.compile(r"\]\(([^)\s]+)\)")


def _anchors(page: Path) -> set[str]:
    """Of its headings, as hosts of repositories make them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    plain = (re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower() for heading in headings)
    return {re.sub(r"[^\w\- ]", "", heading).replace(" ", "-") for heading in plain}


def _broken(page: Path) -> Iterator[str]:
    for link in _LINK.findall(page.read_text(encoding="utf-8")):
        if "://" in link or link.startswith("mailto:"):
            continue
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        if not target.exists() or (anchor and anchor not in _anchors(target)):
            yield link


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    assert list(_broken(page)) == []


def test_a_link_to_nowhere_is_found(tmp_path: Path) -> None:
    (tmp_path / "b.md").write_text("# How limits `work`, here\n")
    page = tmp_path / "a.md"
    page.write_text("[1](b.md) [2](b.md#how-limits-work-here) [3](b.md#other) [4](c.md) [5](https://example.org/x)")
    assert list(_broken(page)) == ["b.md#other", "c.md"]


def test_what_the_program_says_about_a_page_can_be_found_there() -> None:
    # `docs/deploy.md, Jetson` in a message: the page is there, and so is its section.
    for path in (ROOT / "daemon" / "framesift").rglob("*"):
        if path.suffix not in (".py", ".yaml"):
            continue
        text = path.read_text(encoding="utf-8")
        assert "(README, " not in text, path
        for page, heading in re.findall(r"\b(docs/\w+\.md)(?:, ([A-Z]\w+)\))?", text):
            assert (ROOT / page).is_file(), f"{path} names {page}"
            assert not heading or heading.lower() in _anchors(ROOT / page), f"{path} names {page}, {heading}"
