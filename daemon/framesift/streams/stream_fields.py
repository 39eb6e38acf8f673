"""StreamFields: the keys of one entry of `streams:` in framesift.yaml, and what each of them allows by itself."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, SecretStr

from framesift.config.paths import LocalPath
from framesift.config.schema import Name, StrictModel, Tag
from framesift.streams.snapshots.snapshot_settings import SnapshotSettings

# What opens a stream and decodes its pictures: `av` is FFmpeg's libraries through PyAV.
# `gstreamer` is OpenCV with a pipeline's text as the source.
ChosenEngine = Literal["av", "opencv", "gstreamer"]
Engine = Literal["auto", "av", "opencv", "gstreamer"]


class StreamFields(StrictModel):
    """Where the pictures of one stream come from, and how many are used. Whether they fit together: StreamSettings."""

    name: Annotated[
        Name, Field(description="The stream's name, in tags, file names, logs and metrics.", examples=["gate"])
    ]
    source: Annotated[
        Annotated[str, Field(min_length=1, max_length=4096)] | Annotated[int, Field(ge=0, le=255)],
        Field(
            description="An address (rtsp://, rtsps://, http://, https://, file:///), a file, a folder of pictures or "
            "a pattern for their names (`pictures/*.jpg`), a webcam's number or device, or with the engine gstreamer a "
            "pipeline.",
            examples=["rtsp://10.0.0.5/stream1"],
        ),
    ]
    username: Annotated[
        Annotated[str, Field(min_length=1, max_length=256)] | None,
        Field(description="The camera's user, if it isn't in the address.", examples=["viewer"]),
    ] = None
    password: Annotated[
        SecretStr | None,
        Field(description="The camera's password, if it isn't in the address.", examples=["${GATE_PASSWORD}"]),
    ] = None
    transport: Annotated[
        Literal["tcp", "udp"] | None,
        Field(description="Of RTSP's pictures; null: TCP, or UDP where the camera does not offer TCP."),
    ] = None
    ca_file: Annotated[
        LocalPath | None,
        Field(
            description="For rtsps:// and https://: certificates (PEM) that are trusted instead of the public "
            "authorities'.",
            examples=["camera.pem"],
        ),
    ] = None
    verify: Annotated[bool, Field(description="false: any certificate is accepted.")] = True
    fps: Annotated[
        Annotated[float, Field(gt=0.0, le=240.0)] | None,
        Field(
            description="At most so many pictures a second go to the model; null: all that it can follow.", examples=[5]
        ),
    ] = None
    tags: Annotated[
        tuple[Tag, ...], Field(description="Tags of what is collected from this stream.", examples=[["north"]])
    ] = ()
    loop: Annotated[bool, Field(description="true: a file begins again at its end.")] = False
    watch: Annotated[
        bool, Field(description="true: the pictures that arrive in the folder later are read too; it never ends.")
    ] = False
    follow: Annotated[bool, Field(description="true: the file is still being written, and never ends.")] = False
    pace: Annotated[
        Literal["model", "realtime"],
        Field(description="model: a file is read as fast as the model can follow; realtime: it plays like a camera."),
    ] = "model"
    open_timeout_s: Annotated[
        float, Field(ge=0.5, le=120.0, description="A source that does not open within it is lost, and tried again.")
    ] = 10.0
    read_timeout_s: Annotated[
        float,
        Field(ge=0.5, le=600.0, description="A source without a new picture for so long is lost, and opened again."),
    ] = 10.0
    engine: Annotated[
        Engine, Field(description="What opens and decodes it; auto: av where it is installed (docs/streams.md).")
    ] = "auto"
    decode: Annotated[
        Literal["all", "keyframes"],
        Field(description="keyframes: nothing else is decoded, at a fraction of the cost."),
    ] = "all"
    threads: Annotated[
        Annotated[int, Field(ge=1, le=16)] | None,
        Field(description="Threads of the decoder; null: the engine's choice.", examples=[1]),
    ] = None
    rotate: Annotated[
        Literal[0, 90, 180, 270], Field(description="By how many degrees pictures are turned, clockwise.")
    ] = 0
    show_damaged: Annotated[bool, Field(description="true: pictures that are known to be damaged are used too.")] = (
        False
    )
    snapshot: Annotated[
        SnapshotSettings | None,
        Field(
            description="Where the picture that is kept comes from, if it isn't the frame's own.",
            examples=[{"source": "rtsp://10.0.0.5/stream0"}],
        ),
    ] = None
