"""Environment: variables that other programs define, with types. framesift's own are in config/variables.py."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from framesift.config.errors import ConfigError, format_value


class Environment(BaseSettings):
    """The variables of systemd and of Roboflow.

    notify_socket: the address of systemd's socket. state_directory: the folders for the service's files, with colons
    between them. active_learning_tags: a comma list in the variable.
    """

    model_config = SettingsConfigDict(case_sensitive=True, extra="ignore", frozen=True, env_ignore_empty=True)

    notify_socket: str | None = Field(None, validation_alias="NOTIFY_SOCKET")
    state_directory: str | None = Field(None, validation_alias="STATE_DIRECTORY")
    active_learning_enabled: bool = Field(True, validation_alias="ACTIVE_LEARNING_ENABLED")
    active_learning_tags: Annotated[tuple[str, ...], NoDecode] = Field((), validation_alias="ACTIVE_LEARNING_TAGS")
    redis_host: str | None = Field(None, validation_alias="REDIS_HOST")
    redis_port: int = Field(6379, validation_alias="REDIS_PORT", ge=1, le=65535)
    redis_ssl: bool = Field(False, validation_alias="REDIS_SSL")

    @field_validator("active_learning_tags", mode="before")
    @classmethod
    def _listed(cls, value: object) -> object:
        return tuple(word.strip() for word in value.split(",") if word.strip()) if isinstance(value, str) else value

    @field_validator("active_learning_enabled", "redis_ssl", "redis_port", "redis_host", mode="before")
    @classmethod
    def _stripped(cls, value: object) -> object:
        return value.strip() if isinstance(value, str) else value

    @property
    def redis_url(self) -> str | None:
        """The address of the Redis server; None where REDIS_HOST is not set."""
        if self.redis_host is None:
            return None
        host = f"[{self.redis_host}]" if ":" in self.redis_host else self.redis_host
        return f"{'rediss' if self.redis_ssl else 'redis'}://{host}:{self.redis_port}"

    @property
    def state_folder(self) -> Path | None:
        """The first of systemd's folders for the service's files; None where there is none."""
        first = (self.state_directory or "").partition(":")[0]
        return Path(first) if first else None

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003  # pydantic's own signature
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Nothing but the arguments is read: `from_variables` passes the variables."""
        return (init_settings,)

    @classmethod
    def from_variables(cls, environ: Mapping[str, str]) -> Environment:
        """Reads the given variables (os.environ, except in tests). Raises ConfigError that names the variable."""
        source = EnvSettingsSource(cls)
        source.env_vars = {name: value for name, value in environ.items() if value}
        try:
            return cls(**source())
        except ValidationError as error:
            lines = [
                f"{problem['loc'][0]}: {format_value(problem['input'])} is not allowed; it must be "
                + ("a port" if problem["loc"][0] == "REDIS_PORT" else "true or false")
                for problem in error.errors(include_url=False)  # the other fields accept every text
            ]
            raise ConfigError(*lines) from None
