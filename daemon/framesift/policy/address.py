"""UrlSource: a policy at an https:// address."""

from __future__ import annotations

import re
from urllib.parse import urljoin, urlsplit

from framesift.backoff import MENDED_BY_HAND_RETRY_S
from framesift.config import text as config_text
from framesift.config.errors import ConfigError, format_value
from framesift.config.redact import is_secret_name, redact_url
from framesift.http_client.client import HttpClient, HttpRequest, HttpResponse
from framesift.policy.policy_settings import UrlPolicySettings
from framesift.policy.tolerant_parser import parse_fetched
from framesift.policy.types import PolicyUnavailable, SourceAnswer

# More than `is_secret_name`: nothing of a query that may be secret goes into a file's name.
_MAY_BE_SECRET = re.compile(r"passw|secret|token|key|credential|auth|sig", re.IGNORECASE)
# The credentials in the address are refused, as at the platform.
_MENDED_BY_HAND = (401, 403)


class UrlSource:
    """A JSON or YAML document at an https:// address. Redirects are not followed, but reported."""

    def __init__(self, settings: UrlPolicySettings, http: HttpClient) -> None:
        """settings: the address, perhaps with credentials. http: the client for all requests."""
        self._http = http
        self._request = HttpRequest("GET", settings.url_without_query, secret_query=settings.query)
        self.display_name = str(settings)
        self.short_name = redact_url(settings.url_without_query).rstrip("/").rpartition("/")[2]
        # A query may choose the document, or hold a token, which must not be guessed from the hash in a file's name.
        chosen = [
            f"{key}={value}" for key, value in settings.query if not (_MAY_BE_SECRET.search(key) or is_secret_name(key))
        ]
        parts = urlsplit(settings.url_without_query)
        self.identity = f"{parts.netloc.rpartition('@')[2]}{parts.path}?{'&'.join(chosen)}"

    def fetch(self, within_s: float) -> SourceAnswer:
        """Fetches and parses the document. See PolicySource.fetch."""
        answer = self._http.exchange(self._request, within_s=within_s, max_bytes=config_text.MAX_BYTES)
        if not isinstance(answer, HttpResponse):
            raise PolicyUnavailable(f"{self.display_name}: {answer.why}")
        if answer.status != 200:
            pause_s = answer.retry_after_s()
            if answer.status in _MENDED_BY_HAND:
                pause_s = max(MENDED_BY_HAND_RETRY_S, pause_s or 0.0)
            where = answer.headers.get("Location") if 300 <= answer.status < 400 else None
            to = f", to {format_value(urljoin(self._request.url, where))}, which is not followed" if where else ""
            raise PolicyUnavailable(f"{self.display_name}: answered with status {answer.status}{to}", pause_s)
        try:
            text = answer.body.decode("utf-8-sig")
        except UnicodeDecodeError:
            raise ConfigError(f"{self.display_name}: is not UTF-8 text") from None
        if text.lstrip()[:1] == "<":  # a captive portal, or the page of an error
            raise PolicyUnavailable(f"{self.display_name}: answered with a web page instead of a policy")
        data = config_text.parse(text, self.display_name).data
        fetched = parse_fetched(data, self.display_name)
        assert isinstance(data, dict)  # parse_fetched raises otherwise
        policy = fetched.policy
        return SourceAnswer(policy, data, fetched.left_out, (), policy.target_workspace, policy.target_project)
