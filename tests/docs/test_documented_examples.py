"""The platform's documented page on active learning, as a user follows it: its two calls with nothing but the address
changed, and its example configurations, which framesift reads as they come back."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from framesift.config.errors import ConfigError
from framesift.policy.policy import Policy, parse
from framesift.prediction.prediction import Stub, Task
from framesift.prediction.wire_format import parse_prediction as parse_prediction
from framesift.prediction.wire_format import to_wire
from framesift.strategies.random import RandomOptions
from rigs.platform import Platform

# The documentation's own placeholders.
WORKSPACE, PROJECT, KEY = "yyy", "zzz", "XXX"

MINIMAL = {"enabled": False}
OF_THE_SETTING_EXAMPLE = {
    "enabled": True,
    "persist_predictions": True,
    "batching_strategy": {"batches_name_prefix": "my_batches", "recreation_interval": "daily"},
    "sampling_strategies": [{"name": "default_strategy", "type": "random", "traffic_percentage": 0.01}],
}
OF_THE_EXAMPLE_CONFIGURATION = {
    "enabled": True,
    "max_image_size": [1200, 1200],
    "jpeg_compression_level": 75,
    "persist_predictions": True,
    "sampling_strategies": [{"name": "default_strategy", "type": "random", "traffic_percentage": 0.1}],
    "batching_strategy": {"batches_name_prefix": "al_batch", "recreation_interval": "daily"},
}
# Every option that the documentation has, each where it belongs.
WITH_EVERYTHING: dict[str, Any] = {
    "enabled": True,
    "max_image_size": [1080, 1920],
    "jpeg_compression_level": 100,
    "persist_predictions": False,
    "sampling_strategies": [
        {
            "name": "sure",
            "type": "random",
            "traffic_percentage": 1.0,
            "tags": ["a-Z_0:9/.[]<>{}@"],
            "limits": [
                {"type": "minutely", "value": 1},
                {"type": "hourly", "value": 2},
                {"type": "daily", "value": 3},
            ],
        },
        {
            "name": "unsure",
            "type": "close_to_threshold",
            "selected_class_names": ["cat"],
            "threshold": 0.25,
            "epsilon": 0.1,
            "probability": 0.5,
            "minimum_objects_close_to_threshold": 2,
            "only_top_classes": False,
        },
        {"name": "cats", "type": "classes_based", "selected_class_names": ["cat"], "probability": 1.0},
        {
            "name": "crowds",
            "type": "detections_number_based",
            "probability": 0.2,
            "more_than": 3,
            "less_than": 5,
            "selected_class_names": None,
        },
    ],
    "batching_strategy": {"batches_name_prefix": "b", "recreation_interval": "monthly", "max_batch_images": 20},
    "tags": ["north", "south"],
    "target_workspace": "elsewhere",
    "target_project": "archive",
}
EXAMPLES = [MINIMAL, OF_THE_SETTING_EXAMPLE, OF_THE_EXAMPLE_CONFIGURATION, WITH_EVERYTHING]


@pytest.fixture
def platform() -> Iterator[Platform]:
    with Platform(key=KEY, workspace=WORKSPACE) as started:
        started.add_project(PROJECT)
        yield started


def set_active_learning_configuration(base: str, workspace: str, project: str, api_key: str, config: Any) -> Any:
    url = f"{base}/{workspace}/{project}/active_learning?api_key={api_key}"
    return requests.post(url, json={"config": config}, timeout=20).json()


def get_active_learning_configuration(base: str, workspace: str, project: str, api_key: str) -> Any:
    return requests.get(f"{base}/{workspace}/{project}/active_learning?api_key={api_key}", timeout=20).json()


def fetched(platform: Platform, config: Any) -> Policy:
    """What framesift reads after a user has set the configuration."""
    assert "error" not in set_active_learning_configuration(platform.url, WORKSPACE, PROJECT, KEY, config)
    answer = get_active_learning_configuration(platform.url, WORKSPACE, PROJECT, KEY)
    assert answer == config
    return parse(json.dumps(answer), "the platform")


@pytest.mark.parametrize("config", EXAMPLES)
def test_a_configuration_is_set_and_got_as_documented_and_framesift_reads_it(
    platform: Platform, config: dict[str, Any]
) -> None:
    assert fetched(platform, config).enabled is config["enabled"]


def test_the_configuration_of_the_setting_example_means_what_it_says(platform: Platform) -> None:
    policy = fetched(platform, OF_THE_SETTING_EXAMPLE)
    (strategy,) = policy.sampling_strategies
    assert isinstance(strategy, RandomOptions)
    assert (strategy.name, strategy.traffic_percentage) == ("default_strategy", 0.01)
    assert (policy.batching_strategy.batches_name_prefix, policy.batching_strategy.recreation_interval) == (
        "my_batches",
        "daily",
    )
    assert (policy.persist_predictions, policy.jpeg_compression_level, policy.max_image_size) == (True, None, None)


def test_the_example_configuration_means_what_it_says(platform: Platform) -> None:
    policy = fetched(platform, OF_THE_EXAMPLE_CONFIGURATION)
    assert policy.max_image_size == (1200, 1200)
    assert policy.jpeg_compression_level == 75
    assert policy.batching_strategy.max_batch_images is None


def test_every_documented_option_is_kept_to_the_letter(platform: Platform) -> None:
    policy = fetched(platform, WITH_EVERYTHING)
    assert json.loads(policy.model_dump_json(exclude_unset=True)) == WITH_EVERYTHING


@pytest.mark.parametrize("missing", ["persist_predictions", "sampling_strategies", "batching_strategy"])
def test_what_is_documented_as_required_is_required(missing: str) -> None:
    config = {key: value for key, value in OF_THE_SETTING_EXAMPLE.items() if key != missing}
    with pytest.raises(ConfigError, match=missing):
        parse(json.dumps(config), "the platform")


def test_the_documented_answer_of_the_null_model_is_read_and_written_as_it_is() -> None:
    answer = {
        "time": 0.0002442499971948564,
        "is_stub": True,
        "model_id": "asl-poly-instance-seg/0",
        "task_type": "instance-segmentation",
    }
    stub = parse_prediction(answer)
    assert isinstance(stub, Stub)
    assert stub.task is Task.INSTANCE_SEGMENTATION
    assert to_wire(stub) == answer
