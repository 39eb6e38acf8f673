"""The table of faults: what is seeded into a running daemon, and what `framesift status` must say of it, and when.

`tests/operator/test_faults.py` tries each line, `docs/reliability.md` shows the table, and this module prints it with
times of its own:

    PYTHONPATH=tests .venv/bin/python -m rigs.seeded_faults.table
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from rigs.seeded_faults import cameras, disks, others, platforms, second_daemons
from rigs.seeded_faults.fault import SeededFault
from rigs.seeded_faults.trial import seeded

FAULTS = (
    SeededFault(
        "spool disk full",
        seeded(disks.spool_disk_full),
        "spool",
        "failed",
        ("the disk is full",),
        perhaps=("decision record",),
    ),
    SeededFault(
        "spool read-only",
        seeded(disks.spool_read_only),
        "spool",
        "failed",
        ("read-only",),
        perhaps=("decision record", "sink"),  # no file can be written for the moment in which it is seeded
    ),
    SeededFault(
        "no descriptors",
        seeded(disks.no_descriptors),
        "descriptors",
        "degraded",
        ("Too many open files",),
        also=("sink",),
    ),
    SeededFault(
        "sink disk full", seeded(disks.sink_disk_full), "sink", "degraded", ("No space left on device", "collected")
    ),
    SeededFault("sink gone", seeded(disks.sink_gone), "sink", "degraded", ("no disk is mounted",)),
    SeededFault(
        "key revoked", seeded(platforms.key_revoked), "sink", "degraded", ("does not accept the key", "api_key")
    ),
    SeededFault("402", seeded(platforms.payment_required), "sink", "degraded", ("asks for payment", "plan")),
    SeededFault(
        "HTML with 200", seeded(platforms.captive_portal), "sink", "degraded", ("text/html", "login page"), well_s=60.0
    ),
    SeededFault(
        "TLS self-signed",
        seeded(platforms.tls_self_signed),
        "sink",
        "degraded",
        ("self-signed", "network.ca_file"),
        well_s=60.0,
    ),
    SeededFault(
        "TLS expired",
        seeded(platforms.tls_expired),
        "sink",
        "degraded",
        ("certificate has expired", "renew"),
        well_s=60.0,
    ),
    SeededFault(
        "platform down", seeded(platforms.platform_down), "sink", "degraded", ("Connection refused",), well_s=60.0
    ),
    SeededFault(
        "platform hanging", seeded(platforms.platform_hanging), "sink", "degraded", ("no answer for",), 25.0, 60.0
    ),
    SeededFault("camera dead", seeded(cameras.camera_dead), "stream gate", "degraded", ("connection refused",)),
    # The connection ended, and is refused after that.
    SeededFault("camera rebooting", seeded(cameras.camera_rebooting), "stream gate", "degraded", ("connection",)),
    SeededFault("camera hanging", seeded(cameras.camera_hanging), "stream gate", "degraded", ("no picture for 10 s",)),
    SeededFault(
        "camera frozen", seeded(cameras.camera_frozen), "stream gate", "degraded", ("the same picture",), say_s=60.0
    ),
    SeededFault(
        "camera's password changed",
        seeded(cameras.camera_password_changed),
        "stream gate",
        "degraded",
        ("credentials rejected", "password"),
    ),
    SeededFault(
        "decoder killed", seeded(cameras.decoder_killed), "stream gate was lost", "", ("SIGKILL",), place="text"
    ),
    SeededFault("Redis away", seeded(others.redis_away), "limits", "degraded", ("refused", "redis://"), well_s=60.0),
    SeededFault("Redis frozen", seeded(others.redis_frozen), "limits", "degraded", ("did not answer",), well_s=60.0),
    SeededFault(
        "Redis emptied", seeded(others.redis_emptied), "limits", "degraded", ("were reset", "60 s"), well_s=60.0
    ),
    SeededFault("misspelt class", seeded(others.misspelt_class), "policy", "failed", ("persn", "person")),
    SeededFault(
        "policy garbage at a reload", seeded(others.policy_garbage), "policy", "degraded", ("policy.json:1", "JSON")
    ),
    SeededFault(
        "policy garbage at the platform",
        seeded(platforms.policy_garbage_at_platform),
        "policy",
        "degraded",
        ("project parking", "sampling_strategies"),
    ),
    SeededFault("model raises", seeded(others.model_raises), "model", "degraded", ("RuntimeError", "CUDA error 700")),
    SeededFault("model hangs", seeded(others.model_hangs), "model", "degraded", ("no answer for", "hangs"), say_s=20.0),
    SeededFault(
        "limits exhausted",
        seeded(others.limits_exhausted),
        "all, daily",
        "",
        ("nothing more", "until the next day"),
        place="text",
        vanishes=True,
    ),
    SeededFault("clock unset", seeded(platforms.clock_unset), "clock", "degraded", ("not set", "it says 19")),
    SeededFault(
        "second daemon",
        second_daemons.second_daemon,
        "status page",
        "failed",
        ("is not the one of these settings", "device first", "status.bind of its own"),
        place="refusal",
    ),
    SeededFault(
        "port taken",
        second_daemons.port_taken,
        "status page",
        "failed",
        ("no framesift", "status.bind"),
        place="refusal",
    ),
)


def measured() -> Iterator[str]:
    """The lines of the table in docs/reliability.md, with the seconds that each fault takes now."""
    yield "| fault | component | its reason has | bound to say | said after | bound to be well | well after |"
    yield "|---|---|---|---|---|---|---|"
    for fault in FAULTS:
        with tempfile.TemporaryDirectory() as folder:
            times = fault.trial(fault, Path(folder))
        words = ", ".join(f"`{word}`" for word in fault.reason)
        bounds = (f"{fault.say_s:g} s", f"{times.said_s:.1f} s", f"{fault.well_s:g} s", f"{times.well_s:.1f} s")
        yield f"| {' | '.join((fault.name, f'{fault.component} {fault.condition}'.strip(), words, *bounds))} |"


if __name__ == "__main__":
    for line in measured():
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()
