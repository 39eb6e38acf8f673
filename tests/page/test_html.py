"""HTML whose texts are escaped, whatever a camera, a model or a policy is called."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest

from framesift.page.html import Html, element, joined


class Seen(HTMLParser):
    """The elements and the texts of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


@pytest.mark.parametrize("hostile", ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "a & b", "'"])
def test_a_text_stays_a_text_wherever_it_stands(hostile: str) -> None:
    made = element("p", hostile, [element("a", hostile, title=hostile), hostile], data_question=hostile)
    seen = Seen(made)
    assert [tag for tag, _ in seen.elements] == ["p", "a"]
    assert "".join(seen.texts) == 3 * hostile
    assert seen.elements[0][1] == {"data-question": hostile}
    assert seen.elements[1][1] == {"title": hostile}


def test_attributes_may_be_left_out_or_without_a_value() -> None:
    assert element("option", "a", selected=True, value=None, disabled=False) == "<option selected>a</option>"
    assert element("img", src="a", class_="b") == '<img src="a" class="b">'


def test_pieces_are_joined_and_nothing_is_escaped_twice() -> None:
    assert joined("<", None, 3, 0.5, [Html("<b>"), ["&"]]) == "&lt;30.5<b>&amp;"
