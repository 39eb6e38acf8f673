"""LocalPath: the path of a file or a folder of this machine, as the settings take it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator


def _check_local_path(value: Any) -> Any:
    if isinstance(value, str):
        if not value.strip():  # pathlib takes it for the folder of the settings file
            raise ValueError("an empty path is not allowed: name a file or a folder, or leave the setting out")
        scheme = re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", value)
        if scheme is not None:  # the rest may have credentials in it
            raise ValueError(f"it begins with {scheme[0]}, and must be a path on this machine, such as /data/gate")
    return value


# The path of a file or a folder of this machine.
LocalPath = Annotated[Path, BeforeValidator(_check_local_path)]
