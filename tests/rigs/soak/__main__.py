"""The soak: sixteen streams for hours, faults all the while, and an audit each minute.

PYTHONPATH=tests python -m rigs.soak --hours 8 --folder soak

A second run with the same folder goes on where the first one ended. Ctrl-C ends it, with a summary.
"""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path

from rigs.soak.journal import Journal
from rigs.soak.published import faults_table, publish, soak_table
from rigs.soak.report import write_report
from rigs.soak.running import Pace, Soak
from rigs.soak.site import Site


def main() -> int:
    """Returns 1 if anything did not fit, in this run or an earlier one."""
    parser = argparse.ArgumentParser(prog="rigs.soak", description=__doc__.splitlines()[0])
    parser.add_argument("--hours", type=float, default=8.0, help="how long this run goes on (8); 0 only reports")
    parser.add_argument("--folder", type=Path, default=Path("soak"), help="of the journal, the spool and all else")
    parser.add_argument("--round-s", type=float, default=600.0, help="how often four faults are drawn (600)")
    parser.add_argument("--audit-s", type=float, default=60.0, help="how often it is audited (60)")
    parser.add_argument(
        "--well-after-s", type=float, default=100.0, help="all must be well so long after a fault (100)"
    )
    parser.add_argument("--docs", type=Path, help="docs/reliability.md, to write the figures into it")
    parser.add_argument("--seed", type=int, default=1, help="of the faults (1)")
    given = parser.parse_args()
    folder = given.folder.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    journal = Journal(folder)
    if given.hours > 0:
        with Site(folder) as site:
            pace = Pace(given.hours, given.round_s, given.audit_s, given.well_after_s, given.seed)
            soak = Soak(site, journal, pace)
            for name in (signal.SIGINT, signal.SIGTERM):
                signal.signal(name, lambda *_: soak.stop())
            soak.run()
    summary = write_report(folder, journal.records)
    if given.docs is not None:
        tables = soak_table(summary), faults_table(summary)
        publish(given.docs, "soak", summary, *tables, drawing=(folder / "soak.svg").read_text())
    sys.stdout.write("\n".join(f"{name}: {value}" for name, value in summary.items()) + "\n")
    return 1 if summary["violations"] else 0


if __name__ == "__main__":
    sys.exit(main())
