"""JPEGs are kept as they came, less what does not belong to the picture, where nothing is to be done to them."""

from __future__ import annotations

import io
from dataclasses import dataclass

import cv2
import numpy as np
import pytest
from PIL import Image

from framesift.frame import Pixels
from framesift.pictures.encoded_picture import BadPicture, LazyEncodedPicture, parse_picture
from framesift.pictures.outgoing import NO_MASK, PictureMask, encode_outgoing
from rigs.hostile_pictures import spoilt
from rigs.jpegs import APP0, APP1, APP2, APP13, APP14, COMMENT, exif, jpeg_of, pixels_of, scene, with_segment

PLAIN = jpeg_of(scene())


def out(
    content: bytes,
    *,
    mask: PictureMask = NO_MASK,
    max_size: tuple[int, int] | None = None,
    jpeg_quality: int | None = None,
) -> bytes:
    """What leaves of a file that came."""
    picture = LazyEncodedPicture(parse_picture(content))
    return encode_outgoing(picture, mask=mask, max_size=max_size, jpeg_quality=jpeg_quality).content


def by_pillow(mode: str = "RGB", **options: object) -> bytes:
    """A JPEG that another program has written."""
    written = io.BytesIO()
    Image.fromarray(scene()).convert(mode).save(written, "JPEG", **options)
    return written.getvalue()


def without_tables(jpeg: bytes) -> bytes:
    """The file without its Huffman tables, as some webcams write it."""
    while (at := jpeg.find(b"\xff\xc4")) > 0:
        jpeg = jpeg[:at] + jpeg[at + 2 + int.from_bytes(jpeg[at + 2 : at + 4], "big") :]
    return jpeg


@pytest.mark.parametrize(
    "content",
    [
        PLAIN,
        jpeg_of(scene(), cv2.IMWRITE_JPEG_QUALITY, 30),
        jpeg_of(scene()[:, :, :1]),
        jpeg_of(scene(), cv2.IMWRITE_JPEG_PROGRESSIVE, 1),
        jpeg_of(scene(), cv2.IMWRITE_JPEG_RST_INTERVAL, 5),
        jpeg_of(scene(317, 239)),
        jpeg_of(scene(3601, 2401)),
        by_pillow(subsampling="4:4:4", optimize=True),
        PLAIN[:2] + PLAIN[20:],  # without JFIF
    ],
    ids=["usual", "coarse", "grey", "progressive", "restarts", "odd", "large", "other", "bare"],
)
def test_what_has_nothing_to_leave_out_goes_out_byte_for_byte(content: bytes) -> None:
    assert out(content) == content


@pytest.mark.parametrize(
    ("marker", "data"),
    [
        (APP1, exif(1) + b"my place"),
        (APP1, exif(1, "<") + b"my place"),
        (APP1, b"http://ns.adobe.com/xap/1.0/\0my place"),
        (APP2, b"ICC_PROFILE\0\x01\x01my screen"),
        (APP2, b"MPF\0my other picture"),
        (APP13, b"Photoshop 3.0\0my name"),
        (APP0, b"JFXX\0\x10my small picture"),
        (APP0, b"JFIF\0my"),
        (APP14, b"Adobe\0my"),
        (0xE5, b"my maker"),
        (0xEF, b"my maker"),
        (COMMENT, b"my house"),
    ],
)
def test_what_it_tells_beside_the_picture_is_left_out_and_nothing_else(marker: int, data: bytes) -> None:
    told = with_segment(PLAIN, marker, data)
    assert b"my" in told
    assert out(told) == PLAIN


def test_what_stands_behind_the_end_is_left_out() -> None:
    assert out(PLAIN + b"my video") == PLAIN


def test_the_small_picture_in_jfif_is_left_out() -> None:
    small = PLAIN[:4] + (16 + 12).to_bytes(2, "big") + PLAIN[6:18] + b"\x02\x02" + b"my small pic" + PLAIN[20:]
    assert np.array_equal(pixels_of(small), pixels_of(PLAIN))
    assert out(small) == PLAIN


def test_metadata_between_scans_is_left_out() -> None:
    content = jpeg_of(scene(), cv2.IMWRITE_JPEG_PROGRESSIVE, 1)
    second = content.index(b"\xff\xda", content.index(b"\xff\xda") + 2)
    told = content[:second] + b"\xff\xfe\0\x09my name" + content[second:]
    assert out(told) == content


def test_adobes_colours_stay_and_what_follows_them_goes() -> None:
    adobe = b"Adobe\0\x64\0\0\0\0\x01"
    assert out(with_segment(PLAIN, APP14, adobe)) == with_segment(PLAIN, APP14, adobe)
    assert out(with_segment(PLAIN, APP14, adobe + b"my name")) == with_segment(PLAIN, APP14, adobe)


@pytest.mark.parametrize(
    "content",
    [
        with_segment(PLAIN, APP1, exif(6)),
        with_segment(PLAIN, APP14, b"Adobe\0\x64\0\0\0\0\0"),  # red, green and blue by one, not by the other
        by_pillow("CMYK"),
        by_pillow(keep_rgb=True),
        PLAIN[:-2] + b"\xff\xdc\0\x04\0\xf0" + PLAIN[-2:],  # its height, once more
        without_tables(PLAIN),  # those of the standard are meant, which not every program has
        cv2.imencode(".png", scene())[1].tobytes(),
    ],
    ids=["turned", "adobe", "cmyk", "rgb", "height", "tables", "png"],
)
def test_what_not_everybody_sees_alike_is_encoded_anew(content: bytes) -> None:
    picture = LazyEncodedPicture(parse_picture(content))
    made = encode_outgoing(picture, mask=NO_MASK).content
    assert made == jpeg_of(picture.pixels, cv2.IMWRITE_JPEG_QUALITY, 95)
    assert b"Exif" not in made


@dataclass
class _BlackCorner:
    is_empty = False

    def apply(self, pixels: Pixels) -> Pixels:
        masked = pixels.copy()
        masked[:16, :16] = 0
        return np.asarray(masked, np.uint8)


@pytest.mark.parametrize(
    ("changes", "size"),
    [
        ({"mask": _BlackCorner()}, (240, 320)),
        ({"max_size": (120, 160)}, (120, 160)),
        ({"jpeg_quality": 95}, (240, 320)),
    ],
)
def test_what_is_to_be_changed_is_encoded_anew_without_metadata(
    changes: dict[str, object], size: tuple[int, int]
) -> None:
    made = out(with_segment(PLAIN, APP1, exif(1) + b"my place"), **changes)  # type: ignore[arg-type]  # mypy can't see the names
    assert made != PLAIN
    assert pixels_of(made).shape[:2] == size
    assert b"Exif" not in made
    assert b"my place" not in made


def test_a_size_that_it_has_already_changes_nothing() -> None:
    assert out(PLAIN, max_size=(240, 320)) == PLAIN


def test_what_cannot_be_decoded_is_not_kept() -> None:
    with pytest.raises(BadPicture, match="can't be decoded"):
        out(spoilt(PLAIN))
