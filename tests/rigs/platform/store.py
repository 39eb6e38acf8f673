"""The data of the stand-in for the platform, and its endpoints: keys, projects, images, annotations, batches, jobs.

Each endpoint is a method that takes a request and gives an answer, as the documented client of the platform expects it.
"""

from __future__ import annotations

import email
import hashlib
import json
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from rigs.platform.records import (
    Call,
    PlatformRequest,
    Project,
    Reply,
    StoredAnnotation,
    StoredBatch,
    StoredImage,
    refusal,
    reply,
)

_UPLOAD = re.compile(r"/dataset/([^/]+)/upload")
_ANNOTATE = re.compile(r"/dataset/([^/]+)/annotate/([^/]+)")
_PROJECT = re.compile(r"/([^/]+)/([^/]+)")
_OF_PROJECT = re.compile(r"/([^/]+)/([^/]+)/(active_learning|batches|jobs|\d+)")

Place = tuple[str, str]  # workspace, project


class RequestRejected(Exception):
    """What the platform answers instead."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.reply = refusal(status, message)


def call_of(method: str, path: str) -> Call:
    """Which endpoint a path is."""
    if method == "GET" and path == "/":
        return "workspace"
    if method == "POST" and _UPLOAD.fullmatch(path):
        return "upload"
    if method == "POST" and _ANNOTATE.fullmatch(path):
        return "annotate"
    if found := _OF_PROJECT.fullmatch(path):
        what = found[3]
        if method == "POST":
            return "set_active_learning" if what == "active_learning" else "unknown"
        if what in ("active_learning", "batches", "jobs"):
            return what  # type: ignore[return-value]  # the three are names of calls
        return "model"
    if method == "GET" and _PROJECT.fullmatch(path):
        return "project"
    return "unknown"


class Store:
    """The platform's memory; on disk too, where a folder is given. Safe to use from any thread.

    one_of, workspace: see Platform.
    """

    def __init__(
        self, folder: Path | None, one_of: Literal["image", "name"] = "image", workspace: str = "yard"
    ) -> None:
        self.lock = threading.RLock()
        self.keys: dict[str, str] = {}  # key -> workspace
        self.projects: dict[Place, Project] = {}
        self.images: dict[str, StoredImage] = {}
        self.annotations: list[StoredAnnotation] = []
        self.batches: dict[tuple[Place, str], StoredBatch] = {}
        self._folder = folder
        self._one_of = one_of
        self._by_content: dict[tuple[Place, str], str] = {}
        self._work: dict[Call, Callable[[PlatformRequest], Reply]] = {
            "workspace": lambda asked: reply(200, {"welcome": "the stand-in", "workspace": self._workspace(asked)}),
            "project": self._say_project,
            "model": self._say_model,
            "active_learning": self._say_active_learning,
            "set_active_learning": self._set_active_learning,
            "upload": self._upload,
            "annotate": self._annotate,
            "batches": self._say_batches,
            "jobs": self._say_jobs,
        }
        if folder is not None:
            self._read(folder, workspace)

    def answer(self, asked: PlatformRequest) -> Reply:
        work = self._work.get(call_of(asked.method, asked.path))
        if work is None:
            return refusal(404, f"no endpoint {asked.method} {asked.path}")
        with self.lock:
            try:
                if "authorization" in asked.headers:
                    raise RequestRejected(400, "an Authorization header: the platform takes the key in the query alone")
                return work(asked)
            except RequestRejected as refused:
                return refused.reply

    def put(self, place: Place, image: StoredImage) -> StoredImage:
        """Keeps an image, and counts it in its batch."""
        with self.lock:
            self._remember(place, image)
            self._write(f"{image.id}.jpg", image.jpeg)
            about: dict[str, Any] = {"id": image.id, "project": image.project, "name": image.name, "batch": image.batch}
            about |= {"tags": image.tags, "inference_id": image.inference_id}
            self._write(f"{image.id}.json", json.dumps(about, indent=1).encode())
            return image

    def _remember(self, place: Place, image: StoredImage) -> None:
        self.images[image.id] = image
        self._by_content[place, self._same(image.name, image.jpeg)] = image.id
        batch = self.batch(place, image.batch)
        self.batches[place, image.batch] = replace(batch, images=batch.images + 1)

    def _same(self, name: str, content: bytes) -> str:
        """What two uploads of one image have in common."""
        digest = hashlib.sha256(content).hexdigest()
        return digest if self._one_of == "image" else f"{name} {digest}"

    def _read(self, folder: Path, workspace: str) -> None:
        """Knows again what an earlier one wrote into the folder. An image without its facts was never answered for."""
        for path in sorted(folder.glob("image*[0-9].json")):
            about = json.loads(path.read_bytes())
            image = StoredImage(**{**about, "tags": tuple(about["tags"])}, jpeg=path.with_suffix(".jpg").read_bytes())
            self._remember((workspace, image.project), image)
        for path in sorted(folder.glob("image*.annotation.*")):
            image = self.images[path.name.partition(".")[0]]
            self.annotations.append(
                StoredAnnotation(image.id, image.project, path.name, "text/plain", path.read_text(), prediction=True)
            )

    def next_id(self) -> str:
        return f"image{len(self.images) + 1:06d}"

    def batch(self, place: Place, name: str) -> StoredBatch:
        """The batch of that name, made where there is none."""
        with self.lock:
            made = StoredBatch(id=f"batch{len(self.batches) + 1:06d}", name=name)
            return self.batches.setdefault((place, name), made)

    def _workspace(self, asked: PlatformRequest) -> str:
        workspace = self.keys.get(asked.value("api_key") or "")
        if workspace is None:
            raise RequestRejected(401, "this API key does not exist, or has been revoked")
        return workspace

    def _project(self, asked: PlatformRequest) -> Project:
        """The project that the path of a GET, or of setting a configuration, names."""
        found = _OF_PROJECT.fullmatch(asked.path) or _PROJECT.fullmatch(asked.path)
        assert found is not None
        return self._of(self._workspace(asked), found[2], asked_for=found[1])

    def _of(self, workspace: str, name: str, *, asked_for: str) -> Project:
        project = self.projects.get((workspace, name))
        if project is None or asked_for != workspace:
            raise RequestRejected(404, f"no project {asked_for}/{name}, or this key has no access to it")
        return project

    def _say_project(self, asked: PlatformRequest) -> Reply:
        project = self._project(asked)
        said: dict[str, Any] = {"id": f"{project.workspace}/{project.name}", "name": project.name}
        if project.type is not None:
            said["type"] = project.type
        return reply(200, {"workspace": {"url": project.workspace}, "project": said})

    def _say_model(self, asked: PlatformRequest) -> Reply:
        version = int(asked.path.rpartition("/")[2])
        project = self._project(asked)
        if version not in project.models:
            raise RequestRejected(404, f"{project.name} has no version {version}")
        return reply(200, {"version": {"modelType": project.models[version]}})

    def _say_active_learning(self, asked: PlatformRequest) -> Reply:
        project = self._project(asked)
        if project.active_learning is None:
            raise RequestRejected(404, f"{project.name} has no active-learning configuration")
        return reply(200, project.active_learning)

    def _set_active_learning(self, asked: PlatformRequest) -> Reply:
        project = self._project(asked)
        try:
            content = json.loads(asked.body)
        except ValueError:
            raise RequestRejected(400, "the body is not JSON") from None
        if not isinstance(content, dict) or not isinstance(content.get("config"), dict):
            raise RequestRejected(400, 'the body is to be {"config": {...}}')
        place = (project.workspace, project.name)
        self.projects[place] = replace(project, active_learning=content["config"])
        return reply(200, {"success": True})

    def _upload(self, asked: PlatformRequest) -> Reply:
        found = _UPLOAD.fullmatch(asked.path)
        assert found is not None
        workspace = self._workspace(asked)
        project = self._of(workspace, found[1], asked_for=workspace)
        batch = asked.value("batch")
        if not batch:
            raise RequestRejected(400, "no batch is named")
        parts = _multipart(asked)
        if "name" not in parts or not parts["name"].content:
            raise RequestRejected(400, "no part called name")
        part = parts.get("file")
        if part is None or part.filename is None or part.content_type is None:
            raise RequestRejected(400, "no part called file, with a filename and a type")
        place = (project.workspace, project.name)
        name = parts["name"].content.decode(errors="replace")
        known = self._by_content.get((place, self._same(name, part.content)))
        if known is not None:
            image = self.images[known]
            self.images[known] = replace(image, uploads=image.uploads + 1)
            return reply(200, {"duplicate": True, "id": known})
        image = StoredImage(
            id=self.next_id(),
            project=project.name,
            name=name,
            batch=batch,
            tags=asked.values("tag"),
            inference_id=asked.value("inference_id"),
            jpeg=part.content,
        )
        return reply(200, {"success": True, "id": self.put(place, image).id})

    def _annotate(self, asked: PlatformRequest) -> Reply:
        found = _ANNOTATE.fullmatch(asked.path)
        assert found is not None
        workspace = self._workspace(asked)
        project = self._of(workspace, found[1], asked_for=workspace)
        name, prediction = asked.value("name"), asked.value("prediction")
        if prediction not in ("true", "false"):
            raise RequestRejected(400, f"prediction is true or false, not {prediction}")
        if not name or not name.endswith((".json", ".txt")):
            raise RequestRejected(400, f"name is that of a .json or .txt, not {name}")
        content_type = asked.headers.get("content-type", "")
        if content_type.partition(";")[0].strip() != "text/plain":
            raise RequestRejected(400, f"the Content-Type is text/plain, not {content_type or 'missing'}")
        image = self.images.get(found[2])
        if image is None or image.project != project.name:
            raise RequestRejected(404, f"no image {found[2]}")
        if any(annotation.image_id == image.id for annotation in self.annotations):
            raise RequestRejected(409, "this image is annotated already")
        try:
            text = asked.body.decode()
            if name.endswith(".json") and not isinstance(json.loads(text), dict):
                raise ValueError
        except ValueError:
            raise RequestRejected(400, "the annotation can't be read") from None
        self.annotations.append(
            StoredAnnotation(image.id, project.name, name, content_type, text, prediction == "true")
        )
        self._write(f"{image.id}.annotation{Path(name).suffix}", asked.body)
        return reply(200, {"success": True})

    def _batches_of(self, asked: PlatformRequest) -> list[StoredBatch]:
        project = self._project(asked)
        place = (project.workspace, project.name)
        return [batch for (where, _), batch in self.batches.items() if where == place]

    def _say_batches(self, asked: PlatformRequest) -> Reply:
        said = [
            {"id": batch.id, "name": batch.name, "images": batch.images, "numJobs": len(batch.jobs)}
            for batch in self._batches_of(asked)
        ]
        return reply(200, {"batches": said})

    def _say_jobs(self, asked: PlatformRequest) -> Reply:
        said = [
            {"sourceBatch": batch.id, "numImages": images} for batch in self._batches_of(asked) for images in batch.jobs
        ]
        return reply(200, {"jobs": said})

    def _write(self, name: str, content: bytes) -> None:
        if self._folder is not None:
            self._folder.mkdir(parents=True, exist_ok=True)
            made = self._folder / f".{name}"
            made.write_bytes(content)
            made.replace(self._folder / name)


@dataclass(frozen=True)
class _Part:
    filename: str | None
    content_type: str | None
    content: bytes


def _multipart(asked: PlatformRequest) -> dict[str, _Part]:
    """The parts of a multipart body by their names, their content to the byte (RFC 2046, RFC 7578)."""
    about = email.message_from_string(f"Content-Type: {asked.headers.get('content-type', '')}\n\n")
    boundary = about.get_boundary()
    if about.get_content_type() != "multipart/form-data" or not boundary:
        raise RequestRejected(400, "the body is not multipart/form-data")
    pieces = (b"\r\n" + asked.body).split(b"\r\n--" + boundary.encode())
    if len(pieces) < 2 or not pieces[-1].startswith(b"--"):
        raise RequestRejected(400, "the body has no end")
    parts: dict[str, _Part] = {}
    for piece in pieces[1:-1]:
        head, empty_line, content = piece.partition(b"\r\n\r\n")
        if not empty_line:
            raise RequestRejected(400, "a part of the body has no content")
        part = email.message_from_bytes(head.lstrip() + b"\r\n\r\n")
        name = part.get_param("name", header="content-disposition")
        content_type = part.get_content_type() if "content-type" in part else None
        parts[str(name)] = _Part(part.get_filename(), content_type, content)
    return parts
