"""The table of faults: what is seeded into a running daemon, and what `framesift status` must say of it, and when.

`tests/operator/test_faults.py` tries each line, `docs/reliability.md` shows the table, and this module prints it with
times of its own:

    PYTHONPATH=tests .venv/bin/python -m rigs.seeded_faults.table
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from rigs.seeded_faults import cameras, disks, others, platforms
from rigs.seeded_faults.situation import Scenario

Place = Literal["health", "text"]


@dataclass(frozen=True)
class SeededFault:
    """One fault. component: what the status names. condition: how bad. reason: words that must stand in the reason.

    say_s: the most seconds until the status says so; well_s: the most until all is well again, after it was mended.
    place: a component's health, or a line of the text that begins with `component`, for what is over by itself or is no
    illness. also: what else is named, since it suffers too. takes_long: a minute and more, for `make torture`.
    """

    name: str
    scenario: Scenario
    component: str
    condition: str
    reason: tuple[str, ...]
    say_s: float = 15.0
    well_s: float = 30.0
    place: Place = "health"
    also: tuple[str, ...] = ()
    takes_long: bool = False


FAULTS = (
    SeededFault("spool disk full", disks.spool_disk_full, "spool", "failed", ("the disk is full",)),
    SeededFault("spool read-only", disks.spool_read_only, "spool", "failed", ("read-only",)),
    SeededFault(
        "no descriptors", disks.no_descriptors, "descriptors", "degraded", ("Too many open files",), also=("sink",)
    ),
    SeededFault("sink disk full", disks.sink_disk_full, "sink", "degraded", ("No space left on device", "collected")),
    SeededFault("sink gone", disks.sink_gone, "sink", "degraded", ("no disk is mounted",)),
    SeededFault("key revoked", platforms.key_revoked, "sink", "degraded", ("does not accept the key", "api_key")),
    SeededFault("402", platforms.payment_required, "sink", "degraded", ("asks for payment", "plan"), well_s=300.0),
    SeededFault(
        "HTML with 200", platforms.captive_portal, "sink", "degraded", ("text/html", "login page"), well_s=60.0
    ),
    SeededFault(
        "TLS self-signed",
        platforms.tls_self_signed,
        "sink",
        "degraded",
        ("self-signed", "network.ca_file"),
        well_s=60.0,
    ),
    SeededFault("TLS expired", platforms.tls_expired, "sink", "degraded", ("certificate has expired",), well_s=60.0),
    SeededFault("platform down", platforms.platform_down, "sink", "degraded", ("Connection refused",), well_s=60.0),
    SeededFault("platform hanging", platforms.platform_hanging, "sink", "degraded", ("no answer for",), 30.0, 60.0),
    SeededFault("camera dead", cameras.camera_dead, "stream gate", "degraded", ("connection refused",)),
    SeededFault("camera hanging", cameras.camera_hanging, "stream gate", "degraded", ("no picture for 10 s",)),
    SeededFault("camera frozen", cameras.camera_frozen, "stream gate", "degraded", ("the same picture",), say_s=60.0),
    SeededFault(
        "camera's password changed",
        cameras.camera_password_changed,
        "stream gate",
        "degraded",
        ("credentials rejected", "password"),
    ),
    SeededFault("decoder killed", cameras.decoder_killed, "stream gate was lost", "", ("SIGKILL",), place="text"),
    SeededFault("Redis away", others.redis_away, "limits", "degraded", ("refused", "redis://"), well_s=60.0),
    SeededFault("Redis frozen", others.redis_frozen, "limits", "degraded", ("did not answer",), well_s=60.0),
    SeededFault("Redis emptied", others.redis_emptied, "limits", "degraded", ("were reset",), well_s=75.0),
    SeededFault("misspelt class", others.misspelt_class, "policy", "degraded", ("persn", "person")),
    SeededFault("policy garbage at a reload", others.policy_garbage, "policy", "degraded", ("policy.json", "line")),
    SeededFault(
        "policy garbage at the platform", platforms.policy_garbage_at_platform, "policy", "degraded", ("strategies",)
    ),
    SeededFault("model raises", others.model_raises, "model", "degraded", ("RuntimeError", "CUDA error 700")),
    SeededFault("model hangs", others.model_hangs, "model", "degraded", ("no answer for",)),
    SeededFault("limits exhausted", others.limits_exhausted, "all", "", ("day: ", "used"), place="text"),
    SeededFault("clock unset", platforms.clock_unset, "clock", "degraded", ("1976", "not set")),
)
