"""The cache of policies: the last valid answer of each source on disk, for a start without network.

One small file for each source, `policy-<name>-<hash>.json`, replaced as a whole. It holds no secrets. A cached policy
is parsed tolerantly, as a fetched one is.
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
from framesift.config.errors import ConfigError, validate
from framesift.config.schema import Slug, StrictModel
from framesift.config.types import kind_of
from framesift.policy.tolerant_parser import parse_fetched
from framesift.policy.types import PolicySource, SourceAnswer


class PolicyCacheError(Exception):
    """A policy could not be written to the cache, or not be read from it. str(error) is a sentence."""


@dataclass(frozen=True, slots=True)
class CachedPolicy:
    """An answer from the cache. fetched_at_s: Unix time of the answer."""

    answer: SourceAnswer
    fetched_at_s: float


class _File(StrictModel):
    """The keys of a cache file, without the policy's document."""

    source: str
    fetched_at_s: Annotated[float, Field(ge=0)]
    workspace: Slug | None
    project: Slug | None
    notes: tuple[Annotated[str, Field(max_length=1000)], ...]


def _short_hash(source: PolicySource) -> str:
    return sha256(source.identity.encode("utf-8", "surrogateescape")).hexdigest()[:6]


def scope_name(source: PolicySource) -> str:
    """A short readable name of a source, different for each source of a daemon, and the same at every start."""
    slug = safe_name(source.short_name, extra="_.", merge=True)[:40].strip("-")
    return f"{slug}-{_short_hash(source)}"


def cache_path(folder: Path, source: PolicySource) -> Path:
    """The cache file of a source."""
    return folder / f"policy-{scope_name(source)}.json"


def store_cached(folder: Path, source: PolicySource, answer: SourceAnswer, fetched_at_s: float) -> None:
    """Writes an answer to the cache. fetched_at_s: Unix time. Raises PolicyCacheError."""
    content = {
        "source": source.display_name,
        "fetched_at_s": fetched_at_s,
        "workspace": answer.workspace,
        "project": answer.project,
        "notes": answer.notes,
        "document": answer.document,
    }
    path = cache_path(folder, source)
    try:
        make_folder(folder)
        write_atomically(path, json.dumps(content, indent=1).encode())
    except OSError as error:
        raise PolicyCacheError(
            f"{path}: the policy can't be saved for a start without network: {error.strerror}"
        ) from None


def remove_cached(folder: Path, source: PolicySource) -> None:
    """Removes a source from the cache, as it has no policy any more. Raises PolicyCacheError."""
    path = cache_path(folder, source)
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise PolicyCacheError(f"{path}: the old policy can't be removed: {error.strerror}") from None


def remove_oldest(folder: Path, most: int) -> None:
    """Removes all but the newest `most` policies of a folder."""
    with contextlib.suppress(OSError):
        by_age = sorted(folder.glob("policy-*.json"), key=lambda path: path.stat().st_mtime)
        for path in by_age[:-most]:
            path.unlink()


def load_cached(folder: Path, source: PolicySource) -> CachedPolicy | None:
    """The cached answer of a source, None if there is none. Raises PolicyCacheError if it can't be used."""
    path = cache_path(folder, source)
    try:
        if not path.exists():
            return None
        data = config_text.parse_json(config_text.read_text(path), str(path)).data
        if not isinstance(data, dict):
            raise ConfigError(f"{path}: is {kind_of(data)}, not a cached policy")
        document = data.pop("document", None)
        file = validate(_File, data, str(path))
        fetched = parse_fetched(document, source.display_name)
    except (ConfigError, OSError) as error:
        why = str(error).replace("\n", "; ")
        raise PolicyCacheError(f"the cached policy for a start without network can't be used: {why}") from None
    answer = SourceAnswer(fetched.policy, document, fetched.left_out, file.notes, file.workspace, file.project)
    return CachedPolicy(answer, file.fetched_at_s)
