"""Asks the daemon that runs with the same settings, at its status page.

Only the daemon can say how its spool, its sink's folder, its ports and its cameras are, since it holds them. Another
daemon at the same address is recognised by its spool (see `expected_daemon`): two daemons never have the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

import requests

from framesift.cli.collected_text import collected_text
from framesift.cli.expected_daemon import ExpectedDaemon
from framesift.processes import UNKNOWN_PROCESS, lock_holder, port_holder
from framesift.settings import Settings, StatusSettings
from framesift.spool.database import sibling_path
from framesift.telemetry import StreamAbsence

# Long, since a busy machine answers slowly, and no answer at all is reported as a failure.
_ASK_WITHIN_S = 12.0
_MAX_REASON = 500


class DaemonUnreachable(Exception):
    """No daemon with these settings answered. str(error) says why.

    hangs: the address is in use, but nobody answers. is_other: the daemon of other settings answered.
    """

    def __init__(self, why: str, *, hangs: bool = False, is_other: bool = False) -> None:
        """why: for the operator."""
        super().__init__(why)
        self.hangs = hangs
        self.is_other = is_other


@dataclass(frozen=True, slots=True)
class ComponentStatus:
    """The health of one component, from /status."""

    name: str
    condition: str
    why: str


@dataclass(frozen=True, slots=True)
class RunningDaemon:
    """The answer of a daemon.

    note: what differs from the settings, None if nothing does. streams: by name, whether it gives pictures; None where
    that is not known yet. away: by name, why it gives none. collected: what a sink with bounds keeps, in words; None
    for any other.
    """

    pid: int
    note: str | None
    alive: bool
    uptime_s: float
    components: tuple[ComponentStatus, ...]
    streams: Mapping[str, bool | None]
    away: Mapping[str, StreamAbsence]
    collected: str | None = None

    def component(self, name: str) -> ComponentStatus | None:
        """The component of this name, None if there is none."""
        return next((component for component in self.components if component.name == name), None)


def post_action(settings: StatusSettings, path: str, body: Mapping[str, object], within_s: float) -> requests.Response:
    """Posts what an operator asks for to the status server. path: such as /pause. `status.bind` must not be None.

    The answer may be a refusal. Raises requests.RequestException if there is none.
    """
    with _session(settings) as session:
        return session.post(f"http://{settings.bind}{path}", json=body, timeout=within_s, allow_redirects=False)


def fetch_page(settings: StatusSettings, path: str, within_s: float = 4.0) -> requests.Response:
    """Fetches a page of the status server. path: such as /status. `status.bind` must not be None.

    Raises requests.RequestException.
    """
    with _session(settings) as session:
        answer = session.get(f"http://{settings.bind}{path}", timeout=within_s, allow_redirects=False)
        answer.raise_for_status()
        return answer


def _session(settings: StatusSettings) -> requests.Session:
    session = requests.Session()
    session.trust_env = False  # never through a proxy: it is loopback, or an address that the operator chose
    if settings.token is not None:
        session.headers["Authorization"] = f"Bearer {settings.token.get_secret_value()}"
    return session


def no_answer_text(settings: StatusSettings, error: requests.RequestException, spool: Path | None) -> str:
    """Why `fetch_page` failed, and what to do about it. spool: of the settings, None where it is not known."""
    bind = settings.bind
    if isinstance(error, requests.HTTPError):
        code = error.response.status_code
        if code == HTTPStatus.UNAUTHORIZED:
            return (
                f"{bind} answers with 401: the daemon was started with another status.token than these settings have, "
                "or another daemon has this port"
            )
        if code == HTTPStatus.SERVICE_UNAVAILABLE:
            lines = "; ".join(error.response.text[:_MAX_REASON].splitlines())
            return f"{bind} answers with {code}: {lines}"
    holder = None if spool is None else lock_holder(sibling_path(spool, ".lock"))
    listener = port_holder(settings.host, settings.port)
    if isinstance(error, requests.HTTPError) or (listener is not None and listener != holder):
        beside = "" if holder is None else f"; the daemon of these settings, {holder}, runs without its status page"
        return (
            f"{bind}: {listener or UNKNOWN_PROCESS} listens there, and is no framesift{beside}; stop it, or give "
            "status.bind another port and restart framesift"
        )
    if holder is not None:
        slow = isinstance(error, requests.Timeout)
        why = "is too busy, or hangs" if slow else "has no status page, or another one: its log says why"
        return f"no answer from {bind}; {holder} has the spool {spool} open, and {why}"
    return (
        f"no answer from {bind}; is it running? Start it with `framesift run`, or `systemctl start framesift`; "
        "if it has ended, the end of its log says why (`journalctl -u framesift`)"
    )


def query_daemon(settings: Settings) -> RunningDaemon:
    """The daemon that runs with these settings. Raises DaemonUnreachable."""
    bind = settings.status.bind
    if bind is None:
        raise DaemonUnreachable("status.bind is null")
    try:
        fields = fetch_page(settings.status, "/status", _ASK_WITHIN_S).json()
    except requests.Timeout:
        raise DaemonUnreachable(f"{bind} does not answer within {_ASK_WITHIN_S:g} s", hangs=True) from None
    except requests.HTTPError as error:
        raise DaemonUnreachable(f"{bind} answers with {error.response.status_code}") from None
    except requests.ConnectionError:
        raise DaemonUnreachable(f"nobody listens at {bind}") from None
    except requests.RequestException:
        raise DaemonUnreachable(f"what answers at {bind} is no framesift") from None
    try:
        comparison = ExpectedDaemon.of(settings).compare(fields)
        daemon = _parse(fields, comparison.note)
    except (KeyError, TypeError, ValueError, AttributeError):
        raise DaemonUnreachable(f"what answers at {bind} is no framesift of this version") from None
    if comparison.refusal is not None:
        raise DaemonUnreachable(f"{bind}: {comparison.refusal}", is_other=True)
    return daemon


def _parse(fields: Any, note: str | None) -> RunningDaemon:
    """Parses the JSON of /status. Raises KeyError, TypeError, ValueError or AttributeError."""
    collected = fields.get("collected")  # a daemon of an older version has none
    return RunningDaemon(
        pid=int(fields["pid"]),
        note=note,
        alive=bool(fields["alive"]),
        uptime_s=float(fields["uptime_s"]),
        components=tuple(ComponentStatus(str(p["name"]), str(p["condition"]), str(p["why"])) for p in fields["health"]),
        streams={str(s["stream"]): s["up"] for s in fields["streams"]},
        # A daemon of an older version does not say it.
        away={str(s["stream"]): StreamAbsence(**s["away"]) for s in fields["streams"] if s.get("away")},
        collected=None if collected is None else collected_text(collected, float(fields["taken_at_s"])),
    )
