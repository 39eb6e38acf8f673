"""What a program wrote to a terminal."""

from __future__ import annotations

import os


def read_terminal(ours: int) -> str:
    """Return all that was written to the other end of a pty, which must be closed, or will be; close ours.

    One read may give a piece of it only: the kernel hands lines over in its own time.
    """
    written = b""
    try:
        while more := os.read(ours, 4096):
            written += more
    except OSError:  # Linux's way to say that the other end is closed
        pass
    finally:
        os.close(ours)
    return written.decode()
