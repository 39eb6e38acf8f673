"""Whether the daemon that answers at the status address is the one of these settings.

Two daemons on one machine may be given the same port by mistake: then only one of them has it, and answers for both. A
spool belongs to one daemon at a time, so what decides is the spool's lock file, or its path where the file can't be
seen (in a container, or for another user).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from framesift.config.errors import ConfigError
from framesift.processes import file_id
from framesift.settings import Settings, SpoolSettings, load_block, load_device
from framesift.spool.database import sibling_path

_HEADER = "framesift-"


@dataclass(frozen=True, slots=True)
class Comparison:
    """The result of a comparison.

    refusal: why it is another daemon, None if it is not. note: what differs all the same, None if nothing does.
    """

    refusal: str | None = None
    note: str | None = None


@dataclass(frozen=True, slots=True)
class ExpectedDaemon:
    """What the settings say of their daemon. device, spool: None where the settings can't be read without a secret."""

    settings: Path
    device: str | None
    spool: Path | None

    @classmethod
    def of(cls, settings: Settings) -> ExpectedDaemon:
        """The daemon of settings that were read from a file."""
        return cls(settings.file or Path("framesift.yaml"), settings.device, settings.spool.path)

    @classmethod
    def read(cls, settings: Path, environ: Mapping[str, str]) -> ExpectedDaemon:
        """The daemon of a settings file, of which only two keys are read."""
        device, spool = None, None
        try:
            device = load_device(settings, environ)
            spool = load_block(settings, environ, "spool", SpoolSettings).path
        except ConfigError:
            pass  # a variable that the daemon has, and this shell has not
        return cls(settings.absolute(), device, spool)

    def compare(self, found: Mapping[str, Any]) -> Comparison:
        """Compares with what a daemon says of itself.

        found: its `device`, `settings`, `spool` and `spool_id`; an older daemon has `spool` alone, or nothing.
        """
        if "device" not in found:
            spool = found.get("spool")
            ours = None if self.spool is None or self._has_default_spool else str(self.spool.resolve())
            if None not in (spool, ours) and spool != ours:
                return Comparison(f"the daemon that answers is another one: its spool is {spool}")
            return Comparison(note="the running daemon is of an older version, which does not say whose it is")
        if not self._is_same(found):
            ours = _describe(self.device, self.settings.resolve(), self.spool)
            theirs = _describe(found["device"], found.get("settings"), found.get("spool"))
            return Comparison(
                f"the daemon that answers is not the one of these settings: it is {theirs}; these settings are {ours}"
            )
        changed = [
            f"{key} is {theirs}, and the settings say {ours}"
            for key, theirs, ours in (
                ("device", found["device"], self.device),
                ("spool.path", found.get("spool"), None if self.spool is None else str(self.spool.resolve())),
            )
            if ours is not None and theirs != ours and not (key == "spool.path" and self._has_default_spool)
        ]
        if changed:
            return Comparison(
                note=f"the running daemon's {' and its '.join(changed)}: were they changed since its start?"
            )
        return Comparison()

    def _is_same(self, found: Mapping[str, Any]) -> bool:
        same_file = found.get("settings") == str(self.settings.resolve())
        if self.spool is None:
            return same_file and self.device in (None, found["device"])
        spool = self.spool.resolve()
        ours, theirs = file_id(sibling_path(spool, ".lock")), found.get("spool_id")
        if ours is not None and ours == theirs:
            return True
        if found.get("spool") != str(spool):
            # The default is another folder for a daemon that systemd has started than for a person's shell.
            return same_file and self._has_default_spool and found["device"] == self.device
        return None in (ours, theirs) and (same_file or found["device"] == self.device)

    @property
    def _has_default_spool(self) -> bool:
        return self.spool == self.settings.parent / "spool.db"


def fields_of_header(header: Mapping[str, str]) -> dict[str, str]:
    """What a daemon says of itself in the head of /healthz."""
    return {
        name.lower().removeprefix(_HEADER).replace("-", "_"): unquote(value)
        for name, value in header.items()
        if name.lower().startswith(_HEADER)
    }


def _describe(device: object, settings: object, spool: object) -> str:
    parts = [f"device {device}" if device is not None else "", f"settings {settings}" if settings is not None else ""]
    parts.append(f"spool {spool}" if spool is not None else "")
    return ", ".join(part for part in parts if part)
