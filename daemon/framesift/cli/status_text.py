"""Prints the answer of /status for people: health, streams, policies, quota and the spool."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from rich.table import Table

from framesift.cli.collected_text import collected_text
from framesift.cli.console import counted, escape_text, noun, out
from framesift.config.byte_sizes import bytes_text

_LOSSES_SHOWN_S = 86_400.0
_WINDOWS = {"minutely": "minute", "hourly": "hour", "daily": "day"}


def print_status(fields: dict[str, Any]) -> None:
    """Prints the fields of /status. Raises KeyError where one is missing: the daemon has another version."""
    problems = [component for component in fields["health"] if component["condition"] != "ok"]
    uptime = timedelta(seconds=round(fields["uptime_s"]))
    if fields.get("device") is not None:  # an older daemon does not say it
        settings = f", settings {fields['settings']}" if fields["settings"] else ""
        out.print(escape_text(f"device {fields['device']} (process {fields['pid']}{settings})"))
    out.print(f"alive {'yes' if fields['alive'] else '[red]NO[/]'}, up for {uptime}")
    for component in problems:
        colour = "red" if component["condition"] == "failed" else "yellow"
        name, why = escape_text(component["name"]), escape_text(component["why"])
        out.print(f"[{colour}]{component['condition']}[/] {name}: {why}")
    if not problems:
        out.print("[green]all is well[/]")
    out.print(_stream_table(fields["streams"]))
    for line in _loss_lines(fields["streams"], fields["taken_at_s"]):
        out.print(escape_text(line))
    for stream in fields["streams"]:
        if snapshots := stream.get("snapshots"):  # an older daemon does not say it
            out.print(escape_text(f"pictures kept of {stream['stream']}: {_counts(snapshots)}"))
    for pause in fields.get("paused", ()):  # an older daemon does not say it
        out.print(escape_text(f"stream {pause['stream']} is paused{_until(pause)}, by {pause['by']}"))
    for policy in fields["policies"]:
        out.print(escape_text(_policy_line(policy)))
    if fields["quota"] is not None:
        for line in _quota_lines(fields["quota"]):
            out.print(escape_text(line))
    if any(fields.get("held", {}).values()):  # an older daemon does not say it
        out.print(escape_text(f"held until a turn is due: {_counts(fields['held'])}"))
    if fields.get("collected") is not None:
        out.print(f"collected: {collected_text(fields['collected'], fields['taken_at_s'])}")
    queue = fields["queue"]
    if queue is None:
        out.print("[red]the spool can't be read[/]")
        return
    states = {state: queue[state] for state in ("ready", "sending", "registered", "buried")}
    out.print(f"spool: {_counts(states) or 'empty'}; {_size(queue)}")
    out.print(f"outcomes so far: {_counts(queue['outcomes']) or 'none'}")


def _size(queue: dict[str, Any]) -> str:
    """How large the spool is, its write-ahead log included: what its bound is for."""
    size = bytes_text(queue["size_bytes"] + queue.get("log_bytes", 0))  # an older daemon does not say it
    return f"{size} of {bytes_text(queue['max_bytes'])}" if queue.get("max_bytes") else size


def _stream_table(streams: list[dict[str, Any]]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0))
    for title in ("stream", "up", "frames", "accepted", "refused", "skipped"):
        table.add_column(title, overflow="fold")
    for stream in streams:
        away = stream.get("away")  # an older daemon does not say it
        reason = f" ({escape_text(away['reason'])})" if away else ""
        up = {True: "yes", False: f"[red]no[/]{reason}", None: ""}[stream["up"]]
        counts = [_counts(stream[key]) for key in ("accepted", "refused", "skipped")]
        table.add_row(stream["stream"], up, str(stream["frames_read"]), *counts)
    return table


def _until(pause: dict[str, Any]) -> str:
    if pause["until_s"] is None:
        return " until it is resumed"
    return f" until {datetime.fromtimestamp(pause['until_s']).astimezone():%Y-%m-%d %H:%M:%S %Z}"


def _loss_lines(streams: list[dict[str, Any]], now_s: float) -> Iterator[str]:
    """The streams that were lost within a day, those included that are back."""
    for stream in streams:
        loss = stream["last_loss"]
        if loss is not None and now_s - loss["at_s"] < _LOSSES_SHOWN_S:
            times = "once" if stream["losses"] == 1 else f"{stream['losses']} times"
            ago = timedelta(seconds=max(0, round(now_s - loss["at_s"])))
            yield f"stream {stream['stream']} was lost {times}, most recently {ago} ago: {loss['why']}"


def _policy_line(policy: dict[str, Any]) -> str:
    """Which policy these streams use, and what of it was left out."""
    streams = f" of {', '.join(policy['streams'])}" if policy["streams"] else ""
    if policy["hash"] is None:
        return f"policy{streams}: none yet from {policy['source']}: {policy['problem']}"
    state = ", ".join(policy["strategies"]) if policy["enabled"] else "nothing is collected"
    origin = ", from the disk" if policy["from_disk"] else ""
    notes = "".join(f"\n  note: {text}" for text in (*policy["notes"], *policy["left_out"]))
    return f"policy{streams} {policy['hash']} ({policy['source']}{origin}): {state}{notes}"


def _quota_lines(quota: dict[str, Any]) -> Iterator[str]:
    """Who grants quota, and each limit in its current window."""
    number = quota["pending"]
    pending = f"; {counted(number, 'datapoint')} {noun(number, 'waits', 'wait')} for quota" if number else ""
    why = f" ({quota['why']})" if quota["why"] else ""
    yield f"quota is granted by: {quota['granted_by']}{why}{pending}"
    for use in quota["used"]:
        name = f"{use['project']}/{use['strategy']}" if use["project"] else use["strategy"]
        exhausted = ""
        if use["used"] >= use["limit"]:
            exhausted = f": nothing more is accepted for it until the next {_WINDOWS.get(use['window'], 'window')}"
        yield f"  {name}, {use['window']}: {use['used']} of {use['limit']} used{exhausted}"


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {escape_text(name)}" for name, count in counts.items() if count)
