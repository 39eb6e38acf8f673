"""`framesift forget` beside a running daemon and without one: real processes, files and pictures."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from clocks import ManualClock
from rigs.daemon import Daemon, collected, framesift, unhurried, write_configuration
from rigs.footage import numbered_clip
from rigs.spools import make_spool, put

WIDE: dict[str, Any] = {"COLUMNS": "400"}


def configure(folder: Path, **settings: Any) -> None:
    """Two streams of one clip, which begin again and again."""
    numbered_clip(folder / "clip.mp4", frames=20)
    streams = [{"name": name, "source": "clip.mp4", "loop": True} for name in ("gate", "yard")]
    write_configuration(folder, {"streams": streams, "model": unhurried(folder), **settings})


def pieces(pictures: list[bytes]) -> list[bytes]:
    """Some parts of the coded content of pictures."""
    parts = [picture[at : at + 24] for picture in pictures for at in range(700, len(picture) - 24, 24)]
    return parts[:: len(parts) // 400 + 1]


def in_files(parts: list[bytes], folder: Path) -> int:
    """How many of the parts are in any file of the spool, and of what lies beside it."""
    files = [path for place in folder.glob("spool.db*") for path in (place, *place.rglob("*")) if path.is_file()]
    whole = b"\0".join(path.read_bytes() for path in sorted(files))
    return sum(part in whole for part in parts)


def rows(folder: Path) -> list[dict[str, Any]]:
    listed = framesift(folder, "spool", "list", "--json", "--limit", "100000").stdout
    return [json.loads(line) for line in listed.splitlines()]


def test_a_stream_is_forgotten_everywhere_beside_the_daemon_that_collects_it(tmp_path: Path) -> None:
    limits = [{"type": "minutely", "value": 12}]
    configure(tmp_path, sink={"type": "folder", "path": "collected", "limits": limits})
    with Daemon(tmp_path) as daemon:
        assert daemon.until(lambda: len(collected(tmp_path)) >= 12 and len(rows(tmp_path)) > 40, 60.0)
        delivered = [
            (tmp_path / "collected" / row["file_name"]).read_bytes()
            for row in collected(tmp_path)
            if row["stream"] == "gate"
        ]
        until = max(row["captured_at"] for row in rows(tmp_path))

        done = framesift(tmp_path, "forget", "--stream", "gate", **WIDE)

        assert done.returncode == 0, done.stdout + done.stderr
        assert re.search(r"\d datapoints? removed", done.stdout)
        assert f"{len(delivered)} pictures removed, with labels and lines" in done.stdout
        assert [row for row in collected(tmp_path) if row["stream"] == "gate"] == []
        assert not list((tmp_path / "collected" / "images").glob("*_gate_*"))
        assert not [row for row in rows(tmp_path) if row["stream"] == "gate" and row["captured_at"] <= until]
        assert [row for row in rows(tmp_path) if row["stream"] == "yard"], "the other stream stays"
        before = len(daemon.events)
        assert daemon.until(lambda: any(row["stream"] == "gate" for row in rows(tmp_path)), 30.0), "it collects on"
        assert not [e for e in daemon.events[before:] if e["level"] in ("error", "warning")]
        assert daemon.stop() == 0
    assert framesift(tmp_path, "spool", "list").returncode == 0


@pytest.mark.exhaustive
def test_no_byte_of_what_was_delivered_long_ago_is_left_in_the_spool(tmp_path: Path) -> None:
    configure(tmp_path)
    with Daemon(tmp_path) as daemon:
        assert daemon.until(lambda: len(collected(tmp_path)) >= 30, 60.0)
        daemon.stop()
    gone = pieces([path.read_bytes() for path in (tmp_path / "collected" / "images").iterdir()])
    assert in_files(gone, tmp_path) > 20, "without this, nothing is shown"

    first = framesift(tmp_path, "forget", "--stream", "gate", "--yes", **WIDE)
    second = framesift(tmp_path, "forget", "--stream", "yard", "--yes", **WIDE)

    assert (first.returncode, second.returncode) == (0, 0), first.stderr + second.stderr
    assert collected(tmp_path) == []
    assert not list((tmp_path / "collected" / "images").iterdir())
    assert (
        not list((tmp_path / "collected" / "labels").iterdir())
        if (tmp_path / "collected" / "labels").exists()
        else True
    )
    assert in_files(gone, tmp_path) == 0
    with contextlib.closing(sqlite3.connect(tmp_path / "spool.db")) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    again = framesift(tmp_path, "forget", "--stream", "gate", "--yes", **WIDE)
    assert again.returncode == 0
    assert "0 pictures removed" in again.stdout
    with Daemon(tmp_path) as daemon:
        assert daemon.until(lambda: len(collected(tmp_path)) >= 2, 60.0), "it collects again"
        daemon.stop()


def test_ids_are_forgotten_and_nothing_else_and_a_dry_run_forgets_nothing(tmp_path: Path) -> None:
    configure(tmp_path)
    with Daemon(tmp_path) as daemon:
        assert daemon.until(lambda: len(collected(tmp_path)) >= 8, 60.0)
        daemon.stop()
    all_ids = [row["id"] for row in collected(tmp_path)]
    words = ["--id", all_ids[0], "--id", all_ids[3], "--id", "f" * 32]

    dry = framesift(tmp_path, "forget", *words, "--dry-run", **WIDE)
    assert dry.returncode == 0
    assert "2 pictures would be removed" in dry.stdout
    assert [row["id"] for row in collected(tmp_path)] == all_ids

    done = framesift(tmp_path, "forget", *words, **WIDE)
    assert done.returncode == 0
    assert "2 pictures removed" in done.stdout
    assert "Not known here: recordings (run --record), contact sheets and exported datasets, copies" in done.stdout
    assert [row["id"] for row in collected(tmp_path)] == [id for id in all_ids if id not in words]
    names = {Path(row["file_name"]).name for row in collected(tmp_path)}
    assert {path.name for path in (tmp_path / "collected" / "images").iterdir()} == names


def test_what_is_not_known_here_does_not_pass_as_forgotten(tmp_path: Path) -> None:
    configure(tmp_path)
    with Daemon(tmp_path) as daemon:
        assert daemon.until(lambda: len(collected(tmp_path)) >= 4, 60.0)
        daemon.stop()
    for more in ((), ("--dry-run",)):
        misspelt = framesift(tmp_path, "forget", "--stream", "gat", *more, **WIDE)
        assert misspelt.returncode == 2
        assert "--stream gat: not known here" in misspelt.stderr
        assert "known streams: gate, yard" in misspelt.stderr
        unknown = framesift(tmp_path, "forget", "--id", "f" * 32, *more, **WIDE)
        assert unknown.returncode == 2
        assert f"--id {'f' * 32}: not known here" in unknown.stderr
    known = collected(tmp_path)[0]["id"]
    for _ in range(2):  # a second time there is nothing left, and its quota is still charged
        assert framesift(tmp_path, "forget", "--id", known).returncode == 0
    # A stream that the settings no longer have, and whose datapoints are gone.
    assert framesift(tmp_path, "forget", "--stream", "yard").returncode == 0
    write_configuration(tmp_path, {"streams": [{"name": "gate", "source": "clip.mp4"}]})
    assert framesift(tmp_path, "forget", "--stream", "yard").returncode == 0


def test_pictures_without_a_line_and_lines_changed_by_hand_are_found(tmp_path: Path) -> None:
    configure(tmp_path)
    with Daemon(tmp_path) as daemon:
        assert daemon.until(lambda: len(collected(tmp_path)) >= 6, 60.0)
        daemon.stop()
    listing = tmp_path / "collected" / "metadata.jsonl"
    lines = [json.loads(line) for line in listing.read_text().splitlines()]
    changed = [json.dumps(dict(reversed(line.items()))) for line in lines[2:]]
    listing.write_text("".join(f"{line}\n" for line in ['{"file_name": "images/cat.jpg"}', *changed]))
    (tmp_path / "collected" / "images" / "cat.jpg").touch()

    for stream in ("gate", "yard"):
        assert framesift(tmp_path, "forget", "--stream", stream).returncode == 0

    assert listing.read_text() == '{"file_name": "images/cat.jpg"}\n'
    assert [path.name for path in (tmp_path / "collected" / "images").iterdir()] == ["cat.jpg"]


def test_set_aside_files_are_named_and_deleted_only_on_demand(tmp_path: Path) -> None:
    write_configuration(tmp_path, {"streams": [{"name": "gate", "source": "clip.mp4"}]})
    aside = tmp_path / "spool.db.corrupt-1790000000"
    aside.write_bytes(b"damaged")
    said = framesift(tmp_path, "forget", "--stream", "gate", **WIDE).stdout
    assert f"{aside}: may hold them, and can't be searched" in said
    assert aside.exists()
    assert framesift(tmp_path, "forget", "--stream", "gate", "--set-aside").returncode == 0
    assert not aside.exists()


def test_what_a_sink_elsewhere_has_is_said_plainly(tmp_path: Path) -> None:
    configure(tmp_path, sink={"type": "roboflow", "project": "parking"}, roboflow={"api_key": "rf_0123456789"})
    said = framesift(tmp_path, "forget", "--stream", "gate", **WIDE)
    assert said.returncode == 0, said.stderr
    assert "it is not recorded here which" in said.stdout
    assert "framesift removes nothing there" in said.stdout


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ([], "name the datapoints"),
        (["--id", "a", "--stream", "gate"], "name the datapoints"),
        (["--id", "a", "--since", "2026-01-01"], "belong to --stream"),
        (["--stream", "gate", "--since", "yesterday"], "a time such as"),
        (["--stream", "gate", "--since", "2026-01-02", "--until", "2026-01-01"], "nothing was captured in between"),
    ],
)
def test_wrong_use_is_named_and_forgets_nothing(tmp_path: Path, words: list[str], why: str) -> None:
    write_configuration(tmp_path, {"streams": [{"name": "gate", "source": "clip.mp4"}]})
    ended = framesift(tmp_path, "forget", *words, **WIDE)
    assert ended.returncode == 2
    assert why in ended.stderr


def test_a_terminal_is_asked_first_and_no_means_no(tmp_path: Path) -> None:
    configure(tmp_path)
    with Daemon(tmp_path) as daemon:
        assert daemon.until(lambda: len(collected(tmp_path)) >= 3, 60.0)
        daemon.stop()
    before = len(collected(tmp_path))
    for answer, left in ((b"n\n", before), (b"y\n", None)):
        ours, theirs = pty.openpty()
        child = subprocess.Popen(
            [sys.executable, "-m", "framesift", "forget", "--stream", "gate"],
            cwd=tmp_path,
            stdin=theirs,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.write(ours, answer)
        code = child.wait(60)
        os.close(ours)
        os.close(theirs)
        assert code == (1 if left else 0)
        gate = [row for row in collected(tmp_path) if row["stream"] == "gate"]
        assert len(collected(tmp_path)) == left if left else gate == []


def test_what_an_interrupted_salvage_left_goes_as_well_once_no_daemon_runs(tmp_path: Path) -> None:
    configure(tmp_path)
    drafts = [tmp_path / f"spool.db.{end}" for end in ("salvage", "salvage-wal", "salvaged")]
    with Daemon(tmp_path) as daemon:
        assert daemon.until(lambda: len(collected(tmp_path)) >= 2, 60.0)
        for draft in drafts:
            draft.write_bytes(b"some picture")
        beside = framesift(tmp_path, "forget", "--stream", "gate", **WIDE)
        assert f"{drafts[0]}: a copy of the spool that an interrupted start left" in beside.stdout, beside.stdout
        assert all(draft.exists() for draft in drafts)
        daemon.stop()
    dry = framesift(tmp_path, "forget", "--stream", "gate", "--dry-run", **WIDE)
    assert f"{drafts[2]}: a copy" in dry.stdout
    assert all(draft.exists() for draft in drafts)
    done = framesift(tmp_path, "forget", "--stream", "gate", **WIDE)
    assert done.returncode == 0, done.stderr
    assert "a copy of the spool" not in done.stdout
    assert not any(draft.exists() for draft in drafts)


def test_a_salvage_that_was_killed_at_its_last_rename_is_finished_and_forgotten_in(tmp_path: Path) -> None:
    write_configuration(tmp_path, {"streams": [{"name": "gate", "source": "clip.mp4"}]})
    clock = ManualClock()
    spool = make_spool(tmp_path, clock)
    spool.open()
    put(spool, clock, id="a")
    spool.close()
    spool.path.rename(tmp_path / "spool.db.salvaged")
    done = framesift(tmp_path, "forget", "--id", "a", **WIDE)
    assert "1 datapoint removed" in done.stdout, done.stdout + done.stderr
    assert rows(tmp_path) == []
