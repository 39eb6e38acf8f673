"""A JPEG whose data end early is told apart from a whole one, although it has its end marker, and is refused."""

from __future__ import annotations

import re
from itertools import pairwise

import cv2
import numpy as np
import pytest

from framesift.frame import Pixels
from framesift.pictures.encoded_picture import BadPicture, decode, parse_picture
from rigs.hostile_pictures import turned
from rigs.jpegs import jpeg_of, pixels_of, scene

RESTARTS, SAMPLING = cv2.IMWRITE_JPEG_RST_INTERVAL, cv2.IMWRITE_JPEG_SAMPLING_FACTOR


def grey_below(row: int) -> Pixels:
    pixels = scene()
    pixels[row:] = 128
    return pixels


SEQUENTIAL = {
    "420": jpeg_of(scene()),
    "422": jpeg_of(scene(), SAMPLING, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_422),
    "411": jpeg_of(scene(), SAMPLING, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_411),
    "444": jpeg_of(scene(), SAMPLING, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444),
    "grey": jpeg_of(scene()[:, :, :1]),
    "optimised": jpeg_of(scene(), cv2.IMWRITE_JPEG_OPTIMIZE, 1),
    "one pixel over": jpeg_of(scene(321, 241)),
    "small": jpeg_of(scene(17, 33)),
    "turned": turned(jpeg_of(scene())),
    "restarts": jpeg_of(scene(), RESTARTS, 7),
    "grey with restarts": jpeg_of(scene()[:, :, :1], RESTARTS, 5),
    "large restarts": jpeg_of(scene(), RESTARTS, 1000),
    "grey end": jpeg_of(grey_below(200)),
    "grey end with restarts": jpeg_of(grey_below(200), RESTARTS, 7),
    "only grey": jpeg_of(grey_below(0)),
    "only grey with restarts": jpeg_of(grey_below(0), RESTARTS, 1),
    "many parts": jpeg_of(scene(1600, 1200), RESTARTS, 1),
}
PROGRESSIVE = jpeg_of(scene(), cv2.IMWRITE_JPEG_PROGRESSIVE, 1)


def cut(jpeg: bytes, at: int) -> bytes:
    """The file without what lies between this place and its end marker."""
    return jpeg[:at].rstrip(b"\xff") + b"\xff\xd9"


def data_at(jpeg: bytes) -> int:
    """Where the data behind the last scan's header begin."""
    scan = jpeg.rindex(b"\xff\xda")
    return scan + 2 + int.from_bytes(jpeg[scan + 2 : scan + 4], "big")


@pytest.mark.parametrize("fraction", [1, 2, 4, 8])
@pytest.mark.parametrize("kind", SEQUENTIAL)
def test_a_whole_one_is_whole_and_nothing_is_said_of_it(
    kind: str, fraction: int, capfd: pytest.CaptureFixture[str]
) -> None:
    pixels = decode(parse_picture(SEQUENTIAL[kind]), fraction=fraction)
    if fraction == 1:
        assert np.array_equal(pixels, pixels_of(SEQUENTIAL[kind]))
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("fraction", [1, 8])
@pytest.mark.parametrize("kind", SEQUENTIAL)
def test_wherever_its_data_end_it_is_refused(kind: str, fraction: int) -> None:
    jpeg = SEQUENTIAL[kind]
    begin = data_at(jpeg)
    for fiftieth in range(50):
        short = cut(jpeg, begin + (len(jpeg) - 2 - begin) * fiftieth // 50)
        with pytest.raises(BadPicture, match="its data end early"):
            decode(parse_picture(short), fraction=fraction)


def test_data_that_are_missing_between_two_restart_markers_are_missed() -> None:
    jpeg = SEQUENTIAL["restarts"]
    markers = [found.start() for found in re.finditer(rb"\xff[\xd0-\xd7]", jpeg)]
    for begin, end in list(pairwise(markers))[3::7]:
        short = jpeg[: (begin + end) // 2].rstrip(b"\xff") + jpeg[end:]
        with pytest.raises(BadPicture, match="its data end early"):
            decode(parse_picture(short))
        with pytest.raises(BadPicture, match="its data end early"):  # nothing is decoded
            parse_picture(jpeg[:begin] + jpeg[end:])


def test_a_progressive_one_that_lacks_its_last_scans_is_refused_without_decoding() -> None:
    last = PROGRESSIVE.rindex(b"\xff\xda")
    for fiftieth in range(1, 50):
        with pytest.raises(BadPicture, match=r"its data end early|holds no picture|end is missing|size"):
            parse_picture(cut(PROGRESSIVE, last * fiftieth // 50))
    decode(parse_picture(PROGRESSIVE))


def test_of_a_progressive_one_it_is_not_told_where_its_last_scan_ends() -> None:
    assert decode(parse_picture(cut(PROGRESSIVE, len(PROGRESSIVE) - 200))).shape == (240, 320, 3)


def test_a_scan_of_what_it_does_not_have_is_refused() -> None:
    scan = SEQUENTIAL["420"].rindex(b"\xff\xda")
    for at, value in ((4, 4), (5, 9)):  # how many components, and which
        wrong = bytearray(SEQUENTIAL["420"])
        wrong[scan + at] = value
        with pytest.raises(BadPicture, match="a scan of components"):
            parse_picture(bytes(wrong))
