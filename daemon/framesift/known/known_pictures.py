"""KnownPictures: the signatures of the pictures that policies name as known, and how they are read.

Reading takes a while: each picture has to be decoded once. So frames are compared with them from when all of them are
read; until then they refuse nothing. Each list of paths is read once in a process.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from framesift.known.known_signatures import KnownSignatures
from framesift.known.signature_cache import SignatureCache, key_of
from framesift.pictures.encoded_picture import (
    MAX_BYTES,
    BadPicture,
    LazyEncodedPicture,
    large_picture_lock,
    parse_picture,
)
from framesift.pictures.picture_files import Interrupted, PictureFile, PictureFiles, find_pictures
from framesift.strategies.near_duplicate import HEIGHT, WIDTH, Signature, signature

MAX_PICTURES = 20_000
_WRITE_EVERY = 2000  # newly made signatures, so that a long first reading that is cut goes on from there


@dataclass(frozen=True, slots=True)
class KnownReading:
    """What came of reading a list of paths.

    pictures: how many are known. left_out: how many more there are, older ones. unreadable: a sentence for each file
    or folder that could not be read. cache_problem: why the signatures could not be kept, None if they are.
    """

    paths: tuple[str, ...]
    pictures: int
    left_out: int
    unreadable: tuple[str, ...]
    cache_problem: str | None = None


class KnownPictures:
    """All lists of this process. Any thread may ask; one reads."""

    def __init__(self, cache_folder: Path | None = None, *, max_pictures: int = MAX_PICTURES) -> None:
        """cache_folder: where signatures are kept, None for nowhere. max_pictures: of one list; the newest count."""
        self._cache_folder = cache_folder
        self._max_pictures = max_pictures
        self._read: dict[tuple[str, ...], KnownSignatures] = {}  # replaced, never changed

    def similar_distance(self, paths: tuple[str, ...], found: Signature, threshold: float) -> float | None:
        """How far a picture of the list lies from a frame that looks like it, see KnownSignatures.

        None if no picture looks like the frame, and while the list is not read.
        """
        known = self._read.get(paths)
        return None if known is None else known.similar_distance(found, threshold)

    def is_read(self, paths: tuple[str, ...]) -> bool:
        """Whether a list has been read."""
        return paths in self._read

    def read(self, paths: tuple[str, ...], keep_on: Callable[[], bool] = lambda: True) -> KnownReading | None:
        """Reads a list, and compares frames with it from then on; returns None if it was interrupted.

        keep_on: is asked before each picture.
        """
        try:
            return self._read_list(paths, keep_on)
        except Interrupted:
            return None

    def _read_list(self, paths: tuple[str, ...], keep_on: Callable[[], bool]) -> KnownReading:
        listed = PictureFiles()
        for path in paths:
            find_pictures(Path(path), listed, keep_on)
        newest = sorted(listed.files.values(), key=lambda file: file.changed_ns, reverse=True)
        unreadable = listed.unreadable
        cache = None if self._cache_folder is None else SignatureCache(self._cache_folder, paths)
        before = {} if cache is None else cache.read()
        made: dict[bytes, Signature] = {}
        problem: str | None = None
        new = 0
        for file in newest[: self._max_pictures]:
            key = key_of(file)
            found = before.get(key)
            if found is None:
                if not keep_on():
                    raise Interrupted
                try:
                    found = picture_signature(file)
                except (OSError, BadPicture) as error:
                    unreadable.append(f"{file.path}: {getattr(error, 'strerror', None) or error}")
                    continue
                new += 1
                if cache is not None and new % _WRITE_EVERY == 0:
                    problem = _write(cache, before | made)
            made[key] = found
        if cache is not None and made.keys() != before.keys():
            problem = _write(cache, made)
        rows = np.array(list(made.values()), np.float32).reshape(len(made), WIDTH * HEIGHT)
        self._read = {**self._read, paths: KnownSignatures(rows)}
        left_out = max(0, len(newest) - self._max_pictures)
        return KnownReading(paths, len(made), left_out, tuple(unreadable), problem)


def picture_signature(file: PictureFile) -> Signature:
    """The signature of a picture, as of a frame that a client sends. Raises OSError, BadPicture."""
    if file.size_bytes > MAX_BYTES:
        raise BadPicture(f"it has {file.size_bytes:,} bytes; at most {MAX_BYTES:,} are read")
    picture = parse_picture(Path(file.path).read_bytes())
    with large_picture_lock(picture):
        return signature(LazyEncodedPicture(picture).overview())


def _write(cache: SignatureCache, signatures: dict[bytes, Signature]) -> str | None:
    try:
        cache.write(signatures)
    except OSError as error:
        return error.strerror or str(error)
    return None
