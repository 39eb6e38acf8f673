"""Creates the source that the settings name, and the two sources that need no network.

The sources for URLs and for the platform are imported only when they are used: they load an HTTP client.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True)
class SourceContext:
    """What sources need. platform: None without an API key. task: the local model's, None if it does not say."""

    http: HttpClient
    platform: RoboflowClient | None
    clock: Clock
    task: Task | None = None


def create_source(settings: PolicySettings, context: SourceContext) -> PolicySource:
    """The source that the settings name. Raises ConfigError where it is on the platform and there is no API key."""
    if isinstance(settings, Path):
        return FileSource(settings)
    if isinstance(settings, UrlPolicySettings):
        from framesift.policy.address import UrlSource

        return UrlSource(settings, context.http)
    if context.platform is None:
        raise ConfigError(
            f"policy: {settings} needs the platform's key: set ROBOFLOW_API_KEY, or roboflow.api_key in the settings"
        )
    from framesift.policy.project import RoboflowSource

    return RoboflowSource(settings, context.platform, context.clock, context.task)


def create_pair_source(pair: ProjectPair, context: SourceContext) -> PolicySource:
    """The policy of a platform's project, for the models of one project. The context must have a platform."""
    from framesift.policy.project import RoboflowSource

    assert context.platform is not None
    settings = RoboflowPolicySettings.model_validate_json(json.dumps({"from": "roboflow", "project": pair.project}))
    return RoboflowSource(settings, context.platform, context.clock, None, pair)


class FileSource:
    """A policy file on this machine, read strictly."""

    def __init__(self, path: Path) -> None:
        """path: of a JSON or YAML file. It is read at every `fetch`."""
        self._path = path
        self.display_name = self.identity = str(path)
        self.short_name = path.name

    def fetch(self, within_s: float) -> SourceAnswer:  # noqa: ARG002 - the signature of all sources
        """Reads the file. Raises ConfigError."""
        found = policy.load(self._path)
        return SourceAnswer(found, None, workspace=found.target_workspace, project=found.target_project)


class DisabledSource:
    """Replaces a source that is not asked, since the settings disable collecting."""

    def __init__(self, settings: UrlPolicySettings | RoboflowPolicySettings) -> None:
        """settings: of the source that is replaced."""
        self.display_name = self.short_name = self.identity = str(settings)

    def fetch(self, within_s: float) -> SourceAnswer:  # noqa: ARG002 - the signature of all sources
        """A disabled policy."""
        disabled = parse_fetched({"enabled": False}, self.display_name).policy
        return SourceAnswer(
            disabled, None, notes=("collecting is disabled in the settings: the policy was not fetched",)
        )
