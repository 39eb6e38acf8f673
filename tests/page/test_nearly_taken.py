"""The page of nearly taken frames shows their thumbnails to whoever has the key, and only those that are whole."""

from __future__ import annotations

import re
from datetime import timezone
from pathlib import Path

import pytest

from clocks import NOON_S
from framesift.coverage import CoverageCounts
from framesift.page import PagePictures, WebPage
from framesift.sinks import FolderSinkSettings
from framesift.telemetry import Telemetry
from rigs.refused_thumbnails import Thumbnail, ThumbnailRecord

JPEG = b"what an encoder made"


class Style:
    format = "json"
    level = "error"


class Rig(ThumbnailRecord):
    def __init__(self, folder: Path) -> None:
        super().__init__(folder / "record")
        sink = FolderSinkSettings(type="folder", path=folder / "collected")
        self.page = WebPage(
            Telemetry(self.clock, Style()),
            self.record,
            PagePictures(folder / "spool.db", sink),
            CoverageCounts(NOON_S),
            device="gate-7",
            record_folder=self.folder,
            zone=lambda: timezone.utc,
            thumbnail=lambda _: None,
        )

    def get(self, path: str, *, has_key: bool) -> bytes | None:
        answer = self.page.answer(path, {}, has_key=has_key)
        return None if answer is None else answer.body

    def shown(self, *, has_key: bool) -> list[str]:
        """The addresses of the pictures on the page."""
        page = self.get("/nearly", has_key=has_key)
        assert page is not None
        assert b"limits are reached" in page
        return re.findall(r'src="([^"]*)"', page.decode())


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path)


def test_a_thumbnail_is_shown_with_the_key_and_to_nobody_without(rig: Rig) -> None:
    rig.refuse(Thumbnail(JPEG))
    (address,) = rig.shown(has_key=True)
    assert rig.get(address, has_key=True) == JPEG
    assert rig.shown(has_key=False) == []
    assert rig.get(address, has_key=False) is None


def test_one_that_is_torn_or_gone_is_not_shown(rig: Rig) -> None:
    for stream in ("gate", "yard", "door"):
        rig.refuse(Thumbnail(JPEG), stream=stream)
    whole, torn, gone = rig.shown(has_key=True)
    thumbnails = rig.folder / "thumbnails"
    (thumbnails / Path(torn).name).write_bytes(JPEG[:-1])
    (thumbnails / Path(gone).name).unlink()
    assert rig.shown(has_key=True) == [whole]
    for address in (torn, gone, "/nearly/", "/nearly/..%2Fdecisions.jsonl", "/nearly/../decisions.jsonl"):
        assert rig.get(address, has_key=True) is None
