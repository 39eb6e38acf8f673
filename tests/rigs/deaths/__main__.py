"""Deaths of a daemon: so many at random moments, and one at each system call of one datapoint's life.

PYTHONPATH=tests python -m rigs.deaths --kills 1000 --calls 1000 --folder deaths

A second run with the same folder does what is left of them. Ctrl-C ends it after the death at hand.
"""

from __future__ import annotations

import argparse
import random
import signal
import sys
import threading
from collections import Counter
from pathlib import Path
from typing import Any

from rigs.deaths.calls import INNER, Point, die_at, points_of_a_life
from rigs.deaths.place import DeathPlace
from rigs.footage import numbered_clip
from rigs.platform import Cut, Fault, Status
from rigs.soak.journal import Journal
from rigs.soak.published import deaths_table, publish


def kill_at_random(place: DeathPlace, chance: random.Random) -> dict[str, Any]:
    """Kills a daemon at a random moment while it collects, and delivers to a platform that fails now and then."""
    with place.start() as daemon:
        given, new, found = place.compare()
        ends = threading.Timer(chance.uniform(0.0, 1.5), daemon.process.kill)
        ends.start()
        while place.post() is not None:
            pass
        ends.join()
        daemon.wait(10.0)
    return {"accepted": given, "new": new, "found": found}


def run_kills(folder: Path, kills: int, stopped: threading.Event) -> None:
    """Goes on until so many have been killed, in all runs together."""
    folder.mkdir(parents=True, exist_ok=True)
    journal = Journal(folder)
    done = len(journal.of("kill"))
    if done >= kills:
        return
    numbered_clip(folder / "clip.mp4", frames=100, fps=4)
    stream = {"name": "gate", "source": "clip.mp4", "loop": True, "pace": "realtime", "fps": 2}
    with DeathPlace(folder, _known(journal), [stream]) as place:
        for call in ("upload", "annotate"):
            for action in (Cut(), Cut(stored=True), Status(503, stored=True)):
                place.platform.orders.add(Fault(call, action, times=None, share=0.05))
        for number in range(done, kills):
            if stopped.is_set():
                break
            journal.write("kill", number=number, **kill_at_random(place, random.Random(f"kill {number}")))
        place.platform.orders.clear()
        journal.write("settled", found=place.settle())


def run_calls(folder: Path, most: int, stopped: threading.Event) -> None:
    """Goes on until so many of the calls had their death, in all runs together, or all of them."""
    folder.mkdir(parents=True, exist_ok=True)
    journal = Journal(folder)
    with DeathPlace(folder, _known(journal), workers=1) as place:  # so that it is the same thread that delivers
        if not journal.of("points"):
            points = points_of_a_life(place)
            journal.write("points", points=[[point.thread, point.call, point.number] for point in points])
        points = [Point(*one) for one in journal.of("points")[0]["points"]]
        # In an order in which each part is a sample of all; those that reach outside the process first.
        random.Random(1).shuffle(points)
        points.sort(key=lambda point: point.call in INNER)
        done = {tuple(record["point"]) for record in journal.of("call")}
        left = [point for point in points if (point.thread, point.call, point.number) not in done]
        for point in left[: max(0, most - len(done))]:
            if stopped.is_set():
                break
            journal.write("call", point=[point.thread, point.call, point.number], **die_at(place, point))
        journal.write("settled", found=place.settle())


def _known(journal: Journal) -> list[str]:
    return [id for record in journal.of("kill", "call") for id in record.get("new", [])]


def summarize(folder: Path) -> dict[str, Any]:
    """What came out of both."""
    kills, calls = Journal(folder / "kills"), Journal(folder / "calls")
    deaths = calls.of("call")
    reached = [one for one in deaths if one["reached"]]
    fates = Counter(
        ("answered" if one["promised"] else "not answered") + (", accepted" if one["accepted"] else ", not accepted")
        for one in reached
    )
    points = calls.of("points")[0]["points"] if calls.of("points") else []
    records = [*kills.records, *calls.records]
    return {
        "kills": len(kills.of("kill")),
        "accepted_over_kills": max((one["accepted"] for one in kills.of("kill")), default=0),
        "calls_of_a_life": len(points),
        "of_a_life_reaching_outside": sum(call not in INNER for _, call, _ in points),
        "calls_tried": len(deaths),
        "tried_reaching_outside": sum(one["point"][1] not in INNER for one in deaths),
        "died_there": len(reached),
        "of_them_reaching_outside": sum(one["point"][1] not in INNER for one in reached),
        "fates": dict(sorted(fates.items())),
        "kinds_of_calls": len({one["point"][1] for one in reached}),
        "violations": [what for record in records for what in record.get("found", [])],
    }


def main() -> int:
    """Returns 1 if anything did not fit, in this run or an earlier one."""
    parser = argparse.ArgumentParser(prog="rigs.deaths", description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=1000, help="at random moments, in all runs together (1000)")
    parser.add_argument("--calls", type=int, default=10**6, help="at system calls, in all runs together (all)")
    parser.add_argument("--folder", type=Path, default=Path("deaths"), help="of the journals, and all else")
    parser.add_argument("--docs", type=Path, help="docs/reliability.md, to write the figures into it")
    given = parser.parse_args()
    stopped = threading.Event()
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, lambda *_: stopped.set())
    folder = given.folder.absolute()
    if given.calls:
        run_calls(folder / "calls", given.calls, stopped)
    if given.kills:
        run_kills(folder / "kills", given.kills, stopped)
    summary = summarize(folder)
    if given.docs is not None:
        publish(given.docs, "deaths", summary, deaths_table(summary))
    sys.stdout.write("\n".join(f"{name}: {value}" for name, value in summary.items()) + "\n")
    return 1 if summary["violations"] else 0


if __name__ == "__main__":
    sys.exit(main())
