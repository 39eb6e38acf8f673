"""`framesift support-bundle`: one file for somebody who helps, without secrets and without pictures.

Every part is text, goes through `bundle_redaction`, and may fail: then the bundle says why it is missing. Nothing in it
comes from a picture, and no prediction is taken.
"""

from __future__ import annotations

import io
import os
import platform
import subprocess
import sys
import tarfile
from collections.abc import Callable, Mapping
from dataclasses import asdict
from datetime import datetime, timezone
from importlib import metadata
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from framesift import __version__
from framesift.atomic_files import create_file
from framesift.cli.console import ConfigOption, check_output, err, escape_text, fail, out, to_json_text

if TYPE_CHECKING:
    from framesift.settings import Settings, SpoolSettings

LOG_LINES = 5000
DECISION_LINES = 1000
BURIED_ROWS = 100
_JOURNAL_WITHIN_S = 30.0
_LOG_BYTES = 4 << 20  # the end of a log file
_ABOUT = """framesift support bundle, made {at}

What it has: the settings and policies as they are written, versions, the answers of a running daemon and of
`framesift check`, counts of the spool with the reasons of buried datapoints, the last decisions, the end of the log.
What it hasn't: pictures, predictions, passwords, keys, tokens, and the user and query of any address: they are ****.
Masked, too: the texts in the options of a model, and in the settings what stands under an unknown key or has another
kind than its key allows.
What stays readable: names of hosts, devices, streams, classes, tags, files and folders. Look through it before you
send it.

"""


def support_bundle(
    config: ConfigOption = None,
    to: Annotated[
        Path | None, typer.Option("--out", help="The file; default: framesift-support-<time>.tar.gz, here.")
    ] = None,
    log: Annotated[
        Path | None, typer.Option(help="A file with the log, or - for standard input, instead of the journal.")
    ] = None,
) -> None:
    """Write what a helper needs into one file, without pictures and secrets. The daemon may run or not."""
    from framesift.cli.probes import has_hung_probe
    from framesift.clock.clock import SystemClock

    if to is not None:
        check_output("--out", to)
    bundle = _Bundle(config, log)
    at = f"{datetime.fromtimestamp(SystemClock().now().wall_s, timezone.utc):%Y%m%dT%H%M%SZ}"
    path = Path(f"framesift-support-{at}.tar.gz") if to is None else to
    with err.status("collecting; cameras that do not answer take up to 20 s each"):
        parts = bundle.parts()
    lines = [f"{name}: {len(text.encode())} bytes" for name, text in parts.items()]
    lines += [f"{name} is missing: {why}" for name, why in bundle.missing.items()]
    parts["ABOUT.txt"] = _ABOUT.format(at=at) + "\n".join(lines) + "\n"
    _write(path, parts)
    for line in lines:
        out.print(escape_text(line))
    out.print(f"wrote {escape_text(str(path))}: look through it before you send it")
    if has_hung_probe():
        sys.stdout.flush()
        os._exit(0)  # Python would wait for the thread that hangs


def _write(path: Path, parts: Mapping[str, str]) -> None:
    """Writes the file, for this user alone. Raises OSError."""
    descriptor = create_file(path, os.O_WRONLY | os.O_TRUNC, follow_link=True)
    with os.fdopen(descriptor, "wb") as file, tarfile.open(fileobj=file, mode="w:gz") as archive:
        for name, text in sorted(parts.items()):
            content = text.encode("utf-8", "replace")
            member = tarfile.TarInfo(f"framesift-support/{name}")
            member.size = len(content)
            member.mode = 0o600
            archive.addfile(member, io.BytesIO(content))


class _Missing(Exception):
    """A part can't be had. str(error) says why."""


class _Bundle:
    """The parts of one bundle. missing: by name, why a part is not in it."""

    def __init__(self, config: Path | None, log: Path | None) -> None:
        from framesift import settings
        from framesift.cli.bundle_redaction import BundleRedaction
        from framesift.config.errors import ConfigError

        self.missing: dict[str, str] = {}
        self._log = log
        self._settings: Settings | None = None
        self._why_no_settings = ""
        try:
            self._file = settings.find_settings_file(config, os.environ)
        except ConfigError as error:
            fail(str(error))
        secrets: tuple[str, ...] = ()
        try:
            self._settings = settings.load(self._file, os.environ)
            secrets = settings.secrets(self._settings)
        except (ConfigError, OSError) as error:
            self._why_no_settings = str(error)
        self._redaction = BundleRedaction(secrets, self._file, os.environ)

    def parts(self) -> dict[str, str]:
        """The texts of all parts that could be had, by file name."""
        made: dict[str, Callable[[], str]] = {
            "versions.json": self._versions,
            "settings.yaml": lambda: self._redaction.settings(self._file),
            "status.json": self._status,
            "check.json": self._check,
            "spool.json": self._spool,
            "decisions.jsonl": self._decisions,
            "log.txt": self._log_tail,
            **self._policies(),
        }
        if self._why_no_settings:
            made["settings_error.txt"] = lambda: self._redaction.text(self._why_no_settings) + "\n"
        found: dict[str, str] = {}
        for name, make in made.items():
            try:
                found[name] = make()
            except Exception as error:  # noqa: BLE001  # one broken part must not keep the others away
                why = str(error) if isinstance(error, _Missing) else f"{type(error).__name__}: {error}"
                self.missing[name] = self._redaction.text(why)
        return found

    def _json(self, data: Any) -> str:
        return to_json_text(self._redaction.data(data), indent=2)

    def _loaded(self) -> Settings:
        if self._settings is None:
            raise _Missing("the settings can't be loaded: settings_error.txt says why")
        return self._settings

    def _spool_settings(self) -> SpoolSettings:
        from framesift import settings

        if self._settings is not None:
            return self._settings.spool
        return settings.load_block(self._file, os.environ, "spool", settings.SpoolSettings)

    def _versions(self) -> str:
        packages = {one.metadata["Name"]: one.version for one in metadata.distributions()}
        release = platform.freedesktop_os_release() if Path("/etc/os-release").exists() else {}
        versions = {
            "framesift": __version__,
            "python": sys.version,
            "system": release.get("PRETTY_NAME"),
            "kernel": platform.release(),
            "machine": platform.machine(),
            "processors": os.cpu_count(),
            "packages": dict(sorted(packages.items())),
        }
        # As one text: the names of packages are no keys, though one may be called as secrets are.
        return self._redaction.text(to_json_text(versions, indent=2))

    def _status(self) -> str:
        import requests

        from framesift import settings
        from framesift.cli.running_daemon import fetch_page, no_answer_text

        status = settings.load_block(self._file, os.environ, "status", settings.StatusSettings)
        if status.bind is None:
            raise _Missing("status.bind is null: the daemon has no status server")
        try:
            return self._json(fetch_page(status, "/status").json())
        except requests.RequestException as error:
            raise _Missing(no_answer_text(status, error, self._spool_settings().path)) from None

    def _check(self) -> str:
        from framesift.cli.check import run_checks
        from framesift.cli.check_report import CheckReport
        from framesift.clock.clock import SystemClock

        report = CheckReport(self._redaction.text)
        for finding in run_checks(self._loaded(), SystemClock()):
            report.add(finding)
        return self._json(report.to_data())

    def _spool(self) -> str:
        from framesift.spool import State, admin

        spool = self._spool_settings()
        if not spool.path.exists():
            raise _Missing(f"there is no spool at {spool.path} yet")
        beside = sorted(spool.path.parent.glob(f"{spool.path.name}*"))
        return self._json(
            {
                "counts": asdict(admin.counts(spool.path, spool.max_bytes)),
                "outcomes": {key.value: count for key, count in admin.outcome_counts(spool.path).items()},
                "buried": [asdict(row) for row in admin.list_rows(spool.path, State.BURIED, BURIED_ROWS)],
                "files": {one.name: one.stat().st_size for one in beside if one.is_file()},
            }
        )

    def _decisions(self) -> str:
        from framesift import settings
        from framesift.decisions import read_lines

        record = settings.load_block(self._file, os.environ, "decisions", settings.DecisionSettings)
        folder = record.folder(self._spool_settings().path)
        lines = list(islice(read_lines(folder), DECISION_LINES)) if folder.is_dir() else []
        if not lines:
            raise _Missing(f"{folder} is empty or does not exist")
        return "".join(to_json_text(self._redaction.data(line), indent=None) for line in reversed(lines))

    def _log_tail(self) -> str:
        text = _journal() if self._log is None else _end_of(self._log)
        return "\n".join(self._redaction.line(line) for line in text.splitlines()[-LOG_LINES:]) + "\n"

    def _policies(self) -> dict[str, Callable[[], str]]:
        """The policy files that the settings name, and the fetched policies that are cached beside the spool."""
        files: list[Path] = []
        if self._settings is not None:
            named = (self._settings.policy, *(stream.policy for stream in self._settings.streams))
            files += [one for one in named if isinstance(one, Path)]
            files += sorted(self._settings.spool.path.parent.glob("policy-*.json"))
        unique = dict.fromkeys(files)
        return {
            f"policies/{number}-{path.name}": lambda path=path: self._redaction.policy(path)  # type: ignore[misc]
            for number, path in enumerate(unique, 1)
        }


def _end_of(log: Path) -> str:
    if str(log) == "-":
        return sys.stdin.buffer.read()[-_LOG_BYTES:].decode("utf-8", "replace")
    with log.open("rb") as file:
        size_bytes = file.seek(0, os.SEEK_END)
        file.seek(max(0, size_bytes - _LOG_BYTES))
        return file.read().decode("utf-8", "replace")


def _journal() -> str:
    command = ("journalctl", "--unit", "framesift", "--no-pager", "--output", "short-iso", "--lines", str(LOG_LINES))
    try:
        read = subprocess.run(command, capture_output=True, timeout=_JOURNAL_WITHIN_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise _Missing(
            f"the journal can't be read ({error}); --log FILE takes a file, --log - standard input"
        ) from None
    text = read.stdout.decode("utf-8", "replace")
    if read.returncode or not text.strip() or text.startswith("-- No entries"):
        why = read.stderr.decode("utf-8", "replace").strip() or "it has no lines of the unit framesift"
        raise _Missing(f"the journal can't be read: {why}; --log FILE takes a file, --log - standard input")
    return text
