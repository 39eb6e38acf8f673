"""What a daemon costs at one moment: memory, descriptors, threads, processor and disk."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from rigs.daemon import children

_MIB = 1 << 20


def measure(pid: int, folder: Path) -> dict[str, Any]:
    """pid: of the daemon. folder: where its spool lies. Raises OSError if it has ended.

    rss_mib and uss_mib are of the daemon, all_mib is the proportional memory of all its processes.
    """
    place = Path(f"/proc/{pid}")
    status = dict(line.split(":", 1) for line in (place / "status").read_text().splitlines())
    below = _below(pid)
    own = _memory_kib(pid)
    return {
        "rss_mib": round(int(status["VmRSS"].split()[0]) / 1024, 2),
        "uss_mib": round((own["Private_Clean"] + own["Private_Dirty"]) / 1024, 2),
        "all_mib": round(sum(_memory_kib(one).get("Pss", 0) for one in (pid, *below)) / 1024, 2),
        "processes": 1 + len(below),
        "threads": int(status["Threads"]),
        "fds": len(list((place / "fd").iterdir())),
        "cpu_s": round(sum(_processor_s(one) for one in (pid, *below)), 2),
        "spool_mib": round(_size(folder, "spool.db", "spool.db-wal") / _MIB, 3),
        "disk_mib": round(sum(_size(at, *names) for at, _, names in os.walk(folder) if _is_ours(at, folder)) / _MIB, 2),
    }


def _is_ours(at: str, folder: Path) -> bool:
    """Whether it is the daemon that writes there."""
    first = Path(at).relative_to(folder).parts[:1]
    return first == () or first[0].startswith("spool.db")


def _size(folder: Path | str, *names: str) -> int:
    found = 0
    for name in names:
        path = Path(folder, name)
        if name.startswith(("spool", "policy")) or "spool.db." in str(folder):
            found += path.stat().st_size if path.exists() else 0
    return found


def _below(pid: int) -> list[int]:
    return [found for child in children(pid) for found in (child, *_below(child))]


def _memory_kib(pid: int) -> dict[str, int]:
    """The sums of smaps_rollup; empty if the process has ended."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    except OSError:  # a reader that has just ended
        return {}
    return {name: int(rest.split()[0]) for name, _, rest in (line.partition(":") for line in lines)}


def _processor_s(pid: int) -> float:
    """Of a process and of those that it has collected."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return sum(int(field) for field in fields[11:15]) / os.sysconf("SC_CLK_TCK")
