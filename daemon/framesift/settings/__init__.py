"""Settings: the facts of the machine, read once, from a file and the variables of the environment.

    FRAMESIFT_SPOOL__PATH and the like  >  framesift.yaml, with ${NAME} and ${NAME:default} in it  >  the defaults

ROBOFLOW_API_KEY is the default of `roboflow.api_key`; REDIS_HOST, REDIS_PORT and REDIS_SSL are that of `limits.redis`.
ACTIVE_LEARNING_TAGS (a comma list) stands before `tags`; ACTIVE_LEARNING_ENABLED=false switches off, whatever else is
said. Relative paths, wherever they are written, count from the file's folder. Where systemd gives the service a
$STATE_DIRECTORY, the default of `spool.path` lies there. Whatever is wrong is a ConfigError, with a line per problem.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, SecretStr, ValidationError, create_model

from framesift.config.errors import ConfigError, KeyPath, allowed_types, explain, format_value, validate
from framesift.config.variables import (
    SECRET_NAME_PATTERN,
    VARIABLE_PREFIX,
    Variables,
    find_settings_file,
    parse_variable,
    read_document,
)
from framesift.policy import UrlPolicySettings
from framesift.settings.blocks import LogSettings, Settings, SpoolSettings, StatusSettings, StreamEntry, UploadSettings
from framesift.settings.deprecated_keys import Deprecations
from framesift.settings.environment import Environment
from framesift.settings.network import AccountSettings, NetworkSettings
from framesift.settings.shared_limits import LimitsSettings, RedisSettings
from framesift.streams import StreamSettings

__all__ = [
    "AccountSettings",
    "Environment",
    "LimitsSettings",
    "LogSettings",
    "NetworkSettings",
    "RedisSettings",
    "Settings",
    "SpoolSettings",
    "StatusSettings",
    "StreamEntry",
    "UploadSettings",
    "find_settings_file",
    "load",
    "load_account",
    "load_block",
    "read_template",
    "secrets",
]

_TAGS = "ACTIVE_LEARNING_TAGS"
_KEY = "ROBOFLOW_API_KEY"
_REDIS = "REDIS_HOST"
_Block = TypeVar("_Block", bound=BaseModel)


def load(path: Path, environ: Mapping[str, str]) -> Settings:
    """Raises ConfigError. environ: the variables that may be asked for; os.environ, unless in a test."""
    return _Assembly(path, Variables(environ)).settings()


def load_block(path: Path, environ: Mapping[str, str], name: str, model: type[_Block]) -> _Block:
    """One block of the settings alone, by its key: for whoever looks at a running daemon, and has none of the secrets
    that the other blocks name. Those are not looked at. Raises ConfigError.
    """
    return _Assembly(path, Variables(environ), within=name).block(name, model)


def load_account(environ: Mapping[str, str]) -> AccountSettings:
    """The platform's account as the environment alone tells it, for whoever has no settings. Raises ConfigError."""
    variables = Variables(environ)
    said_by = {"api_key": _KEY, **{key: f"{VARIABLE_PREFIX}ROBOFLOW__{key.upper()}" for key in ("api_url", "gateway")}}
    data = {key: value for key, name in said_by.items() if (value := variables.value(name))}
    return validate(AccountSettings, data, lambda place: said_by[str(place[0])] if place else "the environment")


def secrets(settings: Settings) -> tuple[str, ...]:
    """Every text of the settings that no line may show."""
    found = {*settings._heard, *_secret_texts(settings), *settings.network.secrets()}
    for stream in settings.streams:
        found.update(stream.secrets())
    for source in (settings.policy, *(stream.policy for stream in settings.streams)):
        if isinstance(source, UrlPolicySettings):
            found.update(source.secrets())
    return tuple(sorted(found))


def read_template(name: str) -> str:
    """What `framesift init` writes: framesift.yaml or policy.json."""
    return (resources.files("framesift") / "templates" / name).read_text(encoding="utf-8")


class _Assembly:
    """The file's data, with the variables laid over it, and who said what."""

    def __init__(self, path: Path, variables: Variables, within: str | None = None) -> None:
        """within: the one block that is wanted. Raises ConfigError."""
        self._document = read_document(path, variables, within)
        if not isinstance(self._document.data, dict):
            raise ConfigError(
                f"{path}: is {format_value(self._document.data)}, not a mapping of settings to their values"
            )
        self._data: dict[str, Any] = self._document.data
        self._base = path.absolute().parent
        self._variables = variables
        self._within = within
        self._environment = Environment.from_variables(variables.environ)
        self._deprecations = Deprecations()
        self._said_by: dict[KeyPath, str] = {}
        self._tags_before = 0

    def settings(self) -> Settings:
        self._lay_over()
        self._obey()
        try:
            settings = Settings.model_validate_json(json.dumps(self._data))
        except ValidationError as error:
            raise explain(error, self._where, Settings, self._data, self._deprecations.as_written) from None
        settings = _absolute(settings, self._base)
        settings._deprecations = self._deprecations.found
        settings._heard = tuple(sorted(self._variables.secrets))
        return settings

    def block(self, name: str, model: type[_Block]) -> _Block:
        self._lay_over()
        self._obey_state_folder()
        around: type[BaseModel] = create_model("Settings", **{name: (model, ...)})  # type: ignore[call-overload]
        found: _Block = getattr(validate(around, {name: self._data.get(name, {})}, self._where), name)
        return _absolute(found, self._base)

    def _lay_over(self) -> None:
        self._deprecations.replace_in_data(self._data, self._document.location_of)
        for name, written in self._variables.overrides():
            place = self._deprecations.replace_in_path(name, written)
            if self._within not in (None, place[0]):
                continue
            allowed = allowed_types(Settings, self._indexed(place), self._data)
            if allowed is None and name.endswith("_FILE"):  # it names the file that holds the value
                name = name.removesuffix("_FILE")
                place = (*place[:-1], str(place[-1]).removesuffix("_file"))
                allowed = allowed_types(Settings, self._indexed(place), self._data)
            place = self._indexed(place)
            value = self._variables.value(name)
            if value is None:
                continue
            self._put(place, parse_variable(value, name, allowed or frozenset()), name)
        self._deprecations.replace_in_data(self._data, self._where)  # in what variables said as JSON

    def _indexed(self, place: KeyPath) -> KeyPath:
        """The place with numbers where the data has lists."""
        data: Any = self._data
        found: list[str | int] = []
        for part in place:
            key = int(part) if isinstance(data, list) and str(part).isdecimal() else part
            found.append(key)
            try:
                data = data[key]
            except (KeyError, IndexError, TypeError):
                data = None
        return tuple(found)

    def _put(self, place: KeyPath, value: object, name: str) -> None:
        """Lays a variable's value over the data; objects are made where there is nothing."""
        block: Any = self._data
        for i, part in enumerate(place):
            if not _has_room(block, part):
                outer = ".".join(map(str, place[:i]))
                what = format_value(block) if isinstance(block, list) else "a single value"  # which may be a secret
                raise ConfigError(f"{name}: there is no {part} in {outer}, which is {what}")
            if i == len(place) - 1:
                block[part] = value
            elif isinstance(part, str) and block.get(part) is None:
                block[part] = {}
                self._said_by[place[: i + 1]] = name
            block = block[part]
        self._said_by[place] = name

    def _obey(self) -> None:
        """What the environment's own variables say of our settings."""
        if not self._environment.active_learning_enabled:
            self._data["enabled"] = False
        tags = self._data.get("tags", [])
        if isinstance(tags, list):
            before = list(self._environment.active_learning_tags)
            self._data["tags"] = before + tags
            self._tags_before = len(before)
        self._obey_key()
        self._obey_redis()
        self._obey_state_folder()

    def _obey_state_folder(self) -> None:
        spool = self._data.setdefault("spool", {})
        if self._environment.state_folder is not None and isinstance(spool, dict):
            spool.setdefault("path", str(self._environment.state_folder / "spool.db"))

    def _obey_key(self) -> None:
        block = self._data.setdefault("roboflow", {})
        if isinstance(block, dict) and block.get("api_key") is None:
            key = self._variables.value(_KEY)
            if key:
                block["api_key"] = key
                self._said_by["roboflow", "api_key"] = _KEY

    def _obey_redis(self) -> None:
        url = self._environment.redis_url
        block = self._data.setdefault("limits", {}) if url is not None else None
        redis = block.setdefault("redis", {}) if isinstance(block, dict) else None
        if isinstance(redis, dict) and "url" not in redis:  # a password may be said elsewhere
            redis["url"] = url
            self._said_by["limits", "redis", "url"] = _REDIS

    def _where(self, place: KeyPath) -> str:
        if place[:1] == ("tags",) and len(place) > 1 and isinstance(place[1], int):
            if place[1] < self._tags_before:
                return _TAGS
            place = ("tags", place[1] - self._tags_before)
        for length in range(len(place), 0, -1):
            if place[:length] in self._said_by:
                return self._said_by[place[:length]]
        # What is wrong with a whole block may be the fault of what a variable put into it.
        within = ", ".join(name for said, name in self._said_by.items() if said[: len(place)] == place)
        return self._document.location_of(self._deprecations.as_written(place)) + (f" with {within}" if within else "")


def _has_room(block: object, part: str | int) -> bool:
    if isinstance(block, list):
        return isinstance(part, int) and part < len(block)
    return isinstance(block, dict) and isinstance(part, str)


def _absolute(block: _Block, base: Path) -> _Block:
    """The block with every relative path in it, and every stream's file, under `base`."""
    changed: dict[str, Any] = {}
    for name in type(block).model_fields:
        value = getattr(block, name)
        if isinstance(value, Path):
            changed[name] = base / value
        elif isinstance(value, BaseModel):
            changed[name] = _absolute(value, base)
        elif isinstance(value, tuple):
            changed[name] = tuple(_absolute(v, base) if isinstance(v, BaseModel) else v for v in value)
    if isinstance(block, StreamSettings) and block.is_file:
        changed["source"] = str(base / str(block.source))
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
                yield from _secret_values(one)


def _secret_values(data: Mapping[str, Any]) -> Iterator[str]:
    """Of what is somebody else's (a python model's options), only the names can tell."""
    for key, value in data.items():
        if isinstance(value, dict):
            yield from _secret_values(value)
        elif isinstance(value, str) and SECRET_NAME_PATTERN.search(key):
            yield value
