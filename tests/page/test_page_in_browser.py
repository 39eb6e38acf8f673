"""A real browser clicks through the page of a real daemon, and compares what it shows with /metrics and the spool.

The file has ended and the sink takes nothing, so that all numbers stand still while they are compared.
"""

from __future__ import annotations

import http.client
import re
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timezone
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, expect
from prometheus_client.parser import text_string_to_metric_families

from framesift.coverage import BRIGHTNESS, read_coverage, summaries
from framesift.spool import admin
from framesift.status import key_file
from rigs.browser import browser as real_browser
from rigs.browser import skip_without_browser
from rigs.daemon import POLICY, Daemon, collected, free_address, unhurried, write_configuration
from rigs.scenes import scene_clip

skip_without_browser()

SCENES = 4
ALL = {
    "name": "all",
    "type": "random",
    "traffic_percentage": 1.0,
    "near_duplicate": {"threshold": 0.02},
    "limits": [{"type": "hourly", "value": 50}],
}


@dataclass
class Shown:
    """A daemon whose file has ended, and its page in a browser."""

    folder: Path
    daemon: Daemon
    page: Page
    address: str
    outside: list[str]  # requests to other servers, and what went wrong on the page

    def metric(self, name: str, **labels: str) -> float:
        host = self.address.removeprefix("http://")
        connection = http.client.HTTPConnection(host, timeout=20.0)
        connection.request("GET", "/metrics")
        families = text_string_to_metric_families(connection.getresponse().read().decode())
        connection.close()
        samples = [sample for family in families for sample in family.samples if sample.name == name]
        return sum(one.value for one in samples if labels.items() <= one.labels.items())

    def rows(self) -> list[Any]:
        return admin.list_rows(self.folder / "spool.db")

    def number(self, name: str) -> int:
        """The number beside a name on the page."""
        said = self.page.locator("main").inner_text()
        found = re.search(rf"{re.escape(name)}\s+([\d,]+)", said)
        assert found is not None, said
        return int(found[1].replace(",", ""))


def _is_unexpected(said: ConsoleMessage) -> bool:
    """Whether the browser reports an error, other than that a stream which has ended gives no thumbnail."""
    return said.type == "error" and "/thumbnails/" not in said.location["url"]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with real_browser() as found:
        yield found


@pytest.fixture
def shown(tmp_path: Path, browser: Browser) -> Iterator[Shown]:
    scene_clip(tmp_path / "clip.mkv", SCENES)
    bind = free_address()
    (tmp_path / "file").write_text("in the way of the folder")
    settings = {
        "streams": [{"name": "gate", "source": "clip.mkv"}],
        "sink": {"type": "folder", "path": "file/collected"},
        "status": {"bind": bind},
    }
    write_configuration(tmp_path, settings, {**POLICY, "sampling_strategies": [ALL]})
    with Daemon(tmp_path) as daemon:
        address = f"http://{bind}"
        daemon.wait_for("stream", state="ended")
        daemon.until(lambda: len(admin.list_rows(tmp_path / "spool.db")) == SCENES, 20.0)
        context = browser.new_context()
        page = context.new_page()
        outside: list[str] = []
        page.on(
            "request", lambda asked: None if asked.url.startswith((address, "data:")) else outside.append(asked.url)
        )
        page.on("console", lambda said: outside.append(said.text) if _is_unexpected(said) else None)
        page.on("pageerror", lambda error: outside.append(str(error)))
        page.goto(f"{address}/?key={key_file(tmp_path / 'spool.db').read_text()}")
        expect(page.locator("body[data-live=yes]")).to_be_visible(timeout=20_000)
        made = Shown(tmp_path, daemon, page, address, outside)
        yield made
        context.close()
        assert outside == []


def test_what_the_page_counts_is_what_the_metrics_and_the_spool_have(shown: Shown) -> None:
    accepted = shown.metric("framesift_frames_accepted_total", stream="gate")
    refused = shown.metric("framesift_frames_refused_total", stream="gate")
    assert (accepted, refused) == (SCENES, 5 * SCENES)
    assert shown.number("accepted") == accepted
    assert shown.number("refused") == refused
    assert shown.number("frames read") == shown.metric("framesift_frames_read_total", stream="gate")
    expect(shown.page.locator("#stream-gate")).to_contain_text(
        f"{SCENES} accepted for all, {5 * SCENES} near_duplicate"
    )
    expect(shown.page.locator("#budget")).to_contain_text(f"{SCENES} of 50 in the hour")
    expect(shown.page.locator("img.thumbnail")).to_be_hidden(timeout=20_000)  # the file has ended: there is none
    assert shown.metric("framesift_credits_used", strategy="all") == SCENES
    assert shown.number("waiting") + shown.number("being sent") == len(shown.rows())


def test_every_picture_of_the_gallery_is_shown_and_explains_itself(shown: Shown) -> None:
    page = shown.page
    page.click("nav >> text=gallery")
    expect(page.locator("figure")).to_have_count(len(shown.rows()))
    for place in range(SCENES):
        image = page.locator("figure img").nth(place)
        image.scroll_into_view_if_needed()
        page.wait_for_function("image => image.complete && image.naturalWidth > 0", arg=image.element_handle())
    ids = {row.id for row in shown.rows()}
    first = page.locator("figure a").first
    id = (first.get_attribute("href") or "").removeprefix("/datapoints/")
    assert id in ids
    first.click()
    why = page.locator("pre")
    expect(why).to_contain_text(f"id {id}")
    expect(why).to_contain_text("accepted for all")
    page.click("nav >> text=nearly taken")
    expect(page.locator(".nearly section").first).to_contain_text("near_duplicate")
    page.locator(".nearly a").first.click()
    assert page.url.removeprefix(f"{shown.address}/datapoints/") in ids


def test_every_page_has_its_title_and_an_unknown_datapoint_a_way_on(shown: Shown) -> None:
    page = shown.page
    titles = []
    for path in ("", "gallery", "nearly", "coverage", f"datapoints/{shown.rows()[0].id}"):
        page.goto(f"{shown.address}/{path}")
        titles.append(page.title())
        expect(page.locator("h2").first).to_be_visible()
        expect(page.locator("main")).to_contain_text("all times: UTC")
    assert titles == [
        f"{name}, test: framesift" for name in ("now", "gallery", "nearly taken", "coverage", "datapoint")
    ]
    other = page.context.new_page()
    answer = other.goto(f"{shown.address}/datapoints/nothing%3Cb%3E")
    assert answer is not None
    assert answer.status == 404
    expect(other.locator("h2")).to_have_text("Datapoint nothing<b>")
    expect(other.locator("main")).to_contain_text("No datapoint with this id is on this machine")
    other.locator("main a").click()
    assert other.url == f"{shown.address}/gallery"


def test_a_datapoint_is_dropped_before_it_is_delivered(shown: Shown) -> None:
    page = shown.page
    id = shown.rows()[0].id
    page.goto(f"{shown.address}/datapoints/{id}")
    page.once("dialog", lambda dialog: dialog.dismiss())
    page.get_by_role("button", name="drop").click()
    assert id in {row.id for row in shown.rows()}
    page.once("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="drop").click()
    expect(page.locator("#told")).to_have_text("dropped", timeout=20_000)
    expect(page.locator("main .mark")).to_have_text("dropped")
    expect(page.get_by_role("button", name="drop")).to_have_count(0)
    assert id not in {row.id for row in shown.rows()}
    shown.daemon.wait_for("datapoints_dropped", ids=[id])
    page.goto(f"{shown.address}/gallery")
    expect(page.locator("figure")).to_have_count(SCENES - 1)
    assert shown.metric("framesift_datapoints_left_total", exit="dropped") == 1


def test_a_stream_is_paused_and_resumed(shown: Shown) -> None:
    page = shown.page
    page.click("text=pause for an hour")
    expect(page.locator("#told")).to_have_text("gate is paused")
    expect(page.locator("#stream-gate")).to_contain_text("paused until", timeout=15_000)
    shown.daemon.wait_for("stream_paused", stream="gate")
    assert shown.metric("framesift_paused", stream="gate") == 1
    page.locator("#hands-gate").get_by_role("button", name="resume").click()
    expect(page.locator("#stream-gate")).not_to_contain_text("paused until", timeout=15_000)
    assert shown.metric("framesift_paused", stream="gate") == 0
    page.get_by_role("button", name="pause all").click()
    expect(page.locator("#stream-gate")).to_contain_text("paused until somebody resumes it", timeout=15_000)
    page.get_by_role("button", name="resume all").click()
    expect(page.locator("#stream-gate")).not_to_contain_text("paused until", timeout=15_000)
    assert shown.metric("framesift_paused", stream="gate") == 0


def test_a_button_stays_where_it_is_while_the_numbers_change(shown: Shown) -> None:
    page = shown.page
    taken_at = page.locator("#taken-at").inner_text()
    pause = page.locator("#hands-gate").get_by_role("button", name="pause", exact=True)
    pause.focus()
    pause.hover()
    page.mouse.down()
    expect(page.locator("#taken-at")).not_to_have_text(taken_at, timeout=20_000)
    page.evaluate("shown['stream-gate'] = ''; document.getElementById('stream-gate').textContent = ''")
    expect(page.locator("#stream-gate")).to_contain_text("frames read", timeout=20_000)  # as if they had changed
    expect(pause).to_be_focused()
    page.mouse.up()  # the click is not lost
    expect(page.locator("#stream-gate")).to_contain_text("paused until somebody resumes it", timeout=15_000)
    expect(page.locator("#hands-gate").get_by_role("button", name="resume")).to_be_focused(timeout=15_000)


def test_a_stream_that_is_back_is_asked_for_its_picture_again(shown: Shown) -> None:
    page = shown.page
    expect(page.locator("img.thumbnail")).to_be_hidden(timeout=20_000)
    with page.expect_request("**/thumbnails/gate.jpg?at=*"):
        page.evaluate("show({'stream-gate': '<p><span class=mark>running again</span></p>'})")


def test_a_page_that_hears_nothing_says_so_until_it_does(shown: Shown, browser: Browser) -> None:
    context = browser.new_context()
    page = context.new_page()
    page.clock.install()
    page.goto(f"{shown.address}/")
    expect(page.locator("body[data-live=yes]")).to_be_visible(timeout=20_000)
    silent = page.locator("#silent")
    expect(silent).to_be_hidden()
    shown.daemon.process.send_signal(signal.SIGSTOP)  # its connections stay open
    try:
        page.clock.fast_forward(15_000)
        expect(silent).to_contain_text("The daemon does not answer: all numbers are those of 20")
    finally:
        shown.daemon.process.send_signal(signal.SIGCONT)
    expect(silent).to_be_hidden(timeout=20_000)
    context.close()


def test_the_coverage_on_the_page_is_what_the_file_has(shown: Shown, browser: Browser) -> None:
    page = shown.page
    page.click("nav >> text=coverage")
    cells = page.locator("table.hours td")
    expect(cells).to_have_count(24)
    said = [re.findall(r"\d[\d,]*", text)[2:] for text in cells.all_inner_texts()]
    expect(page.locator("details.shares summary")).to_have_text(f"gate: {SCENES} collected")
    rows = page.locator("table.shares tbody tr").all_inner_texts()
    phone = browser.new_context(viewport={"width": 390, "height": 844}, color_scheme="dark").new_page()
    phone.goto(f"{shown.address}/coverage")
    assert phone.evaluate("document.documentElement.scrollWidth <= innerWidth")
    phone.context.close()
    assert shown.daemon.stop() == 0
    kept = read_coverage(shown.folder / "spool.db.coverage" / "counts.json")
    assert kept is not None
    (gate,) = summaries(kept, timezone.utc)
    assert gate.collected.frames == SCENES
    assert said == [
        [str(number), str(SCENES), str(of_seen), str(gate.seen.frames)]
        for number, of_seen in zip(gate.collected.hours, gate.seen.hours, strict=True)
    ]
    assert [row.split()[:4] for row in rows] == [
        [name, str(number), "of", str(SCENES)]
        for name, number in zip(BRIGHTNESS, gate.collected.brightness, strict=True)
    ]


def test_a_frame_is_taken_now_and_explained(tmp_path: Path, browser: Browser) -> None:
    scene_clip(tmp_path / "clip.mkv", SCENES)
    bind = free_address()
    nothing = {**ALL, "traffic_percentage": 0.0}
    settings = {
        "streams": [{"name": "gate", "source": "clip.mkv", "loop": True}],
        "model": unhurried(tmp_path),
        "status": {"bind": bind},
    }
    write_configuration(tmp_path, settings, {**POLICY, "sampling_strategies": [nothing]})
    with Daemon(tmp_path) as daemon:
        daemon.wait_for("stream", state="running")
        context = browser.new_context()
        page = context.new_page()
        page.goto(f"http://{bind}/?key={key_file(tmp_path / 'spool.db').read_text()}")
        thumbnail = page.locator("img.thumbnail")
        page.wait_for_function("image => image.complete && image.naturalWidth > 0", arg=thumbnail.element_handle())
        page.get_by_role("button", name="take a frame now").click(timeout=20_000)
        told = page.locator("#told")
        expect(told).to_contain_text("taken: ", timeout=30_000)
        id = told.inner_text().removeprefix("taken: ")
        daemon.until(lambda: bool(collected(tmp_path)), 20.0)
        assert [(line["id"], line["strategy"]) for line in collected(tmp_path)] == [(id, "manual")]
        page.goto(f"http://{bind}/datapoints/{id}")
        expect(page.locator("pre")).to_contain_text("accepted for manual")
        context.close()
        assert daemon.stop() == 0


def test_a_page_that_is_not_told_the_key_shows_numbers_and_no_picture(shown: Shown, browser: Browser) -> None:
    context = browser.new_context(viewport={"width": 390, "height": 800})
    page = context.new_page()
    for path in (f"gallery?class={'long-' * 30}", f"datapoints/{shown.rows()[0].id}", f"datapoints/{'a' * 99}"):
        page.goto(f"{shown.address}/{path}")
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), path
    page.goto(f"{shown.address}/gallery")
    expect(page.locator("main")).to_contain_text("framesift status --open")
    assert page.locator("img").count() == 0
    answer = page.goto(f"{shown.address}/pictures/{shown.rows()[0].id}.jpg")
    assert answer is not None
    assert answer.status == 404
    page.goto(f"{shown.address}/")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")  # it fits a phone
    context.close()
