"""Nothing of what is to be covered is found anywhere, whatever goes wrong: some hundred frames here, 10,000 in
tests/torture/test_privacy.py."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from deliveries import folder_sink
from exhaustive import some_of
from framesift.http_client.client import HttpClient
from framesift.roboflow import RoboflowClient
from framesift.sinks import RoboflowSinkSettings, open_sink
from rigs.platform import KEY, Platform
from rigs.privacy_proof import Mode, Proof

FRAMES = 240


@pytest.mark.parametrize("mode", some_of(("model", "detector", "snapshots"), lambda mode: mode == "model"))
def test_nothing_of_a_figure_is_found_in_the_spool_the_folder_and_its_sheet(tmp_path: Path, mode: Mode) -> None:
    collected = tmp_path / "collected"
    proof = Proof(tmp_path, folder_sink(collected), mode, seed=5, jpeg_compression_level=60)
    proof.run(FRAMES)
    in_spool = proof.seen
    proof.look_at_folder(collected)
    assert in_spool > FRAMES / 8
    assert proof.seen >= 2 * in_spool
    assert proof.faults["miss"] >= 3
    assert {"unmasked", "unencodable", "spool_full"} <= set(proof.refused)


@pytest.fixture
def platform() -> Iterator[Platform]:
    with Platform() as platform:
        platform.add_project("gate")
        yield platform


def test_nothing_of_a_figure_is_found_in_what_was_uploaded(tmp_path: Path, platform: Platform) -> None:
    client = RoboflowClient(HttpClient(), api_key=KEY, api_url=platform.url)
    sink = open_sink(RoboflowSinkSettings(type="roboflow", project="gate"), class_names=("person",), platform=client)
    proof = Proof(tmp_path, sink, seed=6, style="pixelate", max_image_size=[150, 220])
    proof.run(80)
    in_spool = proof.seen
    proof.look_at(image.jpeg for image in platform.images)
    assert proof.seen - in_spool == len(platform.images) > 20
