"""A fast path for `framesift status --alive`, which a container runs once a minute: it imports almost nothing.

Where the arguments, the settings or the answer are in any way unusual, it gives up, and the full command runs and says
what is wrong. So it may understand less than the full command, but must never accept what that one refuses.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from framesift.config.types import ConfigError
from framesift.config.variables import DEFAULT_PATHS, Variables, find_settings_file, parse_variable, read_document
from framesift.processes import file_id

_DEFAULT_BIND = "127.0.0.1:9464"
_PORT = r":(?:[1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3})"
_LOCAL = re.compile(r"(?:localhost|127\.0\.0\.1|\[::1\])" + _PORT)
_WIDE = re.compile(r"(?:(?:[1-9]?[0-9]|1[0-9][0-9])(?:\.(?:[1-9]?[0-9]|1[0-9][0-9])){3}|\[::\])" + _PORT)
_TOKEN = re.compile(r"[!-~]{16,256}")
# Values of other programs' variables that are surely valid. The full command checks these variables first.
_VALID = {
    "ACTIVE_LEARNING_ENABLED": re.compile(r"true|false|"),
    "REDIS_SSL": re.compile(r"true|false|"),
    "REDIS_PORT": re.compile(r"[1-9][0-9]{0,3}|"),
}
_WITHIN_S = 4.0
_MAX_HEAD_BYTES = 16 << 10
_SPOOL_ID = re.compile(rb"\r\nframesift-spool-id: ([0-9:]+)\r\n", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class StatusTarget:
    """The status server to ask. bind: an address and a port."""

    bind: str
    token: str | None


def is_alive(words: Sequence[str], environ: Mapping[str, str]) -> bool:
    """Whether the arguments ask whether the daemon is alive, and it is. False means: run the full command.

    words: the command line's arguments, without the program's name.
    """
    try:
        config = _parse_arguments(words)
        target = None if config is None else read_address(config[0], environ)
        answer = b"" if target is None else _ask(target)
        if config is None or not answer.startswith(b"HTTP/1.1 200 "):
            return False
        if b"\r\nframesift-device:" not in answer.lower():  # an older daemon, which does not say whose it is
            return True
        spool_id = _SPOOL_ID.search(answer)
        return spool_id is not None and spool_id[1].decode() == _lock_id(config[0], environ)
    except (ConfigError, OSError, ValueError):
        return False


def read_address(
    explicit: Path | None, environ: Mapping[str, str], places: Sequence[Path] = DEFAULT_PATHS
) -> StatusTarget | None:
    """The server to ask, None where only the full settings can tell. Raises ConfigError."""
    if not all(valid.fullmatch(environ.get(name, "")) for name, valid in _VALID.items()):
        return None
    variables = Variables(environ)
    data = read_document(find_settings_file(explicit, environ, places), variables, "status").data
    block = data.get("status", {}) if isinstance(data, dict) else None
    if not isinstance(block, dict):
        return None
    for name, place in variables.overrides():
        if place[0] == "status":
            key = str(place[-1]).removesuffix("_file")
            value = variables.value(name if key == place[-1] else name.removesuffix("_FILE"))
            if len(place) != 2 or value is None:
                return None
            block[key] = parse_variable(value, name, frozenset({"string", "null"}))
    if not block.keys() <= {"bind", "token"}:
        return None
    bind, token = block.get("bind", _DEFAULT_BIND), block.get("token")
    if token is not None and not (isinstance(token, str) and _TOKEN.fullmatch(token)):
        return None
    if not isinstance(bind, str):
        return None
    usual = _LOCAL.fullmatch(bind) or (token is not None and _WIDE.fullmatch(bind))
    return StatusTarget(bind, token) if usual else None


def _parse_arguments(words: Sequence[str]) -> tuple[Path | None] | None:
    """A tuple with the settings file (None if none is named); None where the arguments are others."""
    if words[:1] != ["status"]:
        return None
    rest = list(words[1:])
    config: list[str] = []
    alive = 0
    while rest:
        word = rest.pop(0)
        if word == "--alive":
            alive += 1
        elif word in ("--config", "-c") and rest:
            config.append(rest.pop(0))
        elif word.startswith("--config="):
            config.append(word.removeprefix("--config="))
        else:
            return None
    if alive != 1 or len(config) > 1 or any(not path or path.startswith("-") for path in config):
        return None
    return (Path(config[0]) if config else None,)


def _lock_id(explicit: Path | None, environ: Mapping[str, str]) -> str | None:
    """The id of the lock file of the settings' spool; None where it can't be told in few steps. Raises ConfigError."""
    variables = Variables(environ)
    settings = find_settings_file(explicit, environ).absolute()
    data = read_document(settings, variables, "spool").data
    block = data.get("spool", {}) if isinstance(data, dict) else None
    path = block.get("path") if isinstance(block, dict) else None
    for name, place in variables.overrides():
        if place[0] == "spool":
            if place != ("spool", "path"):
                return None
            path = variables.value(name)
    if path is None:
        folder = environ.get("STATE_DIRECTORY")
        path = "spool.db" if not folder else f"{folder.partition(':')[0]}/spool.db"
    spool = (settings.parent / str(path)).resolve()
    return file_id(spool.with_name(f"{spool.name}.lock"))


def _ask(target: StatusTarget) -> bytes:
    """The head of the answer to GET /healthz."""
    host, _, port = target.bind.rpartition(":")
    lines = [f"GET /healthz HTTP/1.1\r\nHost: {target.bind}\r\nConnection: close\r\n"]
    if target.token is not None:
        lines.append(f"Authorization: Bearer {target.token}\r\n")
    with socket.create_connection((host.strip("[]"), int(port)), timeout=_WITHIN_S) as connection:
        connection.sendall("".join([*lines, "\r\n"]).encode("ascii"))
        answer = b""
        while b"\r\n\r\n" not in answer and len(answer) < _MAX_HEAD_BYTES and (more := connection.recv(4096)):
            answer += more
    return answer
