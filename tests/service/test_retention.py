"""A run whose folder has bounds: pictures of earlier runs go, and status, metrics, log and `check` say so."""

from __future__ import annotations

import json
import re
import socket
import urllib.request
from pathlib import Path

from deliveries import deliver, delivery, folder_sink
from rigs.daemon import Daemon, collected, framesift, unhurried, write_configuration
from rigs.footage import numbered_clip


def test_what_is_too_old_goes_and_everything_says_so(tmp_path: Path) -> None:
    old = folder_sink(tmp_path / "collected")
    for number in range(4):  # captured in September
        deliver(old, delivery(number))
    old.close()
    numbered_clip(tmp_path / "clip.mp4", frames=20)
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    write_configuration(
        tmp_path,
        {
            "streams": [{"name": "gate", "source": "clip.mp4", "loop": True}],
            "model": unhurried(tmp_path),
            "sink": {"type": "folder", "path": "collected", "max_age_days": 10, "max_bytes": "1GiB"},
            "status": {"bind": address},
        },
    )
    before = framesift(tmp_path, "check", COLUMNS="400").stdout
    assert re.search(r"4 pictures, [0-9.]+ KiB of 1.0 GiB, the oldest", before)
    assert len(collected(tmp_path)) == 4, "check removes nothing"

    with Daemon(tmp_path) as daemon:
        line = daemon.wait_for("collected_removed")
        assert (line["pictures"], line["too_old"], line["too_much"]) == (4, 4, 0)
        assert daemon.until(lambda: len(collected(tmp_path)) > 0, 20.0)
        assert {row["stream"] for row in collected(tmp_path)} == {"gate"}
        status = json.loads(framesift(tmp_path, "status", "--json").stdout)["collected"]
        assert status["removed"] == {"age": 4, "size": 0}
        assert status["pictures"] > 0
        assert status["size_bytes"] > 0
        said = framesift(tmp_path, "status", COLUMNS="400").stdout
        assert "of 1.0 GiB, the oldest 0.0 days of 10; 4 removed since the start" in said
        checked = framesift(tmp_path, "check", COLUMNS="400").stdout
        assert "4 removed since the start" in checked
        with urllib.request.urlopen(f"http://{address}/metrics") as page:
            metrics = page.read().decode()
        assert 'framesift_collected_removed_total{bound="age"} 4.0' in metrics
        assert "framesift_collected_max_bytes 1.073741824e+09" in metrics
        daemon.stop()


def test_a_bound_below_one_picture_ends_the_start_with_2(tmp_path: Path) -> None:
    numbered_clip(tmp_path / "clip.mp4", frames=2)
    sink = {"type": "folder", "path": "collected", "max_bytes": "1MiB"}
    write_configuration(tmp_path, {"streams": [{"name": "gate", "source": "clip.mp4"}], "sink": sink})
    ended = framesift(tmp_path, "run")
    assert ended.returncode == 2
    assert "sink.max_bytes" in ended.stderr
    assert "16777216" in ended.stderr
