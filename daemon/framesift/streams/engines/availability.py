"""Which engines this installation has. Nothing is loaded to find out: only a reader decodes."""

from __future__ import annotations

from importlib.util import find_spec


def has_pyav() -> bool:
    """Return whether PyAV is installed. It may still fail to load, for a library of the system that it lacks."""
    return find_spec("av") is not None
