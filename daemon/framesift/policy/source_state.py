"""Slots: one for each source of policies, with what is known of it."""

from __future__ import annotations

from dataclasses import dataclass

from framesift.config.errors import ConfigError
from framesift.policy.policy import digest
from framesift.policy.sources import DisabledSource, FileSource
from framesift.policy.types import CurrentPolicy, PolicySource, PolicyUnavailable, ProjectPair, SourceAnswer


@dataclass(slots=True, eq=False)
class SourceState:
    """One source and what is known of it. pairing: the models that it is for, None for the settings' own sources.
    due_s: monotonic. again: asked for by a reload.
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
    due_s: float = 0.0
    refresh_requested: bool = False

    @property
    def is_local(self) -> bool:
        return isinstance(self.source, FileSource | DisabledSource)

    @property
    def is_finished(self) -> bool:
        """Whether it need not be asked again: it had no policy for models that a client named, who may name any."""
        return self.project_pair is not None and self.current is not None and self.current.has_no_policy

    def fetch(self, within_s: float) -> SourceAnswer | PolicyUnavailable | ConfigError:
        try:
            return self.source.fetch(within_s)
        except (PolicyUnavailable, ConfigError) as error:
            return error


def current_policy_from(source: PolicySource, got: SourceAnswer, fetched_at_s: float | None) -> CurrentPolicy:
    return CurrentPolicy(
        got.policy,
        digest(got.policy),
        source.display_name,
        fetched_at_s,
        got.left_out,
        got.notes,
        got.workspace,
        got.project,
        has_no_policy=got.has_no_policy,
    )


def policy_content(standing: CurrentPolicy) -> tuple[object, ...]:
    """What makes a policy another one for those who look at it."""
    return (
        standing.hash,
        standing.left_out,
        standing.notes,
        standing.workspace,
        standing.project,
        standing.has_no_policy,
    )
