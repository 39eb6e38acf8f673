"""The comment of a plan: a page in Markdown on why each number is what it is, and how sure that is."""

from __future__ import annotations

import math

from framesift.simulation.facts import LABELLED_CONFIDENCE
from framesift.simulation.plan import WHOLE_DAY, Plan
from framesift.simulation.survey import Survey

_LISTED = 20


def plan_text(plan: Plan, *, budget: int, footage: str, policy_name: str) -> str:
    """The page. footage: what was looked at, in words. policy_name: of the policy's file."""
    seen, outcome = plan.seen, plan.outcome
    reasons = "\n".join(f"| {number} | {why} |" for number, why in plan.reasons)
    covered = f"{len(outcome.hours.collected)} of {len(outcome.hours.seen)}"
    return f"""# Why {policy_name} is as it is

A budget of {budget} images a day, planned by `framesift plan` from {footage}.

## What was seen

- {_number(seen.frames, "frame")} of {_number(seen.streams, "stream")}, {24 * seen.days:.1f} hours
{_seen_by_model(seen)}

## Why each number

| number | why |
|---|---|
{reasons}

On this footage the policy collects {spent_words(plan, budget)}; hours covered: {covered}.

## How sure it is

{_how_sure(plan)}
"""


def spent_words(plan: Plan, budget: int) -> str:
    """How many images the policy collects on the footage. budget: images a day."""
    hours = 24 * plan.seen.days
    length = f"{hours:.1f} hours" if plan.seen.days < WHOLE_DAY else f"{plan.seen.days:.1f} days"
    return f"{_number(plan.outcome.images, 'image')} in {length}; the budget is {budget} a day"


def _seen_by_model(seen: Survey) -> str:
    if not seen.has_model:
        return "- there is no model: nothing says what they show"
    classes = ", ".join(f"{name} {count:,}" for name, count in seen.classes.most_common(_LISTED)) or "none"
    return (
        f"- something in {seen.with_something:,} of them, in {_number(seen.active_hours, 'hour')}\n"
        f"- labels, or objects of a confidence of {LABELLED_CONFIDENCE:g} or more: {seen.objects:,}\n"
        f"- frames with each class: {classes}\n"
        f"- scenes in which the model is unsure: {len(seen.scenes):,}"
    )


def _how_sure(plan: Plan) -> str:
    seen = plan.seen
    lines = []
    if seen.days < WHOLE_DAY:
        lines.append("The footage is shorter than a day. How much there is at other hours nobody has seen.")
    elif seen.days < 2:
        lines.append("This is one day. Another one may have more or less: plan again once there are several.")
    else:
        lines.append(f"The footage has {seen.days:.1f} days; weekdays and weather that are not among them may differ.")
    if seen.has_model:
        # Counts of independent scenes scatter as a Poisson distribution does: 95 % within two standard deviations.
        scenes = _number(len(seen.scenes), "scene")
        if len(seen.scenes) < 50:
            lines.append(f"{scenes}: that is few, so treat the numbers as a first guess.")
        else:
            lines.append(f"{scenes} say how many a day has to within {2 / math.sqrt(len(seen.scenes)):.0%} or so.")
        lines.append("A new model is unsure of other things: plan again when the model changes.")
    else:
        lines.append("Without a model, nothing says which frames are worth a label: plan again when there is one.")
    return "\n".join(f"- {line}" for line in lines)


def _number(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"
