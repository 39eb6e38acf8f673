"""Which split a picture belongs to, and that it stays there."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from deliveries import CAPTURED_S, delivery
from framesift.datasets.drafts import DatasetFormat
from framesift.datasets.splits import Grouping, Split, SplitShares
from framesift.sinks.collected_folder import CollectedPicture
from rigs.exports import car, collect, export, objects

PICTURE = CollectedPicture(
    file_name="images/a.jpg", id="a", device="box", stream="gate", frame=0, captured_at_s=600.0, strategy="hard",
    score=None, width=1, height=1, weight=None, sequence=None, sequence_offset_s=0.0, wire=None,
)  # fmt: skip


@pytest.mark.parametrize(
    ("text", "shares"),
    [
        ("80/10/10", (80, 10, 10)),
        ("80/20", (80, 20, 0)),
        ("100/0/0", (100, 0, 0)),
        ("33.3/33.3/33.4", (33.3, 33.3, 33.4)),
        ("33.3/33.3/33.3", (33.3, 33.3, 33.3)),
        ("33.33/33.33/33.33", (33.33, 33.33, 33.33)),
    ],
)
def test_shares_are_read(text: str, shares: tuple[float, ...]) -> None:
    found = SplitShares.parse(text)
    assert (found.train, found.val, found.test) == shares


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("80/10", "80/10: adds up to 90; shares in percent that add up to 100"),
        ("33.2/33.3/33.3", "adds up to 99.8; shares in percent"),
        ("80", "80: shares in percent"),
        ("80/10/5/5", "80/10/5/5: shares"),
        ("120/-20", "120/-20: shares"),
        ("most/some", r"most/some: shares in percent .* 80/10/10 \(train/val/test\) or 80/20"),
        ("nan/100", "nan/100: shares"),
        ("", ": shares"),
    ],
)
def test_other_shares_are_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SplitShares.parse(text)


def test_the_shares_are_kept_on_the_whole() -> None:
    shares = SplitShares.parse("80/15/5")
    found = Counter(shares.split_of(f"{n:032x}") for n in range(4000))
    assert found[Split.TRAIN] == pytest.approx(3200, abs=100)
    assert found[Split.VAL] == pytest.approx(600, abs=80)
    assert found[Split.TEST] == pytest.approx(200, abs=50)
    assert {SplitShares.parse("0/100").split_of(str(n)) for n in range(50)} == {Split.VAL}


def test_the_split_of_a_picture_is_the_same_on_every_machine() -> None:
    shares = SplitShares.parse("50/25/25")
    assert "".join(shares.split_of(f"{n:032x}")[1] for n in range(16)) == "aererreeeerearre"


def test_the_pictures_of_a_sequence_stay_together() -> None:
    neighbour = replace(PICTURE, id="b", sequence="a", sequence_offset_s=-30.0, captured_at_s=570.0)
    for grouping in (Grouping(), Grouping(together_s=60.0), Grouping(by_stream=True)):
        assert grouping.group_of(neighbour) == grouping.group_of(PICTURE)
    assert Grouping().group_of(replace(PICTURE, id="b")) != Grouping().group_of(PICTURE)


def test_a_stream_stays_together_and_another_devices_of_that_name_is_another_one() -> None:
    grouping = Grouping(by_stream=True)
    assert grouping.group_of(replace(PICTURE, id="b", captured_at_s=9e5)) == grouping.group_of(PICTURE)
    others = (replace(PICTURE, stream="yard"), replace(PICTURE, device="other"))
    assert len({grouping.group_of(one) for one in (PICTURE, *others)}) == 3


def test_pictures_of_one_minute_stay_together() -> None:
    grouping = Grouping(together_s=60.0)
    groups = [grouping.group_of(replace(PICTURE, id=str(at), captured_at_s=at)) for at in (600.0, 659.9, 660.0)]
    assert groups[0] == groups[1] != groups[2]
    assert grouping.group_of(replace(PICTURE, stream="yard")) != groups[0]


def test_more_pictures_leave_the_earlier_ones_where_they_are(tmp_path: Path) -> None:
    def splits(out: str) -> dict[str, str]:
        export(tmp_path / "in", tmp_path / out, DatasetFormat.YOLO, split="60/20/20")
        return {path.name: path.parent.name for path in (tmp_path / out).glob("images/*/*.jpg")}

    collect(tmp_path / "in", *(delivery(n, objects(car())) for n in range(5, 25)))
    earlier = splits("one")
    assert len(set(earlier.values())) == 3
    # One before them and one after them; they were captured in between.
    collect(tmp_path / "in", *(delivery(n, objects(car()), captured_at_s=CAPTURED_S + n) for n in (1, 99)))
    later = splits("two")
    assert len(later) == 22
    assert {name: later[name] for name in earlier} == earlier
