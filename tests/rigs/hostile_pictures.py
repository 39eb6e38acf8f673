"""Pictures that harm their reader or are easily misread, and the parts of PNG and JPEG files to make them of."""

from __future__ import annotations

import struct
import zlib

PNG = b"\x89PNG\r\n\x1a\n"


def chunk(name: bytes, content: bytes = b"") -> bytes:
    """A chunk of a PNG file."""
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def header(width: int, height: int, depth: int = 8, colour: int = 2) -> bytes:
    return chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))


def zeros(count: int) -> bytes:
    """A number of zero bytes, compressed to a hundredth."""
    squeeze, block = zlib.compressobj(1), bytes(1 << 20)
    parts = [squeeze.compress(block[: min(len(block), count - at)]) for at in range(0, count, len(block))]
    return b"".join(parts) + squeeze.flush()


def black(width: int, height: int) -> bytes:
    """A valid black PNG of that size, however large."""
    return PNG + header(width, height) + chunk(b"IDAT", zeros(height * (1 + 3 * width))) + chunk(b"IEND")


def png(*chunks: bytes, width: int = 64, height: int = 48) -> bytes:
    return PNG + header(width, height) + b"".join(chunks) + chunk(b"IEND")


def resized(jpeg: bytes, width: int, height: int) -> bytes:
    """A JPEG whose header has another size."""
    frame = jpeg.index(b"\xff\xc0")
    return jpeg[: frame + 5] + struct.pack(">HH", height, width) + jpeg[frame + 9 :]


def scanned(jpeg: bytes, times: int) -> bytes:
    """A JPEG with so many repeated scans."""
    scan, end = jpeg.index(b"\xff\xda"), jpeg.rindex(b"\xff\xd9")
    return jpeg[:scan] + jpeg[scan:end] * times + jpeg[end:]


def turned(jpeg: bytes) -> bytes:
    """A JPEG whose EXIF says that it is to be turned right."""
    exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"  # orientation 6
    return jpeg[:2] + b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif + jpeg[2:]


def spoilt(jpeg: bytes) -> bytes:
    """A JPEG with valid headers that no decoder can decode: its quantization tables are missing."""
    return jpeg.replace(b"\xff\xdb", b"\xff\xed")
