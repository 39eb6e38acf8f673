"""The client of the labelling platform's HTTP interface. Every call asks once, within its own deadline.

The platform wants the key in the query; it is added as the request leaves, and is in nothing that comes back.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

from urllib3.filepost import encode_multipart_formdata

from framesift import __version__
from framesift.config.redact import Redactor
from framesift.http_client.client import MAX_BYTES, HttpClient, HttpRequest
from framesift.roboflow.errors import PlatformError, PlatformErrorKind, parse_response

_MOST_LISTED_BYTES = 8 * 1024 * 1024
_HEADERS = {"User-Agent": f"framesift/{__version__}", "Accept": "application/json"}
_FRESH = (("nocache", "true"),)
_SLUG = re.compile(r"[A-Za-z0-9_-]{1,128}")
# It becomes a part of an address, where "." and ".." would mean another one.
_IMAGE_ID = re.compile(r"(?!\.*$)[A-Za-z0-9_.:~-]{1,128}")
_DEFAULT_TYPE = "object-detection"


@dataclass(frozen=True, slots=True)
class UploadResult:
    """image_id: "" where the platform said that it has the image, but not under which id."""

    image_id: str
    duplicate: bool


@dataclass(frozen=True, slots=True)
class LabelingBatch:
    """A labelling batch. images: those that are in no job. jobs: how many jobs were made of it."""

    id: str
    name: str
    images: int
    jobs: int


@dataclass(frozen=True, slots=True)
class LabelingJob:
    """A labelling job. sources: the batches that it was made of, each by its id or by a path that has the id in it."""

    sources: tuple[str, ...]
    images: int

    def is_made_from(self, batch: LabelingBatch) -> bool:
        """Whether it was made of that one: "XXX/YYY" is of the batch YYY, and "b12" is not of the batch b1."""
        return any(f"/{batch.id}/" in f"/{source}/" for source in self.sources)


class RoboflowClient:
    """For several threads at once. Every call raises PlatformError, and nothing else.

    api_url: the platform's address. gateway: a server that fetches for us what is asked of its /proxy?url=...
    within_s: the total deadline of one call, in seconds.
    """

    def __init__(
        self, http: HttpClient, *, api_key: str, api_url: str = "https://api.roboflow.com", gateway: str | None = None
    ) -> None:
        self._web = http
        self._key = (("api_key", api_key),)
        self._api_url = api_url.rstrip("/")
        self._gateway = None
        if gateway is not None:
            self._gateway = (gateway if "://" in gateway else f"http://{gateway}").rstrip("/")
        self._redacted = Redactor([api_key])

    def __repr__(self) -> str:
        return f"Roboflow({self._api_url})"

    def fetch_workspace(self, *, within_s: float) -> str:
        """The workspace that the key belongs to."""
        what = "asking whose key it is"
        found = self._ask(what, "GET", (), query=_FRESH, within_s=within_s).get("workspace")
        if not isinstance(found, str) or _SLUG.fullmatch(found) is None:
            raise _strange(what, "the platform names no workspace")
        return found

    def fetch_project_type(self, workspace: str, project: str, *, within_s: float) -> str:
        """The task of a project, such as "object-detection", which it also is where the platform doesn't say."""
        what = f"asking for the type of project {project}"
        answer = self._ask(what, "GET", (workspace, project), query=_FRESH, within_s=within_s)
        found = _inner(answer, "project", "type", _DEFAULT_TYPE)
        if found is None:
            raise _strange(what, "the platform names no type")
        return found

    def fetch_model_type(self, workspace: str, project: str, version: str, *, within_s: float) -> str:
        """The type of a version's model, as the platform calls it. NOT_FOUND is also what it fails with (500) for a
        version without a model.
        """
        what = f"asking for the type of model {project}/{version}"
        place = (workspace, project, version)
        answer = self._ask(what, "GET", place, query=_FRESH, within_s=within_s, missing=frozenset({404, 500}))
        found = _inner(answer, "version", "modelType", None)
        if found is None:
            raise _strange(what, "the platform names no type")
        return found

    def fetch_active_learning(self, workspace: str, project: str, *, within_s: float) -> dict[str, Any]:
        """The project's active-learning configuration, as it comes."""
        what = f"asking for the active-learning configuration of {project}"
        place = (workspace, project, "active_learning")
        return self._ask(what, "GET", place, within_s=within_s, most_bytes=_MOST_LISTED_BYTES)

    def set_active_learning(self, workspace: str, project: str, config: dict[str, Any], *, within_s: float) -> None:
        """config: what JSON can say."""
        what = f"setting the active-learning configuration of {project}"
        body = json.dumps({"config": config}, allow_nan=False).encode()
        place = (workspace, project, "active_learning")
        self._ask(what, "POST", place, body=body, content_type="application/json", within_s=within_s)

    def upload(
        self,
        project: str,
        *,
        name: str,
        jpeg: bytes,
        batch: str,
        tags: tuple[str, ...],
        inference_id: str | None = None,
        within_s: float,
    ) -> UploadResult:
        """Adds an image to a batch of a project of the key's workspace; the platform compares it with what it has."""
        what = f"uploading to project {project}"
        query = [("batch", batch)]
        if inference_id is not None:
            query.append(("inference_id", inference_id))
        query += [("tag", tag) for tag in tags]
        body, content_type = encode_multipart_formdata(
            [("name", name), ("file", ("imageToUpload", jpeg, "image/jpeg"))]
        )
        answer = self._ask(
            what,
            "POST",
            ("dataset", project, "upload"),
            query=tuple(query),
            body=body,
            content_type=content_type,
            within_s=within_s,
        )
        image_id = answer.get("id")
        if not isinstance(image_id, str) or _IMAGE_ID.fullmatch(image_id) is None:
            image_id = ""
        if answer.get("duplicate") is True:
            return UploadResult(image_id, duplicate=True)
        if answer.get("success") is not True or not image_id:
            raise _strange(what, "the platform does not say that it has the image, and under which id")
        return UploadResult(image_id, duplicate=False)

    def annotate(self, project: str, image_id: str, *, name: str, text: str, within_s: float) -> None:
        """Adds what was predicted to an image. name: the image's, but "....json" for a prediction as a JSON object, or
        "....txt" for the name of a class. CONFLICT: it has an annotation.
        """
        what = f"annotating image {image_id} of project {project}"
        answer = self._ask(
            what,
            "POST",
            ("dataset", project, "annotate", image_id),
            query=(("name", name), ("prediction", "true")),
            body=text.encode(),
            content_type="text/plain",
            within_s=within_s,
        )
        if answer.get("success") is not True:
            raise _strange(what, "the platform does not say that it has taken it")

    def list_batches(self, workspace: str, project: str, *, within_s: float) -> tuple[LabelingBatch, ...]:
        """The project's labelling batches. Entries that can't be understood are left out."""
        what = f"asking for the batches of project {project}"
        found = []
        for entry in self._listed(what, workspace, project, "batches", within_s):
            id, name = entry.get("id"), entry.get("name")
            images, jobs = _count(entry.get("images")), _count(entry.get("numJobs", 0))
            if isinstance(id, str) and id and isinstance(name, str) and images is not None and jobs is not None:
                found.append(LabelingBatch(id, name, images, jobs))
        return tuple(found)

    def list_jobs(self, workspace: str, project: str, *, within_s: float) -> tuple[LabelingJob, ...]:
        """The project's labelling jobs. Entries that can't be understood are left out."""
        what = f"asking for the jobs of project {project}"
        found = []
        for entry in self._listed(what, workspace, project, "jobs", within_s):
            said, images = entry.get("sourceBatch"), _count(entry.get("numImages"))
            listed = said if isinstance(said, list) else [said]  # one batch, or a list of them
            sources = tuple(source for source in listed if source and isinstance(source, str))
            if sources and images is not None:
                found.append(LabelingJob(sources, images))
        return tuple(found)

    def _listed(self, what: str, workspace: str, project: str, kind: str, within_s: float) -> list[dict[str, Any]]:
        answer = self._ask(what, "GET", (workspace, project, kind), within_s=within_s, most_bytes=_MOST_LISTED_BYTES)
        listed = answer.get(kind)
        if not isinstance(listed, list):
            raise _strange(what, f"the platform lists no {kind}")
        return [entry for entry in listed if isinstance(entry, dict)]

    def _ask(
        self,
        what: str,
        method: str,
        place: tuple[str, ...],
        *,
        within_s: float,
        query: tuple[tuple[str, str], ...] = (),
        body: bytes | None = None,
        content_type: str | None = None,
        most_bytes: int = MAX_BYTES,
        missing: frozenset[int] = frozenset({404}),
    ) -> dict[str, Any]:
        url = f"{self._api_url}/{'/'.join(quote(part, safe='') for part in place)}"
        asked, secret = url, self._key
        if self._gateway is not None:
            asked, secret = f"{self._gateway}/proxy", (("url", f"{url}?{urlencode(self._key + query)}"),)
            query = ()
        request = HttpRequest(method, asked, query, secret, _HEADERS, body, content_type)
        outcome = self._web.exchange(request, within_s=within_s, max_bytes=most_bytes)
        answer = parse_response(what, outcome, url=asked, redact=self._redacted, missing=missing)
        if isinstance(answer, PlatformError):
            raise answer
        return answer


def _strange(what: str, why: str) -> PlatformError:
    return PlatformError(f"{what}: {why}", PlatformErrorKind.UNEXPECTED_ANSWER)


def _inner(answer: dict[str, Any], outer: str, name: str, default: str | None) -> str | None:
    """A text inside the answer's object `outer`: the default where that doesn't name it, None where it can't be."""
    inside = answer.get(outer)
    if not isinstance(inside, dict):
        return None
    found = inside.get(name) or default
    return found if isinstance(found, str) else None


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
