"""The entry point of `framesift` and `python -m framesift`: the command line, or the fast path of `status --alive`."""

from __future__ import annotations

import atexit
import gc
import os
import sys

from framesift.cli import alive

_WHILE_IMPORTING = 100_000


def main() -> None:
    """Runs the command line."""
    if alive.is_alive(sys.argv[1:], os.environ):
        return
    # What is imported stays. To look for garbage in it again and again is a quarter of a start; `run` takes the usual
    # threshold when it has imported all.
    gc.set_threshold(_WHILE_IMPORTING, *gc.get_threshold()[1:])
    # Nor is garbage looked for at the end: that is a third of a short command. The registered first is called last.
    atexit.register(gc.freeze)
    from framesift.cli.main import main as command

    command()


if __name__ == "__main__":
    main()
