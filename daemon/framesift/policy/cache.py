"""The last good answer of each source, kept on disk for a start without network. No secret is in it.

One small file for each source, `policy-<name>-<hash>.json`, replaced as a whole; what was kept is read back through the
same tolerant reading as what is fetched.
"""

from __future__ import annotations

import contextlib
import json
import re
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Annotated

from pydantic import Field

from framesift.atomic_files import make_folder, write_whole
from framesift.config import text as config_text
from framesift.config.errors import ConfigError, shown, validated
from framesift.config.schema import Closed, Slug
from framesift.policy.tolerant_parser import read_fetched
from framesift.policy.types import Got, Source


class NotKept(Exception):
    """The disk did not take it, or does not give it back. str(error) is a sentence."""


@dataclass(frozen=True, slots=True)
class Kept:
    """An answer of earlier. fetched_at_s: Unix time at which it was given."""

    got: Got
    fetched_at_s: float


class _File(Closed):
    """What stands in the file, beside the document itself."""

    source: str
    fetched_at_s: Annotated[float, Field(ge=0)]
    workspace: Slug | None
    project: Slug | None
    notes: tuple[Annotated[str, Field(max_length=1000)], ...]


def _short_hash(source: Source) -> str:
    return sha256(source.identity.encode("utf-8", "surrogateescape")).hexdigest()[:6]


def scope_name(source: Source) -> str:
    """Of the source among those of one daemon: short, readable, and the same at every start."""
    slug = re.sub(r"[^A-Za-z0-9_.-]+", "-", source.name)[:40].strip("-")
    return f"{slug}-{_short_hash(source)}"


def path_of(folder: Path, source: Source) -> Path:
    return folder / f"policy-{scope_name(source)}.json"


def keep(folder: Path, source: Source, got: Got, fetched_at_s: float) -> None:
    """Raises NotKept."""
    content = {
        "source": source.told,
        "fetched_at_s": fetched_at_s,
        "workspace": got.workspace,
        "project": got.project,
        "notes": got.notes,
        "document": got.document,
    }
    path = path_of(folder, source)
    try:
        make_folder(folder)
        write_whole(path, json.dumps(content, indent=1).encode())
    except OSError as error:
        raise NotKept(f"{path}: the policy can't be kept for a start without network: {error.strerror}") from None


def forget(folder: Path, source: Source) -> None:
    """It no longer has a policy for us. Raises NotKept."""
    path = path_of(folder, source)
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise NotKept(f"{path}: the policy that is no longer one can't be removed: {error.strerror}") from None


def thin_out(folder: Path, most: int) -> None:
    """Leaves the newest policies in a folder whose sources come and go."""
    with contextlib.suppress(OSError):
        by_age = sorted(folder.glob("policy-*.json"), key=lambda path: path.stat().st_mtime)
        for path in by_age[:-most]:
            path.unlink()


def find(folder: Path, source: Source) -> Kept | None:
    """What was kept of the source; None where nothing was. Raises NotKept where it can't be used."""
    path = path_of(folder, source)
    try:
        if not path.exists():
            return None
        data = config_text.parse_json(config_text.read(path), str(path)).data
        if not isinstance(data, dict):
            raise ConfigError(f"{path}: is {shown(data)}, not a policy that was kept")
        document = data.pop("document", None)
        file = validated(_File, data, str(path))
        fetched = read_fetched(document, source.told)
    except (ConfigError, OSError) as error:
        said = str(error).replace("\n", "; ")
        raise NotKept(f"the policy that was kept for a start without network can't be used: {said}") from None
    got = Got(fetched.policy, document, fetched.left_out, file.notes, file.workspace, file.project)
    return Kept(got, file.fetched_at_s)
