"""The setting `policy`: where a policy comes from.

    policy: policy.json                                       a file of this machine
    policy: https://example.com/policy.json                   a URL, which may hold user:password@ or a token
    policy: {from: roboflow, project: parking, model_id: parking/3}

A printed URL never shows its credentials or the values of its query.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit, urlunsplit

from pydantic import BeforeValidator, Discriminator, Field, GetCoreSchemaHandler, GetJsonSchemaHandler, Tag
from pydantic_core import CoreSchema, core_schema

from framesift.config.addresses import address_hint
from framesift.config.errors import format_value
from framesift.config.network import is_loopback
from framesift.config.paths import LocalPath
from framesift.config.redact import is_malformed_address, path_tokens, redact_url
from framesift.config.schema import ADDRESS_PATTERN, MODEL_ID_PATTERN, Slug, StrictModel

_MAX_CHARACTERS = 4096
_SCHEMES = ("https", "http")
_ALLOWED = "the path of a file, an https:// address (http:// on this machine), or {from: roboflow, project: ...}"


@dataclass(frozen=True, repr=False)
class UrlPolicySettings:
    """A policy at an https:// URL (http:// only on this machine)."""

    url: str

    @classmethod
    def parse(cls, url: str) -> UrlPolicySettings:
        """Checks a URL. Raises ValueError; its message shows no credentials."""
        try:
            parts = urlsplit(url)
            host, _port = parts.hostname, parts.port
        except ValueError:
            raise ValueError("the address can't be read; percent-encode the user, the password and the query") from None
        if len(url) > _MAX_CHARACTERS or any(not c.isprintable() or c == " " for c in url):
            raise ValueError(
                f"an address has at most {_MAX_CHARACTERS} characters, and no spaces or control characters"
            )
        if parts.scheme not in _SCHEMES or not host:
            hint = address_hint(url, _SCHEMES)
            raise ValueError(f"{format_value(url)} is not allowed; it must be {_ALLOWED}{f': {hint}' if hint else ''}")
        if "#" in url:
            raise ValueError("a policy's address has no #; in a password or a token, write %23")
        if parts.scheme == "http" and not is_loopback(host):
            raise ValueError(
                f"{format_value(url)} must begin with https://: over http:// others could read its credentials "
                "and change what is collected (http:// is for this machine's own addresses)"
            )
        return cls(url)

    @property
    def url_without_query(self) -> str:
        """The URL without its query, with its credentials."""
        return urlunsplit(self._parts._replace(query=""))

    @property
    def query(self) -> tuple[tuple[str, str], ...]:
        """The names and values of the query."""
        return tuple(parse_qsl(self._parts.query, keep_blank_values=True))

    def secrets(self) -> Iterator[str]:
        """All secret texts of the URL, which must never be printed."""
        if self._parts.username is not None:
            user, password = unquote(self._parts.username), unquote(self._parts.password or "")
            yield from (f"{user}:{password}", self._parts.netloc.rpartition("@")[0], password or user)
        for _, value in self.query:
            if value:
                yield value
        yield from path_tokens(self.url)

    @property
    def _parts(self) -> SplitResult:
        return urlsplit(self.url)

    def __str__(self) -> str:
        return redact_url(self.url)

    def __repr__(self) -> str:
        return f"UrlPolicySettings({str(self)!r})"

    @classmethod
    def __get_pydantic_core_schema__(cls, _source: Any, _handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(cls.parse, core_schema.str_schema())

    @classmethod
    def __get_pydantic_json_schema__(cls, _schema: CoreSchema, _handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"type": "string", "format": "uri", "pattern": ADDRESS_PATTERN, "maxLength": _MAX_CHARACTERS}


class RoboflowPolicySettings(StrictModel):
    """A policy that is the active-learning configuration of a Roboflow project."""

    source: Annotated[Literal["roboflow"], Field(alias="from", description="The Roboflow platform.")]
    project: Annotated[Slug, Field(description="The project whose configuration it is.", examples=["parking"])]
    model_id: Annotated[str, Field(pattern=MODEL_ID_PATTERN)] | None = Field(
        None,
        description="The model on the platform whose type must suit the project; null: the task of the local model "
        "must suit it.",
        examples=["parking/3"],
    )

    @property
    def trained_on(self) -> str:
        """The project on which the model was trained; the project itself where no model is named."""
        return self.project if self.model_id is None else self.model_id.partition("/")[0]

    def __str__(self) -> str:
        return f"roboflow project {self.project}" + (f" (model {self.model_id})" if self.model_id else "")


def _kind(value: object) -> str:
    if isinstance(value, dict | RoboflowPolicySettings):
        return "roboflow"
    address = isinstance(value, str) and ("://" in value or is_malformed_address(value))
    return "url" if address or isinstance(value, UrlPolicySettings) else "path"


def _text(value: object) -> object:
    if not isinstance(value, str | Path):
        raise ValueError(f"{format_value(value)} is not allowed; it must be {_ALLOWED}")
    hint = address_hint(value, _SCHEMES) if isinstance(value, str) else None
    if hint is not None:
        raise ValueError(f"{format_value(value)} is not allowed; it must be {_ALLOWED}: {hint}")
    return value


class _AnyOf:
    """Makes the published schema `anyOf` instead of `oneOf`: a URL would also be valid as a path."""

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        published = handler(schema)
        published["anyOf"] = published.pop("oneOf")
        return published


PolicySettings = Annotated[
    Annotated[LocalPath, BeforeValidator(_text), Tag("path")]
    | Annotated[UrlPolicySettings, Tag("url")]
    | Annotated[RoboflowPolicySettings, Tag("roboflow")],
    Discriminator(_kind),
    _AnyOf(),
]
