from __future__ import annotations

import math

import cv2
import numpy as np
import pytest

from framesift.frame import Pixels
from framesift.pictures.outgoing import Unmasked, encode_outgoing
from framesift.privacy.covered_regions import MAX_CELLS, CoveredRegions, Rectangle
from framesift.privacy.privacy_settings import CoverStyle
from rigs.figures import Box, as_jpeg, background, coloured_pixels, draw

WIDTH, HEIGHT = 320, 240
STYLES: tuple[CoverStyle, ...] = ("blur", "pixelate", "black")
# Left, top, right and bottom in pixels: inside, over each edge, in a corner, tiny, and the whole picture.
PLACES: list[Box] = [
    (100.0, 80.0, 160.0, 200.0),
    (101.3, 80.7, 102.1, 81.9),
    (-20.0, 50.0, 15.5, 90.0),
    (300.0, -10.0, 340.0, 20.0),
    (150.0, 230.0, 190.0, 260.0),
    (319.0, 239.0, 320.0, 240.0),
    (0.0, 0.0, 320.0, 240.0),
]


def parts(*boxes: Box, width: int = WIDTH, height: int = HEIGHT) -> tuple[Rectangle, ...]:
    return tuple((x1 / width, y1 / height, x2 / width, y2 / height) for x1, y1, x2, y2 in boxes)


def covering(*boxes: Box, style: CoverStyle = "blur", margin: float = 0.1) -> CoveredRegions:
    return CoveredRegions(parts(*boxes), (), style, margin, (WIDTH, HEIGHT))


def polygon(*corners: tuple[float, float]) -> CoveredRegions:
    return CoveredRegions((), (corners,), "blur", 0.0, (WIDTH, HEIGHT))


def decoded(content: bytes) -> Pixels:
    pixels: Pixels = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)  # type: ignore[assignment]
    return pixels


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("place", PLACES, ids=str)
def test_nothing_of_the_colour_is_left_and_the_input_stays(style: CoverStyle, place: Box) -> None:
    pixels = draw(background(WIDTH, HEIGHT), [place])
    before = pixels.copy()
    masked = covering(place, style=style).apply(pixels)
    assert coloured_pixels(pixels) > 0
    assert coloured_pixels(masked) == 0
    assert (pixels == before).all()
    assert masked.shape == pixels.shape


@pytest.mark.parametrize("camera_quality", [95, 30])
@pytest.mark.parametrize("kept_quality", [95, 30])
@pytest.mark.parametrize("max_size", [None, (200, 300), (97, 130)])
def test_no_encoder_smears_the_colour_over_the_edge(
    camera_quality: int, kept_quality: int, max_size: tuple[int, int] | None
) -> None:
    left = 0
    for offset in range(16):  # of the blocks in which colours are stored
        place = (60.0 + offset, 80.0 + offset, 140.0 + offset, 150.0 + offset)
        camera = as_jpeg(draw(background(WIDTH, HEIGHT, offset), [place]), camera_quality)
        kept = encode_outgoing(camera, mask=covering(place, margin=0.0), max_size=max_size, jpeg_quality=kept_quality)
        left += coloured_pixels(as_jpeg(decoded(kept.content), kept_quality))
    assert left == 0


@pytest.mark.parametrize("size", [(640, 480), (240, 320), (33, 700), (8, 6), (1, 1)], ids=str)
def test_it_suits_a_picture_at_any_scale(size: tuple[int, int]) -> None:
    place = PLACES[0]
    width, height = size
    scaled = cv2.resize(draw(background(WIDTH, HEIGHT), [place]), size, interpolation=cv2.INTER_NEAREST)
    masked = covering(place).apply(scaled.astype(np.uint8))
    assert masked.shape == (height, width, 3)
    assert coloured_pixels(masked) == 0


@pytest.mark.parametrize("style", ["blur", "pixelate"])
def test_of_an_object_only_a_few_grey_cells_are_left(style: CoverStyle) -> None:
    rng = np.random.default_rng(3)
    place = (40.0, 40.0, 290.0, 200.0)
    left, top, right, bottom = 15, 22, 315, 218  # the margin of a tenth is added
    one, other = (rng.integers(0, 255, (HEIGHT, WIDTH, 3), np.uint8) for _ in range(2))
    masked = covering(place, style=style).apply(one)
    region = masked[top:bottom, left:right]
    assert (region[:, :, 0] == region[:, :, 1]).all()
    assert (region[:, :, 0] == region[:, :, 2]).all()
    # What is shown depends on nothing but the cells: another picture of the same means looks the same.
    assert len(np.unique(region)) < 256
    cells = cv2.resize(region, (8, 5), interpolation=cv2.INTER_AREA)
    assert np.abs(cells.astype(int) - 127).max() < 25, "each cell is the mean of very many pixels"
    if style == "pixelate":
        changes = (np.diff(region[100, :, 0].astype(int)) != 0).sum()
        assert 1 <= changes < MAX_CELLS
    assert (covering(place, style=style).apply(other)[: top - 2] == other[: top - 2]).all()


def test_a_small_region_becomes_few_cells_too() -> None:
    rng = np.random.default_rng(4)
    pixels = rng.integers(0, 255, (10, 10, 3), np.uint8)
    masked = CoveredRegions(((0.0, 0.0, 1.0, 1.0),), (), "pixelate", 0.0, (10, 10)).apply(pixels)
    assert len(np.unique(masked)) <= 4


def test_where_regions_overlap_all_have_their_effect() -> None:
    places = (PLACES[0], (130.0, 120.0, 250.0, 180.0))
    pixels = draw(background(WIDTH, HEIGHT), places)
    both = covering(*places, style="pixelate").apply(pixels)
    assert (
        both == covering(places[1], style="pixelate").apply(covering(places[0], style="pixelate").apply(pixels))
    ).all()
    assert coloured_pixels(both) == 0


def test_margin_widens_by_a_part_of_the_size() -> None:
    white = np.full((HEIGHT, WIDTH, 3), 255, np.uint8)
    masked = covering((100.0, 100.0, 200.0, 140.0), style="black", margin=0.5).apply(white)
    rows, columns = np.nonzero(masked[:, :, 0] == 0)
    assert (columns.min(), columns.max(), rows.min(), rows.max()) == (49, 250, 79, 160)


def test_a_polygon_is_black_in_every_pixel_that_it_touches() -> None:
    white = np.full((HEIGHT, WIDTH, 3), 255, np.uint8)
    masked = polygon((0.25, 0.25), (0.75, 0.25), (0.75, 0.75), (0.25, 0.75)).apply(white)
    assert (masked[60:180, 80:240] == 0).all()
    assert (masked[:58] == 255).all()
    assert (masked[:, 243:] == 255).all()
    assert (polygon((0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0)).apply(white) == 0).all()


def test_a_polygon_that_crosses_itself_has_no_hole() -> None:
    star = [(0.5 + 0.45 * math.sin(4 * math.pi * i / 5), 0.5 - 0.45 * math.cos(4 * math.pi * i / 5)) for i in range(5)]
    masked = polygon(*star).apply(np.full((HEIGHT, WIDTH, 3), 255, np.uint8))
    assert (masked[HEIGHT // 2, WIDTH // 2] == 0).all()


def test_nothing_of_a_polygon_gets_into_the_cells_of_a_box() -> None:
    regions = CoveredRegions(
        parts((80.0, 60.0, 240.0, 180.0)), (((0.4, 0.4), (0.6, 0.4), (0.5, 0.6)),), "pixelate", 0.0, (WIDTH, HEIGHT)
    )
    shown = [
        regions.apply(draw(np.zeros((HEIGHT, WIDTH, 3), np.uint8), [(150.0, 100.0, 170.0, 110.0)] if figure else []))
        for figure in (False, True)
    ]
    assert (shown[0] == shown[1]).all()


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("index", range(4))
def test_a_coordinate_that_is_no_number_is_unmasked(bad: float, index: int) -> None:
    box = [0.1, 0.1, 0.2, 0.2]
    box[index] = bad
    with pytest.raises(Unmasked, match="no number"):
        CoveredRegions((tuple(box),), (), "blur", 0.1, (WIDTH, HEIGHT))  # type: ignore[arg-type]


def test_a_box_that_is_turned_inside_out_is_unmasked() -> None:
    with pytest.raises(Unmasked, match="negative size"):
        covering((20.0, 10.0, 10.0, 20.0))


def test_huge_coordinates_cover_what_they_include() -> None:
    white = np.full((HEIGHT, WIDTH, 3), 255, np.uint8)
    assert (covering((-1e300, -1e300, 1e300, 1e300), style="black").apply(white) == 0).all()
    assert (covering((1e300, 1e300, 1e300, 1e300)).apply(white) == 255).all()


def test_a_mask_of_nothing_is_empty_and_changes_nothing() -> None:
    pixels = background(WIDTH, HEIGHT)
    assert covering().is_empty
    assert (covering().apply(pixels) == pixels).all()
    assert not covering(PLACES[0]).is_empty
