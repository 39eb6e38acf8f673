"""Settings: the facts of the machine, typed and ranged to the last field."""

from __future__ import annotations

import ipaddress
import re
import socket
from collections import Counter
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, PrivateAttr, SecretStr, WithJsonSchema, model_validator

from framesift.atomic_files import safe_name
from framesift.config.schema import Name, StrictModel, Tag, parse_size
from framesift.listeners.listener_settings import ListenerSettings
from framesift.models import ModelSettings
from framesift.policy import PolicySettings, RoboflowPolicySettings
from framesift.settings.deprecated_keys import Deprecation
from framesift.settings.network import AccountSettings, NetworkSettings
from framesift.settings.shared_limits import LimitsSettings
from framesift.sinks import SinkSettings
from framesift.spool import WhenFull
from framesift.streams import StreamSettings

_MOST_BYTES = 1 << 50
_BIND = re.compile(r"(?:\[(?P<six>[0-9A-Fa-f:.]+)\]|(?P<name>[A-Za-z0-9.-]+)):(?P<port>[0-9]{1,5})")


def _device() -> str:
    """The host's name, made fit to be a tag and the beginning of file names."""
    name = safe_name(socket.gethostname().partition(".")[0], extra="_.", merge=True).strip("-_.")[:64]
    return name or "device"


def _size_schema(least_bytes: int) -> WithJsonSchema:
    """What an editor is told of a size: pydantic's own schema knows nothing of "2GiB"."""
    return WithJsonSchema(
        {"anyOf": [{"type": "integer", "minimum": least_bytes, "maximum": _MOST_BYTES}, {"type": "string"}]}
    )


class SpoolSettings(StrictModel):
    """The queue on disk."""

    path: Annotated[Path, Field(description="The file; beside it lie the files that SQLite needs.")] = Path("spool.db")
    max_bytes: Annotated[
        int,
        Field(ge=1 << 20, le=_MOST_BYTES, description='The most that it may hold, as "2GiB" or in bytes.'),
        BeforeValidator(parse_size),
        _size_schema(1 << 20),
    ] = 2 << 30
    min_free_bytes: Annotated[
        int,
        Field(ge=0, le=_MOST_BYTES, description="What stays free on its disk, whoever fills it."),
        BeforeValidator(parse_size),
        _size_schema(0),
    ] = 512 << 20
    when_full: Annotated[
        WhenFull, Field(description="Who gives way: the lowest score, the oldest, or the new one.")
    ] = WhenFull.EVICT_LOWEST


class UploadSettings(StrictModel):
    """The workers that deliver."""

    workers: Annotated[int, Field(ge=1, le=32, description="How many deliveries may be under way at once.")] = 2


def _address(bind: str) -> str:
    found = _BIND.fullmatch(bind)
    if found is None or int(found["port"]) > 65535:
        raise ValueError(f'bind is an address and a port, as "127.0.0.1:9464" or "[::1]:9464", not {bind[:100]!r}')
    try:
        ipaddress.ip_address(found["six"] or found["name"])
    except ValueError:
        if found["name"] != "localhost":
            raise ValueError(f"bind needs an IP address or localhost, not {bind[:100]!r}") from None
    return bind


def _token(token: SecretStr) -> SecretStr:
    if re.fullmatch(r"[!-~]+", token.get_secret_value()) is None:
        raise ValueError("token has characters that an HTTP header can't carry; use printable ASCII without spaces")
    return token


class StatusSettings(StrictModel):
    """The read-only window: health, metrics, status."""

    bind: Annotated[
        Annotated[str, AfterValidator(_address)] | None,
        Field(description="Address and port; null for none. Any but the loopback needs a token."),
    ] = "127.0.0.1:9464"
    token: Annotated[
        Annotated[SecretStr, Field(min_length=16, max_length=256), AfterValidator(_token)] | None,
        Field(description="What a reader must send as Authorization: Bearer."),
    ] = None

    @model_validator(mode="after")
    def _closed_to_strangers(self) -> StatusSettings:
        if self.bind is not None and self.token is None and not self.is_loopback:
            raise ValueError(f"bind: {self.bind} can be reached from outside this machine: that needs a token")
        return self

    @property
    def is_loopback(self) -> bool:
        return self.host == "localhost" or ipaddress.ip_address(self.host).is_loopback

    @property
    def host(self) -> str:
        """Of `bind`, without brackets. Only where `bind` is not None."""
        return str(self.bind).rpartition(":")[0].strip("[]")

    @property
    def port(self) -> int:
        """Of `bind`. Only where `bind` is not None; 0 takes any that is free."""
        return int(str(self.bind).rpartition(":")[2])


class LogSettings(StrictModel):
    """The lines on stdout."""

    format: Annotated[
        Literal["auto", "json", "text"], Field(description="auto: JSON, unless stdout is a terminal.")
    ] = "auto"
    level: Annotated[Literal["debug", "info", "warning", "error"], Field(description="The least that is printed.")] = (
        "info"
    )


class StreamEntry(StreamSettings):
    """A stream, and what is worth a label in it."""

    policy: Annotated[PolicySettings, Field(description="Instead of the policy of all streams.")] | None = None


def _named_once(streams: tuple[StreamEntry, ...]) -> tuple[StreamEntry, ...]:
    for name, count in Counter(stream.name for stream in streams).items():
        if count > 1:
            raise ValueError(f'{count} streams are called "{name}"; each needs a name of its own')
    return streams


class Settings(StrictModel):
    """framesift.yaml."""

    device: Annotated[Name, Field(description="A tag, and a prefix of names, of what this machine collects.")] = Field(
        default_factory=_device
    )
    enabled: Annotated[bool, Field(description="false: nothing is collected, whatever the policy says.")] = True
    tags: Annotated[tuple[Tag, ...], Field(max_length=64, description="Of everything that is collected.")] = ()
    seed: Annotated[int, Field(ge=0, lt=1 << 63, description="Of every random draw.")] = 0
    streams: Annotated[
        tuple[StreamEntry, ...],
        Field(max_length=256, description="Cameras and files."),
        AfterValidator(_named_once),
    ] = ()
    listeners: Annotated[
        tuple[ListenerSettings, ...],
        Field(max_length=16, description="Where other programs hand in pictures with their predictions."),
    ] = ()
    model: Annotated[ModelSettings | None, Field(description="What looks at the frames of the streams.")] = None
    policy: Annotated[
        PolicySettings, Field(description="The active-learning policy: a file, an address, or Roboflow's.")
    ]
    sink: SinkSettings
    roboflow: AccountSettings = AccountSettings()
    network: NetworkSettings = NetworkSettings()
    limits: LimitsSettings = LimitsSettings()
    spool: SpoolSettings = SpoolSettings()
    upload: UploadSettings = UploadSettings()
    status: StatusSettings = StatusSettings()
    log: LogSettings = LogSettings()

    @model_validator(mode="after")
    def _has_something_to_look_at(self) -> Settings:
        if not self.streams and not self.listeners:
            raise ValueError(
                "streams: missing: at least one stream (or a listener, to which other programs send images)"
            )
        if self.streams and self.model is None:
            raise ValueError(
                "model: missing: what looks at the frames of the streams; {type: stub} collects without one"
            )
        return self

    @model_validator(mode="after")
    def _has_a_key(self) -> Settings:
        if self.roboflow.api_key is None:
            sources = (self.policy, *(stream.policy for stream in self.streams))
            wanted = [
                name
                for name, there in (
                    ("sink", self.sink.uses_platform),
                    ("policy", any(isinstance(source, RoboflowPolicySettings) for source in sources)),
                )
                if there
            ]
            if wanted:
                raise ValueError(
                    f"roboflow.api_key is missing, which the {' and the '.join(wanted)} need: set ROBOFLOW_API_KEY (or "
                    "ROBOFLOW_API_KEY_FILE, or a credential of that name)"
                )
        return self

    @property
    def stream_names(self) -> tuple[str, ...]:
        """Under which names frames come in, as far as they are known before they come."""
        return (*(stream.name for stream in self.streams), *(listener.stream for listener in self.listeners))

    def project_of(self, stream: str) -> str | None:
        """The platform's project for what is collected under this name, where its policy names no target_project."""
        if not self.sink.uses_platform:
            return None
        source = next((one.policy for one in self.streams if one.name == stream and one.policy), self.policy)
        return self.sink.default_project or (source.project if isinstance(source, RoboflowPolicySettings) else None)

    @property
    def deprecations(self) -> tuple[Deprecation, ...]:
        """The deprecated keys and values that the settings use."""
        return self._deprecations

    _deprecations: tuple[Deprecation, ...] = PrivateAttr(default=())
    # Texts that came from secret places, wherever they ended up.
    _heard: tuple[str, ...] = PrivateAttr(default=())
