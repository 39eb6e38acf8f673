"""What is handed to an operator: the unit with its drop-in, the Dockerfile, the locked requirements, the Makefile.

The tools that judge are the real ones (systemd-analyze, awk, make); where one is missing, its tests fail, they are not
skipped. A unit is judged with ExecStart's program replaced by one that exists here: nobody installs to /opt for a test.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import venv
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

import framesift

ROOT = Path(__file__).parents[2]
UNIT = ROOT / "systemd" / "framesift.service"
DROP_IN = ROOT / "systemd" / "devices.conf"
DOCKERFILE = ROOT / "Dockerfile"
RUN = ROOT / "requirements" / "run.txt"
REQUIREMENTS = sorted((ROOT / "requirements").glob("*.txt"))

# systemd-analyze counts exposure in tenths. A camera or a GPU costs PrivateDevices and PrivateUsers.
EXPOSURE = {"alone": 12, "with devices": 18}

# One pinned requirement: name, exact version, a marker or none.
HEAD = re.compile(r"([a-z0-9][a-z0-9.-]*)==([0-9][0-9a-z.]*)( ; [^\\]+)? \\")
HASH = re.compile(r"    --hash=sha256:([0-9a-f]{64})( \\)?")


def unit_in(folder: Path, devices: bool, program: str = sys.executable) -> Path:
    """A copy of the unit that can be judged on this machine, with the drop-in applied or not."""
    text, replaced = re.subn(r"^(ExecStart=)\S+", rf"\g<1>{program}", UNIT.read_text(), flags=re.MULTILINE)
    assert replaced == 1
    unit = folder / UNIT.name
    unit.write_text(text)
    if devices:
        drop_ins = folder / f"{UNIT.name}.d"
        drop_ins.mkdir()
        (drop_ins / DROP_IN.name).write_text(DROP_IN.read_text())
    return unit


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["systemd-analyze", "--no-pager", *arguments], capture_output=True, text=True, timeout=60, check=False
    )


def complaints(result: subprocess.CompletedProcess[str]) -> list[str]:
    """The complaints about our files, without those about other units of this machine."""
    return [
        line
        for line in (result.stdout + result.stderr).splitlines()
        if UNIT.name in line or DROP_IN.name in line or "framesift" in line
    ]


@pytest.mark.parametrize("devices", [False, True], ids=list(EXPOSURE))
def test_systemd_has_nothing_to_say_against_the_unit(tmp_path: Path, devices: bool) -> None:
    result = analyze("verify", str(unit_in(tmp_path, devices)))
    assert complaints(result) == []
    assert result.returncode == 0


def test_systemd_would_have_complaint_so_of_a_misspelt_line(tmp_path: Path) -> None:
    unit = unit_in(tmp_path, devices=True)
    drop_in = tmp_path / f"{UNIT.name}.d" / DROP_IN.name
    drop_in.write_text(drop_in.read_text().replace("DevicePolicy", "DevicesPolicy"))
    unit.write_text(unit.read_text().replace("WatchdogSec", "WatchDogSeconds"))
    complaint = "\n".join(complaints(analyze("verify", str(unit))))
    assert "DevicesPolicy" in complaint
    assert "WatchDogSeconds" in complaint


@pytest.mark.parametrize("devices", [False, True], ids=list(EXPOSURE))
def test_the_sandbox_leaves_little_exposed(tmp_path: Path, devices: bool) -> None:
    threshold = EXPOSURE["with devices" if devices else "alone"]
    unit = unit_in(tmp_path, devices)
    result = analyze("security", "--offline=true", f"--threshold={threshold}", str(unit))
    assert result.returncode == 0, result.stdout[-300:] + result.stderr


def section(name: str) -> list[str]:
    """The settings of one section of the unit, `Key=value` each."""
    text = re.split(r"^\[(\w+)\]$", UNIT.read_text(), flags=re.MULTILINE)
    body = text[text.index(name) + 1]
    return [line for line in body.splitlines() if line and not line.startswith("#")]


@pytest.mark.parametrize(
    "line",
    [
        "Type=notify",
        "WatchdogSec=60",
        "Restart=on-failure",
        "RestartSec=5",
        "RestartPreventExitStatus=2",
        "TimeoutStartSec=15min",
        "TimeoutStopSec=20",
        "KillMode=mixed",
        "StateDirectory=framesift",
        "StateDirectoryMode=0750",
        "User=framesift",
        "Group=framesift",
        "UMask=0077",
        'ExecReload=/bin/sh -c "kill -HUP ${MAINPID}"',
        "ExecStart=/opt/framesift/bin/framesift run --config /etc/framesift/framesift.yaml",
        "Environment=ORT_DISABLE_TELEMETRY=1 MALLOC_ARENA_MAX=2",
        "EnvironmentFile=-/etc/framesift/environment",
    ],
)
def test_the_unit_restarts_stops_and_reloads_as_promised(line: str) -> None:
    assert section("Service").count(line) == 1
    assert sum(other.startswith(line.split("=")[0] + "=") for other in section("Service")) == 1


def test_the_unit_never_gives_up() -> None:
    assert "StartLimitIntervalSec=0" in section("Unit")


def test_the_unit_shows_how_a_secret_is_handed_over() -> None:
    assert re.search(r"^#\s+LoadCredential=\w+:/etc/framesift/\S+$", UNIT.read_text(), re.MULTILINE)


@pytest.mark.parametrize("broken", ["MemoryDenyWriteExecute", "ProcSubset"])
def test_the_sandbox_does_not_break_models(broken: str) -> None:
    assert not any(line.startswith(broken) for line in section("Service"))


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile's instructions in order, each with its argument on one line; comments left out."""
    text = "\n".join(line for line in DOCKERFILE.read_text().splitlines() if not line.lstrip().startswith("#"))
    lines = re.sub(r"\s*\\\n\s*", " ", text).splitlines()
    return [(word, rest) for word, _, rest in (line.partition(" ") for line in lines if line)]


def final(word: str) -> str:
    """The one argument of `word` in the image that is kept (the last stage)."""
    words = instructions()
    last_from = max(number for number, (name, _) in enumerate(words) if name == "FROM")
    (found,) = [rest for name, rest in words[last_from:] if name == word]
    return found


def test_the_container_runs_as_a_fixed_user_who_is_not_root() -> None:
    user, _, group = final("USER").partition(":")
    assert int(user) > 0
    assert int(group) > 0
    assert f"chown {user}:{group} {final('VOLUME')}" in final("RUN")


def test_the_container_is_healthy_while_it_is_alive_and_stops_on_sigterm() -> None:
    assert json.loads(final("HEALTHCHECK").partition(" CMD ")[2]) == ["framesift", "status", "--alive"]
    assert final("STOPSIGNAL") == "SIGTERM"
    # The exec form: a shell in between would keep the signal to itself.
    assert json.loads(final("ENTRYPOINT")) == ["framesift"]
    assert json.loads(final("CMD")) == ["run"]


def test_the_container_keeps_its_state_in_one_volume_where_it_starts() -> None:
    assert final("VOLUME") == final("WORKDIR") == "/var/lib/framesift"


@pytest.mark.parametrize("variable", ["ORT_DISABLE_TELEMETRY=1", "MALLOC_ARENA_MAX=2"])
def test_the_container_tells_onnxruntime_not_to_report_home_and_glibc_to_keep_few_heaps(variable: str) -> None:
    assert variable in final("ENV").split()


def test_nothing_is_fetched_into_the_image_past_the_hashes() -> None:
    assert "ADD" not in [word for word, _ in instructions()]
    assert "://" not in DOCKERFILE.read_text()
    pip = [command for word, rest in instructions() if word == "RUN" for command in rest.split("pip ")[1:]]
    assert pip
    for command in pip:
        assert "--no-deps" in command
        assert "--require-hashes" in command or command.endswith("--no-build-isolation .")


def test_only_what_the_image_needs_is_sent_to_the_builder() -> None:
    words = instructions()
    copied = [rest.split()[:-1] for word, rest in words if word == "COPY" and not rest.startswith("--from")]
    needed = {path for paths in copied for path in paths}
    rules = DOCKERFILE.with_name(".dockerignore").read_text().split()
    assert rules[0] == "*"
    assert {rule[1:] for rule in rules if rule.startswith("!")} == needed
    assert all((ROOT / path).exists() for path in needed)


@dataclass(frozen=True)
class Pin:
    """One locked requirement."""

    name: str
    version: str
    marker: str
    hashes: tuple[str, ...]


def pins(text: str) -> list[Pin]:
    """The locked requirements of a file. AssertionError: a line that is none, or one that is continued by none."""
    found: list[Pin] = []
    continues = False
    for line in text.splitlines():
        head, digest = HEAD.fullmatch(line), HASH.fullmatch(line)
        assert digest if continues else head, line
        if head:
            found.append(Pin(head[1], head[2], head[3] or "", ()))
        elif digest:
            found[-1] = replace(found[-1], hashes=(*found[-1].hashes, digest[1]))
        continues = line.endswith("\\")
    assert not continues
    return found


@pytest.mark.parametrize("path", REQUIREMENTS, ids=lambda path: path.name)
def test_every_requirement_is_pinned_with_hashes_and_no_address(path: Path) -> None:
    found = pins(path.read_text())
    assert found
    assert all(pin.hashes for pin in found)
    assert "://" not in path.read_text()


def test_tests_run_on_what_is_shipped() -> None:
    wheels_of_data = {"footage.txt", "networks.txt", "digits.txt"}
    assert {path.name for path in REQUIREMENTS} == {"run.txt", "dev.txt", "release.txt"} | wheels_of_data
    assert set(pins(RUN.read_text())) <= set(pins((ROOT / "requirements" / "dev.txt").read_text()))


def choose(folder: Path, cv2: str, brought: list[str]) -> subprocess.CompletedProcess[str]:
    """Runs the Dockerfile's own choice of requirements in `folder`, with a Python that has the modules `brought`."""
    image = folder / "image"
    venv.create(image, symlinks=True)
    (packages,) = image.glob("lib/python*/site-packages")
    for module in brought:
        (packages / f"{module}.py").touch()
    for name in ("requirements/run.txt", "scripts/choose_requirements"):
        (folder / name).parent.mkdir()
        (folder / name).write_text((ROOT / name).read_text())
    (build,) = [rest for word, rest in instructions() if word == "RUN" and "requirements/chosen.txt" in rest]
    choice, _, _ = build.partition("python3 -m venv")
    return subprocess.run(
        ["sh", "-c", choice],
        cwd=folder,
        env={"CV2": cv2, "PATH": f"{image / 'bin'}:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize(
    ("cv2", "brought", "kept"),
    [
        ("headless", [], set()),
        ("headless", ["cv2", "onnxruntime"], set()),
        ("system", ["cv2"], {"opencv-python-headless", "numpy"}),
        ("system", ["cv2", "onnxruntime"], {"opencv-python-headless", "numpy", "onnxruntime"}),
    ],
)
def test_the_image_keeps_what_its_base_brings_and_pins_the_rest(
    tmp_path: Path, cv2: str, brought: list[str], kept: set[str]
) -> None:
    result = choose(tmp_path, cv2, brought)
    assert result.returncode == 0, result.stderr
    locked = pins(RUN.read_text())
    assert {pin.name for pin in locked} >= kept
    assert pins((tmp_path / "requirements" / "chosen.txt").read_text()) == [
        pin for pin in locked if pin.name not in kept
    ]


@pytest.mark.parametrize(
    ("cv2", "why"),
    [
        ("system", "CV2=system, but python3 of this system finds no cv2"),
        ("desktop", "CV2=desktop: allowed are headless and system"),
    ],
)
def test_the_image_is_not_built_without_an_opencv(tmp_path: Path, cv2: str, why: str) -> None:
    result = choose(tmp_path, cv2, [])
    assert (result.returncode, result.stderr.strip()) == (2, why)


def test_the_package_says_the_version_that_it_is_installed_as() -> None:
    project = (ROOT / "pyproject.toml").read_text()
    assert re.findall(r'^version = "(.+)"$', project, re.MULTILINE) == [framesift.__version__]


@pytest.mark.parametrize(
    ("target", "does"),
    [
        ("setup", "requirements/run.txt"),
        ("demo", ".venv/bin/framesift demo"),
        ("install", "scripts/install install"),
        ("wheels", 'scripts/install wheels "wheels"'),
        ("uninstall", "scripts/install uninstall"),
        ("test", '-m "not torture and not exhaustive"'),
        ("exhaustive", '-m "(exhaustive or hypothesis) and not torture"'),
        ("check", "scripts/check"),
        ("platform", "-m rigs.platform"),
        ("torture", "-m torture --timeout"),
        ("soak", "-m rigs.soak --hours 8 --folder soak"),
        ("deaths", "-m rigs.deaths --folder deaths"),
        ("bench", "-m price"),
        ("bench-learning", "-m learning"),
        ("lock", "scripts/lock"),
        ("release", "scripts/release.py"),
        ("pythons", "scripts/test_wheel.py"),
        ("coverage", "coverage report"),
        ("clean", "rm -rf .venv"),
    ],
)
def test_make_has_its_targets(tmp_path: Path, target: str, does: str) -> None:
    # In a folder without a .venv, as a fresh clone is; --dry-run only prints what would be done.
    for name in ("requirements", "pyproject.toml"):
        (tmp_path / name).symlink_to(ROOT / name)
    environment = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MFLAGS")}
    result = subprocess.run(
        ["make", "--dry-run", "-f", str(ROOT / "Makefile"), target],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert does in result.stdout
    for script in re.findall(r"(?:scripts|benchmarks)/\S+", result.stdout):
        assert (ROOT / script).is_file(), script
