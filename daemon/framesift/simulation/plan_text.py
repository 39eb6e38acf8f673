"""The comment of a plan: a page in Markdown on why each number is what it is, and how sure that is."""

from __future__ import annotations

import math

from framesift.simulation.plan import Plan

_LISTED = 20


def plan_text(plan: Plan, *, budget: int, footage: str, policy_name: str) -> str:
    """The page. footage: what was looked at, in words. policy_name: of the policy's file."""
    seen, outcome = plan.seen, plan.outcome
    reasons = "\n".join(f"| {number} | {why} |" for number, why in plan.reasons)
    classes = ", ".join(f"{name} {count:,}" for name, count in seen.classes.most_common(_LISTED)) or "none"
    days = max(seen.days, 1e-9)
    covered = f"{len(outcome.hours.collected)} of {len(outcome.hours.seen)}"
    tried = f"{outcome.images} images, {outcome.images / days / budget:.0%} of the budget; hours covered: {covered}"
    if seen.days < 0.8:
        tried = f"{outcome.images} images in {24 * seen.days:.1f} hours; hours covered: {covered}"
    return f"""# Why {policy_name} is as it is

A budget of {budget} images a day, planned by `framesift plan` from {footage}.

## What was seen

- {seen.frames:,} frames of {_number(seen.streams, "stream")}, {24 * seen.days:.1f} hours
- something in {seen.with_something:,} of them
- objects or labels: {seen.objects:,}; frames with each class: {classes}
- scenes in which the model is unsure: {len(seen.scenes):,}; hours in which something was seen: {seen.active_hours}

## Why each number

| number | why |
|---|---|
{reasons}

On this footage the policy collects {tried}.

## How sure it is

{_how_sure(plan)}
"""


def _how_sure(plan: Plan) -> str:
    seen = plan.seen
    lines = []
    if seen.days < 0.8:
        lines.append("The footage is shorter than a day. How much there is at other hours nobody has seen.")
    elif seen.days < 2:
        lines.append("This is one day. Another one may have more or less: plan again once there are several.")
    else:
        lines.append(f"The footage has {seen.days:.1f} days; weekdays and weather that are not among them may differ.")
    if seen.has_model:
        # Counts of independent scenes scatter as a Poisson distribution does: 95 % within two standard deviations.
        spread = 2 / math.sqrt(max(1, len(seen.scenes)))
        lines.append(f"{len(seen.scenes):,} scenes say how many a day has to within {spread:.0%} or so.")
        if len(seen.scenes) < 50:
            lines.append("That is few: treat the score as a first guess.")
        lines.append("A new model is unsure of other things: plan again when the model changes.")
    else:
        lines.append("Without a model, nothing says which frames are worth a label: plan again when there is one.")
    return "\n".join(f"- {line}" for line in lines)


def _number(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"
