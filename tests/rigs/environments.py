"""A Python environment of its own that has what the tests' has, less some packages. Nothing is copied or installed.

Install into it with --no-deps alone: what else is in it is that of the tests.

python = environment_without(folder, "av")
subprocess.run([python, "-m", "framesift", "check"])
"""

from __future__ import annotations

import re
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
        name = re.split(r"[.-]", installed.name)[0]  # of av, av.libs and av-18.1.0.dist-info
        if name not in packages and name != "__pycache__":
            (own / installed.name).symlink_to(installed)
    return str(folder / "bin" / "python")
