"""Makes a release: sdist, wheel, Debian package, SBOM, image and checksums, in dist/VERSION.

    make release VERSION=0.3.0           from a copy of the repository; nothing is changed here
    make release VERSION=0.3.0 TAG=1     and the commit with version and dated changelog, and its tag, are made here

All is built from a clone of HEAD in which the version and the changelog's date are set; where HEAD has the tag of the
version, it is built as it is. The Debian package is for this machine's architecture and its python3
(PYTHON=/usr/bin/python3 names another one). The image is built where a Docker daemon runs;
.github/workflows/release.yml builds it for amd64 and arm64.
"""

from __future__ import annotations

import argparse
import datetime
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
VERSION = re.compile(r"\d+\.\d+\.\d+")
_IN_PROJECT = re.compile(r'^version = "(.*)"$', re.MULTILINE)
_UNRELEASED = "## Unreleased\n"
_REMOVED_IN = re.compile(r'^REMOVED_IN = "(.*?)"', re.MULTILINE)
# The hooks change sys.argv.
_HOOKS = "import setuptools.build_meta as b, sys; out = sys.argv[1]; b.build_sdist(out); b.build_wheel(out)"


class NotReleasable(Exception):
    """Why there can be no release; the text says what to do."""


def main() -> None:
    """Makes the release that the arguments name."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("version")
    parser.add_argument("--tag", action="store_true", help="also commit and tag it in this repository")
    parser.add_argument("--python", default="/usr/bin/python3", help="for which the Debian package is")
    given = parser.parse_args()
    try:
        out = release(given.version, given.python, tag=given.tag)
    except NotReleasable as error:
        sys.exit(f"release: {error}")
    for path in sorted(out.iterdir()):
        print(f"{path.stat().st_size / 1e6:8.1f} MB  {path.relative_to(ROOT)}")


def release(version: str, python: str, *, tag: bool) -> Path:
    """Build everything; return the folder. Raises NotReleasable, CalledProcessError."""
    if said := run("git", "status", "--porcelain", cwd=ROOT):
        raise NotReleasable(f"there are changes that are not committed, such as {said.splitlines()[0].strip()}")
    out = ROOT / "dist" / version
    today = datetime.datetime.now(datetime.timezone.utc).date()
    with tempfile.TemporaryDirectory() as folder:
        clone = Path(folder) / "framesift"
        run("git", "clone", "--quiet", str(ROOT), str(clone))
        commit_version(clone, version, today)
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir(parents=True)
        epoch = run("git", "log", "-1", "--format=%ct", cwd=clone).strip()
        os.environ["SOURCE_DATE_EPOCH"] = epoch  # so that the same commit gives the same archives
        run(sys.executable, "-c", _HOOKS, str(out), cwd=clone)
        tools = _tools(Path(folder) / "tools")
        _write_sbom(tools, clone, out / f"framesift-{version}.cdx.json", version)
        _build_deb(tools, clone, Path(folder) / "stage", out, version, python)
        _build_image(clone, version)
        _write_checksums(out)
        if tag:
            run("git", "pull", "--quiet", "--ff-only", str(clone), "HEAD", cwd=ROOT)
            run("git", "fetch", "--quiet", str(clone), "tag", f"v{version}", cwd=ROOT)
    return out


def commit_version(clone: Path, version: str, day: datetime.date) -> None:
    """Make the commit of the version and its tag, where HEAD is not that commit already, as it is for a pushed tag.

    Raises what set_version raises, and CalledProcessError.
    """
    tag = f"v{version}"
    if tag in run("git", "tag", "--points-at", "HEAD", cwd=clone).split():
        return
    set_version(clone, version, day)
    run("git", "commit", "--quiet", "--all", "--message", f"Version {version}", cwd=clone)
    run("git", "tag", "--annotate", tag, "--message", f"framesift {version}", cwd=clone)


def set_version(folder: Path, version: str, day: datetime.date) -> None:
    """Set the version in pyproject.toml and in the package, and give the changes that are not released its heading.

    Raises NotReleasable for a version that is none, not later than the present one, or that promises not to have the
    deprecated settings which are still there, and if nothing has changed.
    """
    if not VERSION.fullmatch(version):
        raise NotReleasable(f"{version!r} is no version: it must be like 1.2.3")
    project, changelog = folder / "pyproject.toml", folder / "CHANGELOG.md"
    text, changes = project.read_text(encoding="utf-8"), changelog.read_text(encoding="utf-8")
    (present,) = _IN_PROJECT.findall(text)
    if _numbers(version) <= _numbers(present):
        raise NotReleasable(f"{version} is not later than {present}, the version in pyproject.toml")
    package = folder / "daemon" / "framesift"
    (removed_in,) = _REMOVED_IN.findall((package / "settings" / "deprecated_keys.py").read_text(encoding="utf-8"))
    if _numbers(version) >= _numbers(removed_in):
        raise NotReleasable(
            f"what was deprecated until version {removed_in} is still there: remove it, or promise a later one "
            "(settings/deprecated_keys.py, docs/clients.md)"
        )
    before, _, after = changes.partition(_UNRELEASED)
    if not after.partition("\n## ")[0].strip():
        raise NotReleasable("CHANGELOG.md has no changes under Unreleased")
    project.write_text(_IN_PROJECT.sub(f'version = "{version}"', text), encoding="utf-8")
    init = package / "__init__.py"
    init.write_text(init.read_text(encoding="utf-8").replace(f'"{present}"', f'"{version}"'), encoding="utf-8")
    changelog.write_text(f"{before}{_UNRELEASED}\n## {version} ({day})\n{after}", encoding="utf-8")


def deb_config(stage: Path, version: str, architecture: str, python: tuple[int, int]) -> dict[str, object]:
    """What nfpm packs: the program that was installed below `stage`, for one version of Python."""
    major, minor = python
    return {
        "name": "framesift",
        "arch": architecture,
        "version": version,
        "maintainer": "the framesift engineers",
        "description": "Collects the camera frames that are worth a label, within a budget.",
        "license": "Apache-2.0",
        "depends": [f"python3 (>= {major}.{minor})", f"python3 (<< {major}.{minor + 1})"],
        "contents": [
            {"src": f"{stage}/opt/framesift", "dst": "/opt/framesift", "type": "tree"},
            {
                "src": f"{stage}/etc/systemd/system/framesift.service",
                "dst": "/usr/lib/systemd/system/framesift.service",
            },
            {"src": f"{stage}/usr/local/sbin/framesift-as-service", "dst": "/usr/sbin/framesift-as-service"},
            {"src": "/opt/framesift/bin/framesift", "dst": "/usr/bin/framesift", "type": "symlink"},
            *(
                {
                    "src": str(path),
                    "dst": f"/etc/framesift/{path.name}",
                    "type": "config|noreplace",
                    "file_info": {"mode": 0o640},
                }
                for path in sorted((stage / "etc" / "framesift").iterdir())
                if path.is_file()
            ),
        ],
        "scripts": {
            f"{when}{what}": f"scripts/deb/{when}{what}" for when in ("pre", "post") for what in ("install", "remove")
        },
    }


def run(*words: str, cwd: Path | None = None, **variables: str) -> str:
    """What a command prints. Raises CalledProcessError, after its own words."""
    done = subprocess.run(
        words, cwd=cwd, env={**os.environ, **variables}, stdout=subprocess.PIPE, text=True, check=True
    )
    return done.stdout


def _tools(folder: Path) -> Path:
    run(sys.executable, "-m", "venv", str(folder))
    pip = (str(folder / "bin" / "python"), "-m", "pip", "--quiet", "--disable-pip-version-check", "install")
    run(*pip, "--require-hashes", "--no-deps", "-r", str(ROOT / "requirements" / "release.txt"))
    return folder / "bin"


def _write_sbom(tools: Path, clone: Path, path: Path, version: str) -> None:
    """What the image and the Debian package have in them, in CycloneDX."""
    locked = str(clone / "requirements" / "run.txt")
    run(str(tools / "cyclonedx-py"), "requirements", locked, "--output-reproducible", "--output-file", str(path))
    content = json.loads(path.read_text(encoding="utf-8"))
    content["metadata"]["component"] = {"type": "application", "name": "framesift", "version": version}
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def _build_deb(tools: Path, clone: Path, stage: Path, out: Path, version: str, python: str) -> None:
    run("sh", "scripts/install", "install", cwd=clone, DESTDIR=str(stage), PYTHON=python, PREFIX="/opt/framesift")
    asked = "import sys; print(*sys.version_info[:2])"
    major, minor = map(int, run(python, "-c", asked).split())
    architecture = run("dpkg", "--print-architecture").strip()
    config = stage / "nfpm.json"
    config.write_text(json.dumps(deb_config(stage, version, architecture, (major, minor))), encoding="utf-8")
    target = out / f"framesift_{version}_{architecture}.deb"
    run(
        str(tools / "nfpm"), "package", "--packager", "deb", "--config", str(config), "--target", str(target), cwd=clone
    )


def _build_image(clone: Path, version: str) -> None:
    docker = shutil.which("docker")
    if docker is None or subprocess.run([docker, "info"], capture_output=True, check=False).returncode:
        print("no image: no Docker daemon runs here; .github/workflows/release.yml builds it for amd64 and arm64")
        return
    run(docker, "build", "--quiet", "--tag", f"framesift:{version}", str(clone))


def _write_checksums(out: Path) -> None:
    lines = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in sorted(out.iterdir())]
    (out / "SHA256SUMS").write_text("".join(lines), encoding="utf-8")


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))


if __name__ == "__main__":
    main()
