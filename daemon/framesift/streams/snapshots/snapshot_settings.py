"""SnapshotSettings: the block `snapshot` of a stream, another address of the same camera."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any

from pydantic import BeforeValidator, ConfigDict, Field, SecretStr, model_validator

from framesift.config.redact import redact_url
from framesift.config.schema import MOST_BYTES, StrictModel, parse_size, size_schema

_LEAST_BYTES = 1 << 20
_Address = Annotated[str, Field(min_length=1, max_length=4096)]


class SnapshotSettings(StrictModel):
    """Where the picture that is kept comes from, in place of the one that the model sees, and how long it may take.

    Transport, certificates, time-outs and `rotate` are the stream's own; so are the credentials, where none are given
    here and the host is the same.
    """

    model_config = ConfigDict(hide_input_in_errors=True)  # the address may carry a password

    source: Annotated[
        _Address | None,
        Field(
            description="The camera's main stream: its packets are kept, and few are decoded.",
            examples=["rtsp://10.0.0.5/stream0"],
        ),
    ] = None
    url: Annotated[
        _Address | None,
        Field(
            description="In place of `source`: where the camera gives a JPEG.", examples=["http://10.0.0.5/still.jpg"]
        ),
    ] = None
    username: Annotated[
        Annotated[str, Field(min_length=1, max_length=256)] | None,
        Field(description="Null: that of the stream, where the host is the same.", examples=["viewer"]),
    ] = None
    password: Annotated[
        SecretStr | None,
        Field(description="Null: that of the stream, as with username.", examples=["${GATE_PASSWORD}"]),
    ] = None
    wait_s: Annotated[float, Field(ge=0.1, le=5.0, description="How long a frame waits for its snapshot.")] = 1.0
    max_skew_s: Annotated[
        float, Field(ge=0.0, le=10.0, description="How far in time the snapshot may be from the frame.")
    ] = 0.5
    max_decode_frames: Annotated[
        int, Field(ge=1, le=1000, description="The most pictures from a key frame on that are decoded for one.")
    ] = 150
    pre_s: Annotated[
        float, Field(ge=0.0, le=30.0, description="How far back packets are kept, for a frame's neighbours.")
    ] = 0.0
    max_bytes: Annotated[
        int,
        Field(ge=_LEAST_BYTES, le=MOST_BYTES, description='The most memory of packets, as "64MiB" or in bytes.'),
        BeforeValidator(parse_size),
        size_schema(_LEAST_BYTES),
    ] = 64 << 20

    @model_validator(mode="after")
    def _one_of_both(self) -> SnapshotSettings:
        if (self.source is None) == (self.url is None):
            raise ValueError("snapshot needs either source (the address of a main stream) or url (that of a JPEG)")
        return self

    @property
    def address(self) -> str:
        """`source` or `url`, as it was written."""
        return self.source or self.url or ""

    def __repr_args__(self) -> Iterable[tuple[str | None, Any]]:
        """Fields for `repr`, with redacted addresses."""
        for name, value in super().__repr_args__():
            yield name, redact_url(value) if name in ("source", "url") and value is not None else value
