"""BundleRedaction: takes the secrets out of what goes into a support bundle."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from enum import Enum
from pathlib import Path
from typing import Any

import yaml

from framesift.config.redact import MASK, SECRET_NAME_PATTERN, Redactor

_REFERENCE = re.compile(r"\$\{[A-Za-z_][A-Za-z0-9_]*\}")
_DEFAULT = re.compile(r"(\$\{[A-Za-z_][A-Za-z0-9_]*):[^}]*\}")
_NOT_MASKED = re.compile(r"true|false|null|\d{1,5}(\.\d+)?")
# A line such as `password: hunter2` or `{"api_key": "hunter2"}`, also in a file that can't be parsed.
_WRITTEN = re.compile(r"""([A-Za-z_-]+)["']?[ \t]*[:=][ \t]*\[?["']?([^\s"',}\]]+)""")
_MAX_SECRET_BYTES = 64 << 10


class BundleRedaction:
    """Masks in any text, JSON or settings file what is a secret, or stands where one would stand.

    Known are: the secrets of the settings, what stands in their file under the name of a secret, all values of
    variables of such a name, the files that NAME_FILE names, systemd's credentials, and the files in the folder
    `credentials` beside the settings.
    """

    def __init__(self, secrets: tuple[str, ...], settings_file: Path, environ: Mapping[str, str]) -> None:
        """secrets: of the settings, as far as they can be loaded. settings_file: its folder may have credentials."""
        found = {
            *secrets,
            *_of_file(settings_file),
            *_of_environment(environ),
            *_of_folder(settings_file.parent / "credentials"),
        }
        if folder := environ.get("CREDENTIALS_DIRECTORY"):
            found |= set(_of_folder(Path(folder)))
        lines = {line.strip() for text in found for line in text.splitlines()}
        self._redactor = Redactor(text for text in found | lines if _NOT_MASKED.fullmatch(text) is None)

    def text(self, text: str) -> str:
        """A text without secrets."""
        return self._redactor(text)

    def line(self, line: str) -> str:
        """A line of a log: where it has a JSON object, by its keys, else as a text."""
        start = line.find("{")
        if start >= 0:
            try:
                fields = json.loads(line[start:])
            except ValueError:
                return self.text(line)
            return self.text(line[:start]) + json.dumps(self.data(fields), ensure_ascii=False)
        return self.text(line)

    def data(self, data: Any, key: str = "") -> Any:
        """JSON values, with masked texts, and everything masked that stands under a key of a secret."""
        if isinstance(data, dict):
            secret = SECRET_NAME_PATTERN.search(key) is not None
            return {self.text(name): self.data(value, key if secret else name) for name, value in _named(data)}
        if isinstance(data, (list, tuple)):
            return [self.data(value, key) for value in data]
        if data is None or isinstance(data, (bool, int, float)):
            return MASK if _is_number_in_secret(data, key) else data
        text = str(data.value if isinstance(data, Enum) else data)
        if SECRET_NAME_PATTERN.search(key):
            return text if _REFERENCE.fullmatch(text) else MASK
        return self.text(_DEFAULT.sub(rf"\1:{MASK}}}", text))

    def document(self, path: Path) -> str:
        """A file of settings or a policy, as YAML, with ${NAME} as it is written, without comments.

        Raises OSError, and ValueError for a file that can't be parsed: nobody can say what in it is a secret.
        """
        try:
            data = yaml.safe_load(path.read_text(encoding="utf-8"))
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            where = "" if mark is None else f" in line {mark.line + 1}"
            raise ValueError(f"{path} can't be parsed{where}, so its secrets can't be told from the rest") from None
        return yaml.safe_dump(self.data(data), sort_keys=False, allow_unicode=True, width=120)


def _named(data: Mapping[Any, Any]) -> Iterator[tuple[str, Any]]:
    for key, value in data.items():
        yield str(key.value if isinstance(key, Enum) else key), value


def _is_number_in_secret(value: object, key: str) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and SECRET_NAME_PATTERN.search(key) is not None


def _of_file(path: Path) -> Iterator[str]:
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return
    for name, value in _WRITTEN.findall(text):
        if SECRET_NAME_PATTERN.search(name) and not value.startswith("${"):
            yield value


def _of_environment(environ: Mapping[str, str]) -> Iterator[str]:
    for name, value in environ.items():
        if name.endswith("_FILE") and SECRET_NAME_PATTERN.search(name):
            yield from _content(Path(value))
        elif SECRET_NAME_PATTERN.search(name) and name != "CREDENTIALS_DIRECTORY":
            yield value


def _of_folder(folder: Path) -> Iterator[str]:
    try:
        files = sorted(folder.iterdir())
    except OSError:  # there is none, or this user may not look into it: then the settings could not read it either
        return
    for path in files:
        yield from _content(path)


def _content(path: Path) -> Iterator[str]:
    try:
        if path.is_file() and path.stat().st_size <= _MAX_SECRET_BYTES:
            yield path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return
