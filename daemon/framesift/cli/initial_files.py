"""The files that `framesift init` writes, and where their daemon keeps its state."""

from __future__ import annotations

from pathlib import Path

from framesift.settings import read_template

# Folders of the system's configuration and programs. A service may read them and write nothing there, even if the
# person who writes the settings may.
_READ_ONLY_FOR_SERVICES = (Path("/etc"), Path("/usr"), Path("/boot"))
_STATE_FOLDER = Path("/var/lib/framesift")  # StateDirectory= of the unit, and the container's volume
_STATE_PATHS = ("path: collected", "path: spool.db")


def state_folder(folder: Path) -> Path | None:
    """Where the state of a daemon goes whose settings are in `folder`; None for a place beside them."""
    place = folder.resolve()
    return _STATE_FOLDER if any(place.is_relative_to(system) for system in _READ_ONLY_FOR_SERVICES) else None


def settings_text(state: Path | None) -> str:
    """The text of framesift.yaml. state: the folder of spool and sink, None for relative paths."""
    text = read_template("framesift.yaml")
    if state is not None:
        for path in _STATE_PATHS:
            key, _, name = path.partition(": ")
            text = text.replace(path, f"{key}: {state / name}")
    return text
