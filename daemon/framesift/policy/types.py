"""What the sources of policies and those who ask them say to each other."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any, Protocol

from framesift.policy.policy import Policy


class PolicyUnavailable(Exception):
    """The source gave no policy, which says nothing of the policy: the last good one stays.

    str(error) is a sentence for the operator, without secrets. retry_after_s: how long the source asks to be left
    alone, if it does.
    """

    def __init__(self, why: str, retry_after_s: float | None = None) -> None:
        super().__init__(why)
        self.retry_after_s = retry_after_s


@dataclass(frozen=True, slots=True)
class SourceAnswer:
    """A source's answer: the policy, what it was read from (JSON data; None for a file), and what to say of it.

    left_out, notes: sentences for the operator. workspace, project: where datapoints go; None: as the sink says.
    lacking: the source has no policy for us; that nothing is collected is all that `policy` says then.
    """

    policy: Policy
    document: dict[str, Any] | None
    left_out: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    workspace: str | None = None
    project: str | None = None
    has_no_policy: bool = False


class PolicySource(Protocol):
    """One place where a policy comes from. told: what messages call it, without secrets. name: in a word or two.

    identity: a text that tells it from all others, without secrets.
    """

    display_name: str
    short_name: str
    identity: str

    def fetch(self, within_s: float) -> SourceAnswer:
        """Raises PolicyUnavailable where there was no answer, ConfigError where what came is no policy."""


@dataclass(frozen=True, slots=True)
class CurrentPolicy:
    """The policy that holds. source: where it comes from, without secrets. hash: `policy.digest`.

    fetched_at_s: Unix time of the last answer that said so, None for a file. left_out: what its document says beyond
    what we know. notes: what the operator should know of it. workspace, project: where datapoints go, None where only
    the sink knows. from_disk: the source has not answered since the start; this is what it said before. lacking: as
    in Got.
    """

    policy: Policy
    hash: str
    source: str
    fetched_at_s: float | None = None
    left_out: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    workspace: str | None = None
    project: str | None = None
    from_disk: bool = False
    has_no_policy: bool = False


@dataclass(frozen=True, slots=True)
class ProjectPair:
    """Whose policy holds for what a client's model has seen: that of `project`, where the pictures go, as long as it
    suits a model that was trained on the project `trained_on`, which most often is the same.
    """

    project: str
    trained_on: str


class NoPolicyReason(str, Enum):
    """Why no policy holds for a pairing."""

    REQUESTED = "asked"  # its source was asked, and has not answered yet
    UNAVAILABLE = "away"  # its source can't be asked now
    NONE = "none"  # there is none, or not for such a model
    TOO_MANY = "too many"  # others have come first

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True, slots=True)
class PolicySourceStatus:
    """One source and what holds of it. streams: those that have it as their own; none: it is that of all the others, or
    of a pairing.

    standing: None while there is no policy yet. trouble: why the source's last answer was no good, None if it was.
    """

    source: str
    scope: str
    streams: tuple[str, ...]
    current: CurrentPolicy | None
    problem: str | None
    project_pair: ProjectPair | None = None


class PolicyEventKind(str, Enum):
    CHANGED = "changed"  # another policy holds
    REJECTED = "refused"  # what the source says is no policy, or not one for this run: the old one stays
    UNAVAILABLE = "unavailable"  # the source says nothing: the old one stays
    RECOVERED = "recovered"  # the source says something sensible again
    NOT_CACHED = "not_kept"  # the disk does not take, or does not give back, the policy for a start without network

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True, slots=True)
class PolicyEvent:
    """Something happened to a source. why: in a sentence, "" where there is none. standing: what holds now."""

    kind: PolicyEventKind
    source: str
    streams: tuple[str, ...]
    why: str
    current: CurrentPolicy | None
    project_pair: ProjectPair | None = None
