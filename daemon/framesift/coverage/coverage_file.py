"""The file in which coverage is kept: one JSON object, complete or not there."""

from __future__ import annotations

from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from framesift.atomic_files import make_folder, write_atomically
from framesift.coverage.tally import CountedCoverage

_MAX_BYTES = 64 << 20  # many times what the bounds of CoverageCounts allow with names of usual length
_adapter = TypeAdapter(CountedCoverage)


class CoverageUnreadable(Exception):
    """The file is damaged, of a newer version, or can't be read. str(error) is one line."""


def read_coverage(path: Path) -> CountedCoverage | None:
    """Return what was counted; None if there is no file. Raises CoverageUnreadable."""
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise CoverageUnreadable(f"it has more than {_MAX_BYTES} bytes")
        return _adapter.validate_json(path.read_bytes(), strict=True)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise CoverageUnreadable(error.strerror or str(error)) from None
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise CoverageUnreadable(f"{'.'.join(map(str, first['loc'])) or 'the whole'}: {first['msg']}") from None


def write_coverage(path: Path, coverage: CountedCoverage) -> None:
    """Replace the file. Nothing else may write to its folder. Waits for the disk. Raises OSError."""
    make_folder(path.parent)
    write_atomically(path, _adapter.dump_json(coverage))
