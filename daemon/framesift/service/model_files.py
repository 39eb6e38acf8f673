"""ModelFiles: puts a model whose file has changed in the place of the old one, without a restart.

It looks when it is woken, which a reload does. The new file is loaded beside the old model, which goes on with its
work. It has to do the same task, to know every class that `privacy` covers, and to answer a picture. Else the old one
stays, and log and health say why until a later file is taken, or the old one is there again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from framesift.clock.clock import MonitoredThread
from framesift.frame import Frame
from framesift.models import Model, ModelFailed, ModelLoadError, files_of
from framesift.periodic import NextRun, PeriodicTask
from framesift.service.run_context import RunContext
from framesift.service.stream_models import StreamModels, UsedModel
from framesift.service.stream_privacies import StreamPrivacies
from framesift.telemetry import Condition

_TRIAL_SIZE = (384, 640)
_DAY_S = 86400.0

# Of each file: its identity, size and time of its last change; None for one that is not there.
_Stamps = tuple[tuple[int, int, int] | None, ...]


class ModelFiles:
    """A component, with a thread of its own."""

    name = "model files"

    def __init__(
        self, run: RunContext, models: StreamModels, privacies: StreamPrivacies, on_replaced: Callable[[], None]
    ) -> None:
        """on_replaced: called, by this thread, after a model was replaced."""
        self._run_context = run
        self._models = models
        self._privacies = privacies
        self._on_replaced = on_replaced
        # A file that was replaced between its loading and now counts as loaded: the next change is seen.
        self._stamps = {used: _stamps(files) for used in models.all() if (files := files_of(used.use.settings))}
        self._task = PeriodicTask(self.name, self._run, run.clock, on_failure=run.on_failure)

    @property
    def threads(self) -> tuple[MonitoredThread, ...]:
        """None: the loading of a large model takes longer than a thread may stand still."""
        return ()

    def start(self) -> None:
        """See Component."""
        if self._stamps:
            self._task.start()

    def stop(self, within_s: float) -> bool:
        """See Component."""
        return self._task.stop(within_s)

    def idle_s(self) -> float:
        """See Component."""
        return 0.0

    def wake(self) -> None:
        """Look at the files now. For any thread."""
        self._task.wake()

    def _run(self) -> NextRun:
        for used, known in self._stamps.items():
            found = _stamps(files_of(used.use.settings))
            if found != known and not self._task.is_stopping:
                self._stamps[used] = found
                self._take_in(used, found)
        return NextRun(_DAY_S)

    def _take_in(self, used: UsedModel, stamps: _Stamps) -> None:
        telemetry = self._run_context.telemetry
        name, component = used.use.name, f"file of the {used.use.name}"
        try:
            new = self._models.load(used.use)
        except ModelLoadError as error:
            problems = [str(error)]
        else:
            problems = list(self._problems(used, new))
            if not problems and _stamps(files_of(used.use.settings)) != stamps:
                problems = ["it was written to while it was read: reload again when it is complete"]
            if not problems:
                was = used.model.description
                self._models.replace(used, new)
                telemetry.state_changed("model_replaced", model=name, was=was, now=new.description)
                telemetry.health.set_ok(component, quietly=True, forget=True)
                self._on_replaced()
                return
            new.close()
        why = "; ".join(problems)
        telemetry.refused("model_not_replaced", model=name, why=why)
        telemetry.health.set(
            component, Condition.DEGRADED, f"the new file is not used, the old model works on: {why}", quietly=True
        )

    def _problems(self, used: UsedModel, new: Model) -> Iterator[str]:
        old = used.model
        if new.task is not old.task:
            yield f"it is for {new.task}, the old one for {old.task}: that needs a restart"
        yield from self._privacies.problems(replaced=old, by=new)
        pixels = np.zeros((*_TRIAL_SIZE, 3), np.uint8)
        try:
            new.predict(Frame("", 0, pixels, self._run_context.clock.now()))
        except ModelFailed as error:
            yield f"it fails on a black picture: {error}"


def _stamps(files: tuple[Path, ...]) -> _Stamps:
    return tuple(_stamp(file) for file in files)


def _stamp(file: Path) -> tuple[int, int, int] | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns
