"""Settings of the inference_server model."""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from framesift.config.network import ApiKey, split_server_url
from framesift.config.schema import MODEL_ID_PATTERN, TAG_PATTERN, Fraction, StrictModel
from framesift.prediction.prediction import MAX_OBJECTS

# Addresses that do not exist on the internet: this machine, private networks, the link (RFC 1918, 3927, 4193, 4291).
_PRIVATE_NETWORKS = tuple(
    ipaddress.ip_network(network)
    for network in (
        "127.0.0.0/8",
        "10.0.0.0/8",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "169.254.0.0/16",
        "::1/128",
        "fc00::/7",
        "fe80::/10",
    )
)
# Names without a dot belong to a container or the local network. These suffixes are reserved for private networks
# (RFC 6762, RFC 8375, and ICANN's resolution of 2024).
_PRIVATE_SUFFIXES = (".localhost", ".local", ".internal", ".home.arpa")


def is_private_host(host: str) -> bool:
    """Whether a host name or IP address belongs to this machine or a private network."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        name = host.rstrip(".").lower()
        # A number without dots is an address too, possibly a public one.
        return re.fullmatch(r"[a-z][a-z0-9_-]*", name) is not None or name.endswith(_PRIVATE_SUFFIXES)
    return any(address in network for network in _PRIVATE_NETWORKS)


def _url(url: str) -> str:
    """Raises ValueError that shows nothing of the address: it may hold credentials."""
    try:
        is_valid = split_server_url(url).scheme in ("http", "https")
    except ValueError:
        is_valid = False
    if not is_valid:
        raise ValueError("url is not the address of a server, such as http://127.0.0.1:9001 or https://host")
    if "@" in url or "?" in url or "#" in url:
        raise ValueError(
            "url is a scheme, a host, and perhaps a port and a path: no credentials, no query; the key is api_key"
        )
    return url.rstrip("/")


ImageSide = Annotated[int, Field(ge=16, le=65_500)]


class InferenceServerSettings(StrictModel):
    """A model that runs in an inference server.

    A null of `confidence`, `overlap` or `max_detections` leaves it to the server, and so does a classifier without
    `confidence` (there it decides on the labels, not on what is reported).
    """

    type: Annotated[Literal["inference_server"], Field(description="A model that runs in an inference server.")]
    url: Annotated[
        str,
        AfterValidator(_url),
        Field(description="The server's address; a path in it comes before the server's own paths."),
    ] = "http://127.0.0.1:9001"
    model_id: Annotated[
        str, Field(pattern=TAG_PATTERN, description="The model, as the server names it.", examples=["parking/3"])
    ]
    task: Annotated[
        Literal["object-detection", "instance-segmentation", "keypoint-detection", "classification"],
        Field(description="What the model does."),
    ]
    route: Annotated[
        Literal["v1", "legacy"], Field(description="The server's paths: v1 is /infer/..., legacy is /{model_id}.")
    ] = "v1"
    api_key: Annotated[
        ApiKey | None,
        Field(
            description="Sent in a header (servers from 1.5.0 on); null: the server needs none, or has its own.",
            examples=["${ROBOFLOW_API_KEY}"],
        ),
    ] = None
    confidence: Annotated[
        Fraction | None, Field(description="Objects below it are not reported; null: the server decides.")
    ] = 0.1
    overlap: Annotated[
        Fraction | None,
        Field(
            description="Of two boxes that overlap by more (IoU), the less confident is removed; null: the server "
            "decides.",
            examples=[0.5],
        ),
    ] = None
    max_detections: Annotated[
        Annotated[int, Field(ge=1, le=MAX_OBJECTS)] | None,
        Field(description="At most so many objects are reported; null: the server decides.", examples=[100]),
    ] = None
    jpeg_quality: Annotated[int, Field(ge=1, le=100, description="Of the picture that is sent.")] = 95
    max_image_size: Annotated[
        tuple[ImageSide, ImageSide] | None,
        Field(
            description="The height and width in pixels that the picture that is sent must fit in; null: unchanged.",
            examples=[[720, 1280]],
        ),
    ] = None
    # Together with a DNS look-up, which may take 30 s more, it stays below the watchdog's limit for a hung loop.
    timeout_s: Annotated[float, Field(ge=0.1, le=20.0, description="For the whole exchange.")] = 5.0

    @model_validator(mode="after")
    def _sensible(self) -> InferenceServerSettings:
        parts = urlsplit(self.url)
        if self.api_key is not None and parts.scheme == "http" and not is_private_host(str(parts.hostname)):
            raise ValueError(
                f"api_key: {parts.hostname} is not a private host: over http:// others could read the "
                "key; use https://, or a private address"
            )
        if self.route == "legacy" and re.match(MODEL_ID_PATTERN, self.model_id) is None:
            raise ValueError(f"model_id: route legacy needs dataset/version, as parking/3, not {self.model_id}")
        if self.task == "classification" and (self.overlap is not None or self.max_detections is not None):
            raise ValueError("overlap and max_detections are for detectors, not for task classification")
        return self

    @property
    def sent_confidence(self) -> float | None:
        """The confidence that is sent to the server; None for none."""
        given = self.task != "classification" or "confidence" in self.model_fields_set
        return self.confidence if given else None
