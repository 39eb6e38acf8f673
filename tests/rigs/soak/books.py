"""What each side says became of the frames: the spool's file, the platform, and the daemon's metrics."""

from __future__ import annotations

import http.client
import sqlite3
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import timezone
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from framesift.limits import Window, window_start
from rigs.platform import Platform, Received

ID_CHARACTERS = 8  # of a datapoint's id, in the name of its image


@dataclass(frozen=True, slots=True)
class SpoolBooks:
    """The spool at one moment.

    given: datapoints that ever were accepted. there: the state of each that is in it, by the beginning of its id. left:
    how many left, by outcome. charged: those that have quota or wait for it. used: how many the shared limits were
    charged for, by account, kind of window, and its begin. held: frames that wait for a turn. pending: for quota.
    """

    given: int
    there: Mapping[str, str]
    left: Mapping[str, int]
    charged: frozenset[str]
    used: Mapping[tuple[str, Window, int], int]
    held: int
    pending: int


def read_spool(path: Path) -> SpoolBooks:
    """Reads it in one transaction, beside a daemon that uses it."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, isolation_level=None, timeout=30.0)) as file:
        file.execute("BEGIN")
        (given,) = file.execute(
            "SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'datapoint'), 0)"
        ).fetchone()
        there = dict(file.execute("SELECT id, state FROM datapoint LEFT JOIN delivery USING (seq)").fetchall())
        left = dict(file.execute("SELECT exit, number FROM tally").fetchall())
        charges = file.execute("SELECT id, account, granted_by, shared_at_s FROM charge").fetchall()
        (held,) = file.execute("SELECT count(*) FROM held").fetchone()
        (pending,) = file.execute("SELECT count(*) FROM late").fetchone()
    used: Counter[tuple[str, Window, int]] = Counter()
    for _, account, granted_by, at_s in charges:
        if granted_by == "shared" and at_s is not None:
            for kind in (Window.MINUTELY, Window.HOURLY, Window.DAILY):
                used[account, kind, window_start(kind, at_s, timezone.utc)] += 1
    return SpoolBooks(
        given,
        {id[:ID_CHARACTERS]: state for id, state in there.items()},
        left,
        frozenset(id[:ID_CHARACTERS] for id, *_ in charges),
        used,
        held,
        pending,
    )


@dataclass(frozen=True, slots=True)
class PlatformBooks:
    """images: how often an image of each datapoint is at the platform. annotated: how often it has an annotation.
    uploads_a_minute: uploads that reached it (not those that it refused), by the minute since 1970."""

    images: Mapping[str, int]
    annotated: Mapping[str, int]
    uploads_a_minute: Mapping[int, int]


def read_platform(platform: Platform) -> PlatformBooks:
    """What it has, from earlier runs too; its requests are those of this run."""
    annotations = platform.annotations  # first: each of them is of an image that is there already
    images = platform.images
    datapoints = {image.id: image.name.removesuffix(".jpg").rpartition("_")[2] for image in images}
    return PlatformBooks(
        Counter(datapoints.values()),
        Counter(datapoints[annotation.image_id] for annotation in annotations),
        Counter(int(asked.at_s // 60) for asked in platform.asked("upload") if _did_store(asked)),
    )


def _did_store(asked: Received) -> bool:
    return "stored=True" in asked.ordered if asked.ordered else asked.status == 200


Metrics = Mapping[str, Mapping[tuple[tuple[str, str], ...], float]]


def read_metrics(address: str) -> Metrics:
    """The samples of /metrics by name and labels. Raises OSError."""
    connection = http.client.HTTPConnection(address, timeout=10)
    try:
        connection.request("GET", "/metrics")
        text = connection.getresponse().read().decode()
    except http.client.HTTPException as error:
        raise OSError(str(error)) from error
    finally:
        connection.close()
    found: dict[str, dict[tuple[tuple[str, str], ...], float]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, {})[tuple(sorted(sample.labels.items()))] = sample.value
    return found


def by_label(metrics: Metrics, name: str, label: str) -> dict[str, float]:
    """The sums of a metric, by one of its labels."""
    sums: Counter[str] = Counter()
    for labels, value in metrics.get(name, {}).items():
        sums[dict(labels)[label]] += value  # type: ignore[assignment]
    return dict(sums)


def total(values: Iterable[float]) -> int:
    return round(sum(values))
