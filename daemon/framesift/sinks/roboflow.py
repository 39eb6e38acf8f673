"""The Roboflow sink: it uploads the image first, and then its prediction as the image's annotation.

    upload ----> Registered(image_id) ----> annotate ----> Delivered     where a prediction goes with the image
           ----> Delivered                                               where none does
           ----> Duplicate                                               the first attempt meets another client's image

Between the steps the caller stores the image's id, so that a retry repeats only the second step. The image has the same
name at every attempt, and the platform compares contents: it answers "duplicate" to a repeated upload. If an earlier
attempt may have arrived, that duplicate is our own image.
"""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime, timezone
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from framesift.atomic_files import safe_name
from framesift.backoff import MENDED_BY_HAND_RETRY_S
from framesift.config.schema import Slug
from framesift.config.types import ConfigError
from framesift.prediction.prediction import Classification, Detections, MultiLabel, Stub, Task
from framesift.prediction.wire_format import to_wire
from framesift.roboflow import PlatformError, PlatformErrorKind, ProjectTypes, RoboflowClient
from framesift.sinks.sink import (
    CommonSinkSettings,
    Delivered,
    Delivery,
    DeliveryResult,
    Duplicate,
    FailureScope,
    Registered,
    Rejected,
    RetryLater,
)

_CHECK_WITHIN_S = 5.0  # for each of the requests
# Pauses after "not found" for an image that is stored (the platform may need time to find it); together, an hour.
_NOT_FOUND_RETRY_S = (2.0, 10.0, 30.0, 120.0, 600.0, 1200.0, 1800.0)


class RoboflowSinkSettings(CommonSinkSettings):
    """Datapoints are uploaded to a project on the Roboflow platform."""

    uses_platform: ClassVar[bool] = True
    watches_batches: ClassVar[bool] = True
    check_advice: ClassVar[str] = "see docs/roboflow.md"

    elsewhere: ClassVar[str] = (
        "what was uploaded earlier is on the platform, and it is not recorded here which: the names of its images have "
        "device, stream, time of capture and the first 8 characters of the id"
    )

    type: Annotated[Literal["roboflow"], Field(description="Projects on the Roboflow platform.")]
    project: Annotated[
        Slug | None,
        Field(description="The project, as in its address; without it, that of the policy.", examples=["parking"]),
    ] = None

    @property
    def default_project(self) -> str | None:
        """The project of these settings."""
        return self.project

    def for_project(self, project: str) -> RoboflowSinkSettings:
        """These settings with the project."""
        return self.model_copy(update={"project": project})

    def open(self, *, class_names: tuple[str, ...] | None, platform: RoboflowClient | None) -> RoboflowSink:  # noqa: ARG002 - the signature of all
        """Creates the sink. Raises ConfigError without an API key."""
        if platform is None:
            raise ConfigError("sink: type roboflow needs a key: set roboflow.api_key or ROBOFLOW_API_KEY")
        return RoboflowSink(self, platform)


class RoboflowSink:
    """Uploads datapoints to projects of the platform. Thread-safe as its client is."""

    def __init__(self, settings: RoboflowSinkSettings, platform: RoboflowClient) -> None:
        """platform: the client; the caller closes it."""
        self._project = settings.project
        self._platform = platform
        self._types = ProjectTypes(platform)

    def deliver(self, delivery: Delivery, *, now_s: float, within_s: float) -> DeliveryResult:
        """Uploads the image, or writes its annotation where the delivery has an `image_id`."""
        project = delivery.project or self._project
        if project is None:
            return RetryLater(
                None,
                "neither sink.project nor the policy names the project that it goes to",
                FailureScope.ITEM,
                may_have_arrived=False,
            )
        try:
            if delivery.image_id is not None:
                return self._annotate(project, delivery, within_s)
            if delivery.prediction.task is Task.CLASSIFICATION and not isinstance(delivery.prediction, Stub):
                type_within_s = min(_CHECK_WITHIN_S, within_s / 4)
                within_s -= type_within_s
                obstacle = self._project_type_obstacle(project, delivery, now_s, type_within_s)
                if obstacle is not None:
                    return obstacle
            return self._upload(project, delivery, within_s)
        except PlatformError as error:
            return _result_of(error, now_s, delivery)

    def check(self) -> str | None:
        """Asks for the key's workspace and, if the settings name a project, for its type and whether it takes uploads.

        A key may read and not write, and an account that must pay may read too.
        """
        try:
            workspace = self._platform.fetch_workspace(within_s=_CHECK_WITHIN_S)
            if self._project is not None:
                self._platform.fetch_project_type(workspace, self._project, within_s=_CHECK_WITHIN_S)
                self._platform.try_upload(self._project, within_s=_CHECK_WITHIN_S)
        except PlatformError as error:
            is_away = error.kind is PlatformErrorKind.UNREACHABLE and error.status is None
            return f"{error}; is the network there?" if is_away and not self._platform.trust_problem() else str(error)
        return None

    def close(self) -> None:
        """Does nothing: the client belongs to the caller."""

    def _project_type_obstacle(
        self, project: str, delivery: Delivery, now_s: float, within_s: float
    ) -> DeliveryResult | None:
        """RetryLater where a classifier's picture does not fit the project (one for boxes, say); None where it does."""
        try:
            kind = self._types.get(project, now_s=now_s, within_s=within_s)
        except PlatformError as error:
            result = _result_of(error, now_s, delivery)
            return replace(result, may_have_arrived=False) if isinstance(result, RetryLater) else None
        if kind is None or "classification" in kind:
            return None
        # It concerns this datapoint alone, and not for ever: the operator may have meant another project.
        reason = f"project {project} is for {kind}, and this is a prediction of {delivery.prediction.task}"
        return RetryLater(now_s + MENDED_BY_HAND_RETRY_S, reason, FailureScope.ITEM, may_have_arrived=False)

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
        if _annotation_type(delivery) is None:
            return Delivered()
        if not uploaded.image_id:
            return RetryLater(
                None, f"project {project} has the image, but does not say under which id", FailureScope.ITEM
            )
        return Registered(uploaded.image_id)

    def _annotate(self, project: str, delivery: Delivery, within_s: float) -> DeliveryResult:
        file_type = _annotation_type(delivery)
        if file_type is None or delivery.image_id is None:
            return Delivered()
        name, text = f"{_stem(delivery)}.{file_type}", _annotation_text(delivery)
        self._platform.annotate(project, delivery.image_id, name=name, text=text, within_s=within_s)
        return Delivered()


def _annotation_type(delivery: Delivery) -> Literal["json", "txt"] | None:
    """Type of what is written to the image; None where nothing is."""
    prediction = delivery.prediction
    if not delivery.annotate:
        return None
    if isinstance(prediction, Detections) and prediction.columns:
        return "json"
    return (
        "txt"
        if isinstance(prediction, Classification) or (isinstance(prediction, MultiLabel) and prediction.scores)
        else None
    )


def _annotation_text(delivery: Delivery) -> str:
    """What is written to the image, where something is: a prediction as JSON, or the names of classes."""
    prediction = delivery.prediction
    if isinstance(prediction, Classification):
        return prediction.top
    if isinstance(prediction, MultiLabel):
        return ",".join(prediction.predicted)
    return delivery.prediction_json or json.dumps(to_wire(prediction), allow_nan=False)


def _stem(delivery: Delivery) -> str:
    """The image's name without its ending: device, stream, time of capture (UTC) and the beginning of the id."""
    captured = datetime.fromtimestamp(delivery.captured_at_s, timezone.utc)
    stamp = captured.strftime("%Y%m%dT%H%M%S%f")[:-3]
    parts = (delivery.device[:64], delivery.stream[:64], stamp, delivery.id[:8])
    return "_".join(safe_name(part) for part in parts)


def _result_of(error: PlatformError, now_s: float, delivery: Delivery) -> DeliveryResult:
    """What the error means for the delivery: whether other datapoints are concerned, and when to retry."""
    reason, kind, arrived = str(error), error.kind, error.may_have_arrived
    annotating = delivery.image_id is not None
    if kind is PlatformErrorKind.UNREACHABLE:
        return RetryLater(None, reason, FailureScope.SINK, arrived)
    if kind is PlatformErrorKind.BUSY or error.is_mended_by_hand:
        retry_at_s = None if error.repeat_after_s is None else now_s + error.repeat_after_s
        return RetryLater(retry_at_s, reason, FailureScope.SINK, arrived)
    if kind is PlatformErrorKind.REJECTED:
        return Rejected(reason)
    if kind is PlatformErrorKind.CONFLICT and annotating:
        return Delivered()
    if kind is PlatformErrorKind.NOT_FOUND and annotating:
        # The image has arrived, at the first attempt or later; the attempts since then were for its annotation.
        retries = min(max(0, delivery.attempt_number - 2), len(_NOT_FOUND_RETRY_S) - 1)
        return RetryLater(now_s + _NOT_FOUND_RETRY_S[retries], reason, FailureScope.ITEM)
    if kind is PlatformErrorKind.NOT_FOUND:
        return RetryLater(now_s + MENDED_BY_HAND_RETRY_S, reason, FailureScope.UNSURE, arrived)
    return RetryLater(None, reason, FailureScope.UNSURE, arrived)
