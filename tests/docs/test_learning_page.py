"""The tables and drawings of docs/learning.md are those of the curves that lie beside them."""

from __future__ import annotations

from pathlib import Path

import pytest

from learning.__main__ import drawing_of
from learning.results import read_curves, table

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "learning.md").read_text(encoding="utf-8")
CURVES = read_curves(DOCS / "learning" / "curves.json")


@pytest.mark.parametrize("camera", ["digits", "street"])
def test_the_page_shows_the_curves(camera: str) -> None:
    curves = CURVES[camera]
    assert table(curves, has_boxes=camera == "street") in PAGE
    assert (DOCS / "learning" / f"{camera}.svg").read_text(encoding="utf-8") == drawing_of(camera, curves)
    (seeds,) = {len(of_seeds) for of_seeds in curves.values()}
    assert f"{camera}, {seeds} seeds" in PAGE.lower()
    assert f"(learning/{camera}.svg)" in PAGE
