"""explain: the lines of a decision record in words, for a person.

Everything that is said stands in the lines; nothing is looked up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

Line = Mapping[str, Any]

# What each reason means, in words; "no_match" has the strategies below it.
_REASONS = {
    "disabled": "the policy says enabled: false",
    "paused": "an operator has paused the stream",
    "model_failed": "the model gave no prediction",
    "no_match": "no strategy wanted it",
    "near_duplicate": "it looks like a picture that is there already",
    "outscored": "the turns are kept for better frames",
    "min_interval": "it came too soon after the last one",
    "limit": "the limits are reached",
    "batch_full": "the labelling batch is full",
    "unencodable": "it could not be encoded as a JPEG",
    "unmasked": "it could not be masked as the privacy settings demand",
    "spool_full": "the spool has no room",
    "spool_broken": "the spool's disk failed",
}
# Why a frame that was held got no turn after all; the record tells these cases by one reason.
_NO_TURN = "it got no turn: a better frame took its place, none was due in time, or the policy changed"
_NOT_DRAWN = (
    "it got no turn: another frame of its interval was drawn in its place, its turn was gone, or the policy changed"
)
PICTURE_GONE = "its picture is not on this machine any more"
_WINDOWS = {"minutely": "minute", "hourly": "hour", "daily": "day"}
_NEEDS = {"<": "less than", ">": "more than", ">=": "at least"}


def explain(line: Line, outcomes: Iterable[Line], time_of: Callable[[float], str]) -> Iterator[str]:
    """Yields what was decided on one frame, line by line.

    line: of the type decision. outcomes: what became of the frame later, the oldest first. time_of: Unix time as text.
    """
    place = f"{line['stream']}, frame {line['frame']}"
    if "media_s" in line:
        place += f", {line['media_s']:.3f} s into the file"
    yield f"{place}, captured {time_of(line['at'])}" + (f", id {line['id']}" if line.get("id") else "")
    yield _ended(line)
    if line.get("chosen_id"):
        yield f"collected beside {line['chosen_id']}, as its neighbour"
    for outcome in outcomes:
        yield f"{time_of(outcome['at'])}: {_ended_later(outcome, line)}"
    yield _shown(line)
    for text in strategy_texts(line):
        yield f"  {text}"
    for strategy, windows in line.get("quota", {}).items():
        used = ", ".join(
            f"{count} of {limit} in the {_WINDOWS.get(window, window)}" for window, (count, limit) in windows.items()
        )
        yield f"  {strategy} had used {used}"


def strategy_texts(line: Line) -> list[str]:
    """What each strategy made of a frame, in words. line: of the type decision."""
    return [_result(result) for result in line.get("strategies", ())]


def explain_counts(line: Line, time_of: Callable[[float], str]) -> Iterator[str]:
    """Yields what was counted on one stream in about a second. line: of the type counts."""
    yield f"{line['stream']}, {time_of(line['from'])} to {time_of(line['to'])}"
    for key, text in (("accepted", "accepted for"), ("matched", "wanted by")):
        for name, count in line.get(key, {}).items():
            yield f"  {count} {text} {name}"
    for reason, count in line.get("refused", {}).items():
        yield f"  {count} refused: {reason_text(reason)}"
    for name, best in line.get("best", {}).items():
        yield f"  best of {name}: {_measured(best)}"


def explain_down(line: Line, time_of: Callable[[float], str]) -> str:
    """When no daemon ran, and so nothing was decided on any stream. line: of the type down."""
    return f"framesift did not run from {time_of(line['from'])} to {time_of(line['to'])}: no frame was read"


def explain_stop(line: Line, time_of: Callable[[float], str]) -> str:
    """Why nothing was decided after a moment. line: of the type stop."""
    return f"framesift was stopped at {time_of(line['at'])}: no frame was read until it was started again"


def reason_text(reason: str) -> str:
    """A reason of refusals in words, with its name."""
    text = _REASONS.get(reason)
    return reason if text is None else f"{text} ({reason})"


def missing_picture(line: Line, outcomes: Iterable[Line]) -> str:
    """Why the picture of a frame is found nowhere on this machine. The lines are as for `explain`."""
    ended = [line, *outcomes][-1]["outcome"]
    if ended == "refused":
        return "it was refused, and so its picture was thrown away"
    if ended in ("held", "waits"):
        return "it is no datapoint yet, and so its picture is not shown"
    return PICTURE_GONE


def similar_ids(line: Line) -> tuple[str, ...]:
    """The datapoints that a frame looks like, by the strategies that compared it."""
    found = (result.get("similar", {}).get("id") for result in line.get("strategies", ()))
    return tuple(dict.fromkeys(id for id in found if id))


def _ended(line: Line) -> str:
    outcome = line["outcome"]
    if outcome == "accepted":
        return f"accepted for {line.get('strategy', '?')}"
    if outcome == "held":
        return f"held by {line.get('strategy', '?')} until a turn is due"
    if outcome == "waits":
        return "it had quota, and waited for what its picture needed"
    return f"refused: {reason_text(line.get('reason', '?'))}"


def _ended_later(outcome: Line, line: Line) -> str:
    """What became of a frame that was held or waited. line: of the type decision, of the same frame."""
    if outcome.get("reason") != "outscored":
        return _ended(outcome)
    if line.get("strategy") == "baseline":  # it draws by chance: no frame is better for it
        return f"refused: {_NOT_DRAWN} (outscored)"
    return f"refused: {_NO_TURN} (outscored)" if line["outcome"] == "held" else _ended(outcome)


def _shown(line: Line) -> str:
    classes = ", ".join(f"{name} {count}" for name, count in line.get("classes", {}).items())
    if not classes:
        return "the model saw nothing"
    low, high = line.get("confidence", (None, None))
    return f"the model saw {classes}" + (f"; confidence {low:.3g} to {high:.3g}" if low is not None else "")


def _result(result: Line) -> str:
    verdict = "wanted it" if result["matched"] else "did not want it"
    if result.get("excluded") or result.get("similar"):
        verdict = "would have wanted it, but may not take it"
    parts = [_measured(result)] if "what" in result else []
    if "score" in result:
        parts.append(f"score {result['score']:.4g}")
    if result.get("excluded"):
        parts.append(f"excluded: {result['excluded']}")
    if similar := result.get("similar"):
        like = similar["id"] or "a known picture"
        parts.append(
            f"looks like {like} (distance {similar['distance']:.4g}; up to {similar['threshold']:.4g} is alike)"
        )
    return f"{result['name']} {verdict}" + (f": {'; '.join(parts)}" if parts else "")


def _measured(measured: Line) -> str:
    needs = _NEEDS[measured["relation"]]
    text = f"{measured['what']} {measured['value']:.4g}, needs {needs} {measured['bound']:g}"
    if measured.get("probability", 1) < 1:
        text += f"; drew {measured['draw']:.4g}, needs less than {measured['probability']:g}"
    return text
