"""The paths of known pictures in a policy file: each must name something that can hold pictures."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

from framesift.config.errors import KeyPath, path_to
from framesift.pictures.picture_files import path_problem
from framesift.strategies.known_paths import PATH_PATTERN, near_duplicate_blocks


def known_path_problems(policy: object) -> Iterator[tuple[KeyPath, str]]:
    """Yields the place of each path that can't name pictures, with a sentence. policy: parsed JSON, of any shape."""
    for place, block in near_duplicate_blocks(policy):
        known = block.get("known")
        paths = {("known",): known} if not isinstance(known, list) else {("known", i): p for i, p in enumerate(known)}
        for key, path in paths.items():
            if not isinstance(path, str) or not re.match(PATH_PATTERN, path):
                continue  # that is a problem already
            problem = path_problem(Path(path))
            if problem is not None:
                where = (*place, *key)
                yield where, f"{path_to(where, policy)}: {json.dumps(path)} is not allowed: {problem}"
