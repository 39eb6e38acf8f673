"""A browser from npm's package @sparticuz/chromium, for machines that have node and npm, but no Chromium.

The package is loaded once, checked against a hash, and unpacked below .pytest_cache, with the libraries and fonts that
it brings. None of its code is run, and nothing else is installed. Playwright drives it, as any other browser.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import io
import os
import platform
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

_PACKAGE, _VERSION = "@sparticuz/chromium", "143.0.4"
_SHA512 = (
    "ffa23bb904d18510c3dbf8063d0d4691ff83aa4d116030023c90d97d2cf3d0e5"
    "a4e099944e89cd1cf5dbae7e9422494e1e59c32dff31000ce4399281fdc2692c"
)
_LOAD_WITHIN_S = 120.0  # 67 MB
_UNPACK_WITHIN_S = 60.0
_UNPACK = "process.stdin.pipe(require('zlib').createBrotliDecompress()).pipe(process.stdout)"
_FOLDER = Path(__file__).parents[2] / ".pytest_cache" / f"npm-browser-{_VERSION}"
_PARTS = ("chromium", "al2023.tar", "fonts.tar")  # the program, libraries, fonts
_FONTS = "<fontconfig><dir>/usr/share/fonts</dir><dir>{0}</dir><cachedir>{0}/cache</cachedir></fontconfig>"
_REFUSED = (OSError, subprocess.SubprocessError, tarfile.TarError, KeyError, ValueError)


def npm_browser() -> tuple[str, dict[str, str]] | None:
    """The path of the browser, and the variables that it needs; None where it can't be had."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None or platform.machine() != "x86_64":
        return None
    with contextlib.suppress(*_REFUSED):
        _FOLDER.parent.mkdir(exist_ok=True)
        with (_FOLDER.parent / f"{_FOLDER.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # until it is closed: two workers ask at once
            if not _FOLDER.exists():
                with tempfile.TemporaryDirectory(dir=_FOLDER.parent) as name:
                    _unpack(node, _load(npm, Path(name)), Path(name) / "browser")
                    (Path(name) / "browser" / "fonts.conf").write_text(_FONTS.format(_FOLDER / "fonts"))
                    (Path(name) / "browser").rename(_FOLDER)
        variables = {"LD_LIBRARY_PATH": str(_FOLDER / "lib"), "FONTCONFIG_PATH": str(_FOLDER)}
        return str(_FOLDER / "chromium"), {**os.environ, **variables}
    return None


def _load(npm: str, folder: Path) -> bytes:
    """The package. Raises what is in _REFUSED."""
    command = [npm, "pack", f"{_PACKAGE}@{_VERSION}", "--ignore-scripts", "--fetch-retries=0"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=_LOAD_WITHIN_S)
    (archive,) = folder.glob("*.tgz")
    content = archive.read_bytes()
    if hashlib.sha512(content).hexdigest() != _SHA512:
        raise ValueError("this is another package")
    return content


def _unpack(node: str, package: bytes, folder: Path) -> None:
    folder.mkdir()
    with tarfile.open(fileobj=io.BytesIO(package)) as archive:
        for part in _PARTS:
            packed = archive.extractfile(f"package/bin/{part}.br")
            assert packed is not None
            content = subprocess.run(
                [node, "-e", _UNPACK], input=packed.read(), check=True, capture_output=True, timeout=_UNPACK_WITHIN_S
            ).stdout
            if part.endswith(".tar"):
                with tarfile.open(fileobj=io.BytesIO(content)) as inner:
                    inner.extractall(folder, filter="data")
            else:
                (folder / part).write_bytes(content)
                (folder / part).chmod(0o700)
