"""The error of this module."""

from __future__ import annotations


class SimulationError(Exception):
    """A simulation is impossible. str(error) says why, and what to do about it."""
