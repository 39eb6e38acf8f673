"""`framesift policy pull` and `push`: a project's active-learning configuration, fetched from the platform, or set."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from framesift.cli.console import ConfigOption, escape_text, fail, out, print_note, to_json_text

if TYPE_CHECKING:
    from framesift.roboflow import RoboflowClient

ANSWER_WITHIN_S = 30.0  # of the platform, to each question

ProjectArgument = Annotated[
    str | None, typer.Argument(help="Of the platform; else that of the settings' policy or sink.")
]

# What the platform's own clients know, of the policy and of its parts, by the type of a strategy.
_KNOWN_EVERYWHERE = {
    *("enabled", "max_image_size", "jpeg_compression_level", "persist_predictions", "sampling_strategies", "tags"),
    *("batching_strategy", "target_workspace", "target_project"),
}
_KNOWN_OF_STRATEGIES = {"name", "type", "tags", "limits"}
_KNOWN_BY_TYPE = {
    "random": {"traffic_percentage"},
    "close_to_threshold": {
        *("threshold", "epsilon", "probability", "selected_class_names"),
        *("minimum_objects_close_to_threshold", "only_top_classes"),
    },
    "classes_based": {"selected_class_names", "probability"},
    "detections_number_based": {"probability", "more_than", "less_than", "selected_class_names"},
}


def pull(
    project: ProjectArgument = None,
    config: ConfigOption = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Into this file; else to stdout.")] = None,
    force: Annotated[bool, typer.Option(help="Overwrite the file.")] = False,
) -> None:
    """Get a project's policy from the platform.

    It is written as it stands there, whatever it is worth.
    """
    from framesift.atomic_files import write_atomically
    from framesift.config.errors import ConfigError
    from framesift.policy import parse_fetched

    if output is not None and output.exists() and not force:
        fail(f"{output} exists already; --force overwrites it")
    with _platform(config, project) as there:
        document = there.platform.fetch_active_learning(there.workspace, there.project, within_s=ANSWER_WITHIN_S)
    text = to_json_text(document, indent=2)
    if output is None:
        sys.stdout.write(text)
    else:
        write_atomically(output, text.encode())
        out.print(escape_text(f"wrote {output}: the configuration of {there.workspace}/{there.project}"))
    try:
        for line in parse_fetched(document, str(there)).left_out:
            print_note(f"a daemon would leave out: {line}")
    except ConfigError as error:
        print_note(f"no daemon can use it as it stands: {error}")


def push(
    file: Annotated[Path, typer.Argument(help="A policy, JSON or YAML.")],
    project: ProjectArgument = None,
    config: ConfigOption = None,
) -> None:
    """Set a project's policy on the platform.

    It is read strictly first; what the platform's own clients will not know is told.
    """
    from framesift.config import text as config_text
    from framesift.config.errors import ConfigError
    from framesift.policy import policy as policies

    try:
        policy = policies.load(file)
        document = config_text.parse(config_text.read_text(file), str(file)).data
    except ConfigError as error:
        fail(str(error))
    if not isinstance(document, dict):
        fail(f"{file}: changed while it was read")
    unknown = list(_unknown_there(document))
    if unknown:
        print_note(f"the platform's own clients will not know, and leave out: {', '.join(unknown)}")
    with _platform(config, project) as there:
        there.platform.set_active_learning(there.workspace, there.project, document, within_s=ANSWER_WITHIN_S)
    what = "on" if policy.enabled else "off"
    names = ", ".join(strategy.name for strategy in policy.sampling_strategies) or "no strategies"
    out.print(
        escape_text(f"{there.workspace}/{there.project} has {file} now: {what}, {names} ({policies.digest(policy)})")
    )


def _unknown_there(document: Mapping[str, Any]) -> Iterator[str]:
    """What of a valid policy the platform's own clients have no word for."""
    yield from (key for key, value in document.items() if key not in _KNOWN_EVERYWHERE and value is not None)
    for i, strategy in enumerate(document.get("sampling_strategies", ())):
        where = f"sampling_strategies[{i}]"
        known = _KNOWN_BY_TYPE.get(strategy["type"])
        if known is None:
            yield f"{where} ({strategy['name']!r}, the whole strategy: its type is {strategy['type']})"
            continue
        for key, value in strategy.items():
            if key not in known | _KNOWN_OF_STRATEGIES and value is not None:
                yield f"{where}.{key}"


@dataclass(frozen=True, slots=True)
class _There:
    """A project of the platform. str(): how it is told."""

    platform: RoboflowClient
    workspace: str
    project: str

    def __str__(self) -> str:
        return f"{self.workspace}/{self.project}"


@contextmanager
def _platform(config: Path | None, project: str | None) -> Iterator[_There]:
    """The project that was asked for, or the settings'; what fails with the platform inside ends the command."""
    from framesift import settings as settings_room
    from framesift.config.errors import ConfigError
    from framesift.config.schema import SLUG_PATTERN
    from framesift.policy import RoboflowPolicySettings
    from framesift.roboflow import PlatformError
    from framesift.service.connections import open_connections

    try:
        try:
            found: Path | None = settings_room.find_settings_file(config, os.environ)
        except ConfigError:
            found = None
        if found is None:
            account, network = settings_room.load_account(os.environ), settings_room.NetworkSettings()
        else:
            settings = settings_room.load(found, os.environ)
            account, network = settings.roboflow, settings.network
            if project is None and isinstance(settings.policy, RoboflowPolicySettings):
                project = settings.policy.project
            elif project is None:
                project = settings.sink.default_project
    except ConfigError as error:
        fail(str(error))
    if project is None:
        fail("name the project: " + (f"{found} names none" if found else "there are no settings that would name one"))
    if re.fullmatch(SLUG_PATTERN, project) is None:
        fail(f"the project {project[:60]!r} is not allowed; it must be 1 to 128 characters of a-z A-Z 0-9 _ -")
    online = open_connections(account, network)
    try:
        if online.platform is None:
            fail("the platform wants a key: set ROBOFLOW_API_KEY, or roboflow.api_key in the settings")
        yield _There(online.platform, online.platform.fetch_workspace(within_s=ANSWER_WITHIN_S), project)
    except PlatformError as trouble:
        fail(str(trouble), code=1)
    finally:
        online.close()
