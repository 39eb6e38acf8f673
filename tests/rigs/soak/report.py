"""The report of a soak: a summary of its journal, and its drawing."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rigs.soak.drawing import drawing
from rigs.soak.journal import Record
from rigs.soak.trend import Trend, trend

WARM_UP_H = 0.5  # of each life of a daemon; then its memory is what it needs
Lives = list[list[tuple[float, float]]]


def lives(records: Sequence[Record], name: str, warm_up_h: float = WARM_UP_H) -> Lives:
    """What was measured in each life of a daemon, after it was warm: (hours, value)."""
    found: Lives = []
    begun_h = 0.0
    for record in records:
        if record["what"] == "daemon":
            found.append([])
            begun_h = record["hours"]
        elif record["what"] == "audit" and name in record and record["hours"] - begun_h >= warm_up_h:
            found[-1].append((record["hours"], record[name]))
    return [life for life in found if life]


def summarize(records: Sequence[Record]) -> dict[str, Any]:
    """What came out, over all runs."""
    audits = [record for record in records if record["what"] in ("audit", "end")]
    last = audits[-1] if audits else {"accepted": 0, "left": {}, "in_spool": 0, "at_platform": 0}
    faults = Counter(record["kind"] for record in records if record["what"] == "fault")
    measured = [record for record in audits if "cpu_s" in record]
    return {
        "hours": round(records[-1]["hours"], 3) if records else 0.0,
        "runs": sum(record["what"] == "run" for record in records),
        "daemons": sum(record["what"] == "daemon" for record in records),
        "faults": dict(sorted(faults.items())),
        "faults_in_all": sum(faults.values()),
        "audits": len(audits),
        "audits_in_quiet": sum(record.get("looked_well", False) for record in audits),
        "violations": sum(record["what"] == "violation" for record in records),
        "accepted": last["accepted"],
        "left": last["left"],
        "in_spool": last["in_spool"],
        "at_platform": last["at_platform"],
        "promised_to_clients": sum(record["promised"] for record in audits),
        "rss_mib_an_hour": _of(trend(lives(records, "rss_mib"))),
        "all_mib_an_hour": _of(trend(lives(records, "all_mib"))),
        "fds_an_hour": _of(trend(lives(records, "fds"))),
        "threads_an_hour": _of(trend(lives(records, "threads"))),
        "highest": {
            name: max((record[name] for record in measured), default=0)
            for name in ("rss_mib", "all_mib", "fds", "threads", "spool_mib", "disk_mib")
        },
        "cores": _cores(records),
    }


def write_report(folder: Path, records: Sequence[Record]) -> dict[str, Any]:
    """Writes summary.json and soak.svg, and returns the summary."""
    summary = summarize(records)
    (folder / "summary.json").write_text(json.dumps(summary, indent=1) + "\n")
    (folder / "soak.svg").write_text(drawing(records))
    return summary


def _of(found: Trend | None) -> dict[str, float] | None:
    return None if found is None else {name: round(value, 3) for name, value in asdict(found).items()}


def _cores(records: Sequence[Record]) -> float:
    """The share of a core that the daemon with all its processes used, where the same one was measured twice."""
    used_s = passed_s = 0.0
    before: Record | None = None
    for record in records:
        if record["what"] == "daemon":
            before = None
        elif record["what"] == "audit" and "cpu_s" in record:
            if before is not None and record["cpu_s"] >= before["cpu_s"]:
                used_s += record["cpu_s"] - before["cpu_s"]
                passed_s += record["at_s"] - before["at_s"]
            before = record
    return round(used_s / passed_s, 3) if passed_s else 0.0
