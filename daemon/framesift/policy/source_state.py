"""SourceState: one source of policies, with its current policy and what happened when it was asked."""

from __future__ import annotations

from dataclasses import dataclass

from framesift.config.errors import ConfigError
from framesift.policy.policy import digest
from framesift.policy.sources import DisabledSource, FileSource
from framesift.policy.types import (
    CurrentPolicy,
    PolicySource,
    PolicySourceStatus,
    PolicyUnavailable,
    ProjectPair,
    SourceAnswer,
)


@dataclass(slots=True, eq=False)
class SourceState:
    """One source and what is known of it.

    scope: the name under which its limits are counted. streams: those with this source as their own. project_pair: the
    models that it is for, None for the sources of the settings. problem: why its last answer could not be used.
    cache_problem: why its policy could not be saved. failures: fetches in a row without an answer. due_at_s: when it is
    fetched next (monotonic). refresh_requested: a reload asked for it.
    """

    source: PolicySource
    scope: str
    streams: tuple[str, ...]
    project_pair: ProjectPair | None = None
    current: CurrentPolicy | None = None
    problem: str | None = None
    cache_problem: str | None = None
    cached_at_s: float | None = None
    failures: int = 0
    due_at_s: float = 0.0
    refresh_requested: bool = False

    @property
    def is_local(self) -> bool:
        """Whether it is read without network."""
        return isinstance(self.source, FileSource | DisabledSource)

    @property
    def is_finished(self) -> bool:
        """Whether it is not fetched again: it had no policy for models that a client named, and clients name any."""
        return self.project_pair is not None and self.current is not None and self.current.has_no_policy

    @property
    def status(self) -> PolicySourceStatus:
        """What others may know of it."""
        return PolicySourceStatus(
            self.source.display_name, self.scope, self.streams, self.current, self.problem, self.project_pair
        )

    def fetch(self, within_s: float) -> SourceAnswer | PolicyUnavailable | ConfigError:
        """The source's answer, or the error instead of raising it."""
        try:
            return self.source.fetch(within_s)
        except (PolicyUnavailable, ConfigError) as error:
            return error


def current_policy_from(source: PolicySource, answer: SourceAnswer, fetched_at_s: float | None) -> CurrentPolicy:
    """The current policy that an answer makes. fetched_at_s: Unix time, None for a file."""
    return CurrentPolicy(
        answer.policy,
        digest(answer.policy),
        source.display_name,
        fetched_at_s,
        answer.left_out,
        answer.notes,
        answer.workspace,
        answer.project,
        has_no_policy=answer.has_no_policy,
    )


def policy_content(current: CurrentPolicy) -> tuple[object, ...]:
    """What must differ for an event "changed"."""
    return (
        current.hash,
        current.left_out,
        current.notes,
        current.workspace,
        current.project,
        current.has_no_policy,
    )
