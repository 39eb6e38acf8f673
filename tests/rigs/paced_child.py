"""A process whose strategy holds frames, on a clock that runs as fast as it can, until it is killed.

python paced_child.py FOLDER START_S SEED       START_S: Unix time at which its clock begins

@ SECONDS   the clock shows this time
H ID        a held frame is committed
D ID        a held frame is about to be dropped
- ID        a datapoint is about to leave
"""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Iterable
from pathlib import Path

# In place of this folder, whose names would shadow the standard library's.
sys.path.remove(str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1]))

from clocks import ManualClock
from framesift.spool import HeldContent, HeldFrames, HeldRow
from rigs.paced_device import EVERY_S, UNSURE, PacedDevice, policy, unsure


def say(sign: str, what: object) -> None:
    os.write(1, f"{sign} {what}\n".encode())


class SpokenHeldFrames(HeldFrames):
    """Says what it has committed, and what it is about to drop."""

    def add(self, row: HeldRow, content: HeldContent, drop: Iterable[str] = ()) -> None:
        """See HeldFrames."""
        gone = list(drop)
        for id in gone:
            say("D", id)
        super().add(row, content, gone)
        say("H", row.id)

    def drop(self, ids: Iterable[str]) -> None:
        """See HeldFrames."""
        gone = list(ids)
        for id in gone:
            say("D", id)
        super().drop(gone)


def main(folder: Path, start_s: float, seed: int) -> None:
    rng = random.Random(seed)
    device = PacedDevice(folder, policy(UNSURE), ManualClock(start_s, boot_id=f"boot-{start_s}"), held=SpokenHeldFrames)
    while True:
        say("@", device.clock.now().wall_s)
        device.offer(unsure(rng.random()))
        device.holds.advance()
        for item in device.spool.claim(1).items:
            say("-", item.id)
            device.spool.complete(item.id)
        device.clock.advance(EVERY_S)


if __name__ == "__main__":
    main(Path(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]))
