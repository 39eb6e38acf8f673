"""Makes the pictures of docs/page.md: a daemon with a rendered street and a stream that is lost, in a real browser.

    .venv/bin/python scripts/page_pictures.py [docs/page]

Needs Chromium: the path in CHROMIUM, or /usr/bin/chromium. Takes a minute.
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
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, sync_playwright

from framesift.demo.scene import Street, write_video

ROOT = Path(__file__).parents[1]
FRAMES = 480
WATCH_S = 45.0
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


def take_pictures(browser: Browser, address: str, key: str, out: Path) -> None:
    """Writes a picture of each view."""
    context = browser.new_context(viewport={"width": 1100, "height": 760})
    page = context.new_page()
    page.goto(f"{address}/?key={key}")
    page.wait_for_selector("body[data-live=yes]")
    page.screenshot(path=out / "now.png", full_page=True)
    page.goto(f"{address}/gallery")
    page.wait_for_load_state("networkidle")
    page.screenshot(path=out / "gallery.jpg", quality=80)
    page.locator("figure a").nth(1).click()
    page.wait_for_load_state("networkidle")
    page.screenshot(path=out / "datapoint.jpg", quality=80, full_page=True)
    phone = browser.new_context(viewport={"width": 390, "height": 844}, color_scheme="dark").new_page()
    phone.goto(f"{address}/?key={key}")
    phone.wait_for_selector("body[data-live=yes]")
    phone.screenshot(path=out / "phone.png", full_page=True)


def main() -> None:
    """Runs the daemon for a while, and takes the pictures."""
    out = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs" / "page"
    out.mkdir(parents=True, exist_ok=True)
    path = os.environ.get("CHROMIUM") or shutil.which("chromium")
    if path is None:
        sys.exit("no browser: install Chromium, or set CHROMIUM to its path")
    with tempfile.TemporaryDirectory() as name:
        folder, bind = Path(name), free_address()
        write_video(Street(frames=FRAMES), folder / "street.mp4")
        (folder / "framesift.yaml").write_text(json.dumps(settings(folder, bind)))
        (folder / "policy.json").write_text(json.dumps(POLICY))
        daemon = subprocess.Popen([Path(sys.executable).with_name("framesift"), "run"], cwd=folder)
        try:
            time.sleep(WATCH_S)
            with urllib.request.urlopen(f"http://{bind}/healthz", timeout=10) as answer:
                assert answer.status == 200
            key = (folder / "spool.db.page-key").read_text()
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
                take_pictures(browser, f"http://{bind}", key, out)
                browser.close()
        finally:
            daemon.send_signal(signal.SIGTERM)
            daemon.wait(30)


if __name__ == "__main__":
    main()
