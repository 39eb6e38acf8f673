"""What a picture of others may cost before it is decoded, and the error for one that is not accepted."""

from __future__ import annotations

MAX_BYTES = 16 << 20
MAX_PIXELS = 64_000_000
MAX_SIDE = 65_535
# A progressive JPEG is first decoded into coefficients of the whole picture, six bytes per pixel, and each of its scans
# goes over all of them.
MAX_PROGRESSIVE_PIXELS = 32_000_000
MAX_SCANS = 64
MIN_SIDE = 2


class BadPicture(ValueError):
    """The picture is not accepted; the text says why, and what is allowed."""


def check_size(width: int, height: int, *, progressive: bool = False) -> None:
    """Raise BadPicture for a picture of so many pixels that it is not decoded. progressive: or of several scans."""
    max_pixels = MAX_PROGRESSIVE_PIXELS if progressive else MAX_PIXELS
    if min(width, height) < MIN_SIDE or max(width, height) > MAX_SIDE:
        raise BadPicture(f"it is {width} x {height} pixels; each side has {MIN_SIDE} to {MAX_SIDE:,}")
    if width * height > max_pixels:
        kind = "a progressive JPEG" if progressive else "a picture"
        raise BadPicture(f"it is {width} x {height} pixels; {kind} has at most {max_pixels:,} altogether")
