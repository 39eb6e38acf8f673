"""Applying several policies to the same footage, in one pass over it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from framesift.config.errors import ConfigError
from framesift.known.known_pictures import KnownPictures
from framesift.policy.policy import Policy
from framesift.sampling.dry_run import DryRun
from framesift.simulation.facts import facts_of
from framesift.simulation.footage import SimulatedFrame
from framesift.simulation.outcome import PolicyOutcome
from framesift.simulation.tally import PolicyTally


@dataclass(frozen=True, slots=True)
class NamedPolicy:
    """A policy, and what it is called in the results. known: the pictures that it names as known; None for none."""

    name: str
    policy: Policy
    known: KnownPictures | None = None


def simulate(
    policies: Sequence[NamedPolicy], frames: Iterable[SimulatedFrame], *, seed: int | None
) -> tuple[PolicyOutcome, ...]:
    """What each policy makes of the same frames: with the sampling, the pacing and the limits of a run.

    seed: of the random draws; None: that of the recordings. Each frame is read once, and not kept. Raises ConfigError
    where a policy can judge no frame, or a frame continues none of those before it.
    """
    runs: list[tuple[DryRun, PolicyTally]] = []
    try:
        for one in policies:
            dry_run = DryRun(one.policy, seed=seed, stream=None, started_s=0.0, known=one.known)
            runs.append((dry_run, PolicyTally(one.name, dry_run.policy, dry_run, seed=seed or 0)))
        for frame in frames:
            facts = facts_of(frame)
            for dry_run, tally in runs:
                try:
                    result = dry_run.decide(frame.recorded)
                except ValueError as error:  # of the footage, or of a strategy from outside
                    raise ConfigError(f"stream {frame.stream}, frame {frame.recorded.number}: {error}") from None
                tally.add(facts, result)
        for _, tally in runs:
            tally.end()
        return tuple(tally.outcome() for _, tally in runs)
    finally:
        for dry_run, _ in runs:
            dry_run.close()
