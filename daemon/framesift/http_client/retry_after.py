"""Retry-After: when a server wants to be asked again."""

from __future__ import annotations

import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime

_SHORTEST_S = 1.0
_LONGEST_S = 3600.0


def retry_after_s(headers: Mapping[str, str], at_s: float) -> float | None:
    """Seconds to wait, 1 to 3600, of the Retry-After header: a number, or a date, which counts from the answer's own
    Date where it has one, since this machine's clock may be wrong. None where it says nothing that can be understood.

    at_s: Unix time of the answer. (RFC 9110, section 10.2.3; fractions and signs are read as well.)
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
    return min(max(wait_s, _SHORTEST_S), _LONGEST_S)


def _date_s(text: str) -> float | None:
    try:
        return parsedate_to_datetime(text).timestamp()
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
