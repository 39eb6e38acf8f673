"""Manual: what an operator takes by hand, one frame at a time, is charged as a strategy of its own."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from framesift.config.schema import StrictModel, Tag, WindowLimit, WindowLimits

NAME = "manual"


class ManualOptions(StrictModel):
    """How many frames an operator may take by hand, and how they are tagged."""

    limits: Annotated[WindowLimits, Field(description="The most of them in each minute, hour and day.")] = (
        WindowLimit(type="hourly", value=20),
        WindowLimit(type="daily", value=50),
    )
    tags: Annotated[tuple[Tag, ...], Field(description="Put on what is taken.")] = ()
