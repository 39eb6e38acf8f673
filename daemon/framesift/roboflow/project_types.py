"""Types of the platform's projects (object-detection, ...), with a cache."""

from __future__ import annotations

import threading

from framesift.prediction.prediction import Task
from framesift.roboflow.client import RoboflowClient
from framesift.roboflow.errors import PlatformError, PlatformErrorKind

CACHE_S = 900.0
MAX_CACHED = 64


class ProjectTypes:
    """Looks up the types of projects in the key's workspace. Thread-safe.

    An answer, also "no such project", is cached for CACHE_S. At most MAX_CACHED projects are cached; the oldest entry
    makes room for a new one.
    """

    def __init__(self, platform: RoboflowClient) -> None:
        self._platform = platform
        self._lock = threading.Lock()
        self._cache: dict[str, tuple[str | None, float]] = {}  # type (None: no such project), time of expiry

    def get(self, project: str, *, now_s: float, within_s: float) -> str | None:
        """Return the project's type, None if this key has no such project.

        now_s: time of any monotonic clock. Raises PlatformError if the platform does not answer within the time.
        """
        with self._lock:
            self._cache = {name: entry for name, entry in self._cache.items() if entry[1] > now_s}
            if project in self._cache:
                return self._cache[project][0]
        workspace = self._platform.fetch_workspace(within_s=within_s / 2)
        found = None
        try:
            found = self._platform.fetch_project_type(workspace, project, within_s=within_s / 2)
        except PlatformError as error:
            if error.kind not in (PlatformErrorKind.NOT_FOUND, PlatformErrorKind.KEY_REJECTED):
                raise
        with self._lock:
            while len(self._cache) >= MAX_CACHED:
                del self._cache[next(iter(self._cache))]
            self._cache[project] = (found, now_s + CACHE_S)
        return found


def task_of_project_type(kind: str) -> Task | None:
    """Return the task of a project type, None for a type that framesift does not know."""
    if "classification" in kind:  # single-label or multi-label
        return Task.CLASSIFICATION
    return Task(kind) if kind in {str(task) for task in Task} else None
