"""DaemonIdentity: what a daemon says of itself, so that a reader can tell it from another one at the same address."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from framesift.processes import file_id


@dataclass(frozen=True, slots=True)
class DaemonIdentity:
    """Which daemon this is. device: its name. settings: its file, None without one. spool: the path of its spool."""

    device: str
    settings: Path | None
    spool: Path

    def as_fields(self) -> dict[str, str | None]:
        """Return the fields of /status: `device`, `settings`, `spool`, and `spool_id` of the spool's lock file.

        The lock file stays for as long as the spool, and has the same id by whatever path it is reached. Reads the
        disk; call it once, when the spool is open.
        """
        spool = self.spool.resolve()
        return {
            "device": self.device,
            "settings": None if self.settings is None else str(self.settings.resolve()),
            "spool": str(spool),
            "spool_id": file_id(spool.with_name(f"{spool.name}.lock")),
        }


def as_header(fields: dict[str, str | None]) -> tuple[tuple[str, str], ...]:
    """Return the same fields for the head of /healthz: `framesift-spool-id` and so on, percent-encoded."""
    return tuple(
        (f"framesift-{name.replace('_', '-')}", quote(value, safe="/:"))
        for name, value in fields.items()
        if value is not None
    )
