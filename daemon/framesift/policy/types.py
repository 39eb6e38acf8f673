"""Types that the sources of policies and their users exchange."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any, Protocol

from framesift.policy.policy import Policy


class PolicyUnavailable(Exception):
    """A source did not answer. The current policy stays.

    str(error) is a sentence for the operator, without secrets. retry_after_s: when to ask again at the earliest, unless
    a reload asks for it; None if nothing is known.
    """

    def __init__(self, why: str, retry_after_s: float | None = None) -> None:
        """why: the sentence."""
        super().__init__(why)
        self.retry_after_s = retry_after_s


@dataclass(frozen=True, slots=True)
class SourceAnswer:
    """What a source answered.

    document: the JSON data from which the policy was read, None for a file. left_out: sentences on what is not known
    and was left out. notes: other sentences for the operator. workspace, project: where datapoints go, None for the
    sink's own. has_no_policy: the source has no policy for this model; then `policy` is a disabled one.
    """

    policy: Policy
    document: dict[str, Any] | None
    left_out: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    workspace: str | None = None
    project: str | None = None
    has_no_policy: bool = False


class PolicySource(Protocol):
    """One place from which a policy comes.

    display_name: for messages, without secrets. short_name: one or two words. identity: a text that differs from that
    of all other sources, without secrets.
    """

    display_name: str
    short_name: str
    identity: str

    def fetch(self, within_s: float) -> SourceAnswer:
        """The policy, now. Raises PolicyUnavailable without an answer, ConfigError where the answer is no policy."""


@dataclass(frozen=True, slots=True)
class CurrentPolicy:
    """The current policy of a source.

    hash: `policy.digest`. source: where it comes from, without secrets. fetched_at_s: Unix time of the last answer,
    None for a file. from_disk: the source has not answered since the start; this is its last answer, from the cache.
    The other fields are as in SourceAnswer.
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
    """The two projects that decide which policy applies to the images of a client's model.

    project: where the images go; its policy applies. trained_on: the project on which the model was trained, most often
    the same; its type must suit that of `project`.
    """

    project: str
    trained_on: str


class NoPolicyReason(str, Enum):
    """Why a project pair has no policy."""

    REQUESTED = "asked"  # its source has not answered yet
    UNAVAILABLE = "away"  # its source can't be reached now
    NONE = "none"  # the project has none, or none for such a model
    TOO_MANY = "too many"  # the most pairs are registered already

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True, slots=True)
class PolicySourceStatus:
    """One source and its current policy.

    scope: the name under which its limits are counted. streams: those that have it as their own; empty for the common
    source and for project pairs. current: None while there is no policy yet. problem: why the last answer could not be
    used, None if it could.
    """

    source: str
    scope: str
    streams: tuple[str, ...]
    current: CurrentPolicy | None
    problem: str | None
    project_pair: ProjectPair | None = None


class PolicyEventKind(str, Enum):
    """What happened to a source."""

    CHANGED = "changed"  # it has another current policy
    REJECTED = "refused"  # its answer is no policy, or not one for this run; the current policy stays
    UNAVAILABLE = "unavailable"  # it did not answer; the current policy stays
    RECOVERED = "recovered"  # it answers with a valid policy again
    NOT_CACHED = "not_kept"  # the policy could not be saved for a start without network, or not be read again

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True, slots=True)
class PolicyEvent:
    """Something happened to a source. why: a sentence, "" where there is none. current: its policy now."""

    kind: PolicyEventKind
    source: str
    streams: tuple[str, ...]
    why: str
    current: CurrentPolicy | None
    project_pair: ProjectPair | None = None
