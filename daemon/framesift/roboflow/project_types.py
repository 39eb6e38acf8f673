"""What the platform's projects are for, as long as it is remembered."""

from __future__ import annotations

import threading

from framesift.prediction.prediction import Task
from framesift.roboflow.client import RoboflowClient
from framesift.roboflow.errors import PlatformError, PlatformErrorKind

CACHE_S = 900.0
MAX_CACHED = 64


class ProjectTypes:
    """Those of the key's workspace, for several threads at once.

    The platform is asked once in KNOWN_FOR_S for each project, also where it has no such project. Of MOST_KNOWN that
    are remembered, the one that was heard of first makes room for another.
    """

    def __init__(self, platform: RoboflowClient) -> None:
        self._platform = platform
        self._lock = threading.Lock()
        self._known: dict[str, tuple[str | None, float]] = {}  # type, None where there is none to know; until when

    def get(self, project: str, *, now_s: float, within_s: float) -> str | None:
        """The project's type; None where there is no such project for this key. now_s: of any clock that goes on.
        Raises PlatformError where the platform doesn't say so within the time.
        """
        with self._lock:
            self._known = {name: known for name, known in self._known.items() if known[1] > now_s}
            if project in self._known:
                return self._known[project][0]
        workspace = self._platform.fetch_workspace(within_s=within_s / 2)
        found = None
        try:
            found = self._platform.fetch_project_type(workspace, project, within_s=within_s / 2)
        except PlatformError as trouble:
            if trouble.kind not in (PlatformErrorKind.NOT_FOUND, PlatformErrorKind.KEY_REJECTED):
                raise
        with self._lock:
            while len(self._known) >= MAX_CACHED:
                del self._known[next(iter(self._known))]
            self._known[project] = (found, now_s + CACHE_S)
        return found


def task_of_project_type(kind: str) -> Task | None:
    """The task of a project's type; None for one of which nothing is known here."""
    if "classification" in kind:  # of one label, or of many
        return Task.CLASSIFICATION
    return Task(kind) if kind in {str(task) for task in Task} else None
