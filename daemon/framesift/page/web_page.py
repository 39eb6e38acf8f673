"""WebPage: which view answers which address of the page, and what is sent to a viewer as it changes."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import tzinfo
from importlib.resources import files
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import quote

from framesift.coverage import CoverageCounts
from framesift.decisions import DecisionRecord, read_thumbnail, thumbnail_file
from framesift.decisions.lookup import find_datapoint
from framesift.page.budget_view import budget_view
from framesift.page.coverage_view import coverage_view
from framesift.page.datapoint_view import datapoint_view, unknown_datapoint_view
from framesift.page.gallery_view import GalleryNames, gallery_view, nearly_view
from framesift.page.html import Html, element, joined
from framesift.page.pace import PaceMeter
from framesift.page.pictures import PageChoice, PagePictures, PagePlace
from framesift.page.streams_view import all_streams_hands, stream_hands, stream_views, strip_legend
from framesift.page.words import time_text
from framesift.status import StatusAnswer, page_answer
from framesift.telemetry import StatusReport, Telemetry

_NEARLY = 50
_NEARLY_SEARCHED = 5000  # lines of the record
_NAMES = {"/": "now", "/gallery": "gallery", "/nearly": "nearly taken", "/coverage": "coverage"}


class WebPage:
    """The page of one run: a `StatusWebPage`. Thread-safe."""

    def __init__(
        self,
        telemetry: Telemetry,
        record: DecisionRecord,
        pictures: PagePictures,
        coverage: CoverageCounts,
        *,
        device: str,
        record_folder: Path | None,
        zone: Callable[[], tzinfo],
        thumbnail: Callable[[str], bytes | None],
    ) -> None:
        """record_folder: of the decision record, None without one. zone: in which days and hours are counted.

        thumbnail: returns a JPEG of what a stream shows now, None if there is none; it may wait for seconds.
        """
        self._telemetry = telemetry
        self._record = record
        self._pictures = pictures
        self._coverage = coverage
        self._device = device
        self._record_folder = record_folder
        self._zone = zone
        self._thumbnail = thumbnail
        self._lock = threading.Lock()
        self._pace = PaceMeter()
        self._script = (files(__package__) / "page.js").read_text(encoding="utf-8")
        self._style = (files(__package__) / "page.css").read_text(encoding="utf-8")

    def answer(self, path: str, query: Mapping[str, str], *, has_key: bool) -> StatusAnswer | None:
        """Return the answer to a GET; None if there is no such page. has_key: whether pictures may be seen."""
        if path == "/":
            return self._page("/", self._now(has_key=has_key), has_key=has_key)
        if path == "/gallery":
            return self._page(path, self._gallery(query, has_key=has_key), has_key=has_key)
        if path == "/nearly":
            lines = list(islice(self._nearly(), _NEARLY))
            thumbnails = self._thumbnails_of(lines) if has_key else frozenset()
            return self._page(path, nearly_view(lines, self._zone(), thumbnails), has_key=has_key)
        if path == "/coverage":
            now_s, zone = self._telemetry.report().taken_at_s, self._zone()
            view = coverage_view(self._coverage.snapshot(now_s, str(zone)), zone)
            return self._page(path, view, has_key=has_key)
        first, _, name = path.removeprefix("/").partition("/")
        if first == "datapoints" and name:
            return self._datapoint(path, name, has_key=has_key)
        if first == "pictures" and name.endswith(".jpg") and has_key:
            jpeg = self._pictures.jpeg(name.removesuffix(".jpg"))
            return None if jpeg is None else page_answer(jpeg, "image/jpeg")
        if first == "nearly" and has_key and self._record_folder is not None:
            jpeg = read_thumbnail(self._record_folder, name)
            return None if jpeg is None else page_answer(jpeg, "image/jpeg")
        if first == "thumbnails" and name.endswith(".jpg") and has_key:
            jpeg = self._thumbnail(name.removesuffix(".jpg"))
            return None if jpeg is None else page_answer(jpeg, "image/jpeg")
        return None

    def _datapoint(self, path: str, id: str, *, has_key: bool) -> StatusAnswer:
        one = self._pictures.find(id)
        lines: list[dict[str, Any]] = []
        if has_key or one is not None:  # whoever has no key must not make the whole record be read
            self._record.flush()
            lines = [] if self._record_folder is None else find_datapoint(self._record_folder, id)
        if one is not None or lines:
            return self._page(path, datapoint_view(id, one, lines, self._zone(), has_key=has_key), has_key=has_key)
        return self._page(path, unknown_datapoint_view(id), has_key=has_key, status=404)

    def live(self) -> bytes:
        """Return what changes of the page at `/`: a JSON object, the id of an element -> its HTML."""
        return json.dumps(dict(self._live())).encode()

    def _live(self) -> Iterator[tuple[str, Html]]:
        report, zone = self._telemetry.report(), self._zone()
        yield "taken-at", joined(time_text(report.taken_at_s, zone))
        hours = {one.stream: self._record.last_hour(one.stream) for one in report.streams}
        speeds = self._record.speeds()
        for name, view in stream_views(report, hours, speeds, self._record.down(), zone):
            yield f"stream-{name}", view
        for name, hands in stream_hands(report):
            yield f"hands-{name}", hands
        yield "budget", budget_view(report, self._paced(report), zone)

    def _paced(self, report: StatusReport) -> Any:
        with self._lock:
            return None if report.queue is None else self._pace.add(report.taken_at_s, report.queue)

    def _now(self, *, has_key: bool) -> Html:
        parts = dict(self._live())
        names = [id.removeprefix("stream-") for id in parts if id.startswith("stream-")]
        streams = [
            element(
                "section",
                element("h3", name),
                _thumbnail(name) if has_key else None,
                element("div", parts[f"stream-{name}"], id=f"stream-{name}"),
                element("div", parts[f"hands-{name}"], id=f"hands-{name}"),
                class_="stream",
            )
            for name in names
        ]
        return joined(
            element("p", id="silent", class_="note bad", role="alert", hidden=True),
            element("h2", "Streams"),
            all_streams_hands() if streams else None,
            element("div", streams or "No stream has given a frame yet.", class_="streams"),
            strip_legend() if streams else None,
            element("h2", "Budget"),
            element("div", parts["budget"], id="budget"),
            element("p", "as of ", element("span", parts["taken-at"], id="taken-at"), class_="hour"),
        )

    def _gallery(self, query: Mapping[str, str], *, has_key: bool) -> Html:
        texts = {name: query.get(name, "")[:200] for name in ("stream", "strategy", "class", "state")}
        choice = PageChoice(
            texts["stream"], texts["strategy"], texts["class"], texts["state"], query.get("order") == "score"
        )
        report = self._telemetry.report()
        streams = [one.stream for one in report.streams]
        names = GalleryNames(streams, list(report.accepted), self._pictures.class_names())
        before = PagePlace.parse(query.get("before", ""))
        page = self._pictures.page(choice, before)
        return gallery_view(page, choice, names, self._zone(), is_first=before == PagePlace(), has_key=has_key)

    def _nearly(self) -> Iterator[dict[str, Any]]:
        for line in islice(self._record.lines(), _NEARLY_SEARCHED):
            if line["type"] == "decision" and line["outcome"] == "refused":
                yield line

    def _thumbnails_of(self, lines: Iterable[dict[str, Any]]) -> frozenset[str]:
        """The names of the thumbnails that are still there."""
        files = () if self._record_folder is None else (thumbnail_file(self._record_folder, line) for line in lines)
        return frozenset(file.name for file in files if file is not None)

    def _page(self, path: str, content: Html, *, has_key: bool, status: int = 200) -> StatusAnswer:
        links = [
            element("a", name, href=href, aria_current="page" if href == path else None)
            for href, name in _NAMES.items()
        ]
        note = None
        if not has_key:
            note = element("p", "Pictures need a key: ", element("code", "framesift status --open"), class_="note")
        whole = element(
            "html",
            element(
                "head",
                element("meta", charset="utf-8"),
                element("meta", name="viewport", content="width=device-width, initial-scale=1"),
                element("link", rel="icon", href="data:,"),
                element("title", f"{_NAMES.get(path, 'datapoint')}, {self._device}: framesift"),
                element("style", Html(self._style)),
            ),
            element(
                "body",
                element("header", element("h1", self._device), element("nav", links)),
                element("main", note, content, element("p", f"all times: {self._zone()}", class_="hour")),
                element("div", id="told", role="status"),
                element("script", Html(self._script)),
            ),
            lang="en",
        )
        return page_answer(b"<!doctype html>" + whole.encode(), "text/html; charset=utf-8", status)


def _thumbnail(stream: str) -> Html:
    """What a stream shows: asked for when the page is opened, and again when it is clicked."""
    alt = f"what {stream} shows now"
    return element("img", src=f"/thumbnails/{quote(stream, safe='')}.jpg", alt=alt, title=alt, class_="thumbnail")
