"""A release: when there can be one, what it changes in the repository, and what the Debian package has in it."""

from __future__ import annotations

import datetime
import importlib.util
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from types import ModuleType

import pytest
import yaml

from framesift import __version__

ROOT = Path(__file__).parents[2]
DAY = datetime.date(2026, 12, 24)


@pytest.fixture(scope="module")
def release() -> ModuleType:
    spec = importlib.util.spec_from_file_location("release", ROOT / "scripts" / "release.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    (tmp_path / "daemon" / "framesift" / "settings").mkdir(parents=True)
    (tmp_path / "daemon" / "framesift" / "settings" / "deprecated_keys.py").write_text('REMOVED_IN = "0.5"  # so\n')
    (tmp_path / "daemon" / "framesift" / "__init__.py").write_text('__version__ = "0.2.0"\n')
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "framesift"\nversion = "0.2.0"\n')
    (tmp_path / "CHANGELOG.md").write_text(
        "# Changelog\n\n## Unreleased\n\n- More.\n\n## 0.2.0 (2026-11-28)\n\n- Less.\n"
    )
    return tmp_path


def test_the_version_is_set_and_the_changes_get_their_heading_and_date(release: ModuleType, repository: Path) -> None:
    release.set_version(repository, "0.3.0", DAY)
    assert 'version = "0.3.0"' in (repository / "pyproject.toml").read_text()
    assert (repository / "daemon" / "framesift" / "__init__.py").read_text() == '__version__ = "0.3.0"\n'
    changelog = (repository / "CHANGELOG.md").read_text()
    headings = re.findall(r"^## .*$", changelog, re.MULTILINE)
    assert headings == ["## Unreleased", "## 0.3.0 (2026-12-24)", "## 0.2.0 (2026-11-28)"]
    assert changelog.index("0.3.0") < changelog.index("- More.") < changelog.index("0.2.0")


@pytest.mark.parametrize(
    ("version", "why"),
    [
        ("0.2.0", "not later"),
        ("0.1.9", "not later"),
        ("v0.3.0", "no version"),
        ("0.3", "no version"),
        ("0.5.0", "deprecated until version 0.5 is still there"),
        ("1.0.0", "deprecated until version 0.5 is still there"),
    ],
)
def test_a_version_that_is_none_or_not_later_is_refused(
    release: ModuleType, repository: Path, version: str, why: str
) -> None:
    before = (repository / "CHANGELOG.md").read_text()
    with pytest.raises(release.NotReleasable, match=why):
        release.set_version(repository, version, DAY)
    assert (repository / "CHANGELOG.md").read_text() == before


def test_without_changes_there_is_no_release(release: ModuleType, repository: Path) -> None:
    release.set_version(repository, "0.3.0", DAY)
    with pytest.raises(release.NotReleasable, match="no changes"):
        release.set_version(repository, "0.4.0", DAY)


def test_the_commit_of_a_version_is_made_once_and_a_pushed_tag_is_built_as_it_is(
    release: ModuleType, repository: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    def git(*words: str, cwd: Path = repository) -> str:
        return str(release.run("git", *words, cwd=cwd))

    git("init", "--quiet")
    git("config", "user.name", "a")
    git("config", "user.email", "a@b")
    git("add", ".")
    git("commit", "--quiet", "--message", "More")
    release.commit_version(repository, "0.3.0", DAY)
    assert git("log", "--format=%s", "-2").split("\n")[:2] == ["Version 0.3.0", "More"]
    pushed = tmp_path_factory.mktemp("pushed") / "framesift"
    git("clone", "--quiet", str(repository), str(pushed))
    git("checkout", "--quiet", "v0.3.0", cwd=pushed)
    release.commit_version(pushed, "0.3.0", DAY)  # in the pipeline, where nobody has told git who commits
    assert git("rev-parse", "HEAD", cwd=pushed) == git("rev-parse", "HEAD")


def test_the_pipeline_builds_the_commit_that_has_the_tag() -> None:
    steps = yaml.safe_load((ROOT / ".github" / "workflows" / "release.yml").read_text())["jobs"]["files"]["steps"]
    assert [step["run"] for step in steps if "run" in step] == ['make release VERSION="${GITHUB_REF_NAME#v}"']
    assert steps[0]["with"]["fetch-depth"] == 0


def test_the_repositorys_own_files_can_be_released(release: ModuleType, tmp_path: Path) -> None:
    package = Path("daemon") / "framesift"
    (tmp_path / package / "settings").mkdir(parents=True)
    for name in ("pyproject.toml", "CHANGELOG.md", package / "__init__.py", package / "settings/deprecated_keys.py"):
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    later = re.sub(r"\d+$", lambda last: str(int(last[0]) + 1), __version__)
    release.set_version(tmp_path, later, DAY)
    assert f'"{later}"' in (tmp_path / package / "__init__.py").read_text()
    assert f"## {later} (2026-12-24)" in (tmp_path / "CHANGELOG.md").read_text()


def test_the_debian_package_is_for_one_python_and_keeps_changed_settings(release: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "etc" / "framesift" / "credentials").mkdir(parents=True)
    (tmp_path / "etc" / "framesift" / "framesift.yaml").write_text("device: gate-7\n")
    config = release.deb_config(tmp_path, "0.3.0", "arm64", (3, 11))
    assert config["depends"] == ["python3 (>= 3.11)", "python3 (<< 3.12)"]
    settings = [one for one in config["contents"] if one["dst"].startswith("/etc/framesift")]
    assert [(one["dst"], one["type"]) for one in settings] == [("/etc/framesift/framesift.yaml", "config|noreplace")]


def test_the_archives_have_the_whole_package_and_no_tests(release: ModuleType, tmp_path: Path) -> None:
    sources, out = tmp_path / "sources", tmp_path / "out"
    shutil.copytree(ROOT / "daemon", sources / "daemon", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    for name in ("pyproject.toml", "MANIFEST.in", "README.md", "LICENSE", "NOTICE", "CHANGELOG.md"):
        shutil.copy(ROOT / name, sources)
    (sources / "tests").mkdir()
    (sources / "tests" / "test_backoff.py").touch()
    release.run(sys.executable, "-c", release._HOOKS, str(out), cwd=sources)
    (wheel,), (archive,) = out.glob("*.whl"), out.glob("*.tar.gz")
    package = {
        f"framesift/{path.relative_to(ROOT / 'daemon' / 'framesift')}"
        for path in (ROOT / "daemon" / "framesift").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    in_wheel = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert in_wheel == package
    with tarfile.open(archive) as members:
        in_archive = {name.partition("/")[2] for name in members.getnames()}
    assert in_archive >= {f"daemon/{name}" for name in package} | {"CHANGELOG.md", "LICENSE", "NOTICE", "README.md"}
    assert not any(name.startswith("tests") for name in in_archive)


SCRIPTS = sorted((ROOT / "scripts" / "deb").iterdir())


def test_each_script_of_the_debian_package_is_in_it(release: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "etc" / "framesift").mkdir(parents=True)
    scripts = release.deb_config(tmp_path, "0.3.0", "arm64", (3, 11))["scripts"]
    assert scripts == {path.name: f"scripts/deb/{path.name}" for path in SCRIPTS}


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_shells_read_the_scripts_of_the_debian_package(script: Path) -> None:
    result = subprocess.run(["sh", "-n", str(script)], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (0, "")
    assert script.stat().st_mode & 0o111


@pytest.mark.parametrize("there", ["usr/local/sbin/framesift-as-service", "etc/systemd/system/framesift.service"])
def test_the_debian_package_is_not_unpacked_over_what_was_installed_otherwise(tmp_path: Path, there: str) -> None:
    script = (ROOT / "scripts" / "deb" / "preinstall").read_text()
    for folder in ("/usr/local", "/etc/systemd"):
        script = script.replace(f" {folder}", f" {tmp_path}{folder}")
    assert subprocess.run(["sh", "-c", script], check=False).returncode == 0
    (tmp_path / there).parent.mkdir(parents=True)
    (tmp_path / there).touch()
    assert subprocess.run(["sh", "-c", script], capture_output=True, check=False).returncode == 1


def test_a_purge_of_the_debian_package_removes_the_folders_and_the_user_that_it_made() -> None:
    made = (ROOT / "scripts" / "deb" / "postinstall").read_text()
    removed = (ROOT / "scripts" / "deb" / "postremove").read_text()
    folders = re.findall(r"^install -d .* (/\S+)$", made, re.MULTILINE)
    (gone,) = (line.split()[2:] for line in removed.splitlines() if line.strip().startswith("rm -rf "))
    assert folders
    for folder in folders:
        assert any(Path(folder).is_relative_to(path) for path in gone), folder
    assert "useradd" in made
    assert "userdel" in removed
