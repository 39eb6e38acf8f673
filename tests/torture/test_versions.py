"""From the last version to this one and back, each run ended by SIGKILL: nothing is lost or doubled."""

from __future__ import annotations

import json
import os
import random
import shutil
import sqlite3
import subprocess
import sys
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest

from framesift.prediction.wire_format import parse_prediction, to_wire
from framesift.spool import schema
from rigs.daemon import NEW_PROCESS, POLICY, Daemon, OlderDaemon, collected, framesift, write_configuration
from rigs.footage import numbered_clip

ROOT = Path(__file__).parents[2]
LAST_VERSION = "5838c5c"  # 0.2.0
LAST_FORMAT = 2
ROUNDS = int(os.environ.get("VERSION_ROUNDS", "100"))  # of two runs each
A_MINUTE = 200


@pytest.fixture(scope="module")
def last_version(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package of the last version, taken from the history; for PYTHONPATH."""
    folder = tmp_path_factory.mktemp("last_version")
    packed = subprocess.run(["git", "archive", LAST_VERSION, "daemon"], cwd=ROOT, capture_output=True, check=False)
    assert packed.returncode == 0, f"{packed.stderr.decode()}: a clone without its history can't be tested"
    subprocess.run(["tar", "-x", "-C", str(folder)], input=packed.stdout, check=True)
    return folder / "daemon"


def spooled(folder: Path) -> tuple[int, set[str]]:
    """The format of the spool's file (0 where there is none), and the ids in it, read as the kill left it."""
    if not (folder / "spool.db").exists():
        return 0, set()
    with closing(sqlite3.connect(f"{(folder / 'spool.db').as_uri()}?mode=ro", uri=True)) as connection:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if not version:  # killed before its tables were there
            return 0, set()
        return version, {id for (id,) in connection.execute("SELECT id FROM datapoint")}


def run_and_kill(folder: Path, chance: random.Random, older: Path | None = None) -> None:
    """One run, killed at some moment: some before it is ready, most while frames are accepted and delivered.

    older: the package of another version.
    """
    run = Daemon(folder, command=NEW_PROCESS) if older is None else OlderDaemon(folder, PYTHONPATH=str(older))
    with run as daemon:
        if chance.random() < 0.25:
            daemon.until(lambda: False, chance.uniform(0.1, 1.5))
        else:
            daemon.wait_for("ready")
            before = len(collected(folder))
            daemon.until(lambda: len(collected(folder)) > before, 3.0)
            daemon.until(lambda: False, chance.uniform(0.0, 0.5))
        daemon.kill()


@pytest.mark.torture
@pytest.mark.timeout(7200)
def test_the_last_version_and_this_one_in_turn_lose_and_double_nothing(tmp_path: Path, last_version: Path) -> None:
    chance = random.Random(3)
    folder = tmp_path / "device"
    folder.mkdir()
    numbered_clip(folder / "clip.mp4", frames=100)
    limits = [{"type": "minutely", "value": A_MINUTE}, {"type": "daily", "value": 100_000}]
    strategies = [{"name": "all", "type": "random", "traffic_percentage": 1.0, "limits": limits}]
    settings = {"streams": [{"name": "gate", "source": "clip.mp4", "loop": True, "fps": 60}], "upload": {"workers": 2}}
    write_configuration(folder, settings, {**POLICY, "sampling_strategies": strategies})
    settings_before = (folder / "framesift.yaml").read_bytes()
    known: set[str] = set()
    formats: Counter[int] = Counter()

    def audit() -> None:
        version, ids = spooled(folder)
        formats[version] += 1
        there = ids | {line["id"] for line in collected(folder)}
        assert not known - there, f"lost: {sorted(known - there)}"
        known.update(there)

    for _ in range(ROUNDS):
        run_and_kill(folder, chance, last_version)
        audit()
        run_and_kill(folder, chance)
        audit()
        if spooled(folder)[0] == schema.VERSION:
            back = framesift(folder, "spool", "downgrade")
            assert back.returncode == 0, back.stdout + back.stderr
            audit()
            assert spooled(folder)[0] == LAST_FORMAT
    # The last word has this version: what is accepted but not yet delivered leaves, nothing new comes in.
    with Daemon(folder, command=NEW_PROCESS, ACTIVE_LEARNING_ENABLED="false") as daemon:
        daemon.wait_for("ready")
        assert daemon.until(lambda: framesift(folder, "spool", "list", "--json").stdout == "", 120.0)
        assert daemon.stop() == 0
    lines = collected(folder)
    assert formats[LAST_FORMAT] > ROUNDS
    assert formats[schema.VERSION] > ROUNDS / 2
    assert known <= {line["id"] for line in lines}
    assert max(Counter(line["id"] for line in lines).values()) == 1
    assert max(Counter(line["captured_at"][:16] for line in lines).values()) <= A_MINUTE
    pictures = {path.name for path in (folder / "collected" / "images").iterdir()}
    assert pictures == {Path(line["file_name"]).name for line in lines}
    assert (folder / "framesift.yaml").read_bytes() == settings_before
    shutil.rmtree(folder)


_READS = (
    "import json, sys\n"
    "from framesift import __version__\n"
    "from framesift.prediction.wire_format import parse_prediction, to_wire\n"
    "print(json.dumps([__version__, to_wire(parse_prediction(json.loads(sys.argv[1])))]))"
)


@pytest.mark.torture
def test_the_last_version_reads_predictions_with_extras_and_leaves_them_out(last_version: Path) -> None:
    box = {"x": 1.0, "y": 2.0, "width": 3.0, "height": 4.0, "confidence": 0.5, "class": "cat", "class_id": 0}
    size = {"image": {"width": 64, "height": 48}}
    said = {**size, "predictions": [{**box, "colour": "red"}, box, {**box, "plate": None}], "weather": "rain"}
    text = json.dumps(to_wire(parse_prediction(said)))
    assert json.loads(text) == said
    read = subprocess.run(
        [sys.executable, "-c", _READS, text], env={"PYTHONPATH": str(last_version)}, capture_output=True, check=True
    )
    assert json.loads(read.stdout) == ["0.2.0", {**size, "predictions": [box] * 3}]
