"""The entry point of `framesift` and `python -m framesift`: the command line, or the fast path of `status --alive`."""

from __future__ import annotations

import os
import sys

from framesift.cli import alive


def main() -> None:
    """Runs the command line."""
    if alive.is_alive(sys.argv[1:], os.environ):
        return
    from framesift.cli.main import main as command

    command()


if __name__ == "__main__":
    main()
