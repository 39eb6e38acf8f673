"""Sources: a file of this machine here, an address and a project of the platform in rooms of their own, which only they
who ask them need to open: both bring the whole of an HTTP client with them.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from framesift.clock.clock import Clock
from framesift.config.errors import ConfigError
from framesift.policy import policy
from framesift.policy.policy_settings import PolicySettings, RoboflowPolicySettings, UrlPolicySettings
from framesift.policy.tolerant_parser import parse_fetched
from framesift.policy.types import PolicySource, ProjectPair, SourceAnswer
from framesift.prediction.prediction import Task

if TYPE_CHECKING:
    from framesift.http_client.client import HttpClient
    from framesift.roboflow import RoboflowClient


def create_source(
    options: PolicySettings, *, platform: RoboflowClient | None, web: HttpClient, clock: Clock, task: Task | None
) -> PolicySource:
    """The source that `options` name. Raises ConfigError where the platform's is asked for and there is no key."""
    if isinstance(options, Path):
        return FileSource(options)
    if isinstance(options, UrlPolicySettings):
        from framesift.policy.address import UrlSource

        return UrlSource(options, web)
    if platform is None:
        raise ConfigError(
            f"policy: {options} needs the platform's key: set ROBOFLOW_API_KEY, or roboflow.api_key in the settings"
        )
    from framesift.policy.project import RoboflowSource

    return RoboflowSource(options, platform, clock, task)


def create_pair_source(pairing: ProjectPair, platform: RoboflowClient, clock: Clock) -> PolicySource:
    """The policy of a project of the platform, for models of one."""
    from framesift.policy.project import RoboflowSource

    options = RoboflowPolicySettings.model_validate_json(json.dumps({"from": "roboflow", "project": pairing.project}))
    return RoboflowSource(options, platform, clock, None, pairing)


class FileSource:
    """A file of this machine, read strictly."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.display_name = self.identity = str(path)
        self.short_name = path.name

    def fetch(self, within_s: float) -> SourceAnswer:  # noqa: ARG002 - the signature of all
        found = policy.load(self._path)
        return SourceAnswer(found, None, workspace=found.target_workspace, project=found.target_project)


class DisabledSource:
    """Stands in for a source that nobody wants to ask: collecting is switched off by the settings."""

    def __init__(self, options: UrlPolicySettings | RoboflowPolicySettings) -> None:
        self.display_name = self.short_name = self.identity = str(options)

    def fetch(self, within_s: float) -> SourceAnswer:  # noqa: ARG002 - the signature of all
        off = parse_fetched({"enabled": False}, self.display_name).policy
        return SourceAnswer(
            off, None, notes=("collecting is switched off by the settings: the policy was not asked for",)
        )
