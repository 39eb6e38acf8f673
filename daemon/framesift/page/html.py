"""HTML whose texts are escaped where it is made: what is not Html already is text."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

_EMPTY = frozenset({"br", "hr", "img", "input", "link", "meta"})


class Html(str):
    """A piece of HTML, which is not escaped again."""

    __slots__ = ()


Content = str | int | float | Html | None | Iterable["Content"]


def element(_name: str, *content: Content, **attributes: str | int | float | bool | None) -> Html:
    """An element. content: texts, which are escaped, and Html; None is nothing.

    attributes: "_" in a name becomes "-"; a name that Python reserves has a "_" behind it. True: without a value; False
    and None: left out.
    """
    parts = [f"<{_name}"]
    for name, value in attributes.items():
        if value is None or value is False:
            continue
        parts.append(f" {name.rstrip('_').replace('_', '-')}")
        if value is not True:
            parts.append(f'="{escape(str(value))}"')
    inner = joined(*content)
    return Html("".join(parts) + (">" if _name in _EMPTY else f">{inner}</{_name}>"))


def joined(*content: Content) -> Html:
    """Pieces one after the other."""
    return Html("".join(_text(one) for one in content))


def _text(one: Content) -> str:
    if one is None:
        return ""
    if isinstance(one, Html):
        return one
    if isinstance(one, str | int | float):
        return escape(str(one))
    return joined(*one)
