"""Sizes are said in the unit in which they have one to three digits."""

from __future__ import annotations

import pytest

from framesift.config.byte_sizes import bytes_text


@pytest.mark.parametrize(
    ("size", "said"),
    [
        (5, "5 bytes"),
        (999, "999 bytes"),
        (1000, "1.0 KiB"),
        (1536, "1.5 KiB"),
        (999_600, "976 KiB"),
        (150 << 20, "150 MiB"),
        (3 << 30, "3.0 GiB"),
        (2.5e12, "2.3 TiB"),
        (5e15, "4,547.5 TiB"),
    ],
)
def test_sizes(size: float, said: str) -> None:
    assert bytes_text(size) == said
