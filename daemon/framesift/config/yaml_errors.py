"""Plain words for what PyYAML says of a text that it can't read.

PyYAML quotes the text, which may be a secret. So its own words are shown only where they quote nothing but tokens.
"""

from __future__ import annotations

import re
import unicodedata

import yaml

INDENTED_WITH_A_TAB = "is indented with a tab: YAML is indented with spaces"
_WORDS = (
    (
        "mapping values are not allowed",
        "a second colon (put its text in quotes), or a line that is indented too far",
    ),
    (
        "could not find expected ':'",
        "a key without a colon and a space, or a line that is not indented enough",
    ),
    ("expected <block end>", "a line that is indented otherwise than those around it"),
    ("found unexpected end of stream", "it ends here, and a closing quote is missing"),
    ("expected ',' or ']'", "a comma or ] is missing before this"),
    ("expected ',' or '}'", "a comma or } is missing before this"),
)
NEEDS_QUOTES = "a value that begins with one of * & ! % @ ` | > [ ] { } , needs quotes"
_BACKSLASH = "a backslash in double quotes: write \\\\ in its place, or use single quotes"
_NO_BLOCK = "<< takes the keys of another block, and this is none"
# In place of PyYAML's words, which may quote a secret or are hard to read.
_REPLACED = (
    ("expected the node content, but found '<stream end>'", "it ends here, and a ] or } is missing"),
    ("but found another document", "a second document begins here: a file holds one; remove the line ---"),
    ("expected '<document start>'", "this belongs to nothing: what stands before it is complete"),
    ("found character '\\t'", "a tab: put a space in its place"),
    ("found unknown escape character", _BACKSLASH),
    ("expected escape sequence", _BACKSLASH),
    ("found unexpected document separator", "a line --- or ... inside a text: is its closing quote missing?"),
    ("expected a mapping for merging", _NO_BLOCK),
    ("expected a mapping or list", _NO_BLOCK),
    ("sequence entries are not allowed", "a list begins on a line of its own; a value that begins with - needs quotes"),
    ("mapping keys are not allowed", "a value that begins with ? needs quotes"),
    ("second occurrence", f"the same name stands behind & twice; {NEEDS_QUOTES}"),
)
# A key, its colon, and its value without a space between them; // follows the colon of an address.
_NO_SPACE = re.compile(r"\s*(?:- )?[A-Za-z_]\w*:(?=[^\s/])")


class PlainProblem(yaml.MarkedYAMLError):
    """A problem that this package found, in plain words without a secret."""

    def __init__(self, problem: str, mark: yaml.Mark | None) -> None:
        super().__init__(problem=problem, problem_mark=mark)


def explain_yaml(error: yaml.MarkedYAMLError, text: str, source: str) -> str:
    """The line, the column and the reason of a problem. source: the name of the text."""
    mark = error.problem_mark or error.context_mark
    where = f"{source}:{mark.line + 1}: column {mark.column + 1}" if mark else source
    problem = str(error.problem or error.context)
    if isinstance(error, PlainProblem):
        return f"{where}: {problem}"
    plain = next((f"{words} ({problem})" for known, words in _WORDS if problem.startswith(known)), None)
    begin = error.context_mark or mark
    if mark is None or begin is None or plain is None:
        return f"{where}: {next((words for known, words in _REPLACED if problem.startswith(known)), NEEDS_QUOTES)}"
    if problem.startswith("mapping values are not allowed"):
        before = [(n, line) for n, line in enumerate(text.splitlines()[: mark.line], 1) if line.split("#")[0].strip()]
        if before and (found := _NO_SPACE.match(before[-1][1])) is not None:
            return f"{source}:{before[-1][0]}: column {found.end() + 1}: a space is missing behind the colon"
    # A space of another kind looks like one, and is none: the reader then misses the colon.
    for number, line in enumerate(text.splitlines()[begin.line : mark.line + 1], begin.line + 1):
        odd = next((c for c in line if c != "\t" and unicodedata.category(c) in ("Cf", "Zs") and c != " "), None)
        if odd is not None:
            place = f"{source}:{number}: column {line.index(odd) + 1}"
            return f"{place}: a character that looks like a space (U+{ord(odd):04X}): type it anew"
    return f"{where}: {plain}"


def tabs_of_indentation(text: str) -> list[tuple[int, int]]:
    """The line and the column, from 1, of the first tab in each indentation that has one; of 20 lines at most."""
    indented = ((number, re.match(r"( *)\t\s*[^\s#]", line)) for number, line in enumerate(text.splitlines(), 1))
    return [(number, len(found[1]) + 1) for number, found in indented if found is not None][:20]
