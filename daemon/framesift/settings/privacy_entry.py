"""The block `privacy` with its detector, and what a stream or a listener says of it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from framesift.listeners.listener_settings import ListenerSettings
from framesift.models import ModelSettings
from framesift.privacy.privacy_settings import PrivacySettings


class PrivacyEntry(PrivacySettings):
    """The block `privacy`: what must not be seen on the pictures that are kept, and what finds it."""

    detector: Annotated[
        ModelSettings | None,
        Field(
            description="A model that finds the classes, beside the stream's own.",
            examples=[{"type": "onnx", "path": "faces.onnx"}],
        ),
    ] = None

    @model_validator(mode="after")
    def _require_use_of_detector(self) -> PrivacyEntry:
        if self.detector is not None and not self.classes:
            raise ValueError("classes: missing: a detector is there to find objects of the classes that are named")
        if self.detector is not None and self.detector.type == "stub":
            raise ValueError("detector: a model of type stub finds nothing; leave it out, or name one that does")
        return self


# Of a stream or a listener. A key without a value must not switch privacy off by accident: it is as if it were missing.
OwnPrivacy = Annotated[
    PrivacyEntry | Literal[False] | None,
    Field(
        description="Instead of the common privacy; false: nothing is covered here; null: the common one.",
        examples=[False],
    ),
]


class ListenerEntry(ListenerSettings):
    """One entry of `listeners`: a listener, and its own privacy if it has one."""

    privacy: OwnPrivacy = None
