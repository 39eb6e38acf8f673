"""The labelling platform's own interface: what may be asked of it, and the one way in which that fails."""

from __future__ import annotations

from framesift.roboflow.client import Batch, Job, Roboflow, Uploaded
from framesift.roboflow.errors import PlatformTrouble, Trouble
from framesift.roboflow.project_types import ProjectTypes, task_of

__all__ = ["Batch", "Job", "PlatformTrouble", "ProjectTypes", "Roboflow", "Trouble", "Uploaded", "task_of"]
