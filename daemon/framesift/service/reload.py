"""Reload: what SIGHUP does. It reads the settings and the policies again, and applies what may change in a run.

    settings    tags, sink.limits, limits.local_ceiling, limits.pending_quota_h, log.level, quiet_after. Whatever else
                has changed in them is named with the answer: it needs a restart
    policies    all, from wherever they come
    models      one whose file has changed is loaded in the background: see model_files.py
    sink        is tried at once; the sizes of its batches are asked for

Each reload has one answer in the log, when everything was read: `reloaded`, or `reload_refused` with the reasons.
What is refused leaves the present settings or policy in use, and stays in the health until it is mended.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

from pydantic import BaseModel

from framesift.config.errors import ConfigError
from framesift.service.quiet_streams import QuietStreams
from framesift.service.run_context import sink_limits
from framesift.service.startup import Startup
from framesift.settings import Settings
from framesift.telemetry import Condition, Telemetry

_COMPONENT = "settings"
_Block = TypeVar("_Block", bound=BaseModel)
# Keys that may change in a run, by their block; "" for those of the whole.
_RELOADABLE = {
    "": {"tags", "quiet_after"},
    "sink": {"limits"},
    "limits": {"local_ceiling", "pending_quota_h"},
    "log": {"level"},
    "streams": {"tags"},
    "listeners": {"tags"},
}


class Reload:
    """Applies changed settings to a run. Belongs to the main thread."""

    def __init__(
        self, settings: Settings, read: Callable[[], Settings] | None, telemetry: Telemetry, quiet_streams: QuietStreams
    ) -> None:
        """settings: those of the start. read: reads them again, None where there is no file; it raises ConfigError."""
        self.settings = settings
        self._read = read
        self._telemetry = telemetry
        self._quiet_streams = quiet_streams

    def run(self, startup: Startup) -> None:
        """Read and apply everything once. The answer is logged when the policies have been read, by any thread."""
        changed: tuple[str, ...] = ()
        needs_restart: tuple[str, ...] = ()
        problems: tuple[str, ...] = ()
        health = self._telemetry.health
        try:
            if self._read is not None:
                changed, needs_restart = self._apply(self._read(), startup)
        except ConfigError as error:
            problems = (str(error),)
            health.set(
                _COMPONENT, Condition.DEGRADED, f"refused at a reload, a restart would fail: {error}", quietly=True
            )
        else:
            health.set_ok(_COMPONENT, quietly=True, forget=True)

        def answer(refused: tuple[str, ...]) -> None:
            found = {"changed": changed, "needs_restart": needs_restart}
            fields = {name: ", ".join(keys) for name, keys in found.items() if keys}
            if problems or refused:
                self._telemetry.refused("reload_refused", reason="; ".join((*problems, *refused)), **fields)
            else:
                self._telemetry.state_changed("reloaded", **fields)

        startup.subscriptions.reload(answer)
        startup.model_files.wake()
        startup.probe_now()

    def _apply(self, new: Settings, startup: Startup) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Apply what may change; return the keys that were applied, and those that need a restart."""
        changed = tuple(differences(self.settings, new))
        applied = tuple(key for key in changed if _is_reloadable(key))
        self.settings = with_reloadable(self.settings, new)
        self._telemetry.set_log_level(self.settings.log.level)
        startup.uploader.set_sink_limits(sink_limits(self.settings))
        startup.shared_limits.set_settings(self.settings.limits)
        startup.intakes.set_settings(self.settings)
        self._quiet_streams.quiet_after_s = self.settings.quiet_after
        return applied, tuple(key for key in changed if key not in applied)


def differences(old: Settings, new: Settings) -> Iterator[str]:
    """Yield the keys in which two settings differ: of the whole, such as "tags", or of a block, such as "sink.limits".

    Lists of blocks count as one key, or as one for each reloadable key in them ("streams.tags").
    """
    for name in type(old).model_fields:
        before, after = getattr(old, name), getattr(new, name)
        if before == after:
            continue
        if isinstance(before, BaseModel) and type(before) is type(after):
            for key in type(before).model_fields:
                if getattr(before, key) != getattr(after, key):
                    yield f"{name}.{key}"
        elif name in ("streams", "listeners") and _same_but_tags(before, after):
            yield f"{name}.tags"
        else:
            yield name


def with_reloadable(old: Settings, new: Settings) -> Settings:
    """Return the old settings with those values of the new ones that may change in a run."""
    changes: dict[str, object] = {key: getattr(new, key) for key in _RELOADABLE[""]}
    for name in ("sink", "limits", "log"):
        before, after = getattr(old, name), getattr(new, name)
        if type(before) is type(after):
            changes[name] = before.model_copy(update={key: getattr(after, key) for key in _RELOADABLE[name]})
    for name in ("streams", "listeners"):
        before, after = getattr(old, name), getattr(new, name)
        if _same_but_tags(before, after):
            changes[name] = after
    return old.model_copy(update=changes)


def _same_but_tags(before: tuple[_Block, ...], after: tuple[_Block, ...]) -> bool:
    return [one.model_copy(update={"tags": ()}) for one in before] == [
        one.model_copy(update={"tags": ()}) for one in after
    ]


def _is_reloadable(key: str) -> bool:
    block, _, name = key.rpartition(".")
    return name in _RELOADABLE.get(block, ())
