"""Makes the pictures of docs/: a daemon with a rendered street and a stream that is lost, and a simulation.

    .venv/bin/python scripts/page_pictures.py [docs/page]

What the daemon shows is real, but for its coverage: a week of numbers that are made up here. The folder gets a folder
`phone/` too, with what must be looked at on a phone, light and dark; git ignores it. Needs Chromium: the path in
CHROMIUM, or /usr/bin/chromium. Takes two minutes.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, sync_playwright

from framesift.coverage import CountedCoverage, DayCoverage, Tally, write_coverage
from framesift.demo.scene import Street, write_video

ROOT = Path(__file__).parents[1]
FRAMES = 480
WATCH_S = 45.0
DAYS, DAY_S = 7, 86_400
SIMULATED_DAYS = "0.045"  # 65 minutes
PHONE: Any = {"width": 390, "height": 844}
POLICY: dict[str, Any] = {
    "enabled": True,
    "persist_predictions": True,
    "sampling_strategies": [
        {
            "name": "unsure",
            "type": "uncertainty",
            "aggregation": "max",
            "near_duplicate": {"threshold": "auto"},
            "limits": [{"type": "hourly", "value": 600}, {"type": "daily", "value": 2000}],
            "pacing": {"mode": "hold_queue", "max_hold_s": 600},
        },
        {
            "name": "crowd",
            "type": "detections_number_based",
            "more_than": 8,
            "probability": 0.2,
            "near_duplicate": {"threshold": "auto"},
            "limits": [{"type": "hourly", "value": 20}],
        },
        {
            "name": "now-and-then",
            "type": "random",
            "traffic_percentage": 0.01,
            "limits": [{"type": "minutely", "value": 2}, {"type": "daily", "value": 100}],
        },
    ],
    "batching_strategy": {"batches_name_prefix": "framesift", "recreation_interval": "daily"},
}
FIRST_COME: dict[str, Any] = {
    **POLICY,
    "sampling_strategies": [
        {
            "name": "unsure",
            "type": "uncertainty",
            "aggregation": "max",
            "limits": [{"type": "hourly", "value": 10}],
        }
    ],
}
PACED: dict[str, Any] = {
    **POLICY,
    "near_duplicate": {"threshold": "auto"},
    "sampling_strategies": [
        {
            "name": "unsure",
            "type": "uncertainty",
            "aggregation": "max",
            "limits": [{"type": "hourly", "value": 10}],
            "pacing": {"mode": "hold_queue", "max_hold_s": 600},
        },
        {
            "name": "crowd",
            "type": "detections_number_based",
            "more_than": 8,
            "probability": 0.2,
            "limits": [{"type": "hourly", "value": 4}],
        },
    ],
}


def settings(folder: Path, bind: str) -> dict[str, Any]:
    """The settings of the daemon."""
    return {
        "device": "gate-7",
        "streams": [
            {"name": "street", "source": str(folder / "street.mp4"), "loop": True, "fps": 10},
            {"name": "yard", "source": "rtsp://127.0.0.1:1/yard"},
        ],
        "model": {"type": "onnx", "path": str(ROOT / "daemon" / "framesift" / "demo" / "street.onnx")},
        "policy": "policy.json",
        "sink": {"type": "folder", "path": "collected"},
        "spool": {"path": "spool.db"},
        "status": {"bind": bind},
    }


def free_address() -> str:
    """An address at which nothing listens at this moment."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        return f"127.0.0.1:{free.getsockname()[1]}"


def write_made_up_week(path: Path, now_s: float) -> None:
    """Writes the coverage of a week in which the street's evenings and its buses were neglected."""
    days = []
    for place in range(DAYS):
        day = int(now_s // DAY_S) - DAYS + place
        for stream, bus_every in (("street", 12), ("yard", 0)):
            seen, collected = Tally(), Tally()
            for hour in range(24):
                light = 2 if 7 <= hour < 17 else 1 if hour in (5, 6, 17, 18) else 0
                frames = 3600 if stream == "street" or hour >= 6 else 0
                taken = (1, 3, 9)[light] + (hour * 7 + day) % 3 - (1 if hour < 12 else 2)
                for tally, number in ((seen, frames), (collected, max(0, taken if frames else 0))):
                    tally.hours[hour] += number
                    tally.brightness[light] += number
                    for objects, share in enumerate((0.2, 0.4, 0.3, 0.1)):
                        tally.objects[objects] += round(number * share)
                    tally.classes.update(car=round(number * 0.7), person=round(number * 0.3))
                    if bus_every:
                        tally.classes.update(bus=number // (bus_every if tally is seen else 90))
            days.append(DayCoverage(day, stream, seen, collected))
    write_coverage(path, CountedCoverage(days[0].day * float(DAY_S), now_s, "UTC", tuple(days)))


def simulate(folder: Path) -> Path:
    """Simulates two policies on the street, and returns the report."""
    (folder / "first-come.json").write_text(json.dumps(FIRST_COME))
    (folder / "paced.json").write_text(json.dumps(PACED))
    program = str(Path(sys.executable).with_name("framesift"))
    command = [program, "simulate", "street.mp4", "--stream", "street", "--start", "2026-11-28T10:00"]
    command += ["--days", SIMULATED_DAYS, "--html", "report.html", "--policy", "first-come.json"]
    subprocess.run([*command, "--policy", "paced.json"], cwd=folder, check=True)
    return folder / "report.html"


def take_pictures(browser: Browser, address: str, key: str, report: Path, out: Path) -> None:
    """Writes a picture of each view."""
    page = browser.new_context(viewport={"width": 1100, "height": 760}).new_page()
    page.goto(f"{address}/?key={key}")
    page.wait_for_selector("body[data-live=yes]")
    page.screenshot(path=out / "now.jpg", quality=85, full_page=True)
    page.goto(f"{address}/gallery")
    page.wait_for_load_state("networkidle")
    page.screenshot(path=out / "gallery.jpg", quality=75)
    page.locator("figure a").nth(1).click()
    page.wait_for_load_state("networkidle")
    page.screenshot(path=out / "datapoint.jpg", quality=80, full_page=True)
    page.goto(f"{address}/coverage")
    page.screenshot(path=out / "coverage.png", full_page=True)
    page.goto(report.as_uri())
    page.screenshot(path=out / "simulate.jpg", quality=80)
    (out / "phone").mkdir(exist_ok=True)
    for scheme in ("light", "dark"):
        phone = browser.new_context(viewport=PHONE, color_scheme=scheme).new_page()
        phone.goto(f"{address}/?key={key}")
        phone.wait_for_selector("body[data-live=yes]")
        phone.screenshot(path=out / "phone" / f"now-{scheme}.png", full_page=True)
        if scheme == "dark":
            phone.screenshot(path=out / "phone.jpg", quality=85, full_page=True)
        for name, shown in (("coverage", f"{address}/coverage"), ("simulate", report.as_uri())):
            phone.goto(shown)
            phone.screenshot(path=out / "phone" / f"{name}-{scheme}.png", full_page=True)


@contextmanager
def device_folder() -> Iterator[Path]:
    """An empty folder for the time; the page shows its path, so it has the name of a device where that can be."""
    folder = Path("/srv/gate-7")
    try:
        folder.mkdir()
    except OSError:
        with tempfile.TemporaryDirectory() as name:
            yield Path(name)
        return
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def main() -> None:
    """Runs the daemon for a while, and takes the pictures."""
    out = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs" / "page"
    out.mkdir(parents=True, exist_ok=True)
    path = os.environ.get("CHROMIUM") or shutil.which("chromium")
    if path is None:
        sys.exit("no browser: install Chromium, or set CHROMIUM to its path")
    with device_folder() as folder:
        bind = free_address()
        write_video(Street(frames=FRAMES), folder / "street.mp4")
        (folder / "framesift.yaml").write_text(json.dumps(settings(folder, bind)))
        (folder / "policy.json").write_text(json.dumps(POLICY))
        write_made_up_week(folder / "spool.db.coverage" / "counts.json", time.time())
        report = simulate(folder)
        daemon = subprocess.Popen([Path(sys.executable).with_name("framesift"), "run"], cwd=folder)
        try:
            time.sleep(WATCH_S)
            with urllib.request.urlopen(f"http://{bind}/healthz", timeout=10) as answer:
                assert answer.status == 200
            key = (folder / "spool.db.page-key").read_text()
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
                take_pictures(browser, f"http://{bind}", key, report, out)
                browser.close()
        finally:
            daemon.send_signal(signal.SIGTERM)
            daemon.wait(30)


if __name__ == "__main__":
    main()
