"""NetworkAddress: a camera's address with its credentials, which stand either in it or beside it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import SplitResult, quote, unquote, urlunsplit

from framesift.config.redact import path_tokens


@dataclass(frozen=True, slots=True)
class NetworkAddress:
    """An address. beside_username, beside_password: what is given beside it."""

    url: SplitResult
    beside_username: str | None = None
    beside_password: str | None = None

    @property
    def username(self) -> str | None:
        """The user, decoded; None if there is none."""
        if self.beside_username is not None or self.url.username is None:
            return self.beside_username
        return unquote(self.url.username)

    @property
    def password(self) -> str | None:
        """The password, decoded; None if there is none."""
        if self.beside_password is not None or self.url.password is None:
            return self.beside_password
        return unquote(self.url.password)

    def text(self) -> str:
        """The address with its credentials in it: for who opens it only."""
        host = self.url.netloc.rpartition("@")[2]
        userinfo = self._userinfo()
        return urlunsplit(self.url._replace(netloc=f"{userinfo}@{host}" if userinfo else host))

    def without_credentials(self) -> str:
        """The address without user and password."""
        return urlunsplit(self.url._replace(netloc=self.url.netloc.rpartition("@")[2]))

    def secrets(self) -> Iterable[str]:
        """All of its secrets, in the spellings that a decoder might print."""
        for secret in (self.password, self.username):
            if secret:
                yield secret
        if self.username and self.password:
            # Short ones are struck where they stand beside each other, as they do in an address.
            yield f"{self.username}:{self.password}"
            yield self._userinfo()
        if self.url.query:
            yield self.url.query
        yield from path_tokens(urlunsplit(self.url))

    def _userinfo(self) -> str:
        if self.username is None:
            return ""
        return quote(self.username, safe="") + ("" if self.password is None else ":" + quote(self.password, safe=""))
