"""How long the first start of a new version takes with a full spool of format 2, beside its second start.

    .venv/bin/python benchmarks/spool_upgrade.py [DATAPOINTS]

Printed are the time until the spool is open, by the clock and of the processor, and how much the file grows. Pictures
are small here: none is read or copied.
"""

from __future__ import annotations

import resource
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from clocks import ManualClock
from rigs.older_spools import write_older
from rigs.spools import make_spool


def main(datapoints: int) -> None:
    """Prints a table."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = folder / "spool.db"
        write_older(path, 2, datapoints=datapoints, most_bytes=400)
        size_bytes = path.stat().st_size
        print(f"{datapoints} datapoints, {size_bytes / 1e6:.0f} MB in the file")
        times: list[float] = []
        for what in ("first start, with the upgrade", "second start"):
            spool = make_spool(folder, ManualClock(), max_bytes=2**40)
            begun_s, cpu_s = time.perf_counter(), time.process_time()
            spool.open()
            took_s, cpu_s = time.perf_counter() - begun_s, time.process_time() - cpu_s
            log_bytes = path.with_name("spool.db-wal").stat().st_size
            spool.close()
            times.append(cpu_s)
            print(f"{what}: {took_s:.2f} s, {cpu_s:.2f} s of processor time, log of {log_bytes / 1e6:.0f} MB")
        grown_bytes = path.stat().st_size - size_bytes
        print(
            f"ratio {times[0] / times[1]:.2f}; the file has grown by {grown_bytes / datapoints:.0f} bytes a datapoint"
        )
        largest_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(f"largest memory {largest_mib:.0f} MiB, with the writing of the file")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000)
