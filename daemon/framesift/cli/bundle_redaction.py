"""BundleRedaction: takes the secrets out of what goes into a support bundle."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable, Iterator, Mapping
from enum import Enum
from pathlib import Path
from typing import Any

import yaml

from framesift.config.errors import ConfigError, KeyPath, allowed_types
from framesift.config.redact import MASK, Redactor, is_secret_name, is_secret_variable, named_secrets
from framesift.config.text import parse_with_problems
from framesift.settings import Settings
from framesift.settings.deprecated_keys import Deprecations

_REFERENCE = re.compile(r"\$\{[A-Za-z_][A-Za-z0-9_]*\}")
_DEFAULT = re.compile(r"(\$\{[A-Za-z_][A-Za-z0-9_]*):[^}]*\}")
_NOT_MASKED = re.compile(r"true|false|null|\d{1,5}(\.\d+)?")
# The name in a line such as `password: hunter2` or `{"api_key": "hunter2"}`, also of a file that can't be parsed.
_NAME = re.compile(r"""(?<![\w-])([A-Za-z_][\w-]*)["']?[ \t]{0,8}[:=][ \t]*(?=\S)""")
# As in a log, where a secret may have spaces; `name=value` ends at a space, and is left to the Redactor.
_LOGGED_NAME = re.compile(r"""(?<![\w-])([A-Za-z_][\w-]*)["']?[ \t]{0,8}(?::(?!//)|=(?=[ \t"']))[ \t]*(?=\S)""")
_SIGNS = "*&!%@`|>{}[]\"', "
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
                return self._logged(line)
            return self._logged(line[:start]) + json.dumps(self._masked(fields, "", self._logged), ensure_ascii=False)
        return self._logged(line)

    def _logged(self, text: str) -> str:
        """A text of a log, whose lines end where the name of a secret and a colon stand."""
        return "\n".join(_cut_at_secret(line) for line in self.text(text).split("\n"))

    def data(self, data: Any, key: str = "") -> Any:
        """JSON values, with masked texts, and everything masked that stands under a key of a secret."""
        return self._masked(data, key, self.text)

    def _masked(self, data: Any, key: str, text: Callable[[str], str]) -> Any:
        if is_secret_name(key) or key == "options":  # of a python model: nobody but its author knows what is secret
            return _hidden(data, with_numbers=key != "options")
        if isinstance(data, dict):
            return {text(name): self._masked(value, name, text) for name, value in _named(data)}
        if isinstance(data, (list, tuple)):
            return [self._masked(value, key, text) for value in data]
        if data is None or isinstance(data, (bool, int, float)):
            return data
        return text(_DEFAULT.sub(rf"\1:{MASK}}}", str(data.value if isinstance(data, Enum) else data)))

    def policy(self, path: Path) -> str:
        """A file of a policy, as YAML, without comments. Raises OSError, and ValueError as for `settings`."""
        return _yaml(self.data(_parsed(path, is_json=None)))

    def settings(self, path: Path) -> str:
        """The settings file, as YAML, with ${NAME} as it is written, without comments.

        What is unknown, or is of another kind than its key allows, is masked: a secret may stand at a wrong place.
        Raises OSError, and ValueError for a file that can't be parsed: nobody can say what in it is a secret.
        """
        data = _parsed(path, is_json=False)
        renamed = copy.deepcopy(data)
        if isinstance(renamed, dict):
            try:
                Deprecations().replace_in_data(renamed, lambda _: "")
            except ConfigError:  # an old name and its new one are both set: what stands under the old one is masked
                renamed = copy.deepcopy(data)
        return _yaml(self._known(data, renamed, (), renamed))

    def _known(self, data: Any, renamed: Any, at: KeyPath, root: Any) -> Any:
        """renamed: the same with today's names of keys, of which `at` is made. root: the whole of that."""
        types = allowed_types(Settings, at, root)
        if at and is_secret_name(str(at[-1])):
            return self.data(data, str(at[-1]))
        if not types or not _fits(data, types):  # no types: below the options of a model
            return _hidden(data, with_numbers=False)
        if isinstance(data, dict):
            pairs = zip(data.items(), renamed.items(), strict=False)  # renaming adds keys at the end
            return {
                MASK if value is None and allowed_types(Settings, (*at, new), root) is None else self.text(name): (
                    self._known(value, below, (*at, new), root)
                )
                for (name, value), (new, below) in pairs
            }
        if isinstance(data, list):
            return [self._known(value, renamed[i], (*at, i), root) for i, value in enumerate(data)]
        return self.data(data)


def _fits(data: object, types: frozenset[str]) -> bool:
    """Whether a value is of a kind that its key allows, or is filled from a variable."""
    if isinstance(data, str) and (_REFERENCE.fullmatch(data) or _DEFAULT.fullmatch(data)):
        return True
    kinds = {dict: "object", list: "array", str: "string", bool: "boolean", int: "integer", float: "number"}
    kind = kinds.get(type(data), "null")
    return kind in types or (kind == "integer" and "number" in types) or kind == "null"


def _hidden(data: Any, *, with_numbers: bool) -> Any:
    """The shape of some data, with all texts masked but ${NAME}, and the numbers that are no ordinary ones.

    with_numbers: whether all numbers are masked.
    """
    if isinstance(data, Mapping):
        return {
            MASK if value is None else name: _hidden(value, with_numbers=with_numbers or is_secret_name(name))
            for name, value in _named(data)
        }
    if isinstance(data, list | tuple):
        return [_hidden(value, with_numbers=with_numbers) for value in data]
    if data is None or isinstance(data, bool):
        return data
    if isinstance(data, int | float):
        return MASK if with_numbers or _NOT_MASKED.fullmatch(str(abs(data))) is None else data
    text = str(data.value if isinstance(data, Enum) else data)
    return text if _REFERENCE.fullmatch(text) else MASK


def _parsed(path: Path, *, is_json: bool | None) -> Any:
    try:
        return parse_with_problems(path.read_text(encoding="utf-8-sig"), str(path), is_json=is_json)[0].data
    except ConfigError as error:
        raise ValueError(f"{error.problems[0]}; so its secrets can't be told from the rest") from None


def _yaml(data: object) -> str:
    return yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=120)


def _cut_at_secret(line: str) -> str:
    found = next((one for one in _LOGGED_NAME.finditer(line) if is_secret_name(one[1])), None)
    return line if found is None else line[: found.end()] + MASK


def _named(data: Mapping[Any, Any]) -> Iterator[tuple[str, Any]]:
    for key, value in data.items():
        yield str(key.value if isinstance(key, Enum) else key), value


def _of_file(path: Path) -> Iterator[str]:
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return
    for line in text.splitlines():
        for found in _NAME.finditer(line):
            value = line[found.end() :]
            if is_secret_name(found[1]) and not value.startswith("${"):
                yield from _readings(value)
    try:
        yield from named_secrets(parse_with_problems(text, "", is_json=False)[0].data)
    except ConfigError:
        return


def _readings(value: str) -> Iterator[str]:
    """What the rest of a line may mean: the whole of it, or its first word, with the signs around it or without."""
    whole = re.split(r"\s#", value)[0].rstrip()
    first = re.split(r"[\s\"',}\]]", whole.lstrip("[{\"'"))[0]
    for text in (whole, first):
        yield from (text, text.strip(_SIGNS))


def _of_environment(environ: Mapping[str, str]) -> Iterator[str]:
    for name, value in environ.items():
        if name.endswith("_FILE") and is_secret_name(name.removesuffix("_FILE")):
            yield from _content(Path(value))
        elif is_secret_variable(name):
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
