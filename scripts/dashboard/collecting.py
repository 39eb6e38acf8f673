"""The rows about the fleet, its streams, and which frames are taken."""

from __future__ import annotations

from dashboard.panels import OF_DEVICE, OF_STREAM, Panel, Query, bars, lines, number, stack, table

FLEET = (
    number(
        "Devices that answer",
        "Devices whose /metrics Prometheus could read at its last try.",
        "sum(up{DEVICE})",
        is_trouble=False,
    ),
    number(
        "Devices that don't answer",
        "Switched off, without a network, or framesift does not run. The table below names them.",
        "count(up{DEVICE} == 0) or vector(0)",
    ),
    number(
        "Devices that hang",
        "A thread makes no progress: the service manager starts the daemon again, unless the disk is dead.",
        "count(framesift_alive{DEVICE} == 0) or vector(0)",
    ),
    number(
        "Devices with a failed part",
        "A part does none of its work until somebody helps. The table below names it.",
        'count(max by (job, instance) (framesift_health{DEVICE, condition="failed"} == 1)) or vector(0)',
    ),
    number(
        "Streams without pictures",
        "Cameras that are away at this moment. The row Streams says why.",
        "count(max by (job, instance, stream) (framesift_stream_away{STREAM} == 1)) or vector(0)",
    ),
    number(
        "Buried datapoints",
        "Pictures that could not be delivered, and are tried no more. On the device: framesift spool list.",
        'sum(framesift_spool_datapoints{DEVICE, state="buried"}) or vector(0)',
    ),
    number(
        "Accepted in 24 hours",
        "Pictures that were accepted for labelling by the chosen devices.",
        "sum(increase(framesift_frames_accepted_total{STREAM}[24h])) or vector(0)",
        is_trouble=False,
    ),
    number(
        "Delivered in 24 hours",
        "Pictures that reached the sink.",
        'sum(increase(framesift_datapoints_left_total{DEVICE, exit="delivered"}[24h])) or vector(0)',
        is_trouble=False,
    ),
    table(
        "Parts that are not well",
        "Degraded comes back by itself, or works with less. framesift status on the device says why.",
        'framesift_health{DEVICE, condition!="ok"} == 1',
        width=12,
    ),
    table("Who does not answer", "The devices to look at first.", "up{DEVICE} == 0", width=6),
    table(
        "Versions",
        "What runs where. After an upgrade, one line should be left.",
        "count by (version, opencv, python) (framesift_build_info{DEVICE})",
        width=6,
        value="devices",
    ),
)

STREAMS = (
    table(
        "Streams without pictures, and why",
        "docs/operating.md, why a camera is away, has for each reason what to do.",
        "framesift_stream_away{STREAM} == 1",
    ),
    stack(
        "Streams without pictures, by reason",
        "short",
        "Many at once with one reason: a switch, a name server or a password, not the cameras.",
        Query("count by (reason) (framesift_stream_away{STREAM} == 1)", "{{reason}}"),
    ),
    bars(
        "Share of the time without pictures, worst 20",
        "percentunit",
        "Over the chosen time. A camera that comes and goes stands here too, although it may be there now.",
        Query("topk(20, 1 - avg_over_time(framesift_stream_up{STREAM}[$__range]))", OF_STREAM),
    ),
    Panel(
        "state-timeline",
        "State of streams that were away in the last hour",
        "short",
        "Red while it gives no pictures. A file that has ended stays red. Choose a device above if these are many.",
        (
            Query(
                "framesift_stream_up{STREAM} and on (job, instance, stream) "
                "(min_over_time(framesift_stream_up{STREAM}[1h]) == 0)",
                OF_STREAM,
            ),
        ),
        12,
    ),
    lines(
        "Losses an hour, worst 20",
        "short",
        "How often it was lost while it ran. Several an hour: a bad cable, a weak radio link, a camera that restarts.",
        Query("topk(20, increase(framesift_stream_losses_total{STREAM}[1h]) > 0)", OF_STREAM),
        width=12,
    ),
    lines(
        "Frames a second, all",
        "suffix: fps",
        "What the chosen streams give to the model. A step down: cameras went away, or a model became slow.",
        Query("sum(rate(framesift_frames_read_total{STREAM}[5m]))", "read"),
    ),
    lines(
        "Frames a second, slowest 20",
        "suffix: fps",
        "Streams with the fewest frames. 0 with a stream that is up: the model is stuck, or the policy is disabled.",
        Query("bottomk(20, rate(framesift_frames_read_total{STREAM}[5m]))", OF_STREAM),
    ),
    stack(
        "Pictures that the model did not see",
        "suffix: fps",
        "rate is wanted (the setting fps). busy: the model is too slow. All others: the camera, or the network.",
        Query("sum by (why) (rate(framesift_frames_skipped_total{STREAM}[5m]))", "{{why}}"),
    ),
    lines(
        "Age of pictures at the model, worst 20",
        "s",
        "When the model begins with it; 95 of 100 are younger. Seconds mean that the model can't follow.",
        Query(
            "topk(20, histogram_quantile(0.95, "
            "sum by (instance, stream, le) (rate(framesift_picture_age_seconds_bucket{STREAM}[5m]))))",
            OF_STREAM,
        ),
    ),
    lines(
        "Cameras with another clock, worst 20",
        "s",
        "How far a camera's clock is from that of its device. Let both take the time from one server.",
        Query("topk(20, abs(framesift_stream_sender_offset_seconds{STREAM}))", OF_STREAM),
    ),
    stack(
        "Requests to listeners",
        "reqps",
        "Requests of other programs, by what became of them: docs/clients.md. offered is well.",
        Query("sum by (outcome) (rate(framesift_door_requests_total{STREAM}[5m]))", "{{outcome}}"),
    ),
)

DECISIONS = (
    stack(
        "Accepted an hour, by strategy",
        "short",
        "What is collected, and for which strategy.",
        Query("sum by (strategy) (increase(framesift_frames_accepted_total{STREAM}[1h]))", "{{strategy}}"),
    ),
    stack(
        "Matched an hour, by strategy",
        "short",
        "What strategies wanted. A strategy that wants far more than it gets has too wide a bound for its limit.",
        Query("sum by (strategy) (increase(framesift_frames_matched_total{STREAM}[1h]))", "{{strategy}}"),
    ),
    stack(
        "Refused a second, by reason",
        "suffix: fps",
        "no_match is the usual one, and left out here. model_failed, unmasked, unencodable and spool_... are troubles.",
        Query('sum by (reason) (rate(framesift_frames_refused_total{STREAM, reason!="no_match"}[5m]))', "{{reason}}"),
    ),
    table(
        "Streams of which nothing was accepted for a day",
        "They give frames, and none is taken: the camera sees a wall, a class is misspelt, others use up the limit.",
        "sum by (instance, stream) (increase(framesift_frames_read_total{STREAM}[1d])) > 0 "
        "unless on (instance, stream) (increase(framesift_frames_accepted_total{STREAM}[1d]) > 0) "
        "unless on (instance, stream) (framesift_frames_accepted_total{STREAM} unless "
        "framesift_frames_accepted_total{STREAM} offset 1d)",
        value="frames read",
    ),
    bars(
        "Frames that the model failed on, worst 20 devices",
        "percentunit",
        "Share of the last hour's frames: an inference server that is away, or a broken model.",
        Query(
            'topk(20, sum by (instance) (rate(framesift_frames_refused_total{STREAM, reason="model_failed"}[1h])) / '
            "sum by (instance) (rate(framesift_frames_read_total{STREAM}[1h])))",
            OF_DEVICE,
        ),
    ),
    lines(
        "Time of the model",
        "s",
        "For one frame, over all chosen devices: half, and 95 of 100, are quicker.",
        Query("histogram_quantile(0.5, sum by (le) (rate(framesift_model_seconds_bucket{DEVICE}[5m])))", "half"),
        Query("histogram_quantile(0.95, sum by (le) (rate(framesift_model_seconds_bucket{DEVICE}[5m])))", "95 of 100"),
    ),
    lines(
        "Time of the model, slowest 20 devices",
        "s",
        "The mean. A device that stands out is hot, busy with something else, or without its accelerator.",
        Query(
            "topk(20, rate(framesift_model_seconds_sum{DEVICE}[5m]) / rate(framesift_model_seconds_count{DEVICE}[5m]))",
            OF_DEVICE,
        ),
    ),
    stack(
        "Held frames, by strategy",
        "short",
        "Frames that wait for a turn, of strategies with hold_queue.",
        Query("sum by (strategy) (framesift_held_frames{DEVICE})", "{{strategy}}"),
    ),
    stack(
        "Kept pictures of streams with snapshots, an hour",
        "short",
        "snapshot is the main stream's picture. The others say why there was none: docs/snapshots.md.",
        Query("sum by (result) (increase(framesift_snapshots_total{STREAM}[1h]))", "{{result}}"),
    ),
    table(
        "Policies that are not understood in part",
        "How many parts are left out. The log of the device names them: policy_problem.",
        "framesift_policy_parts_left_out{DEVICE} > 0",
        value="parts",
    ),
    lines(
        "Age of fetched policies, oldest 20",
        "s",
        "How long ago the source confirmed the policy. The last good one holds meanwhile.",
        Query(
            "topk(20, framesift_heartbeat_timestamp_seconds{DEVICE}"
            " - on (job, instance) group_right framesift_policy_fetched_timestamp_seconds{DEVICE})",
            "{{instance}} {{policy}}",
        ),
    ),
)
