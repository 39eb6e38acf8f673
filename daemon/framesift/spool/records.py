"""The spool's words: what it takes in, what it hands out, and by which exit a datapoint leaves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from framesift.frame import RefusalReason

# Told what happened and the fields that say it, for the log.
EventReporter = Callable[[str, dict[str, object]], None]


class SpoolFull(Exception):
    """There is no room for this datapoint: `max_bytes` or `min_free_bytes` is reached, or the disk is full."""


class SpoolBroken(Exception):
    """The disk could not take it, or give it back."""


class SpoolUnavailable(SpoolBroken):
    """Nothing of it can be read at this moment; nothing is known to be wrong with what lies there."""


class SpoolInUse(Exception):
    """Another process has this spool open."""


class SpoolTooNew(Exception):
    """A newer version of the program wrote this spool; it was not touched."""


class SpoolUnusable(Exception):
    """This user may not read and write there, or what lies there is no spool."""


class State(str, Enum):
    """Where a datapoint stands. See the drawing in the package's docstring."""

    READY = "ready"
    SENDING = "sending"
    REGISTERED = "registered"
    BURIED = "buried"

    def __str__(self) -> str:
        return self.value


class FinalOutcome(str, Enum):
    """How a datapoint left the spool."""

    DELIVERED = "delivered"
    DUPLICATE = "duplicate"  # somebody else's image was there already
    BURIED = "buried"  # it lay on a damaged page and could not be saved
    EVICTED = "evicted"  # it gave way to another when the spool was full
    LIMIT = "limit"  # its late credit was refused
    DROPPED = "dropped"  # by hand

    def __str__(self) -> str:
        return self.value


class WhenFull(str, Enum):
    """Who gives way when the spool is full. No score counts as 0; of equal scores the oldest goes first."""

    EVICT_LOWEST = "evict_lowest"
    EVICT_OLDEST = "evict_oldest"
    REFUSE = "refuse"

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True, slots=True)
class Accepted:
    """Committed: it is there after a power cut. strategy: whose credit it holds."""

    id: str
    strategy: str


@dataclass(frozen=True, slots=True)
class NotAccepted:
    """Not accepted, because no strategy had a credit for it."""

    refusal: RefusalReason


@dataclass(frozen=True, slots=True)
class ClaimedDatapoint:
    """A datapoint as a worker claims it, without its JPEG.

    captured_at: Unix time of the capture. score: None where the strategy only matches. prediction: JSON in the wire
    format, in the JPEG's pixels. size_bytes: the JPEG's. attempts: those that count towards burial, this one included.
    tried: how often it may have reached the sink, this time included: 1 means that nobody there can know its id yet.
    refusals: how often the sink refused it before.
    image_id: the sink's own id, once the sink has registered the image and only the prediction is missing.
    project: of the sink's several, None for its own.
    """

    id: str
    device: str
    stream: str
    frame: int
    captured_at_s: float
    strategy: str
    score: float | None
    tags: tuple[str, ...]
    project: str | None
    batch: str
    annotate: bool
    width: int
    height: int
    size_bytes: int
    prediction: str
    attempts: int
    tried: int
    refusals: int
    image_id: str | None


@dataclass(frozen=True, slots=True)
class Claim:
    """wait_until_s: Unix time at which there may be more to claim (a sink's window opens, or a retry is due), None
    where nothing waits for a time. Only meaningful when fewer items came than were asked for.
    """

    items: tuple[ClaimedDatapoint, ...]
    wait_until_s: float | None


@dataclass(frozen=True, slots=True)
class SpoolCounts:
    """How many datapoints are in each state, and the space in bytes.

    waiting: those of ready and registered that wait for a date. uncredited: those of ready that wait for a credit.
    live_bytes: pages in use; wal_bytes: the write-ahead
    log. max_bytes: what these two stay under.
    """

    ready: int
    sending: int
    registered: int
    buried: int
    waiting_for_retry: int
    pending_quota: int
    live_bytes: int
    wal_bytes: int
    max_bytes: int


@dataclass(frozen=True, slots=True)
class RowInfo:
    """A row for people who look into the spool."""

    id: str
    state: State
    device: str
    stream: str
    frame: int
    captured_at: float
    accepted_at: float
    strategy: str
    score: float | None
    tags: tuple[str, ...]
    project: str | None
    batch: str
    width: int
    height: int
    size_bytes: int
    attempts: int
    next_at: float | None
    image_id: str | None
    why: str | None


@dataclass(frozen=True, slots=True)
class SpoolHealth:
    """problem: why the spool can't do all that it should, None when it can. fatal: it won't recover by itself."""

    problem: str | None
    fatal: bool = False
