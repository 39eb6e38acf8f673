"""Loads framesift.yaml: the file, then the variables of the environment over it, then the defaults."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, SecretStr, ValidationError, create_model

from framesift.config.errors import ConfigError, KeyPath, allowed_types, explain, format_value, validate
from framesift.config.redact import named_secrets
from framesift.config.types import kind_of
from framesift.config.variables import (
    VARIABLE_PREFIX,
    Variables,
    parse_variable,
    read_document,
)
from framesift.policy import UrlPolicySettings
from framesift.settings.blocks import DeviceSettings, Settings
from framesift.settings.deprecated_keys import Deprecations
from framesift.settings.environment import Environment
from framesift.settings.network import AccountSettings
from framesift.settings.path_clash import clash_with_spool
from framesift.streams import StreamSettings

_TAGS = "ACTIVE_LEARNING_TAGS"
_KEY = "ROBOFLOW_API_KEY"
_REDIS = "REDIS_HOST"
_Block = TypeVar("_Block", bound=BaseModel)


def load(path: Path, environ: Mapping[str, str]) -> Settings:
    """The settings of a file. environ: the environment's variables. Raises ConfigError, with one line per problem."""
    return _Loader(path, Variables(environ)).settings()


def load_block(path: Path, environ: Mapping[str, str], name: str, model: type[_Block]) -> _Block:
    """One block of the settings, by its key. Raises ConfigError.

    The other blocks are not read, so that a command such as `status` needs none of the secrets that they name.
    """
    return _Loader(path, Variables(environ), within=name).block(name, model)


def load_device(path: Path, environ: Mapping[str, str]) -> str:
    """The name of the device alone, as `load_block` reads a block. Raises ConfigError."""
    return _Loader(path, Variables(environ), within="device").device()


def load_stream_names(path: Path, environ: Mapping[str, str]) -> tuple[str, ...]:
    """The names of the cameras' streams, as far as they are written; no secret is read. Raises ConfigError."""
    return _Loader(path, Variables(environ), within="device").stream_names()


def load_account(environ: Mapping[str, str]) -> AccountSettings:
    """The platform's account from the environment alone, for commands without a settings file. Raises ConfigError."""
    variables = Variables(environ)
    variable_of = {
        "api_key": _KEY,
        **{key: f"{VARIABLE_PREFIX}ROBOFLOW__{key.upper()}" for key in ("api_url", "gateway")},
    }
    data = {key: value for key, name in variable_of.items() if (value := variables.value(name))}
    return validate(AccountSettings, data, lambda path: variable_of[str(path[0])] if path else "the environment")


def secrets(settings: Settings) -> tuple[str, ...]:
    """All secret texts of the settings, which must never be printed."""
    found = {*settings._secret_values, *_secret_texts(settings), *settings.network.secrets()}
    for stream in settings.streams:
        found.update(stream.secrets())
    for source in (settings.policy, *(stream.policy for stream in settings.streams)):
        if isinstance(source, UrlPolicySettings):
            found.update(source.secrets())
    return tuple(sorted(found))


def read_template(name: str) -> str:
    """The text of a file that `framesift init` writes: framesift.yaml or policy.json."""
    return (resources.files("framesift") / "templates" / name).read_text(encoding="utf-8")


class _Loader:
    """The data of one file with the variables over it. For every value it knows where it came from, for messages."""

    def __init__(self, path: Path, variables: Variables, within: str | None = None) -> None:
        """within: the only block to read, None for all. Raises ConfigError."""
        self._document = read_document(path, variables, within)
        if not isinstance(self._document.data, dict):
            raise ConfigError(f"{path}: is {kind_of(self._document.data)}, not a mapping of settings to their values")
        self._data: dict[str, Any] = self._document.data
        self._file = path.absolute()
        self._base = self._file.parent
        self._variables = variables
        self._within = within
        self._environment = Environment.from_variables(variables.environ)
        self._deprecations = Deprecations()
        self._variable_of: dict[KeyPath, str] = {}
        self._environment_tag_count = 0

    def settings(self) -> Settings:
        """Validates all blocks. Raises ConfigError."""
        self._apply_overrides()
        self._apply_environment()
        try:
            settings = Settings.model_validate_json(json.dumps(self._data))
        except ValidationError as error:
            raise explain(error, self._location_of, Settings, self._data, self._deprecations.as_written) from None
        settings = _absolute(settings, self._base)
        clash = clash_with_spool(settings, self._file)
        if clash is not None:
            raise ConfigError(f"{self._location_of(('spool', 'path'))}: {clash}")
        settings._file = self._file
        settings._deprecations = self._deprecations.found
        settings._secret_values = tuple(sorted(self._variables.secrets))
        return settings

    def block(self, name: str, model: type[_Block]) -> _Block:
        """Validates one block. Raises ConfigError."""
        self._apply_overrides()
        self._apply_state_folder()
        around: type[BaseModel] = create_model("Settings", **{name: (model, ...)})  # type: ignore[call-overload]
        found: _Block = getattr(validate(around, {name: self._data.get(name, {})}, self._location_of), name)
        return _absolute(found, self._base)

    def device(self) -> str:
        """Validates the device's name alone. Raises ConfigError."""
        self._apply_overrides()
        data = {key: value for key, value in self._data.items() if key == "device"}
        return validate(DeviceSettings, data, self._location_of).device

    def stream_names(self) -> tuple[str, ...]:
        """The names that are written under `streams`."""
        streams = self._data.get("streams")
        written = streams if isinstance(streams, list) else []
        return tuple(str(one["name"]) for one in written if isinstance(one, dict) and "name" in one)

    def _apply_overrides(self) -> None:
        """Puts the FRAMESIFT_... variables over the file's values."""
        self._deprecations.replace_in_data(self._data, self._document.location_of)
        for name, written in self._variables.overrides():
            path = self._deprecations.replace_in_path(name, written)
            if self._within not in (None, path[0]):
                continue
            allowed = allowed_types(Settings, self._indexed(path), self._data)
            if allowed is None and name.endswith("_FILE"):  # it names the file that holds the value
                name = name.removesuffix("_FILE")
                written = (*written[:-1], str(written[-1]).removesuffix("_file"))
                path = self._deprecations.replace_in_path(name, written)
                allowed = allowed_types(Settings, self._indexed(path), self._data)
            path = self._indexed(path)
            value = self._variables.value(name)
            if value is None:
                continue
            self._put(path, parse_variable(value, name, allowed or frozenset()), name)
            self._deprecations.set_element_defaults(self._data, written)
        self._deprecations.replace_in_data(self._data, self._location_of)  # in what variables said as JSON

    def _indexed(self, path: KeyPath) -> KeyPath:
        """The path with numbers where the data has lists."""
        data: Any = self._data
        found: list[str | int] = []
        for part in path:
            key = int(part) if isinstance(data, list) and str(part).isdecimal() else part
            found.append(key)
            try:
                data = data[key]
            except (KeyError, IndexError, TypeError):
                data = None
        return tuple(found)

    def _put(self, path: KeyPath, value: object, name: str) -> None:
        """Sets a variable's value in the data; missing objects are created. Raises ConfigError."""
        block: Any = self._data
        for i, part in enumerate(path):
            if not _can_hold(block, part):
                outer = ".".join(map(str, path[:i]))
                what = format_value(block) if isinstance(block, list) else "a single value"  # the value may be a secret
                raise ConfigError(f"{name}: there is no {part} in {outer}, which is {what}")
            if i == len(path) - 1:
                block[part] = value
            elif isinstance(part, str) and block.get(part) is None:
                block[part] = {}
                self._variable_of[path[: i + 1]] = name
            block = block[part]
        self._variable_of[path] = name

    def _apply_environment(self) -> None:
        """Applies the variables that other programs define (Roboflow's and systemd's)."""
        if not self._environment.active_learning_enabled:
            self._data["enabled"] = False
        tags = self._data.get("tags", [])
        if isinstance(tags, list):
            first = list(self._environment.active_learning_tags)
            self._data["tags"] = first + tags
            self._environment_tag_count = len(first)
        self._apply_api_key()
        self._apply_redis()
        self._apply_state_folder()

    def _apply_state_folder(self) -> None:
        spool = self._data.setdefault("spool", {})
        if self._environment.state_folder is not None and isinstance(spool, dict):
            spool.setdefault("path", str(self._environment.state_folder / "spool.db"))

    def _apply_api_key(self) -> None:
        block = self._data.setdefault("roboflow", {})
        if isinstance(block, dict) and block.get("api_key") is None:
            key = self._variables.value(_KEY)
            if key:
                block["api_key"] = key
                self._variable_of["roboflow", "api_key"] = _KEY

    def _apply_redis(self) -> None:
        url = self._environment.redis_url
        block = self._data.setdefault("limits", {}) if url is not None else None
        redis = block.setdefault("redis", {}) if isinstance(block, dict) else None
        if isinstance(redis, dict) and "url" not in redis:  # the file may set only the password
            redis["url"] = url
            self._variable_of["limits", "redis", "url"] = _REDIS

    def _location_of(self, path: KeyPath) -> str:
        if path[:1] == ("tags",) and len(path) > 1 and isinstance(path[1], int):
            if path[1] < self._environment_tag_count:
                return _TAGS
            path = ("tags", path[1] - self._environment_tag_count)
        for length in range(len(path), 0, -1):
            if path[:length] in self._variable_of:
                return self._variable_of[path[:length]]
        # A whole block may be wrong because of a value that a variable put into it.
        variables = ", ".join(name for at, name in self._variable_of.items() if at[: len(path)] == path)
        location = self._document.location_of(self._deprecations.as_written(path))
        return location + (f" with {variables}" if variables else "")


def _can_hold(block: object, part: str | int) -> bool:
    if isinstance(block, list):
        return isinstance(part, int) and part < len(block)
    return isinstance(block, dict) and isinstance(part, str)


def _absolute(block: _Block, base: Path) -> _Block:
    """A copy of the block in which every relative path, and every stream's file, is under `base`."""
    changed: dict[str, Any] = {}
    for name in type(block).model_fields:
        value = getattr(block, name)
        if isinstance(value, Path):
            changed[name] = base / value
        elif isinstance(value, BaseModel):
            changed[name] = _absolute(value, base)
        elif isinstance(value, tuple):
            changed[name] = tuple(_absolute(v, base) if isinstance(v, BaseModel) else v for v in value)
    if isinstance(block, StreamSettings) and block.is_path:
        # A folder keeps the / at its end.
        changed["source"] = str(base / block.path) + ("/" if str(block.source).endswith("/") else "")
    return block.model_copy(update=changed)


def _secret_texts(block: BaseModel) -> Iterator[str]:
    for name in type(block).model_fields:
        value = getattr(block, name)
        for one in value if isinstance(value, tuple) else (value,):
            if isinstance(one, SecretStr):
                yield one.get_secret_value()
            elif isinstance(one, BaseModel):
                yield from _secret_texts(one)
            elif isinstance(one, dict):
                yield from named_secrets(one)  # the options of a python model
