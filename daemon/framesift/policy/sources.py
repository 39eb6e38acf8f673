"""Sources: a file of this machine here, an address and a project of the platform in rooms of their own, which only they
who ask them need to open: both bring the whole of an HTTP client with them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from framesift.clock.clock import Clock
from framesift.config.errors import ConfigError
from framesift.policy import policy
from framesift.policy.policy_settings import PolicyOptions, RoboflowPolicy, UrlPolicy
from framesift.policy.tolerant_parser import read_fetched
from framesift.policy.types import Got, Pairing, Source
from framesift.prediction.prediction import Task

if TYPE_CHECKING:
    from framesift.http_client.client import Web
    from framesift.roboflow import Roboflow


def source_of(
    options: PolicyOptions, *, platform: Roboflow | None, web: Web, clock: Clock, task: Task | None
) -> Source:
    """The source that `options` name. Raises ConfigError where the platform's is asked for and there is no key."""
    if isinstance(options, Path):
        return FileSource(options)
    if isinstance(options, UrlPolicy):
        from framesift.policy.address import UrlSource

        return UrlSource(options, web)
    if platform is None:
        raise ConfigError(
            f"policy: {options} needs the platform's key: set ROBOFLOW_API_KEY, or roboflow.api_key in the settings"
        )
    from framesift.policy.project import RoboflowSource

    return RoboflowSource(options, platform, clock, task)


def source_of_pairing(pairing: Pairing, platform: Roboflow, clock: Clock) -> Source:
    """The policy of a project of the platform, for models of one."""
    from framesift.policy.project import RoboflowSource

    options = RoboflowPolicy.model_validate_json(json.dumps({"from": "roboflow", "project": pairing.project}))
    return RoboflowSource(options, platform, clock, None, pairing)


class FileSource:
    """A file of this machine, read strictly."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.told = self.identity = str(path)
        self.name = path.name

    def ask(self, within_s: float) -> Got:  # noqa: ARG002 - the signature of all
        found = policy.load(self._path)
        return Got(found, None, workspace=found.target_workspace, project=found.target_project)


class SwitchedOff:
    """Stands in for a source that nobody wants to ask: collecting is switched off by the settings."""

    def __init__(self, options: UrlPolicy | RoboflowPolicy) -> None:
        self.told = self.name = self.identity = str(options)

    def ask(self, within_s: float) -> Got:  # noqa: ARG002 - the signature of all
        off = read_fetched({"enabled": False}, self.told).policy
        return Got(off, None, notes=("collecting is switched off by the settings: the policy was not asked for",))
