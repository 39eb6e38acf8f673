"""Parses a policy that was written for other programs too: what framesift does not know is left out and reported.

Left out are unknown keys at every level, strategies of an unknown type, tags with characters that are not allowed, and
numbers after the height and width of max_image_size. Everything else is as strict as in a policy file: a wrong type or
a value out of range is a ConfigError, since a rule that is only half understood would collect the wrong frames. The
reports are limited in number and length, and safe to print.
"""

from __future__ import annotations

import copy
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from framesift.config.errors import ConfigError, KeyPath, format_value, path_to, validate
from framesift.config.schema import TAG_PATTERN, WindowLimit
from framesift.config.types import kind_of
from framesift.policy.baseline import BaselineOptions
from framesift.policy.manual import ManualOptions
from framesift.policy.policy import BatchingStrategy, Policy
from framesift.strategies import STRATEGY_TYPES, InhibitCondition, NearDuplicateOptions, PacingOptions
from framesift.strategies.known_paths import LOCAL_OPTIONS, near_duplicate_blocks

MAX_LEFT_OUT = 20
_MAX_NODES = 20_000
_MAX_CHARACTERS = 1 << 18
_MAX_DEPTH = 50

_LOCAL_ONLY = "may only be used in a policy file of this machine: it runs code"
_NAMES_FILES = "may only be used in a policy file of this machine: it names files"
# The types that a policy from elsewhere may use. It must never choose code that this machine runs.
_STRATEGIES = {kind: options for kind, options in STRATEGY_TYPES.items() if not options.local_only}


@dataclass(frozen=True, slots=True)
class FetchedPolicy:
    """A parsed policy. left_out: a sentence for each part that was left out; at most 20, then the number of others."""

    policy: Policy
    left_out: tuple[str, ...]


def parse_fetched(data: object, source: str) -> FetchedPolicy:
    """The policy in `data` (parsed JSON). source: its name in messages. Raises only ConfigError, for any data."""
    _refuse_too_large(data, source)
    if not isinstance(data, dict):
        raise ConfigError(f"{source}: a policy is an object with the key enabled, not {kind_of(data)}")
    parser = _Parser(data)
    pruned, remaining = parser.policy()
    if data.get("enabled") is True and data.get("sampling_strategies") and not pruned["sampling_strategies"]:
        raise ConfigError(
            f"{source}: sampling_strategies: none of {len(data['sampling_strategies'])} is of a type that is known "
            f"({', '.join(_STRATEGIES)})"
        )

    def in_document(path: KeyPath) -> KeyPath:
        """The path in the document, in which no strategy is left out."""
        if path[:1] == ("sampling_strategies",) and len(path) > 1 and isinstance(path[1], int):
            return ("sampling_strategies", remaining[path[1]], *path[2:])
        return path

    return FetchedPolicy(validate(Policy, pruned, source, in_document), parser.left_out())


def without_local_parts(data: object) -> tuple[object, tuple[str, ...]]:
    """The same document without what runs code or names files, and a sentence for each part that was left out.

    For a document from elsewhere that becomes a policy file of this machine. data: parsed JSON, of whatever shape; it
    is not changed.
    """
    data = copy.deepcopy(data)
    sentences: list[str] = []
    for place, block in near_duplicate_blocks(data):
        for key in LOCAL_OPTIONS:
            if block.pop(key, None) is not None:
                sentences.append(f"{path_to((*place, key), data)}: {_NAMES_FILES}")
    strategies = data.get("sampling_strategies") if isinstance(data, dict) else None
    if isinstance(data, dict) and isinstance(strategies, list):
        local = {i: kind for i, strategy in enumerate(strategies) if (kind := _local_type(strategy)) is not None}
        sentences += [
            f"{path_to(('sampling_strategies', i), data)}: type {format_value(kind)} {_LOCAL_ONLY}"
            for i, kind in local.items()
        ]
        data["sampling_strategies"] = [strategy for i, strategy in enumerate(strategies) if i not in local]
    if len(sentences) > MAX_LEFT_OUT:
        sentences[MAX_LEFT_OUT:] = [f"{len(sentences) - MAX_LEFT_OUT} more that are not shown"]
    return data, tuple(sentences)


def _local_type(strategy: object) -> str | None:
    """The type of a strategy that only a policy file of this machine may have; None for every other one."""
    kind = strategy.get("type") if isinstance(strategy, dict) else None
    return kind if isinstance(kind, str) and kind in STRATEGY_TYPES and kind not in _STRATEGIES else None


def _refuse_too_large(data: object, source: str) -> None:
    """Raises ConfigError for data that is too large or too deep. Lone surrogates in texts are left to `validate`."""
    nodes = characters = 0
    waiting: list[tuple[int, object]] = [(0, data)]
    while waiting:
        depth, value = waiting.pop()
        nodes += 1
        if isinstance(value, str):
            characters += len(value)
        elif isinstance(value, float) and not math.isfinite(value):
            raise ConfigError(f"{source}: {value} is not a number in JSON")
        elif isinstance(value, Mapping):
            characters += sum(len(key) for key in value)
            waiting.extend((depth + 1, inner) for inner in value.values())
        elif isinstance(value, list):
            waiting.extend((depth + 1, inner) for inner in value)
        elif isinstance(value, int) and abs(value) >= 1 << 1024:
            raise ConfigError(f"{source}: a whole number of {value.bit_length()} bits is not allowed in a policy")
        if nodes + len(waiting) > _MAX_NODES or depth > _MAX_DEPTH or characters > _MAX_CHARACTERS:
            raise ConfigError(
                f"{source}: is not a policy: more than {_MAX_NODES} values, {_MAX_DEPTH} levels or "
                f"{_MAX_CHARACTERS} characters"
            )


class _Parser:
    """Removes from one document what is not known, and notes it."""

    def __init__(self, data: dict[str, Any]) -> None:
        self._data = data
        self._left_out: dict[str, None] = {}
        self._more = 0

    def left_out(self) -> tuple[str, ...]:
        """What was left out, in sentences."""
        more = (f"{self._more} more that are not shown",) if self._more else ()
        return (*self._left_out, *more)

    def policy(self) -> tuple[dict[str, Any], list[int]]:
        """The document without unknown parts, and the indexes of the strategies that remain."""
        policy = self._remove_unknown(Policy, self._data, ())
        self._remove_unknown_in(policy, "batching_strategy", BatchingStrategy, ())
        self._remove_near_duplicate_parts(policy, ())
        self._remove_unknown_in(policy, "pacing", PacingOptions, ())
        self._remove_unknown_in(policy, "baseline", BaselineOptions, ())
        self._remove_unknown_in(policy, "manual", ManualOptions, ())
        for key in ("baseline", "manual"):
            if isinstance(policy.get(key), dict):
                self._remove_bad_tags(policy[key], (key,))
        if isinstance(policy.get("manual"), dict):
            self._remove_unknown_in_each(policy["manual"], "limits", WindowLimit, ("manual",))
        self._remove_bad_tags(policy, ())
        size = policy.get("max_image_size")
        if isinstance(size, list) and len(size) > 2:
            self._leave_out(("max_image_size",), f"only height and width are read, not {len(size) - 2} more")
            policy["max_image_size"] = size[:2]
        strategies = policy.get("sampling_strategies")
        remaining: list[int] = []
        if isinstance(strategies, list):
            found = [self._strategy(strategy, ("sampling_strategies", i)) for i, strategy in enumerate(strategies)]
            remaining = [i for i, strategy in enumerate(found) if strategy is not None]
            policy["sampling_strategies"] = [found[i] for i in remaining]
        return policy, remaining

    def _strategy(self, data: object, path: KeyPath) -> object:
        """The strategy without unknown parts; None if its type is not known; other data is returned as it is."""
        kind = data.get("type") if isinstance(data, dict) else None
        if not isinstance(data, dict) or not isinstance(kind, str):
            return data
        if kind not in _STRATEGIES:
            local = kind in STRATEGY_TYPES
            why = _LOCAL_ONLY if local else "is not known"
            self._leave_out(path, f"type {format_value(kind)} {why}")
            return None
        strategy = self._remove_unknown(_STRATEGIES[kind], data, path)
        self._remove_near_duplicate_parts(strategy, path)
        self._remove_unknown_in(strategy, "pacing", PacingOptions, path)
        self._remove_bad_tags(strategy, path)
        self._remove_unknown_in_each(strategy, "limits", WindowLimit, path)
        self._remove_unknown_in_each(strategy, "inhibit", InhibitCondition, path)
        return strategy

    def _remove_near_duplicate_parts(self, block: dict[str, Any], path: KeyPath) -> None:
        self._remove_unknown_in(block, "near_duplicate", NearDuplicateOptions, path)
        near_duplicate = block.get("near_duplicate")
        for key in LOCAL_OPTIONS:
            if isinstance(near_duplicate, dict) and near_duplicate.pop(key, None) is not None:
                self._leave_out((*path, "near_duplicate", key), _NAMES_FILES)

    def _remove_unknown_in(self, block: dict[str, Any], key: str, model: type[BaseModel], path: KeyPath) -> None:
        if isinstance(block.get(key), dict):
            block[key] = self._remove_unknown(model, block[key], (*path, key))

    def _remove_unknown_in_each(self, block: dict[str, Any], key: str, model: type[BaseModel], path: KeyPath) -> None:
        """The same for each object of a list."""
        if isinstance(block.get(key), list):
            block[key] = [
                self._remove_unknown(model, inner, (*path, key, i)) if isinstance(inner, dict) else inner
                for i, inner in enumerate(block[key])
            ]

    def _remove_unknown(self, model: type[BaseModel], data: dict[str, Any], path: KeyPath) -> dict[str, Any]:
        for key in data:
            if key not in model.model_fields:
                self._leave_out((*path, key), "the key is not known")
        return {key: value for key, value in data.items() if key in model.model_fields}

    def _remove_bad_tags(self, block: dict[str, Any], path: KeyPath) -> None:
        tags = block.get("tags")
        if not isinstance(tags, list):
            return
        for i, tag in enumerate(tags):
            if _is_bad_tag(tag):
                self._leave_out(
                    (*path, "tags", i), f"{format_value(tag)} is longer than a tag, or has other characters"
                )
        block["tags"] = [tag for tag in tags if not _is_bad_tag(tag)]

    def _leave_out(self, path: KeyPath, why: str) -> None:
        if len(self._left_out) >= MAX_LEFT_OUT:
            self._more += 1
        else:
            self._left_out[f"{path_to(path, self._data)}: {why}"] = None


def _is_bad_tag(tag: object) -> bool:
    return isinstance(tag, str) and re.fullmatch(TAG_PATTERN, tag) is None
