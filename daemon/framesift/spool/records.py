"""The spool's types: its errors, the records it accepts and returns, and the states and outcomes of a datapoint."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from framesift.frame import RefusalReason
from framesift.limits import QuotaRefused

# Called with the name of a log event and its fields.
EventReporter = Callable[[str, dict[str, object]], None]


class SpoolFull(Exception):
    """There is no room for this datapoint: `max_bytes` or `min_free_bytes` is reached, or the disk is full.

    only_this: others may have room: this one is too large, or its score too low. size_bytes, rank: of the datapoint.
    """

    def __init__(self, why: str, *, only_this: bool = False, size_bytes: int = 0, rank: float = 0.0) -> None:
        """why: for the operator."""
        super().__init__(why)
        self.only_this = only_this
        self.size_bytes = size_bytes
        self.rank = rank


class SpoolBroken(Exception):
    """The spool could not be written or read: the disk failed, or the data are damaged."""


class SpoolUnavailable(SpoolBroken):
    """The spool can't be read at this moment. Its content may be intact; try again later."""


class SpoolInUse(Exception):
    """Another process has this spool open."""


class SpoolTooNew(Exception):
    """A newer version of the program wrote this spool. The file was not changed."""


class SpoolUnusable(Exception):
    """This user may not read and write the file, or the file is no spool."""


class State(str, Enum):
    """The state of a datapoint in the spool. The package's docstring shows the transitions."""

    READY = "ready"
    SENDING = "sending"
    REGISTERED = "registered"
    BURIED = "buried"

    def __str__(self) -> str:
        return self.value


class FinalOutcome(str, Enum):
    """The reason why a datapoint left the spool."""

    DELIVERED = "delivered"
    DUPLICATE = "duplicate"  # the sink already had this image, from somebody else
    BURIED = "buried"  # it was on a damaged page and could not be saved
    EVICTED = "evicted"  # it made room for another one when the spool was full
    LIMIT = "limit"  # its pending quota was refused
    DROPPED = "dropped"  # by an operator

    def __str__(self) -> str:
        return self.value


class WhenFull(str, Enum):
    """What happens when the spool is full. No score counts as 0; of equal scores the oldest is evicted first."""

    EVICT_LOWEST = "evict_lowest"
    EVICT_OLDEST = "evict_oldest"
    REFUSE = "refuse"

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True, slots=True)
class Accepted:
    """The datapoint is committed and survives a power cut. strategy: the one whose quota was charged."""

    id: str
    strategy: str


@dataclass(frozen=True, slots=True)
class NotAccepted:
    """The datapoint was not stored, because no strategy had quota for it."""

    refusal: RefusalReason


def refusal_reason(refused: QuotaRefused) -> RefusalReason:
    """Under which reason a frame is counted that got no quota."""
    if refused.batch_full:
        return RefusalReason.BATCH_FULL
    return RefusalReason.OUTSCORED if refused.no_turn else RefusalReason.LIMIT


@dataclass(frozen=True, slots=True)
class ClaimedDatapoint:
    """A datapoint that a worker has claimed for delivery, without its JPEG.

    captured_at_s: Unix time of the capture. score: None if the strategy gives no score. project: one of the sink's
    projects, None for the sink's own. prediction: JSON in the wire format, coordinates in pixels of the JPEG.
    extra: JSON of its PictureFacts.
    width, height: pixels of the JPEG. size_bytes: size of the JPEG.
    attempts: attempts that count towards burial, with this one. tried: how many attempts may have reached the sink,
    with this one; 1 means that the sink can't know this id yet. refusals: how often the sink has refused it before.
    image_id: the sink's id of the image, if the image is registered and only the prediction is missing.
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
    extra: str
    attempts: int
    tried: int
    refusals: int
    image_id: str | None


@dataclass(frozen=True, slots=True)
class Claim:
    """The result of a claim.

    wait_until_s: Unix time at which more may be claimed (a window of the sink's limits opens, or a retry is due); None
    if nothing waits for a time. It has a meaning only if fewer items were returned than requested.
    """

    items: tuple[ClaimedDatapoint, ...]
    wait_until_s: float | None


@dataclass(frozen=True, slots=True)
class SpoolCounts:
    """How many datapoints are in each state, and how much space they use.

    waiting_for_retry: those of ready and registered whose retry time has not come. pending_quota: those of ready that
    wait for quota. live_bytes: pages in use. wal_bytes: size of the write-ahead log. max_bytes: the limit for the sum
    of these two. oldest_at_s: when the oldest one that is not buried was accepted, None if there is none.
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
    oldest_at_s: float | None = None


@dataclass(frozen=True, slots=True)
class RowInfo:
    """A row of the spool for an operator. `framesift spool` prints the fields under these names.

    captured_at, accepted_at, next_at: Unix times; next_at: the next retry, None if it waits for none. why: why it is
    buried or waits.
    """

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
    """Whether the spool works.

    problem: what it can't do at this moment, None if it works. fatal: it will not recover by itself. refuses_all: it
    accepts no datapoint at this moment.
    """

    problem: str | None
    fatal: bool = False
    refuses_all: bool = False
