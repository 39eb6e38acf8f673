"""A Python environment of its own that has what the tests' has, less some packages. Nothing is copied or installed.

python = environment_without(folder, "av")
subprocess.run([python, "-m", "framesift", "check"])
"""

from __future__ import annotations

import sys
import sysconfig
import venv
from pathlib import Path


def environment_without(folder: Path, *packages: str) -> str:
    """Make the environment in the folder; return its Python. packages: the names by which they are imported."""
    venv.create(folder, symlinks=True)
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    own = folder / "lib" / version / "site-packages"
    for installed in Path(sysconfig.get_paths()["purelib"]).iterdir():
        if installed.name.partition(".")[0] not in packages and installed.name != "__pycache__":
            (own / installed.name).symlink_to(installed)
    return str(folder / "bin" / "python")
