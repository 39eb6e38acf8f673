"""The rows about the budget, what waits, what is delivered, and the program itself."""

from __future__ import annotations

from dashboard.panels import OF_DEVICE, Panel, Query, bars, lines, stack, table


def _window(title: str, window: str) -> Panel:
    used = f'framesift_credits_used{{DEVICE, window="{window}"}}'
    left = f'framesift_credits_left{{DEVICE, window="{window}"}}'
    return bars(
        title,
        "percentunit",
        "The share that is used, of the 20 limits with the highest. Devices that share a limit all show the fleet's.",
        Query(f"topk(20, {used} / ({used} + {left}))", "{{instance}} {{project}} {{strategy}}"),
    )


BUDGET = (
    _window("Quota of this minute", "minutely"),
    _window("Quota of this hour", "hourly"),
    _window("Quota of this day", "daily"),
    lines(
        "Day's quota over the day, by strategy",
        "percentunit",
        "The mean share that is used. A line that reaches 1 by noon misses the evening: docs/policy.md, pacing.",
        Query(
            'avg by (project, strategy) (framesift_credits_used{DEVICE, window="daily"} / '
            '(framesift_credits_used{DEVICE, window="daily"} + framesift_credits_left{DEVICE, window="daily"}))',
            "{{project}} {{strategy}}",
        ),
    ),
    stack(
        "Refused for want of quota, an hour",
        "short",
        "Wanted frames for which the limit, the batch (batch_full) or the pacing (outscored) had no room.",
        Query(
            "sum by (reason) "
            '(increase(framesift_frames_refused_total{STREAM, reason=~"limit|batch_full|outscored"}[1h]))',
            "{{reason}}",
        ),
    ),
    stack(
        "Who grants quota",
        "short",
        "Devices by who counts their limits: local, shared, or, while Redis is reset or away, restoring and away.",
        Query("count by (by) (framesift_credits_granted_by{DEVICE} == 1)", "{{by}}"),
    ),
    lines(
        "Datapoints that wait for quota, most 20",
        "short",
        "Accepted while the shared limits were away; they go on when these are back.",
        Query("topk(20, framesift_credits_waiting{DEVICE} > 0)", OF_DEVICE),
    ),
)

SPOOL = (
    bars(
        "Fullest 20 spools",
        "percentunit",
        "Contents and log, of max_bytes. A full spool drops its lowest scores.",
        Query(
            "topk(20, (framesift_spool_bytes{DEVICE} + framesift_spool_log_bytes{DEVICE}) / "
            "framesift_spool_max_bytes{DEVICE})",
            OF_DEVICE,
        ),
    ),
    stack(
        "Datapoints in spools",
        "short",
        "What waits, over all chosen devices. A slope that goes up: deliveries are slower than collecting.",
        Query("sum by (state) (framesift_spool_datapoints{DEVICE})", "{{state}}"),
    ),
    stack(
        "Bytes in spools",
        "bytes",
        "Contents and write-ahead logs of all chosen devices.",
        Query("sum(framesift_spool_bytes{DEVICE})", "contents"),
        Query("sum(framesift_spool_log_bytes{DEVICE})", "log"),
    ),
    lines(
        "Longest wait for delivery, worst 20",
        "s",
        "Age of the oldest datapoint that is still to be delivered. Hours are usual behind sink.limits.",
        Query(
            "topk(20, framesift_heartbeat_timestamp_seconds{DEVICE}"
            " - framesift_spool_oldest_timestamp_seconds{DEVICE})",
            OF_DEVICE,
        ),
    ),
    stack(
        "What became of datapoints, an hour",
        "short",
        "delivered and duplicate are well; evicted: a spool was full; limit: the shared limits refused it later.",
        Query("sum by (exit) (increase(framesift_datapoints_left_total{DEVICE}[1h]))", "{{exit}}"),
    ),
    table(
        "Buried datapoints, by device",
        "They are kept until somebody looks: framesift spool list, retry, drop.",
        'framesift_spool_datapoints{DEVICE, state="buried"} > 0',
        value="datapoints",
    ),
    bars(
        "Fullest 20 collected folders",
        "percentunit",
        "Of the folder sink's max_bytes. At 1 the oldest pictures go, down to 0.9.",
        Query("topk(20, framesift_collected_bytes{DEVICE} / framesift_collected_max_bytes{DEVICE})", OF_DEVICE),
    ),
    stack(
        "Removed from collected folders, an hour",
        "short",
        "Pictures that were too old, or too much: take them away earlier if you want to keep them.",
        Query("sum by (bound) (increase(framesift_collected_removed_total{DEVICE}[1h]))", "{{bound}}"),
    ),
)

UPLOADS = (
    stack(
        "Attempts an hour, by outcome",
        "short",
        "later and never are failures; registered: the image is there, its prediction follows.",
        Query("sum by (outcome) (increase(framesift_delivery_attempts_total{DEVICE}[1h]))", "{{outcome}}"),
    ),
    bars(
        "Share of attempts that failed in the last hour, worst 20",
        "percentunit",
        "Near 1 on one device: its network, key or disk. Near 1 on all: the platform.",
        Query(
            "topk(20, sum by (instance) "
            '(rate(framesift_delivery_attempts_total{DEVICE, outcome=~"later|never"}[1h])) / '
            "sum by (instance) (rate(framesift_delivery_attempts_total{DEVICE}[1h])))",
            OF_DEVICE,
        ),
    ),
    table(
        "Sinks that are not well",
        "degraded: its circuit breaker is open, one delivery at a time is tried. failed: it refuses nearly everything.",
        'framesift_health{DEVICE, component="sink", condition!="ok"} == 1',
    ),
    stack(
        "Circuit breakers: devices by the condition of their sink",
        "short",
        "All degraded at once: the platform is away. Nothing is lost meanwhile; spools fill.",
        Query('count by (condition) (framesift_health{DEVICE, component="sink"} == 1)', "{{condition}}"),
        width=12,
    ),
    lines(
        "Time of an attempt",
        "s",
        "Over all chosen devices: half, 95 and 99 of 100 are quicker. An attempt is given up after 45 s.",
        *(
            Query(
                f"histogram_quantile({share}, sum by (le) (rate(framesift_delivery_seconds_bucket{{DEVICE}}[15m])))",
                legend,
            )
            for share, legend in ((0.5, "half"), (0.95, "95 of 100"), (0.99, "99 of 100"))
        ),
        width=12,
    ),
)

PROGRAM = (
    lines(
        "Memory, most 20",
        "bytes",
        "Of the daemon, without its reader processes. A line that rises for days is a leak: please report it.",
        Query("topk(20, process_resident_memory_bytes{DEVICE})", OF_DEVICE),
    ),
    lines(
        "Processor, most 20",
        "percentunit",
        "Of one core, the daemon with its model; reader processes are not in it.",
        Query("topk(20, rate(process_cpu_seconds_total{DEVICE}[5m]))", OF_DEVICE),
    ),
    bars(
        "File descriptors, most 20",
        "percentunit",
        "The share that is open of those that the process may have. Near 1, cameras and deliveries wait.",
        Query("topk(20, process_open_fds{DEVICE} / process_max_fds{DEVICE})", OF_DEVICE),
    ),
    table(
        "Restarts in a day",
        "An upgrade, a power cut, or an error, for which the log has the event failed.",
        "changes(process_start_time_seconds{DEVICE}[1d]) > 0",
        value="restarts",
    ),
    lines(
        "Parts that have not moved for longest, worst 20",
        "s",
        "A delivery may take 45 s; from 50 s on, a part counts as hung.",
        Query("topk(20, framesift_component_idle_seconds{DEVICE})", "{{instance}} {{component}}"),
    ),
    stack(
        "Log lines that nobody read, an hour",
        "short",
        "The reader of the log (journald, a container's driver) is too slow, or is stuck.",
        Query("sum by (level) (increase(framesift_log_lines_dropped_total{DEVICE}[1h]))", "{{level}}"),
    ),
)
