"""Variables of the environment in the settings, with secrets from files.

    ${NAME} and ${NAME:default}         in any value of the file; $${ means the characters ${
    FRAMESIFT_SPOOL__PATH=/data/s.db    replaces a value of the file: the path of a key, its parts joined by __, as in
                                        FRAMESIFT_STREAMS__0__FPS; lists and blocks as JSON

A variable NAME is read from the environment, from the file that NAME_FILE names, or from the credential of that name in
systemd's $CREDENTIALS_DIRECTORY. A value from a file, or of a variable that is named like a secret, is never printed.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from framesift.config.redact import is_secret_variable
from framesift.config.text import Document, StrictLoader, parse_json, parse_yaml, read_text
from framesift.config.types import ConfigError, KeyPath

VARIABLE_PREFIX = "FRAMESIFT_"
# Names the settings file; it is no setting itself.
CONFIG_VARIABLE = "FRAMESIFT_CONFIG"
DEFAULT_PATHS = (Path("framesift.yaml"), Path("/etc/framesift/framesift.yaml"))

_NAME = r"[A-Za-z_][A-Za-z0-9_]*"
_MENTIONED = re.compile(rf"\$\$\{{|\$\{{(?P<name>{_NAME})(?::(?P<default>[^}}]*))?\}}|(?P<broken>\$\{{)")
# Kubernetes sets such variables in every container if a service is called framesift.
_KUBERNETES = re.compile(r"FRAMESIFT_(?:SERVICE_(?:HOST|PORT\w*)|PORT(?:_\d+_\w+)?)")
_MAX_SECRET_BYTES = 64 << 10
_PLAIN = None  # PyYAML's style of a scalar without quotes


def find_settings_file(
    explicit: Path | None, environ: Mapping[str, str], places: Sequence[Path] = DEFAULT_PATHS
) -> Path:
    """The settings file: `explicit`, or FRAMESIFT_CONFIG's, or the first of `places` that exists.

    Raises ConfigError where there is none.
    """
    if explicit is not None:
        return explicit
    if named := environ.get(CONFIG_VARIABLE):
        return Path(named)
    for place in places:
        if place.exists():
            return place
    raise ConfigError(
        f"there are no settings: none of {', '.join(map(str, places))} exists; "
        f"framesift init writes them, --config or {CONFIG_VARIABLE} names another file"
    )


def read_document(path: Path, variables: Variables, within: str | None) -> Document:
    """Parses a settings file and replaces its ${NAME}. within: the only key to replace them in, None for all.

    Raises ConfigError.
    """
    source = str(path)
    text = read_text(path)
    try:
        return parse_yaml(text, source, lambda node: substitute(node, source, variables, within))
    except ConfigError as error:
        if "expected ',' or" in str(error) and "${" in text:
            raise ConfigError(*error.problems, f"{source}: inside [ ] and {{ }}, ${{NAME}} needs quotes") from None
        raise


@dataclass(slots=True)
class Variables:
    """The variables of the environment, and what was read of them.

    referenced: the names that the file uses. secrets: the values that must never be printed.
    """

    environ: Mapping[str, str]
    referenced: set[str] = field(default_factory=set)
    secrets: set[str] = field(default_factory=set)

    def value(self, name: str) -> str | None:
        """The value of a variable, None if it is not set. Raises ConfigError if its file can't be read."""
        value = self.environ.get(name)
        if value is None:
            path = self._file(name)
            if path is None:
                return None
            value = _content(path, name)
            self.secrets.add(value)
        elif is_secret_variable(name):
            self.secrets.add(value)
        return value

    def overrides(self) -> Iterator[tuple[str, KeyPath]]:
        """The names of the FRAMESIFT_... variables, with the paths of their keys; outer keys before inner ones."""
        names = {name for name in self.environ if name.startswith(VARIABLE_PREFIX)}
        names |= {path.name for path in self._credentials() if path.name.startswith(VARIABLE_PREFIX)}
        for name in sorted(names - self.referenced - {CONFIG_VARIABLE}, key=lambda n: (n.count("__"), n)):
            if _KUBERNETES.fullmatch(name) is None:
                yield name, tuple(name.removeprefix(VARIABLE_PREFIX).lower().split("__"))

    def _file(self, name: str) -> Path | None:
        if f"{name}_FILE" in self.environ:
            return Path(self.environ[f"{name}_FILE"])
        return next((path for path in self._credentials() if path.name == name), None)

    def _credentials(self) -> list[Path]:
        folder = self.environ.get("CREDENTIALS_DIRECTORY")
        try:
            return sorted(Path(folder).iterdir()) if folder else []
        except OSError as error:
            raise ConfigError(f"$CREDENTIALS_DIRECTORY: {folder} cannot be read: {error.strerror}") from None


def substitute(root: yaml.Node, source: str, variables: Variables, within: str | None = None) -> None:
    """Replaces ${NAME} in all values under `root`, or under its key `within`.

    A value without quotes gets its type after the replacement. Raises ConfigError with the line, the key and the name
    of each variable that is not set.
    """
    problems: list[str] = []
    seen: set[int] = set()
    waiting: list[tuple[str, yaml.Node]] = [("", root)]
    while waiting:
        key, node = waiting.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, yaml.MappingNode):
            for name, inner in reversed(node.value):
                if within not in (None, name.value) and not key:
                    continue
                waiting.append((f"{key}.{name.value}" if key else str(name.value), inner))
        elif isinstance(node, yaml.SequenceNode):
            waiting.extend((f"{key}[{i}]", inner) for i, inner in reversed(list(enumerate(node.value))))
        elif isinstance(node, yaml.ScalarNode) and "${" in node.value:
            try:
                _fill(node, variables)
            except ConfigError as error:
                problems += [f"{source}:{node.start_mark.line + 1}: {key}: {line}" for line in error.problems]
    if problems:
        raise ConfigError(*problems)


def _fill(node: yaml.ScalarNode, variables: Variables) -> None:
    def value(found: re.Match[str]) -> str:
        name, default = found["name"], found["default"]
        if found["broken"]:
            raise ConfigError("${ begins no ${NAME} or ${NAME:default}; write $${ where you mean the characters")
        if name is None:
            return "${"
        if default is not None and default.startswith("-"):
            raise ConfigError(f"${{{name}:...}}: the default begins right after the colon, without a -")
        if default is not None and "${" in default:
            raise ConfigError(f"${{{name}:...}}: a default has no ${{; write the other variable outside of it")
        variables.referenced |= {name, f"{name}_FILE"}
        known = variables.value(name)
        if known is None and default is None:
            raise ConfigError(
                f"the variable {name} is not set (nor {name}_FILE, nor a credential of that name); "
                f"set it, or write ${{{name}:default}}"
            )
        return default or "" if known is None else known

    node.value = _MENTIONED.sub(value, node.value)
    if node.style is _PLAIN:
        node.tag = yaml_tag_of(node.value)


def yaml_tag_of(text: str) -> str:
    """The YAML tag (the type) of an unquoted text."""
    loader = StrictLoader("")
    try:
        return str(loader.resolve(yaml.ScalarNode, text, (True, False)))  # type: ignore[no-untyped-call]  # the stubs lack it
    finally:
        loader.dispose()


def parse_variable(text: str, name: str, allowed: frozenset[str]) -> object:
    """The value of a variable as data. name: the variable. allowed: JSON types; empty allows all.

    A text that looks like a number stays a text where no number is allowed. Raises ConfigError where a list or a block
    is not JSON.
    """
    if text.lstrip()[:1] in ("[", "{") and (not allowed or allowed & {"array", "object"}):
        return parse_json(text, name).data
    tag = yaml_tag_of(text).rpartition(":")[2]
    kind = {"int": "integer", "float": "number", "bool": "boolean", "null": "null"}.get(tag, "string")
    fits = not allowed or kind in allowed or (kind == "integer" and "number" in allowed)
    if kind == "string" or (not fits and "string" in allowed):
        return text
    return None if kind == "null" else parse_yaml(text, name).data


def _content(path: Path, name: str) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_SECRET_BYTES + 1)
        if len(content) > _MAX_SECRET_BYTES:
            raise ConfigError(
                f"{name}: {path} is larger than {_MAX_SECRET_BYTES} bytes: that is too large for a secret"
            )
        return content.decode().removesuffix("\n").removesuffix("\r")
    except (OSError, ValueError) as error:
        why = (
            "is not UTF-8 text" if isinstance(error, UnicodeDecodeError) else getattr(error, "strerror", None) or error
        )
        advice = f"correct {name}_FILE, or the credential {name}; this user (uid {os.getuid()}) must be able to read it"
        raise ConfigError(f"{name}: {path} cannot be read: {why}; {advice}") from None
