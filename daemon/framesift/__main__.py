"""`framesift`, and `python -m framesift`: the command line, or a question that is answered without loading it."""

from __future__ import annotations

import os
import sys

from framesift.cli import alive


def main() -> None:
    if alive.is_alive(sys.argv[1:], os.environ):
        return
    from framesift.cli.main import main as command

    command()


if __name__ == "__main__":
    main()
