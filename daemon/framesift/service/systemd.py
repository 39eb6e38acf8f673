"""Notifications to systemd, or another service manager that speaks sd_notify(3).

A notification is one datagram of NAME=VALUE lines to the Unix socket named by NOTIFY_SOCKET (a path, or an abstract
name after "@"). Sending never waits: a notification that can't be delivered at once is lost.
"""

from __future__ import annotations

import socket

_MAX_STATUS_LENGTH = 512


class Notifier:
    """Sends notifications. Every method returns whether it was delivered; none raises. Thread-safe.

    Without a service manager (no address) nothing is sent.
    """

    def __init__(self, address: str | None) -> None:
        """address: the value of NOTIFY_SOCKET, or None."""
        # Other kinds of addresses (vsock:) belong to managers outside a virtual machine: nothing is sent to those.
        self._address = address if address is not None and len(address) > 1 and address[0] in "/@" else None
        # One socket for all notifications: the watchdog must be fed also while no file descriptor is free. It is not
        # connected, since the manager may create its end anew.
        self._socket = None if self._address is None else _open_socket()

    def ready(self) -> bool:
        """Report that the start, or a reload, is complete."""
        return self._send("READY=1")

    def stopping(self) -> bool:
        """Report that the service is stopping."""
        return self._send("STOPPING=1")

    def reloading(self, monotonic_s: float) -> bool:
        """Report that a reload begins; `ready` ends it. monotonic_s: the present time of CLOCK_MONOTONIC."""
        return self._send(f"RELOADING=1\nMONOTONIC_USEC={int(monotonic_s * 1e6)}")

    def watchdog(self) -> bool:
        """Feed the watchdog; needed at least twice per the unit's WatchdogSec."""
        return self._send("WATCHDOG=1")

    def status(self, text: str) -> bool:
        """Set the line that `systemctl status` shows."""
        # A line break would begin another variable.
        return self._send("STATUS=" + " ".join(text.split())[:_MAX_STATUS_LENGTH])

    def _send(self, message: str) -> bool:
        if self._address is None:
            return False
        self._socket = self._socket or _open_socket()
        if self._socket is None:
            return False
        # An abstract name begins with a zero byte, for which "@" stands.
        address = "\0" + self._address[1:] if self._address[0] == "@" else self._address
        try:
            return self._socket.sendto(message.encode("utf-8", "replace"), address) > 0
        except OSError:
            return False


def _open_socket() -> socket.socket | None:
    """Return a non-blocking datagram socket, None if no file descriptor is free."""
    try:
        opened = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    except OSError:
        return None
    opened.setblocking(False)
    return opened
