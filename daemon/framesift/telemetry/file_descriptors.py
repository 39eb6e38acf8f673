"""Descriptors: as many as the system lets this process have, and a word when there are none left.

A lack of them passes: connections end, a leaking neighbour is restarted. Whoever needs one meanwhile does without, and
tries again.
"""

from __future__ import annotations

import errno
import os
import resource

# More than any load of ours. Some systems allow a thousand million, and old libraries walk through all of them.
_ENOUGH = 65_536
SHORTAGE_ERRORS = (errno.EMFILE, errno.ENFILE)


def raise_limit() -> None:
    """As many as this process may have without asking anybody. Shells and systemd give 1,024, for the sake of programs
    that use select(2); nothing here does.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _ENOUGH if hard == resource.RLIM_INFINITY else min(hard, _ENOUGH)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def shortage() -> str | None:
    """Why none can be had at this moment; None where some can."""
    try:
        ends = os.pipe()
    except OSError as error:
        return error.strerror if error.errno in SHORTAGE_ERRORS else None
    for end in ends:
        os.close(end)
    return None
