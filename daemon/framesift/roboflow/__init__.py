"""Client of the labelling platform's HTTP API, and the one exception that its calls raise."""

from __future__ import annotations

from framesift.roboflow.client import LabelingBatch, LabelingJob, RoboflowClient, UploadResult
from framesift.roboflow.errors import PlatformError, PlatformErrorKind
from framesift.roboflow.project_types import ProjectTypes, task_of_project_type

__all__ = [
    "LabelingBatch",
    "LabelingJob",
    "PlatformError",
    "PlatformErrorKind",
    "ProjectTypes",
    "RoboflowClient",
    "UploadResult",
    "task_of_project_type",
]
