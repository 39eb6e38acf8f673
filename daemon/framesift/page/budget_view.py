"""The budget: what each strategy has used of its limits, the spool, the sink, and how healthy all parts are."""

from __future__ import annotations

from datetime import tzinfo

from framesift.config.byte_sizes import bytes_text
from framesift.limits import Window, window_end, window_start
from framesift.page.html import Html, element, joined
from framesift.page.pace import SpoolPace
from framesift.page.words import clock_text, duration_text
from framesift.telemetry import Condition, PolicyReport, QuotaUse, SpoolNumbers, StatusReport

_GRANTERS = {
    "local": "this device counts for itself",
    "shared": "the shared limits grant it",
    "restoring": "the shared limits were reset, and grant nothing yet",
    "away": "the shared limits can't be reached",
}
_WINDOWS = {Window.MINUTELY: "minute", Window.HOURLY: "hour", Window.DAILY: "day"}


def budget_view(report: StatusReport, pace: SpoolPace | None, zone: tzinfo) -> Html:
    """Policies, quota, held frames, the spool and health. zone: in which the windows of the limits are counted."""
    return joined(
        [_policy(policy) for policy in report.policies],
        _quota(report, zone),
        _held(report),
        element("h3", "Spool"),
        element("p", "it can't be read now", class_="bad")
        if report.queue is None
        else _spool(report, report.queue, pace),
        _health(report),
    )


def _policy(policy: PolicyReport) -> Html:
    """Which policy some streams follow, and what of it was left out."""
    name = f"Policy of {', '.join(policy.streams)}" if policy.streams else "Policy"
    if policy.hash is None:
        why = f": {policy.problem}" if policy.problem else ""
        return element(
            "p", f"{name}: there is none yet from {policy.source}{why}; nothing is collected.", class_="bad why"
        )
    if not policy.enabled:
        why = f'{name} ({policy.source}): nothing is collected, since it says "enabled": false.'
        return element("p", why, class_="warn why")
    origin = ", from the disk" if policy.from_disk else ""
    said = f"{name} ({policy.source}{origin}): {', '.join(policy.strategies) or 'it has no strategy'}."
    notes = [element("li", text) for text in (*policy.notes, *policy.left_out)]
    return joined(element("p", said, class_="why"), element("ul", notes, class_="why") if notes else None)


def _quota(report: StatusReport, zone: tzinfo) -> Html:
    quota = report.quota
    if quota is None:
        return element("p", "the quota can't be read now", class_="bad")
    granted = _GRANTERS.get(quota.granted_by, quota.granted_by) + (f": {quota.why}" if quota.why else "")
    waits = "1 datapoint waits" if quota.pending == 1 else f"{quota.pending} datapoints wait"
    pending = f"; {waits} for quota" if quota.pending else ""
    return joined(
        element("p", f"Quota: {granted}{pending}."),
        element("div", [_use(use, report, zone) for use in quota.used], class_="uses")
        if quota.used
        else element("p", "No strategy has a limit."),
    )


def _use(use: QuotaUse, report: StatusReport, zone: tzinfo) -> Html:
    share = min(1.0, use.used / use.limit) if use.limit else 1.0
    name = use.strategy + (f" ({use.project})" if use.project else "")
    bar = element(
        "span", element("span", style=f"width:{100 * share:.0f}%"), class_="bar full" if share >= 1 else "bar"
    )
    return element(
        "div",
        element("strong", name),
        element("span", f"{use.used} of {use.limit} in the {_WINDOWS[Window(use.window)]}", class_="number"),
        bar,
        element("small", _next(use, report, zone)),
        class_="use",
    )


def _next(use: QuotaUse, report: StatusReport, zone: tzinfo) -> str:
    window, now_s = Window(use.window), report.taken_at_s
    opened_s, closes_s = window_start(window, now_s, zone), window_end(window, now_s, zone)
    text = f"a new {_WINDOWS[window]} at {clock_text(closes_s, zone)}, in {duration_text(closes_s - now_s)}"
    if use.strategy not in report.held or window is Window.MINUTELY:
        return text
    if use.used >= use.limit:
        return text
    turn_s = opened_s + (use.used + 1) * (closes_s - opened_s) / use.limit  # see limits/turns.py
    return f"a turn is due; {text}" if turn_s <= now_s else f"a turn at {clock_text(turn_s, zone)}; {text}"


def _held(report: StatusReport) -> Html | None:
    held = [f"{number} by {name}" for name, number in report.held.items() if number]
    return element("p", f"Held until a turn is due: {', '.join(held)}.") if held else None


def _spool(report: StatusReport, queue: SpoolNumbers, pace: SpoolPace | None) -> Html:
    size = queue.size_bytes + queue.log_bytes
    share = min(1.0, size / queue.max_bytes) if queue.max_bytes else 0.0
    waiting = queue.ready + queue.registered
    oldest = "" if queue.oldest_at_s is None else duration_text(report.taken_at_s - queue.oldest_at_s)
    pairs: list[tuple[str, Html | str]] = [
        ("waiting", str(waiting)),
        ("being sent", str(queue.sending)),
        ("buried", str(queue.buried)),
        ("oldest", oldest),
        (
            "size",
            joined(
                f"{bytes_text(size)} of {bytes_text(queue.max_bytes)} ",
                element("span", element("span", style=f"width:{100 * share:.0f}%"), class_="bar"),
            ),
        ),
        ("at this pace", "" if pace is None else pace.text()),
    ]
    pairs += [(f"left: {name}", f"{number:,}") for name, number in queue.outcomes.items() if number]
    return element("dl", [joined(element("dt", name), element("dd", value)) for name, value in pairs if value])


def _health(report: StatusReport) -> Html:
    ill = [one for one in report.health if one.condition is not Condition.OK]
    if not ill:
        return element("p", element("span", "all parts are well", class_="good mark"))
    items = [
        element(
            "li",
            element(
                "span", str(one.condition), class_="bad mark" if one.condition is Condition.FAILED else "mark warn"
            ),
            f" {one.name}: {one.why}",
        )
        for one in ill
    ]
    return joined(element("h3", "Health"), element("ul", items))
