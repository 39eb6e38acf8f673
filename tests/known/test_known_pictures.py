"""Known pictures: which a path names, how they are read and kept, and what looks like them."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deliveries import delivery, jpeg
from framesift.frame import Pixels
from framesift.known.known_pictures import KnownPictures, KnownReading
from framesift.known.known_signatures import KnownSignatures
from framesift.known.signature_cache import SignatureCache
from framesift.pictures.picture_files import PictureFiles, find_pictures, path_problem
from framesift.sinks import Delivered, FolderSinkSettings, open_sink
from framesift.strategies.near_duplicate import distance, signature
from rigs.scenes import jpeg_of, scene

THRESHOLD = 0.0125


def write(path: Path, content: bytes = b"", *, changed_s: int = 1_800_000_000) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content or jpeg_of(scene(0)))
    os.utime(path, (changed_s, changed_s))
    return path


def named_by(path: Path) -> tuple[list[str], list[str]]:
    """The pictures that a path names, relative to its folder, and what could not be read."""
    found = PictureFiles()
    find_pictures(path, found, lambda: True)
    folder = path if path.is_dir() else path.parent
    return sorted(os.path.relpath(name, folder) for name in found.files), found.unreadable


def read(known: KnownPictures, *paths: Path) -> KnownReading:
    found = known.read(tuple(map(str, paths)))
    assert found is not None
    return found


def is_known(known: KnownPictures, pixels: Pixels, *paths: Path, threshold: float = THRESHOLD) -> bool:
    return known.similar_distance(tuple(map(str, paths)), signature(pixels), threshold) is not None


# Which pictures a path names


def test_a_folder_names_all_pictures_below_it_but_hidden_ones(tmp_path: Path) -> None:
    for name in ("a.jpg", "b/c.PNG", "b/d/e.jpeg", ".hidden.jpg", ".thumbs/f.jpg", "b/notes.txt", "b/label.json"):
        write(tmp_path / "set" / name)
    write(tmp_path / "elsewhere" / "g.jpg")
    (tmp_path / "set" / "linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "set" / "b" / "round").symlink_to(tmp_path / "set")
    assert named_by(tmp_path / "set") == (["a.jpg", "b/c.PNG", "b/d/e.jpeg", "linked/g.jpg"], [])
    assert named_by(tmp_path / "set" / "a.jpg") == (["a.jpg"], [])


@pytest.mark.parametrize(
    ("data", "names"),
    [
        ({"train": "train/images", "val": "valid/images"}, ["train/images/1.jpg", "valid/images/2.jpg"]),
        ({"train": "../train/images", "val": "../valid/images"}, ["train/images/1.jpg", "valid/images/2.jpg"]),
        ({"path": "valid", "train": "images", "test": None}, ["valid/images/2.jpg"]),
        ({"train": ["train/images", "valid/images"]}, ["train/images/1.jpg", "valid/images/2.jpg"]),
        ({"train": "list.txt"}, ["train/images/1.jpg", "valid/images/2.jpg"]),
    ],
)
def test_a_yolo_dataset_names_the_pictures_of_its_parts(tmp_path: Path, data: dict[str, Any], names: list[str]) -> None:
    write(tmp_path / "train/images/1.jpg")
    write(tmp_path / "train/labels/1.txt", b"0 0.5 0.5 0.1 0.1\n")
    write(tmp_path / "valid/images/2.jpg")
    write(tmp_path / "other/3.jpg")
    (tmp_path / "list.txt").write_text("./train/images/1.jpg\n\nvalid/images/2.jpg\n")
    (tmp_path / "data.yaml").write_text(json.dumps({**data, "names": ["car"]}))
    assert named_by(tmp_path / "data.yaml") == (names, [])


@pytest.mark.parametrize("place", ["annotations.json", "annotations/train.json", "images/_annotations.coco.json"])
def test_a_coco_file_names_its_pictures_where_they_usually_are(tmp_path: Path, place: str) -> None:
    write(tmp_path / "images" / "1.jpg")
    images = [{"id": 1, "file_name": "1.jpg"}, {"id": 2, "file_name": "gone.jpg"}, {"id": 3}, {"file_name": "a\0b"}]
    path = tmp_path / place
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({"images": images, "annotations": []}))
    found, unreadable = named_by(path)
    assert [os.path.normpath(path.parent / name) for name in found] == [str(tmp_path / "images" / "1.jpg")]
    assert len(unreadable) == 2
    assert "gone.jpg: No such file or directory" in unreadable[0]


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("data.yaml", b"names: [car]\n", "none of train, val, test"),
        ("data.yaml", b"{", "data.yaml"),
        ("data.yaml", b"\xff\xfe", "data.yaml"),
        ("set.json", b"[1]", "no list of images"),
        ("set.json", b"{", "set.json"),
        ("set.json", b"[" * 100_000, "set.json"),
    ],
)
def test_a_file_that_is_no_dataset_is_named(tmp_path: Path, name: str, content: bytes, problem: str) -> None:
    found, (sentence,) = named_by(write(tmp_path / name, content))
    assert found == []
    assert str(tmp_path / name) in sentence
    assert problem in sentence


def test_what_can_name_no_pictures_is_a_problem_before_it_is_read(tmp_path: Path) -> None:
    write(tmp_path / "notes.txt")
    good = (tmp_path, write(tmp_path / "a.jpg"), write(tmp_path / "data.yaml"), write(tmp_path / "coco.json"))
    assert [path_problem(path) for path in good] == [None] * 4
    assert path_problem(tmp_path / "gone") == "there is no such file or folder (No such file or directory)"
    assert "it must be a folder of pictures" in str(path_problem(tmp_path / "notes.txt"))


# Reading them


def test_a_frame_like_a_picture_of_the_list_is_known_once_it_is_read(tmp_path: Path) -> None:
    write(tmp_path / "set/1.jpg", jpeg_of(scene(1)))
    made, png = cv2.imencode(".png", scene(2))
    assert made
    write(tmp_path / "set/2.png", png.tobytes())
    known, place = KnownPictures(), tmp_path / "set"
    assert not is_known(known, scene(1), place)
    assert not known.is_read((str(place),))
    assert read(known, place) == KnownReading((str(place),), 2, 0, ())
    assert known.is_read((str(place),))
    assert [is_known(known, scene(number, frame=7), place) for number in (1, 2, 3)] == [True, True, False]
    assert not is_known(known, scene(1), tmp_path), "another list"


def test_what_cannot_be_read_is_counted_and_named_and_the_rest_is_known(tmp_path: Path) -> None:
    write(tmp_path / "good.jpg", jpeg_of(scene(1)))
    write(tmp_path / "cut.jpg", jpeg_of(scene(2))[:500])
    write(tmp_path / "moving.webp", b"RIFF....WEBP")
    write(tmp_path / "huge.jpg", bytes((16 << 20) + 1))
    known = KnownPictures()
    found = read(known, tmp_path, tmp_path / "gone")
    assert found.pictures == 1
    assert sorted(sentence.removeprefix(f"{tmp_path}/").partition(":")[0] for sentence in found.unreadable) == [
        "cut.jpg",
        "gone",
        "huge.jpg",
        "moving.webp",
    ]
    assert is_known(known, scene(1), tmp_path, tmp_path / "gone")


def test_of_too_many_pictures_the_newest_are_known(tmp_path: Path) -> None:
    for number in range(5):
        write(tmp_path / f"{number}.jpg", jpeg_of(scene(number)), changed_s=1_700_000_000 + number)
    known = KnownPictures(max_pictures=2)
    found = read(known, tmp_path)
    assert (found.pictures, found.left_out) == (2, 3)
    assert [number for number in range(5) if is_known(known, scene(number), tmp_path)] == [3, 4]


def test_an_empty_folder_knows_nothing(tmp_path: Path) -> None:
    known = KnownPictures()
    assert read(known, tmp_path).pictures == 0
    assert not is_known(known, scene(1), tmp_path, threshold=1.0)


def test_reading_can_be_interrupted_and_then_knows_nothing(tmp_path: Path) -> None:
    for number in range(3):
        write(tmp_path / f"{number}.jpg", jpeg_of(scene(number)))
    known = KnownPictures()
    asked = iter([True, True, False])
    assert known.read((str(tmp_path),), lambda: next(asked)) is None
    assert not is_known(known, scene(0), tmp_path)


def test_the_folder_of_our_own_sink_names_what_was_collected(tmp_path: Path) -> None:
    sink = open_sink(FolderSinkSettings(type="folder", path=tmp_path / "out", limits=()), class_names=None)
    assert sink.deliver(delivery(1), now_s=0.0, within_s=45.0) == Delivered()
    sink.close()
    known = KnownPictures()
    assert read(known, tmp_path / "out") == KnownReading((str(tmp_path / "out"),), 1, 0, ())
    kept = np.asarray(cv2.imdecode(np.frombuffer(jpeg(), np.uint8), cv2.IMREAD_COLOR), np.uint8)
    assert is_known(known, kept, tmp_path / "out")


# The cache


def test_signatures_are_made_once_and_again_only_for_a_file_that_changed(tmp_path: Path) -> None:
    place, kept = tmp_path / "set", tmp_path / "kept"
    first, second = (write(place / f"{number}.jpg", jpeg_of(scene(number))) for number in (1, 2))
    assert read(KnownPictures(kept), place).pictures == 2
    # Whoever decodes this one again finds no picture in it; its size and time are the same.
    write(first, bytes(first.stat().st_size))
    write(second, jpeg_of(scene(3)), changed_s=1_800_000_007)
    known = KnownPictures(kept)
    assert read(known, place) == KnownReading((str(place),), 2, 0, ())
    assert [number for number in range(5) if is_known(known, scene(number), place)] == [1, 3]
    second.unlink()
    assert read(KnownPictures(kept), place).pictures == 1
    assert len(SignatureCache(kept, (str(place),)).read()) == 1, "what is gone is not kept"


@pytest.mark.parametrize("damage", [b"", b"no archive", None])
def test_a_damaged_cache_is_made_again(tmp_path: Path, damage: bytes | None) -> None:
    place, kept = tmp_path / "set", tmp_path / "kept"
    write(place / "1.jpg", jpeg_of(scene(1)))
    read(KnownPictures(kept), place)
    (file,) = kept.iterdir()
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 0xFF
    file.write_bytes(bytes(content) if damage is None else damage)
    known = KnownPictures(kept)
    assert read(known, place).pictures == 1
    assert is_known(known, scene(1), place)
    assert len(SignatureCache(kept, (str(place),)).read()) == 1


def test_a_cache_that_cannot_be_written_is_said_and_does_not_matter(tmp_path: Path) -> None:
    place = tmp_path / "set"
    write(place / "1.jpg", jpeg_of(scene(1)))
    (tmp_path / "kept").write_text("a file where the folder should be")
    found = read(KnownPictures(tmp_path / "kept"), place)
    assert (found.pictures, found.cache_problem) == (1, "File exists")


def test_each_list_has_its_own_cache(tmp_path: Path) -> None:
    for number in (1, 2):
        write(tmp_path / str(number) / "a.jpg", jpeg_of(scene(number)))
    known = KnownPictures(tmp_path / "kept")
    for paths in ((tmp_path / "1",), (tmp_path / "2",), (tmp_path / "1", tmp_path / "2")):
        read(known, *paths)
    assert len(list((tmp_path / "kept").iterdir())) == 3


# Comparing


@given(seed=st.integers(0, 10_000), count=st.integers(0, 400), spread=st.sampled_from([0.0, 0.01, 0.3]))
def test_the_quick_comparison_answers_as_the_plain_one(seed: int, count: int, spread: float) -> None:
    rng = np.random.default_rng(seed)
    signatures = rng.normal(0, spread, (count, 192)).astype(np.float32)
    new = rng.normal(0, spread, 192).astype(np.float32)
    if count and seed % 2:
        new = signatures[seed % count] + rng.normal(0, 0.01, 192).astype(np.float32)
    nearest = min((distance(one, new) for one in signatures), default=1.0)
    known = KnownSignatures(signatures)
    for threshold in (0.0, nearest * 0.99, nearest * 1.01, 1.0):
        assert (known.similar_distance(new, threshold) is not None) is (count > 0 and nearest <= threshold)


def test_the_same_picture_is_found_at_a_distance_of_zero() -> None:
    signatures = np.array([signature(scene(number)) for number in range(50)], np.float32)
    known = KnownSignatures(signatures)
    assert len(known) == 50
    assert all(known.similar_distance(one, 0.0) == 0 for one in signatures)
