"""A stranger's first minute: what the command says, writes and refuses, and the demo from beginning to end."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

from framesift.cli.initial_files import state_folder
from framesift.datasets.sheet_sources import read_collected
from rigs.daemon import collected, framesift, write_configuration
from rigs.footage import numbered_clip
from rigs.networks import cells, constant


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as `framesift init` leaves it; copied, not changed."""
    folder = tmp_path_factory.mktemp("begun")
    assert framesift(folder, "init").returncode == 0
    return folder


def test_the_bare_command_says_what_it_is_and_what_to_type_next(tmp_path: Path) -> None:
    ran = framesift(tmp_path)
    assert ran.returncode == 0
    for word in ("framesift demo", "framesift init", "framesift check", "framesift run"):
        assert word in ran.stdout


def test_what_to_type_next_is_what_a_shell_finds(tmp_path: Path) -> None:
    program = Path(sys.executable).with_name("framesift")

    def said_next(search: str) -> str:
        command = [str(program), "init", "--force", str(tmp_path / "new")]
        ran = subprocess.run(
            command, cwd=program.parent, env={"PATH": search}, capture_output=True, text=True, timeout=60, check=True
        )
        return next(line for line in ran.stdout.splitlines() if line.startswith("next: "))

    assert said_next(str(program.parent)) == "next: framesift check, then framesift run"
    (tmp_path / "empty").mkdir()
    assert said_next(str(tmp_path / "empty")) == "next: ./framesift check, then ./framesift run"


def test_without_opencv_help_answers_and_a_command_that_needs_it_says_how_to_get_it(tmp_path: Path) -> None:
    write_configuration(tmp_path, {"streams": [{"name": "gate", "source": "rtsp://127.0.0.1:9/x"}]})
    missing = tmp_path / "missing"
    missing.mkdir()
    (missing / "cv2.py").write_text("raise ModuleNotFoundError(\"No module named 'cv2'\", name='cv2')")
    for words in (["--help"], ["--version"], ["status", "--help"]):
        assert framesift(tmp_path, *words, PYTHONPATH=str(missing)).returncode == 0
    ran = framesift(tmp_path, "run", PYTHONPATH=str(missing))
    assert ran.returncode == 1
    assert "framesift[headless]" in ran.stderr
    assert "Traceback" not in ran.stderr


def test_run_without_settings_says_where_it_looked_and_what_writes_them(tmp_path: Path) -> None:
    ran = framesift(tmp_path, "run")
    assert ran.returncode == 2
    assert "framesift init" in ran.stderr


def test_what_init_writes_passes_check_and_runs(tmp_path: Path, begun: Path) -> None:
    shutil.copytree(begun, tmp_path, dirs_exist_ok=True)
    checked = framesift(tmp_path, "check", FRAMESIFT_STATUS__BIND="null")
    (opencv,) = (line for line in checked.stdout.splitlines() if "OpenCV" in line)
    assert "FFMPEG" in opencv
    assert "GSTREAMER" not in opencv  # the wheel lists it, and can't load it
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert "FAILED" not in checked.stdout
    ran = framesift(tmp_path, "run", FRAMESIFT_STATUS__BIND="null")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert collected(tmp_path)


def test_what_init_writes_has_twelve_lines_that_matter_at_most_and_the_defaults_in_comments(begun: Path) -> None:
    text = (begun / "framesift.yaml").read_text()
    assert len([line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]) <= 12
    for name in ("max_bytes", "min_free_bytes", "when_full", "bind: 127.0.0.1:9464", "level: info"):
        assert name in text


def test_in_a_folder_that_no_service_can_write_to_init_writes_absolute_paths() -> None:
    alone = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--user", "--map-root-user", "--mount"]
    steps = (
        "mount -t tmpfs tmpfs /etc && mkdir /etc/framesift && cd /etc/framesift && "
        f"{sys.executable} -m framesift init && cat framesift.yaml"
    )
    done = subprocess.run([*alone, "sh", "-c", steps], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    said, _, text = done.stdout.partition("# framesift.yaml")
    assert "its spool and what it collects go to /var/lib/framesift" in said
    settings = yaml.safe_load("#" + text)
    assert settings["spool"]["path"] == "/var/lib/framesift/spool.db"
    assert settings["sink"]["path"] == "/var/lib/framesift/collected"
    assert settings["policy"] == "policy.json"  # which a service can read there


def test_a_link_to_such_a_folder_is_one_and_any_other_folder_is_not(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/etc")
    assert state_folder(tmp_path / "link") == state_folder(Path("/etc/framesift")) == Path("/var/lib/framesift")
    assert state_folder(tmp_path) is None
    assert state_folder(Path("/etcetera")) is None


def test_init_overwrites_nothing_without_force(tmp_path: Path) -> None:
    (tmp_path / "policy.json").write_text("mine")
    refused = framesift(tmp_path, "init")
    assert refused.returncode == 2
    assert "policy.json" in refused.stderr
    assert (tmp_path / "policy.json").read_text() == "mine"
    assert not (tmp_path / "framesift.yaml").exists()
    assert framesift(tmp_path, "init", "--force").returncode == 0
    assert json.loads((tmp_path / "policy.json").read_text())["enabled"] is True


@pytest.mark.parametrize(
    ("file", "before", "after", "expected"),
    [
        ("framesift.yaml", "sink:", "sinc:", ["sinc", "sink"]),
        ("framesift.yaml", "  # max_bytes: 2GiB", "  max_bytes: lots", ["spool.max_bytes", "lots"]),
        ("framesift.yaml", "policy: policy.json", "policy: gone.json", ["gone.json"]),
        ("framesift.yaml", "type: stub", "type: onnx\n  path: gone.onnx", ["gone.onnx"]),
        ("policy.json", '"traffic_percentage": 0.1', '"traffic_percentage": 10', ["traffic_percentage", "10"]),
        ("policy.json", '"enabled": true', '"enabled": "false"', ["enabled", "false"]),
    ],
)
def test_a_mistake_is_exit_2_and_one_message_that_names_it(
    tmp_path: Path, begun: Path, file: str, before: str, after: str, expected: list[str]
) -> None:
    shutil.copytree(begun, tmp_path, dirs_exist_ok=True)
    text = (tmp_path / file).read_text()
    assert before in text
    (tmp_path / file).write_text(text.replace(before, after, 1))
    ran = framesift(tmp_path, "run", FRAMESIFT_STATUS__BIND="null")
    assert ran.returncode == 2, ran.stdout + ran.stderr
    for word in expected:
        assert word in ran.stderr
    assert "Traceback" not in ran.stderr
    assert not collected(tmp_path)


def test_a_file_that_is_not_there_is_a_bad_configuration(tmp_path: Path) -> None:
    write_configuration(tmp_path, {"streams": [{"name": "gate", "source": "gone.mp4"}]})
    ran = framesift(tmp_path, "run")
    assert ran.returncode == 2
    assert "gone.mp4" in ran.stderr


def test_check_says_what_to_do_about_each_failure(tmp_path: Path) -> None:
    (tmp_path / "collected").write_text("a file where a folder should be")
    write_configuration(tmp_path, {"streams": [{"name": "gate", "source": "gone.mp4"}]})
    ran = framesift(tmp_path, "check")
    assert ran.returncode == 1
    failed = [line for line in ran.stdout.splitlines() if line.startswith("FAILED")]
    assert any("stream gate" in line for line in failed)
    assert any("sink folder" in line for line in failed)


def test_the_demo_collects_a_dataset_and_shows_it(tmp_path: Path) -> None:
    ran = framesift(tmp_path, "demo", timeout_s=110.0)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    folder = tmp_path / "framesift-demo"
    lines = collected(folder)
    assert 15 <= len(lines) <= 60
    assert {line["strategy"] for line in lines} == {"unsure", "crowded", "hard", "everyday"}
    # As a YOLO dataset: every image has a label file whose classes data.yaml knows, as fractions of the picture.
    data = yaml.safe_load((folder / "collected" / "data.yaml").read_text())
    for line in lines:
        image = folder / "collected" / line["file_name"]
        picture = cv2.imread(str(image))
        assert picture is not None
        assert picture.shape[:2] == (line["height"], line["width"])
        label = folder / "collected" / "labels" / f"{image.stem}.txt"
        rows = [row.split() for row in label.read_text().splitlines()]
        assert len(rows) == len(line["prediction"]["predictions"])
        for row in rows:
            assert int(row[0]) in range(len(data["names"]))
            assert all(0.0 <= float(value) <= 1.0 for value in row[1:])
    # The boxes lie on the objects, which the scene knows.
    from framesift.demo.run import DEMO_SEED, mean_overlap
    from framesift.demo.scene import Street

    overlap = mean_overlap(Street(seed=DEMO_SEED), read_collected(folder / "collected"))
    assert overlap.boxes > 50
    assert overlap.mean_iou > 0.7
    assert f"{overlap.mean_iou:.2f}" in ran.stdout
    sheet = cv2.imread(str(folder / "contact-sheet.png"))
    assert sheet is not None
    assert sheet.shape[1] > 1000


def test_the_demo_on_ones_own_video_never_uses_the_streets_detector(tmp_path: Path) -> None:
    numbered_clip(tmp_path / "mine.mp4", frames=60)
    ran = framesift(tmp_path, "demo", "--source", "mine.mp4", "--folder", "out")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "null model" in ran.stdout
    assert all(line["prediction"].get("is_stub") for line in collected(tmp_path / "out"))


def test_a_second_demo_keeps_what_the_first_one_collected(tmp_path: Path) -> None:
    numbered_clip(tmp_path / "mine.mp4", frames=20)
    assert framesift(tmp_path, "demo", "--source", "mine.mp4", "--folder", "out").returncode == 0
    first = collected(tmp_path / "out")
    assert framesift(tmp_path, "demo", "--source", "gone.mp4", "--folder", "out").returncode == 2
    assert collected(tmp_path / "out") == first
    (tmp_path / "out" / "mine.mp4").write_bytes((tmp_path / "mine.mp4").read_bytes())
    assert framesift(tmp_path, "demo", "--source", "out/mine.mp4", "--folder", "out").returncode == 2
    for kept in ("out-1", "out-2"):
        ran = framesift(tmp_path, "demo", "--source", "mine.mp4", "--folder", "out")
        assert ran.returncode == 0, ran.stdout + ran.stderr
        assert f"kept in {kept}/" in ran.stdout
    assert collected(tmp_path / "out-1") == first
    assert (tmp_path / "out-1" / "mine.mp4").exists()
    assert collected(tmp_path / "out-2")
    assert not (tmp_path / "out" / "mine.mp4").exists()


def test_a_demo_gives_names_to_the_classes_of_a_model(tmp_path: Path) -> None:
    numbered_clip(tmp_path / "mine.mp4", frames=20)
    output = np.zeros((1, 4 + 2, cells(64, 64)), np.float32)
    output[0, :4, 3], output[0, 5, 3] = (32, 32, 8, 8), 0.5
    constant(tmp_path / "net.onnx", output)
    (tmp_path / "names.txt").write_text("car\ntram\n")
    words = ("demo", "--source", "mine.mp4", "--class-names", "names.txt")
    unnamed = framesift(tmp_path, *words)
    assert unnamed.returncode == 2
    assert "--class-names needs --model" in unnamed.stderr
    ran = framesift(tmp_path, *words, "--model", "net.onnx")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    boxes = [box for row in collected(tmp_path / "framesift-demo") for box in row["prediction"]["predictions"]]
    assert {box["class"] for box in boxes} == {"tram"}


def test_a_demo_of_a_camera_that_is_not_there_says_so(tmp_path: Path) -> None:
    ran = framesift(tmp_path, "demo", "--source", "rtsp://127.0.0.1:9/x", "--seconds", "3")
    assert ran.returncode == 2
    assert "not one frame" in ran.stderr
    assert "refused" in ran.stdout


def test_the_demo_removes_nothing_that_it_did_not_make(tmp_path: Path) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "thesis.txt").write_text("years of work")
    ran = framesift(tmp_path, "demo", "--folder", "precious")
    assert ran.returncode == 2
    assert (tmp_path / "precious" / "thesis.txt").exists()
