"""Known paths: near_duplicate's option `known`, which names pictures that people have already.

Here is only what a policy may say. What is read of the disk, and when, is in `known/`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, WithJsonSchema

_MAX_PATHS = 16
PATH_PATTERN = r"^[^\x00]{1,4096}$"
_PATH_SCHEMA = {"type": "string", "pattern": PATH_PATTERN}
PathText = Annotated[str, Field(pattern=PATH_PATTERN)]


def _as_tuple(value: object) -> object:
    return (value,) if isinstance(value, str) else tuple(value) if isinstance(value, list) else value


KnownPaths = Annotated[
    tuple[PathText, ...],
    Field(min_length=1, max_length=_MAX_PATHS),
    BeforeValidator(_as_tuple),
    WithJsonSchema(
        {"anyOf": [_PATH_SCHEMA, {"type": "array", "items": _PATH_SCHEMA, "minItems": 1, "maxItems": _MAX_PATHS}]}
    ),
]
# The options that name files of this machine: only a policy file of this machine may have them.
LOCAL_OPTIONS = ("known",)


def near_duplicate_blocks(policy: object) -> Iterator[tuple[tuple[str | int, ...], dict[str, Any]]]:
    """Yields each near_duplicate of a policy (parsed JSON, of whatever shape), with the path to it."""
    if not isinstance(policy, dict):
        return
    strategies = policy.get("sampling_strategies")
    blocks: list[tuple[tuple[str | int, ...], object]] = [((), policy)]
    if isinstance(strategies, list):
        blocks += [(("sampling_strategies", i), strategy) for i, strategy in enumerate(strategies)]
    for path, block in blocks:
        found = block.get("near_duplicate") if isinstance(block, dict) else None
        if isinstance(found, dict):
            yield (*path, "near_duplicate"), found


def resolve_known_paths(policy: object, folder: Path) -> None:
    """Makes relative paths of known pictures count from `folder`. policy: parsed JSON, of whatever shape."""
    for _, block in near_duplicate_blocks(policy):
        known = block.get("known")
        if isinstance(known, list):
            block["known"] = [str(folder / one) if isinstance(one, str) and one else one for one in known]
        elif isinstance(known, str) and known:
            block["known"] = str(folder / known)
