"""The blocks of framesift.yaml that belong to no other module, and the whole of it: Settings."""

from __future__ import annotations

import socket
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, PrivateAttr, model_validator

from framesift.atomic_files import safe_name
from framesift.config.network import Token, listen_address, require_token, split_address
from framesift.config.paths import LocalPath
from framesift.config.schema import (
    MOST_BYTES,
    Name,
    StrictModel,
    Tag,
    duration_schema,
    parse_duration,
    parse_size,
    size_schema,
)
from framesift.models import ModelSettings
from framesift.policy import PolicySettings, RoboflowPolicySettings
from framesift.settings.deprecated_keys import Deprecation
from framesift.settings.network import AccountSettings, NetworkSettings
from framesift.settings.privacy_entry import ListenerEntry, OwnPrivacy, PrivacyEntry
from framesift.settings.shared_limits import LimitsSettings
from framesift.sinks import SinkSettings
from framesift.spool import WhenFull
from framesift.streams import StreamSettings

_MOST_QUIET_S = 366 * 86_400.0


def _default_device() -> str:
    """The host's name, without characters that a tag or a file name can't have."""
    name = safe_name(socket.gethostname().partition(".")[0], extra="_.", merge=True).strip("-_.")[:64]
    return name or "device"


class SpoolSettings(StrictModel):
    """The block `spool`: the durable queue on disk."""

    path: Annotated[LocalPath, Field(description="The SQLite file; SQLite makes more files beside it.")] = Path(
        "spool.db"
    )
    max_bytes: Annotated[
        int,
        Field(ge=1 << 20, le=MOST_BYTES, description='The maximum size of the spool, as "2GiB" or in bytes.'),
        BeforeValidator(parse_size),
        size_schema(1 << 20),
    ] = 2 << 30
    min_free_bytes: Annotated[
        int,
        Field(ge=0, le=MOST_BYTES, description="Disk space that must stay free; below it, nothing is accepted."),
        BeforeValidator(parse_size),
        size_schema(0),
    ] = 512 << 20
    when_full: Annotated[
        WhenFull,
        Field(description="What is dropped when the spool is full: the lowest score, the oldest, or the new one."),
    ] = WhenFull.EVICT_LOWEST

    @property
    def coverage_file(self) -> Path:
        """Where coverage is kept; nothing else lies in its folder."""
        return self.path.with_name(f"{self.path.name}.coverage") / "counts.json"


class DecisionSettings(StrictModel):
    """The block `decisions`: the record of why frames were accepted, held or refused."""

    path: Annotated[
        LocalPath | None, Field(description="Its folder; null: beside the spool.", examples=["/data/decisions"])
    ] = None
    max_bytes: Annotated[
        Annotated[int, Field(ge=1 << 20, le=MOST_BYTES), BeforeValidator(parse_size), size_schema(1 << 20)] | None,
        Field(description='The most that it keeps, as "32MiB" or in bytes: then the oldest goes; null: no record.'),
    ] = 32 << 20
    thumbnails: Annotated[
        bool,
        Field(description="Keep small masked pictures of frames that were nearly taken, in half of max_bytes."),
    ] = False

    @model_validator(mode="after")
    def _require_record(self) -> DecisionSettings:
        if self.thumbnails and self.max_bytes is None:
            raise ValueError("thumbnails belong to the record, and max_bytes: null keeps none: give it a size")
        return self

    def folder(self, spool: Path) -> Path:
        """The folder of the record. spool: the spool's file."""
        return spool.with_name(f"{spool.name}.decisions") if self.path is None else self.path


class UploadSettings(StrictModel):
    """The block `upload`: the workers that deliver datapoints to the sink."""

    workers: Annotated[
        int, Field(ge=1, le=32, description="How many datapoints may be delivered at the same time.")
    ] = 2


class StatusSettings(StrictModel):
    """The block `status`: the HTTP server for health, metrics, status, and what operators do by hand."""

    bind: Annotated[
        Annotated[str, listen_address("bind")] | None,
        Field(description="Address and port; null: no status server. Any address but loopback needs a token."),
    ] = "127.0.0.1:9464"
    token: Annotated[
        Token | None,
        Field(description="What a client must send as Authorization: Bearer.", examples=["${STATUS_TOKEN}"]),
    ] = None

    @model_validator(mode="after")
    def _require_token(self) -> StatusSettings:
        if self.bind is not None:
            require_token("bind", self.bind, self.token, "status.token")
        return self

    @property
    def host(self) -> str:
        """The host of `bind`, without brackets. `bind` must not be None."""
        return split_address(str(self.bind))[0]

    @property
    def port(self) -> int:
        """The port of `bind`; 0 means any free port. `bind` must not be None."""
        return split_address(str(self.bind))[1]


class LogSettings(StrictModel):
    """The block `log`: the lines on stdout."""

    format: Annotated[
        Literal["auto", "json", "text"], Field(description="auto: JSON, unless stdout is a terminal.")
    ] = "auto"
    level: Annotated[
        Literal["debug", "info", "warning", "error"], Field(description="The lowest level that is printed.")
    ] = "info"


class StreamEntry(StreamSettings):
    """One entry of `streams`: a stream, and its own model and policy if it has them."""

    model: Annotated[
        ModelSettings | None,
        Field(description="Instead of the common model; null: the common one.", examples=[{"type": "stub"}]),
    ] = None

    policy: Annotated[
        PolicySettings | None,
        Field(description="Instead of the common policy; null: the common one.", examples=["night.json"]),
    ] = None

    privacy: OwnPrivacy = None


@dataclass(frozen=True)
class ModelUse:
    """A model that is loaded once. name: what it is called where there are several. streams: that are shown to it."""

    settings: ModelSettings
    name: str
    streams: tuple[str, ...]


def _grouped(wanted: list[tuple[str, ModelSettings | None]]) -> list[tuple[ModelSettings, tuple[str, ...]]]:
    """Models that are set alike are one: its settings, and the names of those who want it. A name may be empty."""
    found: list[tuple[ModelSettings, list[str]]] = []
    for name, settings in wanted:
        names = next((names for known, names in found if known == settings), None)
        if names is None and settings is not None:
            found.append((settings, names := []))
        if names is not None and name:
            names.append(name)
    return [(settings, tuple(names)) for settings, names in found]


def _check_unique_names(streams: tuple[StreamEntry, ...]) -> tuple[StreamEntry, ...]:
    for name, count in Counter(stream.name for stream in streams).items():
        if count > 1:
            raise ValueError(f'{count} streams are called "{name}"; each needs a name of its own')
    return streams


class DeviceSettings(StrictModel):
    """The key `device` alone, for commands that need nothing else."""

    device: Annotated[
        Name,
        Field(
            description="This machine's name: a tag, and the prefix of file names, of what it collects.",
            examples=["gate-7"],
        ),
    ] = Field(default_factory=_default_device)


class Settings(DeviceSettings):
    """The whole of framesift.yaml. Every field is one block or key of the file."""

    enabled: Annotated[bool, Field(description="false: nothing is collected, whatever the policy says.")] = True
    group: Annotated[
        Annotated[str, Field(min_length=1, max_length=64)] | Annotated[int, Field(ge=0, lt=1 << 32)] | None,
        Field(
            description="A group that may read what is written here (0640); null: this user alone (0600).",
            examples=["labellers"],
        ),
    ] = None
    tags: Annotated[
        tuple[Tag, ...],
        Field(max_length=64, description="Tags of everything that is collected.", examples=[["site-1"]]),
    ] = ()
    quiet_after: Annotated[
        float | None,
        Field(
            ge=0,
            le=_MOST_QUIET_S,
            description="A stream without an accepted frame for so long is named; 0: never.",
            examples=["12h"],
        ),
        BeforeValidator(parse_duration),
        duration_schema(_MOST_QUIET_S),
    ] = 86_400.0
    seed: Annotated[int, Field(ge=0, lt=1 << 63, description="The seed of every random draw.")] = 0
    streams: Annotated[
        tuple[StreamEntry, ...],
        Field(
            max_length=256, description="Cameras and files.", examples=[[{"name": "street", "source": "street.mp4"}]]
        ),
        AfterValidator(_check_unique_names),
    ] = ()
    listeners: Annotated[
        tuple[ListenerEntry, ...],
        Field(
            max_length=16,
            description="Where other programs send images with their predictions.",
            examples=[[{"listen": "127.0.0.1:9470"}]],
        ),
    ] = ()
    model: Annotated[
        ModelSettings | None,
        Field(
            description="The model that predicts on the frames of the streams that have none of their own.",
            examples=[{"type": "stub"}],
        ),
    ] = None
    policy: Annotated[
        PolicySettings,
        Field(
            description="The active-learning policy: a file, a URL, or a Roboflow project's.", examples=["policy.json"]
        ),
    ]
    privacy: Annotated[
        PrivacyEntry | None,
        Field(
            description="What is covered on the pictures of all streams and listeners, before they are kept.",
            examples=[{"classes": ["person"]}],
        ),
    ] = None
    sink: Annotated[
        SinkSettings, Field(description="Where datapoints go.", examples=[{"type": "folder", "path": "collected"}])
    ]
    roboflow: Annotated[AccountSettings, Field(description="The account on the platform.")] = AccountSettings()
    network: Annotated[NetworkSettings, Field(description="For all outgoing HTTP.")] = NetworkSettings()
    limits: Annotated[
        LimitsSettings, Field(description="Who counts the policy's limits: this device alone, or a fleet together.")
    ] = LimitsSettings()
    spool: Annotated[SpoolSettings, Field(description="The durable queue on the disk.")] = SpoolSettings()
    decisions: Annotated[
        DecisionSettings, Field(description="The record of why frames were accepted, held or refused.")
    ] = DecisionSettings()
    upload: Annotated[UploadSettings, Field(description="The workers that deliver datapoints to the sink.")] = (
        UploadSettings()
    )
    status: Annotated[StatusSettings, Field(description="The HTTP server for health, metrics and status.")] = (
        StatusSettings()
    )
    log: Annotated[LogSettings, Field(description="The lines on stdout.")] = LogSettings()

    @model_validator(mode="after")
    def _require_streams_or_listeners(self) -> Settings:
        if not self.streams and not self.listeners:
            raise ValueError(
                "streams: missing: at least one stream (or a listener, to which other programs send images)"
            )
        without = [stream.name for stream in self.streams if stream.model is None]
        if without and self.model is None:
            of = "" if len(without) == len(self.streams) else f" (stream {', '.join(without)})"
            raise ValueError(
                f"model: missing: streams need a model for their frames{of}; {{type: stub}} collects without one"
            )
        return self

    @model_validator(mode="after")
    def _require_ports_of_their_own(self) -> Settings:
        owners = {} if self.status.bind is None else {self.status.bind: "status.bind"}
        for i, listener in enumerate(self.listeners):
            other = owners.setdefault(listener.listen, f"listeners[{i}].listen")
            if listener.port and other != f"listeners[{i}].listen":
                raise ValueError(
                    f"listeners[{i}].listen: {listener.listen} is the address of {other} too: each needs a port of its "
                    "own"
                )
        return self

    @model_validator(mode="after")
    def _require_api_key(self) -> Settings:
        if self.roboflow.api_key is None:
            sources = (self.policy, *(stream.policy for stream in self.streams))
            wanted = [
                name
                for name, needs_key in (
                    ("sink", self.sink.uses_platform),
                    ("policy", any(isinstance(source, RoboflowPolicySettings) for source in sources)),
                )
                if needs_key
            ]
            if wanted:
                verb = "needs" if len(wanted) == 1 else "need"
                raise ValueError(
                    f"roboflow.api_key is missing, which the {' and the '.join(wanted)} {verb}: set ROBOFLOW_API_KEY "
                    "(or ROBOFLOW_API_KEY_FILE, or a credential of that name)"
                )
        return self

    @property
    def stream_names(self) -> tuple[str, ...]:
        """The names of all streams that the settings know, those of listeners too. Clients may name more."""
        return (*(stream.name for stream in self.streams), *(listener.stream for listener in self.listeners))

    def project_of(self, stream: str) -> str | None:
        """The Roboflow project of a stream's datapoints if its policy names no target_project; None without one."""
        if not self.sink.uses_platform:
            return None
        source = self._policy_of(stream)
        return self.sink.default_project or (source.project if isinstance(source, RoboflowPolicySettings) else None)

    def model_id_of(self, stream: str) -> str:
        """The model that the source of a stream's policy names; "" for none."""
        source = self._policy_of(stream)
        return (source.model_id or "") if isinstance(source, RoboflowPolicySettings) else ""

    def _policy_of(self, stream: str) -> PolicySettings:
        return next((one.policy for one in self.streams if one.name == stream and one.policy), self.policy)

    @property
    def model_uses(self) -> tuple[ModelUse, ...]:
        """Each model that is needed; the common one first. Streams whose models are set alike share one."""
        common = None if self.streams and all(stream.model for stream in self.streams) else self.model
        found = _grouped([("", common), *((stream.name, stream.model or self.model) for stream in self.streams)])
        return tuple(
            ModelUse(
                settings,
                "model" if len(found) == 1 or settings == self.model else f"model of {', '.join(names)}",
                names,
            )
            for settings, names in found
        )

    @property
    def detector_uses(self) -> tuple[ModelUse, ...]:
        """Each detector that privacy needs. `streams` has the names of the streams, and those of the listeners'."""
        owners: list[tuple[str, StreamEntry | ListenerEntry]] = [
            *((stream.name, stream) for stream in self.streams),
            *((listener.stream, listener) for listener in self.listeners),
        ]
        blocks = [(name, self.privacy_of(owner)) for name, owner in owners]
        found = _grouped([(name, block.detector if block else None) for name, block in blocks])
        return tuple(
            ModelUse(settings, "privacy detector" + (f" of {', '.join(names)}" if len(found) > 1 else ""), names)
            for settings, names in found
        )

    def privacy_of(self, owner: StreamEntry | ListenerEntry) -> PrivacyEntry | None:
        """What is covered on the pictures of a stream or a listener; None for nothing."""
        return self.privacy if owner.privacy is None else None if owner.privacy is False else owner.privacy

    @property
    def deprecations(self) -> tuple[Deprecation, ...]:
        """The deprecated keys and values that the settings use."""
        return self._deprecations

    @property
    def file(self) -> Path | None:
        """The file that they were read from, as an absolute path."""
        return self._file

    _file: Path | None = PrivateAttr(default=None)
    _deprecations: tuple[Deprecation, ...] = PrivateAttr(default=())
    # Values that came from files with secrets or from secret variables, wherever they were put.
    _secret_values: tuple[str, ...] = PrivateAttr(default=())
