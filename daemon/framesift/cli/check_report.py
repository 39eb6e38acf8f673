"""CheckReport: the findings of `framesift check`, as a table for people or as data for programs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from rich.table import Table

from framesift.cli.console import escape_text, out, redact
from framesift.cli.probes import Finding

# Finding.ok -> the word in JSON, and the sign in the table.
_STATUS = {True: "ok", None: "note", False: "failed"}
_SIGNS = {True: "[green]ok[/]", None: "[yellow]note[/]", False: "[red]FAILED[/]"}


@dataclass(frozen=True, slots=True)
class _Check:
    ok: bool | None
    name: str
    message: str
    advice: str


class CheckReport:
    """The findings, in their order, without secrets."""

    def __init__(self, redactor: Callable[[str], str]) -> None:
        """redactor: returns a text without the secrets of the settings."""
        self._redactor = redactor
        self._checks: list[_Check] = []

    @property
    def failed(self) -> bool:
        """Whether a check has failed."""
        return any(check.ok is False for check in self._checks)

    def add(self, finding: Finding) -> None:
        """Adds a finding. Advice is for what is not ok."""
        advice = "" if finding.ok else redact(finding.advice)
        self._checks.append(_Check(finding.ok, finding.subject, redact(self._redactor(finding.message)), advice))

    def to_table(self) -> Table:
        """A line for each check. Where no terminal wraps them, a message of several lines is one."""
        table = Table(box=None, padding=(0, 2, 0, 0))
        for title in ("", "what", "found", "what to do"):
            table.add_column(title, overflow="fold")
        for check in self._checks:
            message = check.message if out.is_terminal else "; ".join(check.message.splitlines())
            table.add_row(_SIGNS[check.ok], *map(escape_text, (check.name, message, check.advice)))
        return table

    def to_data(self) -> list[dict[str, str | None]]:
        """A list with an object for each check, for JSON.

        name: what was tried. status: "ok", "note" or "failed". message: what was found. advice: what to do about it,
        null where nothing is to be done. Further keys may come.
        """
        return [
            {"name": c.name, "status": _STATUS[c.ok], "message": c.message, "advice": c.advice or None}
            for c in self._checks
        ]
