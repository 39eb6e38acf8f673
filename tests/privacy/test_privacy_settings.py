from __future__ import annotations

import json

import pytest
from pydantic import ValidationError

from framesift.privacy.privacy_settings import PrivacySettings


def parsed(**fields: object) -> PrivacySettings:
    return PrivacySettings.model_validate_json(json.dumps(fields))


def test_the_defaults_are_the_careful_ones() -> None:
    found = parsed(classes=["person"])
    assert (found.style, found.margin, found.over_time_s, found.require) == ("blur", 0.1, 1.0, "model")


@pytest.mark.parametrize("fields", [{}, {"style": "black"}, {"classes": [], "polygons": []}, {"require": "model"}])
def test_privacy_that_covers_nothing_is_an_error(fields: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match="covers nothing"):
        parsed(**fields)


def test_a_required_detector_is_no_empty_privacy() -> None:
    assert parsed(require="detector").classes == ()


@pytest.mark.parametrize(
    "polygon",
    [
        [[0, 0], [1, 1]],
        [[0, 0], [1, 0], [0.5, 1.1]],
        [[0, 0], [1, 0], [-0.1, 1]],
        [[0, 0], [1, 0], [0.5]],
        [[0, 0.5], [1, 0.5], [0.3, 0.5]],
        [[0.5, 0], [0.5, 1], [0.5, 0.3]],
    ],
    ids=str,
)
def test_a_polygon_has_three_corners_on_the_picture_and_an_area(polygon: object) -> None:
    assert parsed(polygons=[[[0, 0], [1, 0], [0.5, 1]]]).polygons == (((0.0, 0.0), (1.0, 0.0), (0.5, 1.0)),)
    with pytest.raises(ValidationError):
        parsed(polygons=[polygon])


@pytest.mark.parametrize(
    "wrong",
    [{"style": "smudge"}, {"margin": -0.1}, {"margin": 1.1}, {"over_time_s": 11}, {"require": "both"}, {"class": "x"}],
    ids=str,
)
def test_wrong_values_are_errors(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        parsed(**{"classes": ["person"]} | wrong)
