"""`framesift policy pull` and `push`: get and set a project's active-learning configuration on the platform."""

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

ANSWER_WITHIN_S = 30.0  # of the platform, for each request

ProjectArgument = Annotated[
    str | None, typer.Argument(help="The platform's project; default: that of the settings' policy or sink.")
]

# The keys that the platform's own clients know: of the policy, of all strategies, and by the type of a strategy.
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
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write to this file; default: stdout.")] = None,
    force: Annotated[bool, typer.Option(help="Overwrite the file.")] = False,
) -> None:
    """Get a project's policy from the platform.

    It is written unchanged, even if framesift can't use it. Only what runs code or names files is left out: what
    it is written to is a policy file of this machine, and may choose them.
    """
    from framesift.atomic_files import write_atomically
    from framesift.config.errors import ConfigError
    from framesift.policy import parse_fetched
    from framesift.policy.tolerant_parser import without_local_parts

    if output is not None and output.exists() and not force:
        fail(f"{output} exists already; --force overwrites it")
    with _platform(config, project) as target:
        fetched = target.platform.fetch_active_learning(target.workspace, target.project, within_s=ANSWER_WITHIN_S)
    document, not_written = without_local_parts(fetched)
    text = to_json_text(document, indent=2)
    if output is None:
        sys.stdout.write(text)
    else:
        write_atomically(output, text.encode(), for_person=True)
        out.print(escape_text(f"wrote {output}: the configuration of {target.workspace}/{target.project}"))
    for line in not_written:
        print_note(f"not written: {line}")
    try:
        for line in parse_fetched(document, str(target)).left_out:
            print_note(f"framesift will leave out: {line}")
    except ConfigError as error:
        print_note(f"framesift can't use it: {error}")


def push(
    file: Annotated[Path, typer.Argument(help="A policy, JSON or YAML.")],
    project: ProjectArgument = None,
    config: ConfigOption = None,
) -> None:
    """Set a project's policy on the platform.

    The policy is checked strictly first. A note names what the platform's own clients will ignore.
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
    unknown = list(_unknown_keys(document))
    if unknown:
        print_note(f"the platform's own clients will ignore: {', '.join(unknown)}")
    with _platform(config, project) as target:
        target.platform.set_active_learning(target.workspace, target.project, document, within_s=ANSWER_WITHIN_S)
    what = "on" if policy.enabled else "off"
    names = ", ".join(strategy.name for strategy in policy.sampling_strategies) or "no strategies"
    out.print(
        escape_text(f"{target.workspace}/{target.project} has {file} now: {what}, {names} ({policies.digest(policy)})")
    )


def _unknown_keys(document: Mapping[str, Any]) -> Iterator[str]:
    """The parts of a valid policy that the platform's own clients don't know."""
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
class _PlatformProject:
    """A project of the platform. str(): for messages."""

    platform: RoboflowClient
    workspace: str
    project: str

    def __str__(self) -> str:
        return f"{self.workspace}/{self.project}"


@contextmanager
def _platform(config: Path | None, project: str | None) -> Iterator[_PlatformProject]:
    """The named project, or that of the settings. A PlatformError inside the `with` ends the command."""
    from framesift import settings as settings_module
    from framesift.config.errors import ConfigError
    from framesift.config.schema import SLUG_PATTERN
    from framesift.policy import RoboflowPolicySettings
    from framesift.roboflow import PlatformError
    from framesift.service.connections import open_connections

    try:
        try:
            found: Path | None = settings_module.find_settings_file(config, os.environ)
        except ConfigError:
            found = None
        if found is None:
            account, network = settings_module.load_account(os.environ), settings_module.NetworkSettings()
        else:
            settings = settings_module.load(found, os.environ)
            account, network = settings.roboflow, settings.network
            if project is None and isinstance(settings.policy, RoboflowPolicySettings):
                project = settings.policy.project
            elif project is None:
                project = settings.sink.default_project
    except ConfigError as error:
        fail(str(error))
    if project is None:
        fail("name the project: " + (f"{found} names none" if found else "there is no settings file"))
    if re.fullmatch(SLUG_PATTERN, project) is None:
        fail(f"the project {project[:60]!r} is not allowed; it must be 1 to 128 characters of a-z A-Z 0-9 _ -")
    connections = open_connections(account, network)
    try:
        if connections.platform is None:
            fail("the platform wants a key: set ROBOFLOW_API_KEY, or roboflow.api_key in the settings")
        yield _PlatformProject(
            connections.platform, connections.platform.fetch_workspace(within_s=ANSWER_WITHIN_S), project
        )
    except PlatformError as error:
        fail(str(error), code=1)
    finally:
        connections.close()
