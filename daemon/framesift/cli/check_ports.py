"""What `framesift check` finds at the addresses at which a run listens."""

from __future__ import annotations

import socket
from collections.abc import Iterator

from framesift.cli.check_beside_daemon import SpoolHolder
from framesift.cli.probes import Finding
from framesift.processes import UNKNOWN_PROCESS, listen_problem
from framesift.settings import Settings


def port_findings(settings: Settings, holder: SpoolHolder) -> Iterator[Finding]:
    """Whether a run could listen at its addresses. Those that the running daemon has itself are no failure."""
    wanted = [("listener", listener.host, listener.port) for listener in settings.listeners]
    if settings.status.bind is not None:
        wanted.append(("status page", settings.status.host, settings.status.port))
    for what, host, port in wanted:
        try:
            socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET).close()
        except OSError as error:
            text, by = listen_problem(error, host, port)
            is_status = what == "status page"
            if _is_ours(by, holder, answered=is_status and holder.daemon is not None):
                continue
            advice = (
                f"{f'stop {by}, or ' if by else ''}choose another address in {'status.bind' if is_status else 'listen'}"
            )
            yield Finding(what, False, text, advice + ("; a run collects without the page" if is_status else ""))


def _is_ours(by: str | None, holder: SpoolHolder, *, answered: bool) -> bool:
    """Whether the running daemon holds a port. by: who does, as far as it is known."""
    if answered or holder.description is None:
        return answered
    return by in (None, UNKNOWN_PROCESS, holder.description) or holder.description == UNKNOWN_PROCESS
