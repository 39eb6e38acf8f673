"""A policy at an https:// address."""

from __future__ import annotations

import re
from urllib.parse import urljoin, urlsplit

from framesift.config import text as config_text
from framesift.config.errors import ConfigError, shown
from framesift.config.redact import redacted_url
from framesift.http_client.client import Answered, Request, Web
from framesift.policy.policy_settings import UrlPolicy
from framesift.policy.tolerant_parser import read_fetched
from framesift.policy.types import Got, PolicyUnavailable

_SECRET = re.compile(r"passw|secret|token|key|credential|auth|sig", re.IGNORECASE)


class UrlSource:
    """A document at an https:// address, JSON or YAML. Redirects are not followed: they are told."""

    def __init__(self, options: UrlPolicy, web: Web) -> None:
        self._web = web
        self._request = Request("GET", options.document, secret_query=options.query)
        self.told = str(options)
        self.name = redacted_url(options.document).rstrip("/").rpartition("/")[2]
        # A query may choose the document, or carry a token, which nobody should be able to guess from a file's name.
        chosen = [f"{key}={value}" for key, value in options.query if not _SECRET.search(key)]
        parts = urlsplit(options.document)
        self.identity = f"{parts.netloc.rpartition('@')[2]}{parts.path}?{'&'.join(chosen)}"

    def ask(self, within_s: float) -> Got:
        answer = self._web.exchange(self._request, within_s=within_s, most_bytes=config_text.MOST_BYTES)
        if not isinstance(answer, Answered):
            raise PolicyUnavailable(f"{self.told}: {answer.why}")
        if answer.status != 200:
            pause_s = answer.retry_after_s()
            where = answer.headers.get("Location") if 300 <= answer.status < 400 else None
            to = f", to {shown(urljoin(self._request.url, where))}, which is not followed" if where else ""
            raise PolicyUnavailable(f"{self.told}: answered with status {answer.status}{to}", pause_s)
        try:
            text = answer.body.decode("utf-8-sig")
        except UnicodeDecodeError:
            raise ConfigError(f"{self.told}: is not UTF-8 text") from None
        if text.lstrip()[:1] == "<":  # a captive portal, or the page of an error
            raise PolicyUnavailable(f"{self.told}: answered with a web page instead of a policy")
        data = config_text.parse(text, self.told).data
        fetched = read_fetched(data, self.told)
        assert isinstance(data, dict)  # or it would not have been read
        found = fetched.policy
        return Got(found, data, fetched.left_out, (), found.target_workspace, found.target_project)
