"""The Roboflow sink: the image goes up first, then what was predicted is written to it.

    upload ----> Registered(image_id) ----> annotate ----> Done          a prediction goes with the image
           ----> Done                                                    none does
           ----> Duplicate                                            somebody else's image, at the first attempt

The image's id is answered in between, so that whoever keeps it repeats only the second step. The image has the same
name at every attempt, and the platform compares contents: a repeated upload is answered "duplicate", and if ours may
have arrived before, that duplicate is our own.
"""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import datetime, timezone
from typing import Annotated, Literal

from pydantic import Field

from framesift.config.schema import Slug, StrictModel, WindowLimits
from framesift.prediction.prediction import Classification, Detections, MultiLabel, Stub, Task
from framesift.prediction.wire_format import to_wire
from framesift.roboflow import PlatformError, PlatformErrorKind, ProjectTypes, RoboflowClient
from framesift.sinks.sink import (
    Delivered,
    Delivery,
    DeliveryResult,
    Duplicate,
    FailureScope,
    Registered,
    Rejected,
    RetryLater,
)

_CHECK_WITHIN_S = 5.0  # for each of its two questions
# A person has to do something; asking more often only fills the log.
_ASK_AGAIN_S = 300.0
# When an image that is stored, but not found by the platform itself, is annotated again: its attempts cover an hour.
_NOT_FOUND_YET_S = (2.0, 10.0, 30.0, 120.0, 600.0, 1200.0, 1800.0)


class RoboflowSinkSettings(StrictModel):
    """Datapoints are uploaded to a project on the Roboflow platform."""

    type: Literal["roboflow"]
    project: Annotated[
        Slug | None, Field(description="The project, as in its address; else the one that the policy comes from.")
    ] = None
    limits: Annotated[
        WindowLimits, Field(description="How many datapoints may be uploaded per minute, hour and day.")
    ] = ()


class RoboflowSink:
    """platform: the client, which belongs to whoever opened it."""

    def __init__(self, options: RoboflowSinkSettings, platform: RoboflowClient) -> None:
        self._project = options.project
        self._platform = platform
        self._types = ProjectTypes(platform)

    def deliver(self, delivery: Delivery, *, now_s: float, within_s: float) -> DeliveryResult:
        project = delivery.project or self._project
        if project is None:
            return RetryLater(
                None,
                "neither sink.project nor the policy says to which project it goes",
                FailureScope.ITEM,
                may_have_arrived=False,
            )
        try:
            if delivery.image_id is not None:
                return self._annotate(project, delivery, within_s)
            if delivery.prediction.task is Task.CLASSIFICATION and not isinstance(delivery.prediction, Stub):
                ask_within_s = min(_CHECK_WITHIN_S, within_s / 4)
                within_s -= ask_within_s
                hindered = self._hindered(project, delivery, now_s, ask_within_s)
                if hindered is not None:
                    return hindered
            return self._upload(project, delivery, within_s)
        except PlatformError as trouble:
            return _outcome(trouble, now_s, delivery)

    def check(self) -> str | None:
        try:
            workspace = self._platform.fetch_workspace(within_s=_CHECK_WITHIN_S)
            if self._project is not None:
                self._platform.fetch_project_type(workspace, self._project, within_s=_CHECK_WITHIN_S)
        except PlatformError as trouble:
            return str(trouble)
        return None

    def close(self) -> None:
        pass

    def _hindered(self, project: str, delivery: Delivery, now_s: float, within_s: float) -> DeliveryResult | None:
        """What keeps a classifier's picture from a project, in which boxes are drawn, for one. None: nothing."""
        try:
            kind = self._types.get(project, now_s=now_s, within_s=within_s)
        except PlatformError as trouble:
            outcome = _outcome(trouble, now_s, delivery)
            return replace(outcome, may_have_arrived=False) if isinstance(outcome, RetryLater) else None
        if kind is None or "classification" in kind:
            return None
        # The item's own trouble, and not for ever: somebody may have meant another project.
        why = f"project {project} is for {kind}, and this is a prediction of {delivery.prediction.task}"
        return RetryLater(now_s + _ASK_AGAIN_S, why, FailureScope.ITEM, may_have_arrived=False)

    def _upload(self, project: str, delivery: Delivery, within_s: float) -> DeliveryResult:
        uploaded = self._platform.upload(
            project,
            name=f"{_stem(delivery)}.jpg",
            jpeg=delivery.jpeg,
            batch=delivery.batch,
            tags=delivery.tags,
            inference_id=delivery.prediction.inference_id,
            within_s=within_s,
        )
        if uploaded.duplicate and delivery.attempt_number == 1:
            return Duplicate()
        if _annotation(delivery) is None:
            return Delivered()
        if not uploaded.image_id:
            return RetryLater(
                None, f"project {project} has the image, but does not say under which id", FailureScope.ITEM
            )
        return Registered(uploaded.image_id)

    def _annotate(self, project: str, delivery: Delivery, within_s: float) -> DeliveryResult:
        annotation = _annotation(delivery)
        if annotation is None or delivery.image_id is None:
            return Delivered()
        kind, text = annotation
        name = f"{_stem(delivery)}.{kind}"
        self._platform.annotate(project, delivery.image_id, name=name, text=text, within_s=within_s)
        return Delivered()


def _annotation(delivery: Delivery) -> tuple[Literal["json", "txt"], str] | None:
    """What is written to the image, None where nothing is."""
    prediction = delivery.prediction
    if not delivery.annotate:
        return None
    if isinstance(prediction, Detections) and prediction.objects:
        return "json", json.dumps(to_wire(prediction), allow_nan=False)
    if isinstance(prediction, Classification):
        return "txt", prediction.top_class
    if isinstance(prediction, MultiLabel) and prediction.scores:
        return "txt", ",".join(prediction.predicted)
    return None


def _stem(delivery: Delivery) -> str:
    """Device, stream, time of capture (UTC) and the beginning of the id, in letters that are safe anywhere."""
    captured = datetime.fromtimestamp(delivery.captured_at_s, timezone.utc)
    stamp = captured.strftime("%Y%m%dT%H%M%S%f")[:-3]
    parts = (delivery.device[:64], delivery.stream[:64], stamp, delivery.id[:8])
    return "_".join(re.sub(r"[^A-Za-z0-9-]", "-", part) for part in parts)


def _outcome(trouble: PlatformError, now_s: float, delivery: Delivery) -> DeliveryResult:
    """What is to be done about it: whose trouble it is, and when to ask again."""
    why, kind, arrived = str(trouble), trouble.kind, trouble.may_have_arrived
    annotating = delivery.image_id is not None
    if kind is PlatformErrorKind.UNREACHABLE:
        return RetryLater(None, why, FailureScope.SINK, arrived)
    if kind is PlatformErrorKind.BUSY:
        at_s = None if trouble.retry_after_s is None else now_s + trouble.retry_after_s
        return RetryLater(at_s, why, FailureScope.SINK, arrived)
    if kind in (PlatformErrorKind.KEY_REJECTED, PlatformErrorKind.ACCOUNT_PAUSED):
        return RetryLater(now_s + _ASK_AGAIN_S, why, FailureScope.SINK, arrived)
    if kind is PlatformErrorKind.REJECTED:
        return Rejected(why)
    if kind is PlatformErrorKind.CONFLICT and annotating:
        return Delivered()
    if kind is PlatformErrorKind.NOT_FOUND and annotating:
        # That the image arrived is known: what is counted here are the times that it was looked for since.
        looked = min(max(0, delivery.attempt_number - 2), len(_NOT_FOUND_YET_S) - 1)
        return RetryLater(now_s + _NOT_FOUND_YET_S[looked], why, FailureScope.ITEM)
    if kind is PlatformErrorKind.NOT_FOUND:
        return RetryLater(now_s + _ASK_AGAIN_S, why, FailureScope.UNSURE, arrived)
    return RetryLater(None, why, FailureScope.UNSURE, arrived)
