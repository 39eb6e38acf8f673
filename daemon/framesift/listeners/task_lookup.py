"""Looks up the task of a project on the platform for a client that waits, without blocking the event loop."""

from __future__ import annotations

import asyncio
import contextlib
import threading

from framesift.listeners.stream_intakes import ModelPolicies
from framesift.prediction import Task

# How long a client that calls version 0 of a project waits until its task is known.
TASK_WITHIN_S = 2.0
_MAX_THREADS = 8


class TaskLookup:
    """Finds the tasks of projects. Belongs to one event loop. model_policies: None if nobody can be asked."""

    def __init__(self, model_policies: ModelPolicies | None) -> None:
        self._model_policies = model_policies
        self._threads = 0  # that are asking at the moment

    async def task_of(self, project: str, default: Task | None) -> Task:
        """Return the project's task; if the platform does not tell it in time, the default or object detection."""
        found = None
        if self._model_policies is not None and self._threads < _MAX_THREADS:
            with contextlib.suppress(asyncio.TimeoutError):
                found = await asyncio.wait_for(self._ask(self._model_policies, project), TASK_WITHIN_S)
        return found or default or Task.OBJECT_DETECTION

    def _ask(self, model_policies: ModelPolicies, project: str) -> asyncio.Future[Task | None]:
        """Ask in a daemon thread, so that the process can end meanwhile: the look-up of a host name has no deadline."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Task | None] = loop.create_future()

        def set_result(found: Task | None) -> None:
            self._threads -= 1
            if not future.done():
                future.set_result(found)

        def ask() -> None:
            found = None
            try:
                found = model_policies.task_of(project, TASK_WITHIN_S)
            finally:
                with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
                    loop.call_soon_threadsafe(set_result, found)

        self._threads += 1
        threading.Thread(target=ask, name="listener task lookup", daemon=True).start()
        return future
