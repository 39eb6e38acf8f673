"""Policy: which frames are worth a label, at most how many, and how they are delivered.

Roboflow's JSON is valid as it is; YAML is accepted too. Five keys are framesift's own: `time_zone`, in which days and
batches begin, `near_duplicate` and `pacing`, the defaults of all strategies, `baseline` and `manual`.
"""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from collections.abc import Collection, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any
from zoneinfo import ZoneInfo, available_timezones

from pydantic import AfterValidator, ConfigDict, Field, model_validator

from framesift.config import text as config_text
from framesift.config.errors import MAX_PROBLEMS, ConfigError, KeyPath, nearest, validate
from framesift.config.schema import Slug, StrictModel, Tag, Text, WindowLimit
from framesift.config.types import kind_of
from framesift.datapoint import BatchInterval
from framesift.policy.baseline import BaselineOptions, baseline_problem, reserved_limits
from framesift.policy.known_paths import known_path_problems
from framesift.policy.manual import ManualOptions
from framesift.strategies import (
    CommonStrategyOptions,
    NearDuplicateOptions,
    PacingOptions,
    StrategyOptions,
    held_problem,
    kept_problem,
    pacing_problem,
    resolve_paths,
)

_JSON_SUFFIXES, _YAML_SUFFIXES = {".json"}, {".yaml", ".yml"}
# Options that came after the others: with their defaults they are no part of a policy's hash.
_UNHASHED_DEFAULTS = (
    "zones",
    "zone_anchor",
    "inhibit",
    "hours",
    "days",
    "pacing",
    "min_interval_s",
    "min_interval_scope",
    "before_s",
    "after_s",
    "neighbours_every_s",
)
_UNHASHED_BUT_OF_UNCERTAINTY = ("class_balance", "initial_counts")  # which had them from the beginning
_UNHASHED_IN_NEAR_DUPLICATE = ("signature", "scope", "known")
_REQUIRED = ("persist_predictions", "sampling_strategies", "batching_strategy")


def _check_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ValueError, OSError, KeyError):  # a bad path, a folder of zones, no such zone
        known: list[str] = []
        with contextlib.suppress(OSError):
            known = sorted(available_timezones())
        meant = nearest(name, known)
        hint = f"; did you mean {meant}?" if meant else ""
        raise ValueError(f"{name!r} is not an IANA time zone, such as UTC or Europe/Paris{hint}") from None
    return name


Side = Annotated[int, Field(ge=1, le=65535)]
TimeZone = Annotated[Text, AfterValidator(_check_zone)]


class BatchingStrategy(StrictModel):
    """How datapoints are grouped into batches for labelling."""

    batches_name_prefix: Annotated[Text, Field(description="The beginning of every batch's name.")]
    recreation_interval: Annotated[BatchInterval, Field(description="How often a new batch begins.")]
    max_batch_images: Annotated[int, Field(ge=1, le=1_000_000_000)] | None = Field(
        None, description="The most images in one batch, over all strategies; null: any number."
    )


class Policy(StrictModel):
    """The active-learning configuration.

    `{"enabled": false}` is complete; otherwise persist_predictions, sampling_strategies (at least one) and
    batching_strategy are required.
    """

    model_config = ConfigDict(
        title="framesift policy",
        json_schema_extra={
            "if": {"properties": {"enabled": {"const": True}}},
            "then": {"required": list(_REQUIRED), "properties": {"sampling_strategies": {"minItems": 1}}},
        },
    )

    enabled: Annotated[bool, Field(description="false: nothing is collected.")]
    max_image_size: tuple[Side, Side] | None = Field(
        None, description="[height, width] in pixels: larger images are scaled down to fit, with the same aspect ratio."
    )
    jpeg_compression_level: Annotated[int, Field(ge=1, le=100)] | None = Field(
        None, description="JPEG quality; 100 is the best. null: JPEGs are kept as they came, other images get 95."
    )
    persist_predictions: Annotated[bool, Field(description="Whether predictions are delivered with the images.")] = True
    sampling_strategies: Annotated[
        tuple[StrategyOptions, ...],
        Field(max_length=100, description="The rules, in order: the first that matches and has quota is charged."),
    ] = ()
    batching_strategy: Annotated[BatchingStrategy, Field(description="Labelling batches.")] = BatchingStrategy(
        batches_name_prefix="framesift", recreation_interval=BatchInterval.NEVER
    )
    tags: Annotated[tuple[Tag, ...], Field(description="Tags of everything that is collected.")] = ()
    target_workspace: Slug | None = Field(None, description="Deliver to this workspace instead of the key's own.")
    target_project: Slug | None = Field(None, description="Deliver to this project instead of the model's own.")
    time_zone: Annotated[TimeZone, Field(description="Where minutes, hours, days and batches begin (IANA name).")] = (
        "UTC"
    )
    near_duplicate: NearDuplicateOptions | None = Field(
        None, description="The default of all strategies that don't set near_duplicate themselves."
    )

    pacing: PacingOptions | None = Field(
        None, description="The default of all strategies that don't set pacing themselves."
    )
    baseline: BaselineOptions | None = Field(
        None, description="A share of the budget for frames that are chosen at random; null: none."
    )

    manual: Annotated[ManualOptions, Field(description="Frames that an operator takes by hand.")] = ManualOptions()

    @model_validator(mode="after")
    def _complete(self) -> Policy:
        names = [strategy.name for strategy in self.sampling_strategies]
        incomplete = _incomplete(self.enabled, self.model_fields_set, names)
        if incomplete:
            raise ValueError("; ".join(sentence for _, sentence in incomplete))
        return self

    @model_validator(mode="after")
    def _can_be_paced(self) -> Policy:
        for strategy in self.sampling_strategies:
            problem = pacing_problem(self.pacing_of(strategy), strategy.limits)
            if problem:
                raise ValueError(f"strategy {strategy.name!r}: {problem}; give it one, or pacing: null")
        if self.baseline is not None and self.sampling_strategies:
            strategies = self.sampling_strategies
            limits, names = [one.limits for one in strategies], [one.name for one in strategies]
            problem = baseline_problem(self.baseline.share, limits, names)
            if problem:
                raise ValueError(problem)
        return self

    @model_validator(mode="after")
    def _can_have_neighbours(self) -> Policy:
        for strategy in self.sampling_strategies:
            problem = held_problem(strategy.neighbours, self.pacing_of(strategy))
            if problem:
                raise ValueError(f"strategy {strategy.name!r}: {problem}; give it pacing: null")
        problem = kept_problem(strategy.neighbours for strategy in self.sampling_strategies)
        if problem:
            raise ValueError(problem)
        return self

    def pacing_of(self, strategy: CommonStrategyOptions) -> PacingOptions | None:
        """A strategy's own pacing (null switches it off), or the policy's where it has none; None without pacing."""
        found = strategy.pacing if "pacing" in strategy.model_fields_set else self.pacing
        return None if found is None or found.mode == "none" else found

    def limits_of(self, strategy: CommonStrategyOptions) -> tuple[WindowLimit, ...]:
        """A strategy's limits, without the baseline's share of them."""
        return strategy.limits if self.baseline is None else reserved_limits(strategy.limits, self.baseline.share)[0]

    @property
    def baseline_per_day(self) -> int:
        """How many images a day the baseline collects; 0 where there is none."""
        if self.baseline is None:
            return 0
        return sum(reserved_limits(one.limits, self.baseline.share)[1] for one in self.sampling_strategies)

    def near_duplicate_of(self, strategy: CommonStrategyOptions) -> NearDuplicateOptions | None:
        """A strategy's own near_duplicate (null switches it off), or the policy's where it has none."""
        return strategy.near_duplicate if "near_duplicate" in strategy.model_fields_set else self.near_duplicate

    @property
    def compares_embeddings(self) -> bool:
        """Whether frames are compared by the model's embeddings."""
        strategies = self.sampling_strategies
        compared = [*map(self.near_duplicate_of, strategies), *(strategy.compared_frames for strategy in strategies)]
        return any(one is not None and one.signature == "embedding" for one in compared)

    @property
    def known_paths(self) -> tuple[tuple[str, ...], ...]:
        """The lists of paths to known pictures with which strategies compare, each once."""
        options = [self.near_duplicate_of(strategy) for strategy in self.sampling_strategies if self.enabled]
        return tuple({one.known: None for one in options if one is not None and one.known})


def _incomplete(enabled: bool, keys: Collection[str], names: Sequence[object]) -> list[tuple[KeyPath, str]]:
    """What the parts of a policy lack together: each place with a sentence. names: of the strategies that have one."""
    found: list[tuple[KeyPath, str]] = []
    if enabled:
        missing = [key for key in _REQUIRED if key not in keys]
        if missing:
            found.append((("enabled",), f"enabled is true, but missing: {', '.join(missing)}"))
        elif not names:
            found.append((("sampling_strategies",), "enabled is true, but sampling_strategies is an empty list"))
    for name, count in Counter(name for name in names if isinstance(name, str)).items():
        if count > 1:
            second = names.index(name, names.index(name) + 1)
            sentence = f"sampling_strategies: {count} strategies are named {name!r}; names must be unique"
            found.append((("sampling_strategies", second), sentence))
    return found


def load(path: Path, *, most_problems: int = MAX_PROBLEMS) -> Policy:
    """Reads a JSON or YAML file; its suffix decides, or else its first character.

    most_problems: how many lines of problems an error has at most. Raises ConfigError.
    """
    text = config_text.read_text(path)
    suffix = path.suffix.lower()
    is_json = True if suffix in _JSON_SUFFIXES else False if suffix in _YAML_SUFFIXES else None
    return parse(text, str(path), is_json=is_json, folder=path.absolute().parent, most_problems=most_problems)


def parse(
    text: str,
    source: str,
    *,
    is_json: bool | None = None,
    folder: Path | None = None,
    most_problems: int = MAX_PROBLEMS,
) -> Policy:
    """Parses a JSON or YAML text.

    source: its name in messages. is_json: None decides by the first character. folder: the base of relative paths.
    most_problems: as for `load`. Raises ConfigError with every problem of the text and of what it says.
    """
    document, problems = config_text.parse_with_problems(text, source, is_json=is_json)
    data = document.data
    if not isinstance(data, dict):
        what = kind_of(data)
        colon = "; a colon needs a space behind it" if isinstance(data, str) and ":" in data else ""
        raise ConfigError(*problems, f"{source}: a policy is an object with the key enabled, not {what}{colon}")
    if folder is not None:
        resolve_paths(data, folder)
    missing = [f"{document.location_of(path)}: {sentence}" for path, sentence in known_path_problems(data)]
    try:
        policy = validate(Policy, data, document.location_of, most=most_problems)
    except ConfigError as error:
        incomplete = _incomplete_data(data)
        together = f"{source}: {'; '.join(sentence for _, sentence in incomplete)}"
        found = [problem for problem in error.problems if problem != together]
        found += [f"{document.location_of(path)}: {sentence}" for path, sentence in incomplete]
        raise ConfigError(*problems, *found, *missing) from None
    if problems or missing:
        raise ConfigError(*problems, *missing)
    return policy


def _incomplete_data(data: dict[str, Any]) -> list[tuple[KeyPath, str]]:
    """The same for parsed JSON, of which other parts may be wrong."""
    strategies = data.get("sampling_strategies", [])
    listed = strategies if isinstance(strategies, list) else [None]  # what is no list is another problem
    names = [strategy.get("name") if isinstance(strategy, dict) else None for strategy in listed]
    return _incomplete(data.get("enabled") is True, data.keys(), names)


def effective(policy: Policy) -> dict[str, Any]:
    """The policy as JSON data with all defaults, also each strategy's near_duplicate and pacing.

    Parsed again, it is the same.
    """
    data = policy.model_dump(mode="json")
    for block, strategy in zip(data["sampling_strategies"], policy.sampling_strategies, strict=True):
        near_duplicate = policy.near_duplicate_of(strategy)
        block["near_duplicate"] = None if near_duplicate is None else near_duplicate.model_dump(mode="json")
        pacing = policy.pacing_of(strategy)
        block["pacing"] = None if pacing is None else pacing.model_dump(mode="json")
    return data


def digest(policy: Policy) -> str:
    """The policy's hash, 12 hexadecimal digits. The order of keys and written-out defaults don't change it.

    It is the beginning of the SHA-256 of the effective policy as JSON, with sorted keys and without spaces.
    """
    data = effective(policy)
    for strategy in data["sampling_strategies"]:
        _remove_defaults(strategy, CommonStrategyOptions, _UNHASHED_DEFAULTS)
        if strategy["type"] != "uncertainty":
            _remove_defaults(strategy, CommonStrategyOptions, _UNHASHED_BUT_OF_UNCERTAINTY)
    for block in (data, *data["sampling_strategies"]):
        if block["near_duplicate"] is not None:
            _remove_defaults(block["near_duplicate"], NearDuplicateOptions, _UNHASHED_IN_NEAR_DUPLICATE)
    del data["pacing"]  # each strategy has its own
    if data["baseline"] is None:
        del data["baseline"]
    if policy.manual == ManualOptions():
        del data["manual"]
    text = json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return sha256(text.encode()).hexdigest()[:12]


def _remove_defaults(block: dict[str, Any], model: type[StrictModel], keys: Sequence[str]) -> None:
    for key in keys:
        if block[key] == model.model_fields[key].get_default(call_default_factory=True):
            del block[key]


# A stream's policy until its own one arrives: it collects nothing.
NO_POLICY_YET = Policy.model_validate({"enabled": False})
