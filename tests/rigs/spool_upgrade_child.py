"""A process that opens a spool, until it is killed: python spool_upgrade_child.py FOLDER

It prints a line just before it opens the spool, and another one after that.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

# In place of this folder, whose names would shadow the standard library's.
sys.path.remove(str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1]))

from clocks import ManualClock
from rigs.spools import make_spool

if __name__ == "__main__":
    spool = make_spool(Path(sys.argv[1]), ManualClock())
    os.write(1, b"opens\n")
    spool.open()
    os.write(1, b"open\n")
    sys.stdin.read()
