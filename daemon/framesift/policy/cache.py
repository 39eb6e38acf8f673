"""The last good answer of each source, kept on disk for a start without network. No secret is in it.

One small file for each source, `policy-<name>-<hash>.json`, replaced as a whole; what was kept is read back through the
same tolerant reading as what is fetched.
"""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Annotated

from pydantic import Field

from framesift.atomic_files import make_folder, safe_name, write_atomically
from framesift.config import text as config_text
from framesift.config.errors import ConfigError, format_value, validate
from framesift.config.schema import Slug, StrictModel
from framesift.policy.tolerant_parser import parse_fetched
from framesift.policy.types import PolicySource, SourceAnswer


class PolicyCacheError(Exception):
    """The disk did not take it, or does not give it back. str(error) is a sentence."""


@dataclass(frozen=True, slots=True)
class CachedPolicy:
    """An answer of earlier. fetched_at_s: Unix time at which it was given."""

    answer: SourceAnswer
    fetched_at_s: float


class _File(StrictModel):
    """What stands in the file, beside the document itself."""

    source: str
    fetched_at_s: Annotated[float, Field(ge=0)]
    workspace: Slug | None
    project: Slug | None
    notes: tuple[Annotated[str, Field(max_length=1000)], ...]


def _short_hash(source: PolicySource) -> str:
    return sha256(source.identity.encode("utf-8", "surrogateescape")).hexdigest()[:6]


def scope_name(source: PolicySource) -> str:
    """Of the source among those of one daemon: short, readable, and the same at every start."""
    slug = safe_name(source.short_name, extra="_.", merge=True)[:40].strip("-")
    return f"{slug}-{_short_hash(source)}"


def cache_path(folder: Path, source: PolicySource) -> Path:
    return folder / f"policy-{scope_name(source)}.json"


def store_cached(folder: Path, source: PolicySource, got: SourceAnswer, fetched_at_s: float) -> None:
    """Raises PolicyCacheError."""
    content = {
        "source": source.display_name,
        "fetched_at_s": fetched_at_s,
        "workspace": got.workspace,
        "project": got.project,
        "notes": got.notes,
        "document": got.document,
    }
    path = cache_path(folder, source)
    try:
        make_folder(folder)
        write_atomically(path, json.dumps(content, indent=1).encode())
    except OSError as error:
        raise PolicyCacheError(
            f"{path}: the policy can't be kept for a start without network: {error.strerror}"
        ) from None


def remove_cached(folder: Path, source: PolicySource) -> None:
    """It no longer has a policy for us. Raises PolicyCacheError."""
    path = cache_path(folder, source)
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise PolicyCacheError(f"{path}: the policy that is no longer one can't be removed: {error.strerror}") from None


def remove_oldest(folder: Path, most: int) -> None:
    """Leaves the newest policies in a folder whose sources come and go."""
    with contextlib.suppress(OSError):
        by_age = sorted(folder.glob("policy-*.json"), key=lambda path: path.stat().st_mtime)
        for path in by_age[:-most]:
            path.unlink()


def load_cached(folder: Path, source: PolicySource) -> CachedPolicy | None:
    """What was kept of the source; None where nothing was. Raises PolicyCacheError where it can't be used."""
    path = cache_path(folder, source)
    try:
        if not path.exists():
            return None
        data = config_text.parse_json(config_text.read_text(path), str(path)).data
        if not isinstance(data, dict):
            raise ConfigError(f"{path}: is {format_value(data)}, not a policy that was kept")
        document = data.pop("document", None)
        file = validate(_File, data, str(path))
        fetched = parse_fetched(document, source.display_name)
    except (ConfigError, OSError) as error:
        said = str(error).replace("\n", "; ")
        raise PolicyCacheError(f"the policy that was kept for a start without network can't be used: {said}") from None
    got = SourceAnswer(fetched.policy, document, fetched.left_out, file.notes, file.workspace, file.project)
    return CachedPolicy(got, file.fetched_at_s)
