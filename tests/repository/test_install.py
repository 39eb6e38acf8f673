"""`make install` below a folder (DESTDIR), as for an image: what lies where, run again, upgraded, removed.

The script, venv, pip and `framesift init` are the real ones. So that nothing is downloaded for each test, the locked
requirements of this copy are empty, and the packages that the tests run with are found by PYTHONPATH.
"""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
# Virtual environments are made, also where others work on the machine.
pytestmark = [pytest.mark.exhaustive, pytest.mark.timeout(600)]
SCRIPTS = ("install", "choose_requirements", "framesift-as-service")


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sources")
    for name in ("Makefile", "pyproject.toml", "README.md", "LICENSE", "NOTICE"):
        shutil.copy(ROOT / name, folder)
    for name in ("daemon", "systemd", "scripts"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    (folder / "requirements").mkdir()
    (folder / "requirements" / "run.txt").touch()
    return folder


@pytest.fixture(scope="module")
def installed(sources: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a first installation, which no test changes."""
    root = tmp_path_factory.mktemp("root")
    result = make(sources, "install", DESTDIR=str(root))
    assert result.returncode == 0, result.stdout + result.stderr
    return root


def make(sources: Path, target: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    environment |= {"PYTHONPATH": sysconfig.get_path("purelib"), **variables}
    return subprocess.run(
        ["make", f"PYTHON={sys.executable}", target],
        cwd=sources,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def contents(root: Path) -> dict[str, tuple[int, int, int]]:
    """Each path with its mode, its time of change in ns and its inode."""
    facts = {str(path.relative_to(root)): path.lstat() for path in root.rglob("*") if "__pycache__" not in path.parts}
    return {path: (fact.st_mode, fact.st_mtime_ns, fact.st_ino) for path, fact in facts.items()}


def copy_of(installed: Path, folder: Path) -> Path:
    return Path(shutil.copytree(installed, folder / "root", symlinks=True))


def mode(path: Path) -> str:
    return oct(stat.S_IMODE(path.lstat().st_mode))


def test_everything_lies_in_its_place_with_its_mode(installed: Path) -> None:
    settings = installed / "etc" / "framesift"
    assert {path.name: mode(path) for path in settings.iterdir()} == {
        "credentials": "0o700",
        "framesift.schema.json": "0o640",
        "framesift.yaml": "0o640",
        "policy.json": "0o640",
        "street.mp4": "0o640",
    }
    assert mode(settings) == mode(installed / "var/lib/framesift") == "0o750"
    unit = installed / "etc/systemd/system/framesift.service"
    assert unit.read_text() == (ROOT / "systemd" / "framesift.service").read_text()
    assert str((installed / "usr/local/bin/framesift").readlink()) == "/opt/framesift/bin/framesift"
    assert mode(installed / "usr/local/sbin/framesift-as-service") == "0o755"


def test_the_first_settings_keep_their_state_where_the_unit_may_write(installed: Path) -> None:
    settings = yaml.safe_load((installed / "etc/framesift/framesift.yaml").read_text())
    assert settings["spool"]["path"] == "/var/lib/framesift/spool.db"
    assert settings["sink"]["path"] == "/var/lib/framesift/collected"


def test_nothing_in_the_program_names_the_folder_that_it_was_built_in(installed: Path) -> None:
    program = installed / "opt" / "framesift"
    assert (program / "bin" / "framesift").read_text().startswith("#!/opt/framesift/bin/python")
    named = [path for path in program.rglob("*") if path.is_file() and str(installed).encode() in path.read_bytes()]
    assert named == []


def test_a_second_run_changes_nothing(sources: Path, installed: Path) -> None:
    before = contents(installed)
    result = make(sources, "install", DESTDIR=str(installed))
    assert result.returncode == 0, result.stderr
    assert "nothing to change" in result.stdout
    assert contents(installed) == before


def test_settings_survive_an_upgrade_and_the_version_before_is_kept(
    sources: Path, installed: Path, tmp_path: Path
) -> None:
    root = copy_of(installed, tmp_path)
    settings = root / "etc" / "framesift"
    (settings / "framesift.yaml").write_text("mine")
    (settings / "framesift.schema.json").write_text("older")
    (settings / "policy.json").unlink()  # the policy comes from an address now
    (root / "opt/framesift/.installed").write_text("an older version\n")
    result = make(sources, "install", DESTDIR=str(root))
    assert result.returncode == 0, result.stderr
    assert (settings / "framesift.yaml").read_text() == "mine"
    assert not (settings / "policy.json").exists()
    assert "properties" in (settings / "framesift.schema.json").read_text()
    assert (root / "opt/framesift.previous/.installed").read_text() == "an older version\n"
    assert (root / "opt/framesift/.installed").read_text() == (installed / "opt/framesift/.installed").read_text()


def test_each_credential_becomes_a_line_of_the_drop_in(sources: Path, installed: Path, tmp_path: Path) -> None:
    root = copy_of(installed, tmp_path)
    drop_in = root / "etc/systemd/system/framesift.service.d/credentials.conf"
    assert "LoadCredential=" not in drop_in.read_text()
    (root / "etc/framesift/credentials/GATE_PASSWORD").write_text("x")
    (root / "etc/framesift/credentials/gate password~").write_text("x")
    result = make(sources, "install", DESTDIR=str(root))
    lines = [line for line in drop_in.read_text().splitlines() if not line.startswith("#")]
    assert lines == ["[Service]", "LoadCredential=GATE_PASSWORD:/etc/framesift/credentials/GATE_PASSWORD"]
    assert "gate password~ is no credential" in result.stderr


def test_uninstall_leaves_what_is_not_framesift_s_own(sources: Path, installed: Path, tmp_path: Path) -> None:
    root = copy_of(installed, tmp_path)
    (root / "opt/framesift.previous").mkdir()
    (root / "var/lib/framesift/spool.db").touch()
    result = make(sources, "uninstall", DESTDIR=str(root))
    assert result.returncode == 0, result.stderr
    assert f"yours: {root}/etc/framesift, {root}/var/lib/framesift (" in result.stdout
    left = {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file() or path.is_symlink()}
    assert left == {
        "etc/framesift/framesift.schema.json",
        "etc/framesift/framesift.yaml",
        "etc/framesift/policy.json",
        "etc/framesift/street.mp4",
        "var/lib/framesift/spool.db",
    }


def test_purge_leaves_nothing(sources: Path, installed: Path, tmp_path: Path) -> None:
    root = copy_of(installed, tmp_path)
    (root / "opt/framesift.newer").mkdir()  # left by a roll-back as docs/deploy.md describes it
    assert make(sources, "uninstall", DESTDIR=str(root), PURGE="1").returncode == 0
    assert [path for path in root.rglob("*") if not path.is_dir() or "framesift" in path.name] == []
    again = make(sources, "uninstall", DESTDIR=str(root))
    assert (again.returncode, again.stdout) == (0, "removed framesift; nothing of it is left\n")


def test_a_folder_of_wheels_that_is_not_there_is_named_before_anything_is_done(sources: Path, tmp_path: Path) -> None:
    result = make(sources, "install", DESTDIR=str(tmp_path), WHEELS="/nope")
    assert result.returncode == 2
    assert "framesift: WHEELS=/nope: there is no such folder" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_unit_that_names_secrets_itself_is_not_replaced(sources: Path, tmp_path: Path) -> None:
    unit = tmp_path / "etc/systemd/system/framesift.service"
    unit.parent.mkdir(parents=True)
    text = "[Service]\nLoadCredential=GATE_PASSWORD:/etc/framesift/secrets/gate_password\n"
    unit.write_text(text)
    result = make(sources, "install", DESTDIR=str(tmp_path))
    assert result.returncode == 2
    assert "move each secret to /etc/framesift/credentials/NAME, delete these lines" in result.stderr
    assert unit.read_text() == text
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [unit]


def test_a_broken_installation_leaves_the_old_program(sources: Path, installed: Path, tmp_path: Path) -> None:
    broken = Path(shutil.copytree(sources, tmp_path / "sources"))
    (broken / "requirements" / "run.txt").write_text("numpy==2.0.0 --hash=sha256:" + "0" * 64 + "\n")
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    before = contents(installed)
    result = make(broken, "install", DESTDIR=str(installed), WHEELS=str(wheels))
    assert result.returncode != 0
    # The folder above was touched: the new program was begun there.
    assert {**contents(installed), "opt": before["opt"]} == before


@pytest.mark.parametrize("name", SCRIPTS)
def test_shells_read_the_scripts(name: str) -> None:
    result = subprocess.run(["sh", "-n", str(ROOT / "scripts" / name)], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (0, "")


def test_as_service_sets_the_variables_that_the_unit_would(tmp_path: Path) -> None:
    settings, commands = tmp_path / "etc", tmp_path / "bin"
    (settings / "credentials").mkdir(parents=True)
    commands.mkdir()
    lines = [
        "# of this device",
        "; none",
        "",
        "DEVICE=gate-7",
        "  HOST=10.0.7.5 \t",
        "STREAMS='[{\"a\": 1}]'",
        "RING=early",
    ]
    (settings / "environment").write_text("\n".join(lines))  # the last line without its end
    script = tmp_path / "framesift-as-service"
    script.write_text(
        (ROOT / "scripts" / "framesift-as-service")
        .read_text()
        .replace("/etc/framesift", str(settings))
        .replace("/var/lib/framesift", str(tmp_path))
        .replace("/run/framesift", str(tmp_path / "framesift"))
    )
    # What only root may do, and, in the place of another user's command, the words of which it consists.
    for name, does in {"id": "echo 0", "chown": ":", "framesift": ":", "runuser": 'printf "%s\\n" "$@"'}.items():
        (commands / name).write_text(f"#!/bin/sh\n{does}\n")
        (commands / name).chmod(0o755)
    path = f"{commands}:{os.environ['PATH']}"
    result = subprocess.run(
        ["sh", script, "check"], env={"PATH": path}, capture_output=True, text=True, timeout=60, check=False
    )
    assert (result.returncode, result.stderr) == (0, "")
    words = result.stdout.splitlines()
    variables = words[words.index("-i") + 1 : words.index(str(commands / "framesift"))]
    assert set(variables) >= {"DEVICE=gate-7", "HOST=10.0.7.5", 'STREAMS=[{"a": 1}]', "RING=early"}
    assert words[-1] == "check"


@pytest.mark.torture
def test_the_locked_wheels_in_a_folder_are_enough_without_a_network(tmp_path: Path) -> None:
    wheels, root = tmp_path / "wheels", tmp_path / "root"
    result = make(ROOT, "wheels", WHEELS=str(wheels), PYTHONPATH="")
    assert result.returncode == 0, result.stderr
    nowhere = {"PIP_INDEX_URL": "http://127.0.0.1:9/", "PYTHONPATH": ""}
    result = make(ROOT, "install", WHEELS=str(wheels), DESTDIR=str(root), **nowhere)
    assert result.returncode == 0, result.stdout + result.stderr
    assert (root / "etc/framesift/framesift.yaml").is_file()
