"""The Retry-After header: how long a server asks its client to wait (RFC 9110, section 10.2.3)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime

_MIN_S = 1.0
_MAX_S = 3600.0


def retry_after_s(headers: Mapping[str, str], at_s: float) -> float | None:
    """Return the seconds to wait, 1 to 3600, or None without a readable Retry-After header.

    The header is a number of seconds (fractions and signs are accepted) or a date. A date is compared with the
    response's own Date header if it has one, because this machine's clock may be wrong. at_s: Unix time of the
    response.
    """
    text = headers.get("Retry-After", "").strip()
    if re.fullmatch(r"[+-]?[0-9]+(\.[0-9]*)?", text):
        wait_s = float(text)
    else:
        until_s = _date_s(text)
        if until_s is None:
            return None
        since_s = _date_s(headers.get("Date", ""))
        wait_s = until_s - (at_s if since_s is None else since_s)
    return min(max(wait_s, _MIN_S), _MAX_S)


def _date_s(text: str) -> float | None:
    try:
        return parsedate_to_datetime(text).timestamp()
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
