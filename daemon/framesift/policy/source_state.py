"""Slots: one for each source of policies, with what is known of it."""

from __future__ import annotations

from dataclasses import dataclass

from framesift.config.errors import ConfigError
from framesift.policy.policy import digest
from framesift.policy.sources import FileSource, SwitchedOff
from framesift.policy.types import Got, Pairing, PolicyUnavailable, Source, Standing


@dataclass(slots=True, eq=False)
class Slot:
    """One source and what is known of it. pairing: the models that it is for, None for the settings' own sources.
    due_s: monotonic. again: asked for by a reload."""

    source: Source
    scope: str
    streams: tuple[str, ...]
    pairing: Pairing | None = None
    standing: Standing | None = None
    trouble: str | None = None
    not_kept: str | None = None
    kept_at_s: float | None = None
    failures: int = 0
    due_s: float = 0.0
    again: bool = False

    @property
    def is_local(self) -> bool:
        return isinstance(self.source, FileSource | SwitchedOff)

    @property
    def is_over(self) -> bool:
        """Whether it need not be asked again: it had no policy for models that a client named, who may name any."""
        return self.pairing is not None and self.standing is not None and self.standing.lacking

    def answer(self, within_s: float) -> Got | PolicyUnavailable | ConfigError:
        try:
            return self.source.ask(within_s)
        except (PolicyUnavailable, ConfigError) as error:
            return error


def standing_of(source: Source, got: Got, fetched_at_s: float | None) -> Standing:
    return Standing(
        got.policy,
        digest(got.policy),
        source.told,
        fetched_at_s,
        got.left_out,
        got.notes,
        got.workspace,
        got.project,
        lacking=got.lacking,
    )


def content_of(standing: Standing) -> tuple[object, ...]:
    """What makes a policy another one for those who look at it."""
    return (standing.hash, standing.left_out, standing.notes, standing.workspace, standing.project, standing.lacking)
