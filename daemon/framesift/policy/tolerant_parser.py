"""A policy that somebody else wrote for many readers, read tolerantly: what we don't know is left out, and told.

Left out are unknown keys at every level, strategies of an unknown type, tags outside the allowed characters, and what
follows the height and the width of max_image_size. All the rest is as strict as in a file of our own: a wrong type or a
value out of range is a ConfigError, since a rule that was understood half would collect what nobody asked for. What is
told is bounded in number and length, and safe to print.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from framesift.config.errors import ConfigError, KeyPath, format_value, path_to, validate
from framesift.config.schema import TAG_PATTERN, WindowLimit
from framesift.policy.policy import BatchingStrategy, Policy
from framesift.strategies import STRATEGY_TYPES, NearDuplicateOptions

MAX_LEFT_OUT = 20
_MOST_NODES = 20_000
_MOST_CHARACTERS = 1 << 18
_DEEPEST = 50

# The types that a policy from elsewhere may use. It must never choose code that this machine runs.
_STRATEGIES = {kind: options for kind, options in STRATEGY_TYPES.items() if not options.local_only}


@dataclass(frozen=True, slots=True)
class FetchedPolicy:
    """left_out: a sentence for each thing that was left out, at most MOST_LEFT_OUT and one that counts the others."""

    policy: Policy
    left_out: tuple[str, ...]


def parse_fetched(data: object, source: str) -> FetchedPolicy:
    """The policy in `data` (parsed JSON). source: what messages call it. Raises ConfigError, whatever is in it."""
    _refuse_monsters(data, source)
    if not isinstance(data, dict):
        raise ConfigError(f"{source}: a policy is an object with the key enabled, not {format_value(data)}")
    reading = _Reading(data)
    pruned, kept = reading.policy()
    if data.get("enabled") is True and data.get("sampling_strategies") and not pruned["sampling_strategies"]:
        raise ConfigError(
            f"{source}: sampling_strategies: none of {len(data['sampling_strategies'])} is of a type that is known "
            f"({', '.join(_STRATEGIES)})"
        )

    def at(place: KeyPath) -> KeyPath:
        """Where it stood before strategies were left out."""
        if place[:1] == ("sampling_strategies",) and len(place) > 1 and isinstance(place[1], int):
            return ("sampling_strategies", kept[place[1]], *place[2:])
        return place

    return FetchedPolicy(validate(Policy, pruned, source, at), reading.told())


def _refuse_monsters(data: object, source: str) -> None:
    """What no reader's time or stack should be spent on. Texts' halves of characters are `validated`'s."""
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
            raise ConfigError(f"{source}: a whole number of {value.bit_length()} bits is no part of a policy")
        if nodes + len(waiting) > _MOST_NODES or depth > _DEEPEST or characters > _MOST_CHARACTERS:
            raise ConfigError(
                f"{source}: is no policy: more than {_MOST_NODES} values, {_DEEPEST} levels or "
                f"{_MOST_CHARACTERS} characters"
            )


class _Reading:
    """One document, as it is without what we don't know."""

    def __init__(self, data: dict[str, Any]) -> None:
        self._data = data
        self._left_out: dict[str, None] = {}
        self._more = 0

    def told(self) -> tuple[str, ...]:
        more = (f"{self._more} more that are not shown",) if self._more else ()
        return (*self._left_out, *more)

    def policy(self) -> tuple[dict[str, Any], list[int]]:
        """The document that remains, and which of the strategies are in it."""
        policy = self._known(Policy, self._data, ())
        self._within(policy, "batching_strategy", BatchingStrategy, ())
        self._within(policy, "near_duplicate", NearDuplicateOptions, ())
        self._tags(policy, ())
        size = policy.get("max_image_size")
        if isinstance(size, list) and len(size) > 2:
            self._leave_out(("max_image_size",), f"only height and width are read, not {len(size) - 2} more")
            policy["max_image_size"] = size[:2]
        strategies = policy.get("sampling_strategies")
        kept: list[int] = []
        if isinstance(strategies, list):
            found = [self._strategy(strategy, ("sampling_strategies", i)) for i, strategy in enumerate(strategies)]
            kept = [i for i, strategy in enumerate(found) if strategy is not None]
            policy["sampling_strategies"] = [found[i] for i in kept]
        return policy, kept

    def _strategy(self, data: object, place: KeyPath) -> object:
        """The strategy that remains, None where its type is not known; what is no strategy at all comes as it is."""
        kind = data.get("type") if isinstance(data, dict) else None
        if not isinstance(data, dict) or not isinstance(kind, str):
            return data
        if kind not in _STRATEGIES:
            local = kind in STRATEGY_TYPES
            why = "may only be used in a policy file of this machine: it runs code" if local else "is not known"
            self._leave_out(place, f"type {format_value(kind)} {why}")
            return None
        strategy = self._known(_STRATEGIES[kind], data, place)
        self._within(strategy, "near_duplicate", NearDuplicateOptions, place)
        self._tags(strategy, place)
        limits = strategy.get("limits")
        if isinstance(limits, list):
            strategy["limits"] = [
                self._known(WindowLimit, limit, (*place, "limits", i)) if isinstance(limit, dict) else limit
                for i, limit in enumerate(limits)
            ]
        return strategy

    def _within(self, block: dict[str, Any], key: str, model: type[BaseModel], place: KeyPath) -> None:
        if isinstance(block.get(key), dict):
            block[key] = self._known(model, block[key], (*place, key))

    def _known(self, model: type[BaseModel], data: dict[str, Any], place: KeyPath) -> dict[str, Any]:
        for key in data:
            if key not in model.model_fields:
                self._leave_out((*place, key), "the key is not known")
        return {key: value for key, value in data.items() if key in model.model_fields}

    def _tags(self, block: dict[str, Any], place: KeyPath) -> None:
        tags = block.get("tags")
        if not isinstance(tags, list):
            return
        for i, tag in enumerate(tags):
            if _is_foreign(tag):
                self._leave_out(
                    (*place, "tags", i), f"{format_value(tag)} is longer than a tag, or has other characters"
                )
        block["tags"] = [tag for tag in tags if not _is_foreign(tag)]

    def _leave_out(self, place: KeyPath, why: str) -> None:
        if len(self._left_out) >= MAX_LEFT_OUT:
            self._more += 1
        else:
            self._left_out[f"{path_to(place, self._data)}: {why}"] = None


def _is_foreign(tag: object) -> bool:
    return isinstance(tag, str) and re.fullmatch(TAG_PATTERN, tag) is None
