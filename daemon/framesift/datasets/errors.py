"""Why there is nothing to show or to export."""

from __future__ import annotations


class DatasetError(Exception):
    """What was asked for can't be done. Its text names the place, the value, what is allowed and the way out."""
