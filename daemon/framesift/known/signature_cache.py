"""SignatureCache: signatures of known pictures that were made before, so that a start need not decode them again.

One file for each list of paths. It has no names: a picture is found by a hash of its path, its size and the time of
its last change. A file that is damaged, or of another version, counts as empty: it is made again.
"""

from __future__ import annotations

import io
import os
import zipfile
from hashlib import blake2b
from pathlib import Path

import numpy as np

from framesift.atomic_files import make_folder, write_atomically
from framesift.pictures.picture_files import PictureFile
from framesift.strategies.near_duplicate import Signature, read_signature, signature_bytes

_VERSION = 1
_KEY_BYTES = 16


class SignatureCache:
    """The signatures of one list of paths. Not thread-safe: one thread writes to the folder."""

    def __init__(self, folder: Path, paths: tuple[str, ...]) -> None:
        """folder: where the files of all lists are; it is made when it is needed."""
        listed = "\0".join(paths).encode(errors="surrogateescape")
        self._path = folder / f"{blake2b(listed, digest_size=8).hexdigest()}.npz"

    def read(self) -> dict[bytes, Signature]:
        """What was written, by `key_of`."""
        try:
            with np.load(io.BytesIO(self._path.read_bytes()), allow_pickle=False) as stored:
                if int(stored["version"]) != _VERSION:
                    return {}
                keys, rows = stored["keys"], stored["signatures"]
            found = {bytes(key): read_signature(bytes(row)) for key, row in zip(keys, rows, strict=True)}
        except (OSError, ValueError, KeyError, EOFError, TypeError, zipfile.BadZipFile):
            return {}
        return {key: made for key, made in found.items() if made is not None and len(key) == _KEY_BYTES}

    def write(self, signatures: dict[bytes, Signature]) -> None:
        """Replaces what was written. Raises OSError."""
        count = len(signatures)
        keys = np.frombuffer(b"".join(signatures), np.uint8).reshape(count, _KEY_BYTES)
        rows = np.frombuffer(b"".join(map(signature_bytes, signatures.values())), np.uint8)
        rows = rows.reshape(count, len(rows) // max(1, count))
        content = io.BytesIO()
        np.savez(content, version=np.int64(_VERSION), keys=keys, signatures=rows)
        make_folder(self._path.parent)
        write_atomically(self._path, content.getvalue())


def key_of(file: PictureFile) -> bytes:
    """Under what the signature of a picture is found, until the file changes."""
    text = f"{file.size_bytes} {file.changed_ns} {file.path}"
    return blake2b(os.fsencode(text), digest_size=_KEY_BYTES).digest()
