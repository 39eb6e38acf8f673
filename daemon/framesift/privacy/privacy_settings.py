"""PrivacySettings: the block `privacy` of framesift.yaml."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from framesift.config.schema import Fraction, Polygon, StrictModel

MAX_OVER_TIME_S = 10.0

ClassName = Annotated[str, Field(min_length=1, max_length=128)]
CoverStyle = Literal["blur", "pixelate", "black"]


class PrivacySettings(StrictModel):
    """The block `privacy`: what must not be seen on the pictures that are kept."""

    polygons: Annotated[
        tuple[Polygon, ...],
        Field(
            max_length=64,
            description="Areas that are black on every picture: their corners [x, y], as parts of width and height.",
            examples=[[[[0, 0], [0.4, 0], [0.4, 0.3]]]],
        ),
    ] = ()
    classes: Annotated[
        tuple[ClassName, ...],
        Field(
            max_length=64,
            description="Classes whose objects are covered, by their boxes.",
            examples=[["person", "face"]],
        ),
    ] = ()
    style: Annotated[
        CoverStyle, Field(description="How an object is covered: blur and pixelate leave eight grey cells of it.")
    ] = "blur"
    margin: Annotated[
        Fraction, Field(description="Part of a box's width and height by which it is widened on each side.")
    ] = 0.1
    over_time_s: Annotated[
        float,
        Field(
            ge=0.0,
            le=MAX_OVER_TIME_S,
            description="Videos: what is found in the frames before and after counts too, if so near; 0: it doesn't.",
        ),
    ] = 1.0
    require: Annotated[
        Literal["model", "detector"],
        Field(description="detector: nothing is kept without a detector of its own, whatever the stream's model says."),
    ] = "model"

    @model_validator(mode="after")
    def _require_effect(self) -> PrivacySettings:
        if not self.polygons and not self.classes and self.require == "model":
            raise ValueError("covers nothing: name classes, or polygons, or leave the block out")
        return self
