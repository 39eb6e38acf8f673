"""File descriptors: raises this process's limit, and says when there are none left.

A shortage passes: connections end, a leaking neighbour is restarted. Code that needs a descriptor meanwhile does
without it, and tries again.
"""

from __future__ import annotations

import errno
import os
import resource

# More than this program can use. Some systems allow a thousand million, and old libraries walk through all of them.
_ENOUGH = 65_536
SHORTAGE_ERRORS = (errno.EMFILE, errno.ENFILE)


def raise_limit() -> None:
    """Allow this process as many descriptors as it may have without privileges, up to 65,536.

    Shells and systemd set 1,024, for programs that use select(2); framesift does not use it.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _ENOUGH if hard == resource.RLIM_INFINITY else min(hard, _ENOUGH)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def shortage() -> str | None:
    """Return why no descriptor can be opened at this moment; None if one can."""
    try:
        ends = os.pipe()
    except OSError as error:
        return error.strerror if error.errno in SHORTAGE_ERRORS else None
    for end in ends:
        os.close(end)
    return None
