"""A process that puts, claims and delivers as fast as it can, and prints what it was promised, until it is killed.

python spool_child.py FOLDER LIMIT SINK_LIMIT SET_S       SET_S: how far the wall clock is set forward

+ ID    `put` has accepted
! ...   `put` has refused
> ID    `claim` has returned: from here on the sink may have it
- ID    `done` is about to be called
"""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

# In place of this folder, whose names would shadow the standard library's.
sys.path.remove(str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1]))

from clocks import SetClock
from framesift.limits import Limit, Window
from framesift.spool import Accepted
from rigs.spools import make_spool, put, quota


def main(folder: Path, limit: int, sink_limit: int, set_s: float) -> None:
    clock = SetClock(set_s)
    spool = make_spool(folder, clock)
    spool.open()
    quotas = [quota("a", (Window.DAILY, limit))]

    def say(sign: str, id: str) -> None:
        os.write(1, f"{sign} {id}\n".encode())

    def collect() -> None:
        while True:
            answer = put(spool, clock, quotas, jpeg=os.urandom(20_000))
            if isinstance(answer, Accepted):
                say("+", answer.id)
            else:  # or whoever waits for so many lines would wait for ever, where a limit is used up early
                say("!", "refused")

    def deliver() -> None:
        while True:
            for item in spool.claim(2, [Limit(Window.DAILY, sink_limit)]).items:
                say(">", item.id)
                spool.read_jpeg(item.id)
                say("-", item.id)
                spool.complete(item.id)

    for loop in (collect, collect, deliver):
        threading.Thread(target=loop, daemon=True).start()
    threading.Event().wait()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]))
