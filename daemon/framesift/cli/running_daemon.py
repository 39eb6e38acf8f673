"""The daemon that runs on the same settings, asked at its status page for what it alone can know: it holds the spool,
the sink's folder, the ports and the cameras.

Whether it is ours is told by the path of its spool: two daemons never have the same.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from framesift.settings import Settings, StatusSettings

# Of a machine that is busy, a check takes a slow answer; that there is none is a failure.
_ASK_WITHIN_S = 12.0


class DaemonUnreachable(Exception):
    """No daemon on these settings could be asked. The text says why. hangs: somebody listens there and says nothing."""

    def __init__(self, why: str, *, hangs: bool = False) -> None:
        super().__init__(why)
        self.hangs = hangs


@dataclass(frozen=True, slots=True)
class ComponentStatus:
    """A component of the daemon, as /status has it."""

    name: str
    condition: str
    why: str


@dataclass(frozen=True, slots=True)
class RunningDaemon:
    """What it says of itself. streams: whether each gives pictures, None where that is not known yet."""

    pid: int
    alive: bool
    uptime_s: float
    components: tuple[ComponentStatus, ...]
    streams: Mapping[str, bool | None]

    def component(self, name: str) -> ComponentStatus | None:
        return next((part for part in self.components if part.name == name), None)


def fetch_page(options: StatusSettings, path: str, within_s: float = 4.0) -> requests.Response:
    """A page of whoever listens at `status.bind`, which must not be None. Raises requests.RequestException."""
    headers = {} if options.token is None else {"Authorization": f"Bearer {options.token.get_secret_value()}"}
    with requests.Session() as session:
        session.trust_env = False  # loopback, or an address that the operator chose: never by way of a proxy
        answer = session.get(f"http://{options.bind}{path}", headers=headers, timeout=within_s, allow_redirects=False)
        answer.raise_for_status()
        return answer


def query_daemon(settings: Settings) -> RunningDaemon:
    """Raises DaemonUnreachable."""
    bind = settings.status.bind
    if bind is None:
        raise DaemonUnreachable("status.bind is null")
    try:
        told = fetch_page(settings.status, "/status", _ASK_WITHIN_S).json()
    except requests.Timeout:
        raise DaemonUnreachable(f"{bind} does not answer within {_ASK_WITHIN_S:g} s", hangs=True) from None
    except requests.HTTPError as error:
        raise DaemonUnreachable(f"{bind} answers with {error.response.status_code}") from None
    except requests.ConnectionError:
        raise DaemonUnreachable(f"nobody listens at {bind}") from None
    except requests.RequestException:
        raise DaemonUnreachable(f"what answers at {bind} is no framesift") from None
    try:
        daemon = _read(told)
        spool = Path(told["spool"])
    except (KeyError, TypeError, ValueError, AttributeError):
        raise DaemonUnreachable(f"what answers at {bind} is no framesift of this version") from None
    if spool != settings.spool.path.resolve():
        raise DaemonUnreachable(f"{bind} is another framesift's, whose spool is {spool}")
    return daemon


def lock_holder(lock: Path) -> str | None:
    """Who holds the lock file, in words; None where nobody does, or where this user may not look."""
    try:
        descriptor = os.open(lock, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        pid = _pid_of_lock(os.fstat(descriptor))
        return "another process" if pid is None else f"process {pid}"
    except OSError:  # a file system without locks
        return None
    finally:
        os.close(descriptor)
    return None


def _read(told: Any) -> RunningDaemon:
    return RunningDaemon(
        pid=int(told["pid"]),
        alive=bool(told["alive"]),
        uptime_s=float(told["uptime_s"]),
        components=tuple(ComponentStatus(str(p["name"]), str(p["condition"]), str(p["why"])) for p in told["health"]),
        streams={str(s["stream"]): s["up"] for s in told["streams"]},
    )


def _pid_of_lock(seen: os.stat_result) -> int | None:
    """From the kernel's list, whose lines are `1: FLOCK  ADVISORY  WRITE 4711 08:02:1234 0 EOF`. Only Linux has it, and
    not every container shows it.
    """
    place = f"{os.major(seen.st_dev):02x}:{os.minor(seen.st_dev):02x}:{seen.st_ino}"
    try:
        lines = Path("/proc/locks").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    for words in map(str.split, lines):
        if words[1:2] == ["FLOCK"] and words[5:6] == [place] and int(words[4]) > 0:
            return int(words[4])
    return None
