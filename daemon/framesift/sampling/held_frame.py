"""HeldFrame: what is kept of a frame that waits for its turn, in memory and as a row of the spool."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from framesift.datapoint import Candidate, Datapoint, PictureFacts, PictureSource
from framesift.limits import Quota
from framesift.prediction.prediction import Task
from framesift.prediction.wire_format import parse_prediction, to_wire
from framesift.sampling.hold_queue import HeldCandidate
from framesift.sampling.likeness import Likeness
from framesift.spool import AcceptedSignature, HeldContent, HeldRow
from framesift.strategies.near_duplicate import RememberedFrame


class HeldFrameGone(Exception):
    """A stored frame is no longer there: its room was needed, it was removed by hand, or it is damaged."""


@dataclass(frozen=True, slots=True)
class BaselineDraw:
    """A frame that the baseline has drawn, whatever the strategies do with it: they count it as they decide.

    weight: how many frames it stands for; None while that is not known.
    """

    weight: int | None = None


@dataclass(frozen=True, slots=True, eq=False)
class HeldFrame:
    """A frame that waits for its turn.

    stream, memory: under which its stream remembers accepted frames, see CollectionOrigin.
    candidate, quota: of the strategy that holds it, as when it was held; its limits may be others at its turn.
    signature: under which it is remembered once it is accepted, None where it isn't. make: makes its datapoint, or
    reads it; raises Unmasked, JpegEncodingError, HeldFrameGone or SpoolBroken. baseline: of what it drew.
    """

    stream: str
    memory: str
    candidate: Candidate
    quota: Quota
    signature: AcceptedSignature | None
    make: Callable[[], Datapoint]
    baseline: BaselineDraw | None = None


def to_row(held: HeldCandidate[HeldFrame], datapoint: Datapoint) -> tuple[HeldRow, HeldContent]:
    """What is stored of a frame. datapoint: that it would become."""
    candidate, quota, signature = held.content.candidate, held.content.quota, held.content.signature
    likeness, baseline = held.likeness, held.content.baseline
    facts = {
        "device": datapoint.device,
        "frame": datapoint.frame_number,
        "task": datapoint.prediction.task.value,
        "width": datapoint.width,
        "height": datapoint.height,
        "picture": json.loads(datapoint.facts.to_json()),
        "strategy": candidate.strategy,
        "score": candidate.score,
        "tags": candidate.tags,
        "batch": candidate.batch,
        "annotate": candidate.with_prediction,
        "target": candidate.project,
        "batch_key": quota.batch,
        "scope": quota.scope,
        "project": quota.project,
        "baseline": None if baseline is None else [None, baseline.weight],
        "memory": held.content.memory,
        "thresholds": None if signature is None else [signature.threshold, signature.embedding_threshold],
        "alike": None if likeness is None else [likeness.kind, likeness.limit, likeness.stream],
    }
    prediction = json.dumps(to_wire(datapoint.prediction), allow_nan=False, separators=(",", ":"))
    row = HeldRow(
        id=held.id,
        stream=datapoint.stream,
        strategy=quota.account,
        score=held.score,
        captured=held.captured,
        facts=json.dumps(facts),
        signature=None if signature is None else signature.content,
    )
    return row, HeldContent(prediction, datapoint.jpeg)


def from_row(row: HeldRow, read: Callable[[str], HeldContent | None]) -> HeldCandidate[HeldFrame]:
    """The frame of a stored row. read: returns its content by its id.

    Raises ValueError for a row of another version.
    """
    try:
        facts: dict[str, Any] = json.loads(row.facts)
        candidate = Candidate(
            strategy=facts["strategy"],
            score=facts["score"],
            tags=tuple(facts["tags"]),
            batch=facts["batch"],
            with_prediction=facts["annotate"],
            project=facts["target"],
            is_evictable=facts["baseline"] is None,
        )
        quota = Quota(candidate.strategy, (), facts["batch_key"], scope=facts["scope"], project=facts["project"])
        signature = likeness = None
        if row.signature is not None:
            signature = AcceptedSignature(row.stream, facts["memory"], row.signature, *facts["thresholds"])
            frame = RememberedFrame.from_bytes(row.id, row.signature)
            if frame is not None and facts["alike"] is not None:
                likeness = Likeness(frame, *facts["alike"])
        baseline = None
        if facts["baseline"] is not None:
            _, weight = facts["baseline"]  # versions before had a reason here, under which they counted it
            baseline = BaselineDraw(weight)
        picture = dict(facts["picture"])
        if picture.get("source") is not None:
            picture["source"] = PictureSource(picture["source"])
        picture_facts = PictureFacts(**picture)
        width, height, device, number = (facts[key] for key in ("width", "height", "device", "frame"))
        task = Task(facts["task"])
    except (LookupError, TypeError, AttributeError, ValueError) as error:
        raise ValueError(f"{row.id}: {type(error).__name__}: {error}") from None

    def make() -> Datapoint:
        content = read(row.id)
        if content is None:
            raise HeldFrameGone
        return Datapoint(
            id=row.id,
            device=device,
            stream=row.stream,
            frame_number=number,
            captured=row.captured,
            width=width,
            height=height,
            jpeg=content.jpeg,
            prediction=parse_prediction(json.loads(content.prediction), width=width, height=height, task=task),
            facts=picture_facts,
        )

    held = HeldFrame(row.stream, facts["memory"], candidate, quota, signature, make, baseline)
    return HeldCandidate(row.id, row.score, row.captured, likeness, held, is_stored=True)
