"""Why nothing can be estimated."""

from __future__ import annotations


class EstimationError(Exception):
    """What was given can't be used. Its text names the place, the value and what to do about it."""
