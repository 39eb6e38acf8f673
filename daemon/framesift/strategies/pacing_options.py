"""pacing: an option of every strategy that spends its budget on the best frames of a time, not on the first ones.

    hold_queue           frames are held; each time a turn is due, the best one is accepted (see sampling/hold_queue.py)
    adaptive_threshold   nothing is held; a frame is accepted at once if its score is among the best of the last ones
                         (see sampling/adaptive_threshold.py)

A strategy earns its turns evenly over the window of the tightest of its hourly and daily limits.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from framesift.config.schema import StrictModel, WindowLimit

_LENGTHS_S = {"hourly": 3600.0, "daily": 86400.0}


class PacingOptions(StrictModel):
    """How a strategy spreads its budget over the hour or the day."""

    mode: Annotated[
        Literal["none", "hold_queue", "adaptive_threshold"],
        Field(description="none: first come, first served. hold_queue: the best held frame at each turn."),
    ]
    max_hold_s: Annotated[
        float, Field(ge=1.0, le=86_400.0, description="hold_queue: for how many seconds a frame is held at most.")
    ] = 3600.0
    max_held: Annotated[
        int, Field(ge=1, le=1024, description="hold_queue: how many frames are held at most; the lowest score goes.")
    ] = 64

    @model_validator(mode="after")
    def _bounds_are_used(self) -> PacingOptions:
        if self.mode != "hold_queue":
            for key in ("max_hold_s", "max_held"):
                if getattr(self, key) != type(self).model_fields[key].default:
                    raise ValueError(f"{key} has no effect without mode: hold_queue")
        return self


def tightest_limit(limits: tuple[WindowLimit, ...]) -> WindowLimit | None:
    """The hourly or daily limit that allows the fewest images per second; None where there is none."""
    paced = [limit for limit in limits if limit.type in _LENGTHS_S]
    return min(paced, key=lambda limit: limit.value / _LENGTHS_S[limit.type], default=None)


def pacing_problem(pacing: PacingOptions | None, limits: tuple[WindowLimit, ...]) -> str | None:
    """Why a strategy with these limits can't be paced, in words that follow its name; None if it can."""
    if pacing is None or pacing.mode == "none" or tightest_limit(limits) is not None:
        return None
    has = f"it has only a {limits[0].type} one" if limits else "it has no limits"
    return f"pacing: {pacing.mode} needs an hourly or daily limit, whose budget it spreads, and {has}"
