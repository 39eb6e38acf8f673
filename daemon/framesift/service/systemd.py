"""Notices to the service manager: ready, stopping, reloading, alive, and a line that says what we are doing.

The protocol is sd_notify(3): one datagram of NAME=VALUE lines to the Unix socket that the manager names in
NOTIFY_SOCKET (a path, or an abstract name after "@"). Nobody waits for the manager: a notice that can't be delivered at
once is lost, and a service that runs without a manager says nothing at all.
"""

from __future__ import annotations

import socket

_LONGEST_STATUS = 512


class Notifier:
    """address: the value of NOTIFY_SOCKET, or None. Every method tells whether the notice was delivered; none raises.

    May be used by several threads.
    """

    def __init__(self, address: str | None) -> None:
        # Addresses of other kinds (vsock:) belong to managers outside a virtual machine: nothing is sent to those.
        self._address = address if address is not None and len(address) > 1 and address[0] in "/@" else None
        # One for all notices: the watchdog must be fed also while no descriptor can be had. It is connected to nothing,
        # since the manager may make its end anew.
        self._channel = None if self._address is None else _channel()

    def ready(self) -> bool:
        """Start-up, or a reload, is over."""
        return self._send("READY=1")

    def stopping(self) -> bool:
        return self._send("STOPPING=1")

    def reloading(self, monotonic_s: float) -> bool:
        """A reload begins; `ready` ends it. monotonic_s: CLOCK_MONOTONIC, by which the manager tells old news."""
        return self._send(f"RELOADING=1\nMONOTONIC_USEC={int(monotonic_s * 1e6)}")

    def watchdog(self) -> bool:
        """We are alive: to be sent at least twice in the unit's WatchdogSec."""
        return self._send("WATCHDOG=1")

    def status(self, text: str) -> bool:
        """What `systemctl status` shows: one line."""
        # A line break would begin another notice.
        return self._send("STATUS=" + " ".join(text.split())[:_LONGEST_STATUS])

    def _send(self, notice: str) -> bool:
        if self._address is None:
            return False
        self._channel = self._channel or _channel()
        if self._channel is None:
            return False
        # An abstract name begins with a zero byte, for which "@" stands.
        address = "\0" + self._address[1:] if self._address[0] == "@" else self._address
        try:
            return self._channel.sendto(notice.encode("utf-8", "replace"), address) > 0
        except OSError:
            return False


def _channel() -> socket.socket | None:
    """None where no socket can be had."""
    try:
        channel = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    except OSError:
        return None
    channel.setblocking(False)
    return channel
