"""EXIF's orientation is read without decoding, as decoders read it; what is not clear is left to them."""

from __future__ import annotations

import numpy as np
import pytest

from framesift.pictures.encoded_picture import LazyEncodedPicture, parse_picture
from framesift.pictures.exif_orientation import UNKNOWN, UPRIGHT, read_orientation
from rigs.jpegs import APP1, exif, jpeg_of, pixels_of, scene, with_segment


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_is_turned_as_the_decoder_turns_it(orientation: int, order: str) -> None:
    segment = exif(orientation, order, others=[(0x0100, 17), (0x010F, 3)])
    assert read_orientation(segment) == orientation
    jpeg = with_segment(jpeg_of(scene(64, 40)), APP1, segment)
    picture = LazyEncodedPicture(parse_picture(jpeg))
    expected = pixels_of(jpeg)
    assert (picture.height, picture.width) == expected.shape[:2]
    assert np.array_equal(picture.pixels, expected)


@pytest.mark.parametrize(
    "segment", [b"", b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0<x/>", exif(6)[:6] + b"XX" + exif(6)[8:]]
)
def test_what_is_no_exif_turns_nothing(segment: bytes) -> None:
    assert read_orientation(segment) == UPRIGHT


def test_exif_without_an_orientation_turns_nothing() -> None:
    assert read_orientation(exif(6).replace(b"\x01\x12", b"\x01\x13")) == UPRIGHT


@pytest.mark.parametrize(
    "segment",
    [
        *(exif(6)[:length] for length in (8, 13, 14, 15, 16, 20, 27)),
        exif(0),
        exif(9),
        exif(6, others=[(0x0112, 6)]),
        exif(6).replace(b"\0\0\0\x08", b"\xff\xff\xff\xff"),  # where the tags are
        exif(6).replace(b"\0\0\0\x08", b"\0\0\0\x07"),
        exif(6).replace(b"MM\0*", b"MM\0+"),
        exif(6).replace(b"\0\x01\x01\x12", b"\xff\xff\x01\x12"),  # how many tags
        exif(6).replace(b"\x12\0\x03", b"\x12\0\x04"),  # their kind
        exif(6).replace(b"\0\0\0\x01\0\x06", b"\0\0\0\x02\0\x06"),  # how many numbers
    ],
)
def test_exif_that_is_cut_or_contradicts_itself_is_left_to_the_decoder(segment: bytes) -> None:
    assert read_orientation(segment) == UNKNOWN
    jpeg = with_segment(jpeg_of(scene(64, 40)), APP1, segment)
    picture = LazyEncodedPicture(parse_picture(jpeg))
    assert np.array_equal(picture.pixels, pixels_of(jpeg))
    assert picture.jpeg is None


def test_two_that_differ_are_left_to_the_decoder() -> None:
    jpeg = with_segment(with_segment(jpeg_of(scene(64, 40)), APP1, exif(6)), APP1, exif(1))
    picture = LazyEncodedPicture(parse_picture(jpeg))
    assert np.array_equal(picture.pixels, pixels_of(jpeg))
    assert picture.jpeg is None
