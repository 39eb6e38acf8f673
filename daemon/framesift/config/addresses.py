"""What is wrong with a text that was meant as an address: a misspelt or missing beginning, or odd characters.

Without this, `rtsp//10.0.0.5/live` would be the path of a file that does not exist. The hints show the beginning of a
text at most, since an address can hold a password anywhere else.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence

from framesift.config.redact import NETWORK_SCHEMES

# Letters, then a colon or what was typed in its place, then slashes: rtsp//cam, rtsp:/cam, rtsp:\\cam, rtsp;//cam
_BEGINNING = re.compile(r"(?P<scheme>[A-Za-z]{2,10})(?P<colon>\s*[:;.,]?\s*)(?P<slashes>[/\\]*)")
_HOST = re.compile(r"(?:\d{1,3}(?:\.\d{1,3}){3}(?::\d{1,5})?|[A-Za-z0-9][A-Za-z0-9.-]*:\d{1,5})(?:/.*)?")
_HERE = ("/", "./", "../", ".\\", "~")


def address_hint(text: str, schemes: Sequence[str]) -> str | None:
    """Why a text is neither a path nor an address, and what to write; None if nothing is wrong with its form.

    schemes: what an address may begin with, the usual one first, such as ("rtsp", "rtsps").
    """
    if "://" in text:
        return _hint_of_address(text, schemes)
    text = text.strip()
    if text.startswith(_HERE):
        return None
    beginning = _BEGINNING.match(text)
    if beginning is not None:
        scheme, colon, slashes = beginning["scheme"], "".join(beginning["colon"].split()), beginning["slashes"]
        near = _nearest(scheme, (*schemes, *NETWORK_SCHEMES))
        is_meant = slashes if colon else len(slashes) >= 2
        if near is not None and (is_meant or (colon == ":" and near == scheme.lower())):
            return f'it begins with "{scheme}{colon}{slashes[:3]}": write {near if near in schemes else schemes[0]}://'
    if _HOST.fullmatch(text):
        return f"it is a host without the beginning of an address: write {schemes[0]}:// before it (./ before a file)"
    return None


def _hint_of_address(text: str, schemes: Sequence[str]) -> str | None:
    if text != text.strip():
        return "it begins or ends with a space: remove it"
    scheme, _, rest = text.partition("://")
    if scheme.lower() not in schemes:
        near = _nearest(scheme, schemes)
        shown = "".join(character for character in scheme if character.isprintable())[:20]
        return f'it begins with "{shown}://": did you mean {near}://?' if near else None
    behind_password = rest.rpartition("@")[2]
    if "\\" in behind_password:
        return "it has a backslash: an address has / only"
    return "it has a space: write %20 in its place" if re.search(r"\s", behind_password) else None


def _nearest(scheme: str, schemes: Sequence[str]) -> str | None:
    found = difflib.get_close_matches(scheme.strip().lower(), schemes, n=1, cutoff=0.7)
    return found[0] if found else None
