"""10,000 frames with something going wrong at every step: nothing of what is to be covered is kept."""

from __future__ import annotations

from pathlib import Path

import pytest

from deliveries import folder_sink
from framesift.privacy.privacy_settings import CoverStyle
from rigs.privacy_proof import Mode, Proof

FRAMES = 10_000


@pytest.mark.torture
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    ("mode", "style", "quality"), [("model", "blur", 95), ("detector", "pixelate", 30), ("snapshots", "black", None)]
)
def test_nothing_of_a_figure_is_found(tmp_path: Path, mode: Mode, style: CoverStyle, quality: int | None) -> None:
    collected = tmp_path / "collected"
    proof = Proof(tmp_path, folder_sink(collected), mode, seed=11, style=style, jpeg_compression_level=quality)
    proof.run(FRAMES, drain_every=40)
    in_spool = proof.seen
    proof.look_at_folder(collected)
    assert in_spool > FRAMES / 10
    assert proof.seen >= 2 * in_spool
    assert proof.faults["miss"] > 100
    assert {"unmasked", "unencodable", "spool_full"} <= set(proof.refused)
