"""Client of the labelling platform's HTTP API. Every call sends one request with its own deadline.

The platform expects the key in the query. It is added when the request is sent and appears in no result, exception or
log line.
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
from framesift.http_client import MAX_BYTES, HttpClient, HttpRequest
from framesift.roboflow.errors import PlatformError, PlatformErrorKind, parse_response

_MAX_LIST_BYTES = 8 * 1024 * 1024
_HEADERS = {"User-Agent": f"framesift/{__version__}", "Accept": "application/json"}
_FRESH = (("nocache", "true"),)
_SLUG = re.compile(r"[A-Za-z0-9_-]{1,128}")
# It becomes part of a URL path, where "." and ".." would mean another path.
_IMAGE_ID = re.compile(r"(?!\.*$)[A-Za-z0-9_.:~-]{1,128}")
_DEFAULT_TYPE = "object-detection"


@dataclass(frozen=True, slots=True)
class UploadResult:
    """The platform has the image.

    image_id: its id; "" if the platform did not name it. duplicate: whether the platform had the same image before.
    """

    image_id: str
    duplicate: bool


@dataclass(frozen=True, slots=True)
class LabelingBatch:
    """A labelling batch. images: number of images that are in no job. jobs: number of jobs made of the batch."""

    id: str
    name: str
    images: int
    jobs: int


@dataclass(frozen=True, slots=True)
class LabelingJob:
    """A labelling job. sources: the batches that it was made from, as ids or as paths that contain the id."""

    sources: tuple[str, ...]
    images: int

    def is_made_from(self, batch: LabelingBatch) -> bool:
        """Whether the job was made from this batch: "XXX/YYY" is from batch YYY, but "b12" is not from batch b1."""
        return any(f"/{batch.id}/" in f"/{source}/" for source in self.sources)


class RoboflowClient:
    """Calls the platform's API. Thread-safe. Every call raises PlatformError and nothing else.

    api_url: the platform's address. gateway: address of a server that fetches what its /proxy?url=... is asked for.
    The calls' within_s: total deadline of the call, in seconds.
    """

    def __init__(
        self, http: HttpClient, *, api_key: str, api_url: str = "https://api.roboflow.com", gateway: str | None = None
    ) -> None:
        self._http = http
        self._key = (("api_key", api_key),)
        self._api_url = api_url.rstrip("/")
        self._gateway = None
        if gateway is not None:
            self._gateway = (gateway if "://" in gateway else f"http://{gateway}").rstrip("/")
        self._redact = Redactor([api_key])

    def __repr__(self) -> str:
        return f"RoboflowClient({self._api_url})"

    def trust_problem(self) -> str | None:
        """Why nothing can be asked: the certificates to trust can't be read. None if they can."""
        return self._http.trust_problem()

    def fetch_workspace(self, *, within_s: float) -> str:
        """Return the workspace that the key belongs to."""
        what = "asking for the key's workspace"
        found = self._call(what, "GET", (), query=_FRESH, within_s=within_s).get("workspace")
        if not isinstance(found, str) or _SLUG.fullmatch(found) is None:
            raise _unexpected(what, "the platform names no workspace")
        return found

    def fetch_project_type(self, workspace: str, project: str, *, within_s: float) -> str:
        """Return the type of a project, such as "object-detection", which is also the platform's default."""
        what = f"asking for the type of project {project}"
        answer = self._call(what, "GET", (workspace, project), query=_FRESH, within_s=within_s)
        found = _inner(answer, "project", "type", _DEFAULT_TYPE)
        if found is None:
            raise _unexpected(what, "the platform names no type")
        return found

    def fetch_model_type(self, workspace: str, project: str, version: str, *, within_s: float) -> str:
        """Return the type of a version's model, in the platform's words.

        A version without a model gives the kind NOT_FOUND, although the platform answers it with status 500.
        """
        what = f"asking for the type of model {project}/{version}"
        place = (workspace, project, version)
        answer = self._call(what, "GET", place, query=_FRESH, within_s=within_s, missing=frozenset({404, 500}))
        found = _inner(answer, "version", "modelType", None)
        if found is None:
            raise _unexpected(what, "the platform names no type")
        return found

    def fetch_active_learning(self, workspace: str, project: str, *, within_s: float) -> dict[str, Any]:
        """Return the project's active-learning configuration, unchanged."""
        what = f"asking for the active-learning configuration of {project}"
        place = (workspace, project, "active_learning")
        return self._call(what, "GET", place, within_s=within_s, max_bytes=_MAX_LIST_BYTES)

    def set_active_learning(self, workspace: str, project: str, config: dict[str, Any], *, within_s: float) -> None:
        """Replace the project's active-learning configuration. config: anything that can be written as JSON."""
        what = f"setting the active-learning configuration of {project}"
        body = json.dumps({"config": config}, allow_nan=False).encode()
        place = (workspace, project, "active_learning")
        self._call(what, "POST", place, body=body, content_type="application/json", within_s=within_s)

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
        """Add an image to a batch of a project in the key's workspace.

        The platform compares the image with those that it has. name: the image's file name. jpeg: the file.
        """
        what = f"uploading to project {project}"
        query = [("batch", batch)]
        if inference_id is not None:
            query.append(("inference_id", inference_id))
        query += [("tag", tag) for tag in tags]
        body, content_type = encode_multipart_formdata(
            [("name", name), ("file", ("imageToUpload", jpeg, "image/jpeg"))]
        )
        answer = self._call(
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
            raise _unexpected(what, "the platform does not confirm that it has the image, with its id")
        return UploadResult(image_id, duplicate=False)

    def try_upload(self, project: str, *, within_s: float) -> None:
        """Ask whether an upload to a project would be let in, with a request without an image: nothing is stored.

        Raises PlatformError where the key or the account may not upload, or the platform does not answer.
        """
        body, content_type = encode_multipart_formdata([("name", "check")])
        place = ("dataset", project, "upload")
        try:
            self._call(
                f"trying whether project {project} takes uploads",
                "POST",
                place,
                body=body,
                content_type=content_type,
                within_s=within_s,
            )
        except PlatformError as error:
            if error.kind is not PlatformErrorKind.REJECTED:  # which is the answer to a request without an image
                raise

    def annotate(self, project: str, image_id: str, *, name: str, text: str, within_s: float) -> None:
        """Add a prediction to an image of the project.

        name: the image's name with the ending ".json" if `text` is a prediction as a JSON object, or ".txt" if it is
        the name of a class. The kind CONFLICT means that the image has an annotation already.
        """
        what = f"annotating image {image_id} of project {project}"
        answer = self._call(
            what,
            "POST",
            ("dataset", project, "annotate", image_id),
            query=(("name", name), ("prediction", "true")),
            body=text.encode(),
            content_type="text/plain",
            within_s=within_s,
        )
        if answer.get("success") is not True:
            raise _unexpected(what, "the platform does not confirm it")

    def list_batches(self, workspace: str, project: str, *, within_s: float) -> tuple[LabelingBatch, ...]:
        """Return the project's labelling batches. Entries that can't be read are left out."""
        what = f"asking for the batches of project {project}"
        found = []
        for entry in self._listed(what, workspace, project, "batches", within_s):
            id, name = entry.get("id"), entry.get("name")
            images, jobs = _count(entry.get("images")), _count(entry.get("numJobs", 0))
            if isinstance(id, str) and id and isinstance(name, str) and images is not None and jobs is not None:
                found.append(LabelingBatch(id, name, images, jobs))
        return tuple(found)

    def list_jobs(self, workspace: str, project: str, *, within_s: float) -> tuple[LabelingJob, ...]:
        """Return the project's labelling jobs. Entries that can't be read are left out."""
        what = f"asking for the jobs of project {project}"
        found = []
        for entry in self._listed(what, workspace, project, "jobs", within_s):
            source_batch, images = entry.get("sourceBatch"), _count(entry.get("numImages"))
            listed = source_batch if isinstance(source_batch, list) else [source_batch]  # one batch, or a list
            sources = tuple(source for source in listed if source and isinstance(source, str))
            if sources and images is not None:
                found.append(LabelingJob(sources, images))
        return tuple(found)

    def _listed(self, what: str, workspace: str, project: str, kind: str, within_s: float) -> list[dict[str, Any]]:
        answer = self._call(what, "GET", (workspace, project, kind), within_s=within_s, max_bytes=_MAX_LIST_BYTES)
        listed = answer.get(kind)
        if not isinstance(listed, list):
            raise _unexpected(what, f"the platform lists no {kind}")
        return [entry for entry in listed if isinstance(entry, dict)]

    def _call(
        self,
        what: str,
        method: str,
        place: tuple[str, ...],
        *,
        within_s: float,
        query: tuple[tuple[str, str], ...] = (),
        body: bytes | None = None,
        content_type: str | None = None,
        max_bytes: int = MAX_BYTES,
        missing: frozenset[int] = frozenset({404}),
    ) -> dict[str, Any]:
        url = f"{self._api_url}/{'/'.join(quote(part, safe='') for part in place)}"
        requested, secret = url, self._key
        if self._gateway is not None:
            requested, secret = f"{self._gateway}/proxy", (("url", f"{url}?{urlencode(self._key + query)}"),)
            query = ()
        request = HttpRequest(method, requested, query, secret, _HEADERS, body, content_type)
        response = self._http.exchange(request, within_s=within_s, max_bytes=max_bytes)
        answer = parse_response(what, response, url=requested, redact=self._redact, missing=missing)
        if isinstance(answer, PlatformError):
            raise answer
        return answer


def _unexpected(what: str, why: str) -> PlatformError:
    return PlatformError(f"{what}: {why}", PlatformErrorKind.UNEXPECTED_ANSWER)


def _inner(answer: dict[str, Any], outer: str, name: str, default: str | None) -> str | None:
    """Return the text `name` of the object `outer` in the answer.

    The default if it is missing; None if the object is missing or the value is no text.
    """
    inside = answer.get(outer)
    if not isinstance(inside, dict):
        return None
    found = inside.get(name) or default
    return found if isinstance(found, str) else None


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
