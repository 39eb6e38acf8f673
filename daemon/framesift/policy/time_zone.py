"""TimeZoneRule: all policies of a run must have the same time zone, since its limits and batches share their days."""

from __future__ import annotations

from framesift.config.errors import ConfigError
from framesift.policy.policy import Policy


class TimeZoneRule:
    """The time zone of the first enabled policy, which all others must have. Not thread-safe."""

    def __init__(self) -> None:
        self._zone: str | None = None
        self._source = ""
        self._is_running = False

    @property
    def zone(self) -> str:
        """The IANA name of the zone; UTC until the first enabled policy arrives."""
        return self._zone or "UTC"

    def started(self) -> None:
        """The initial policies are loaded: from now on, changing the zone needs a restart."""
        self._is_running = True

    def check(self, policy: Policy, source: str) -> None:
        """Raises ConfigError for an enabled policy of another zone; the first one sets it. source: for messages."""
        zone = policy.time_zone
        if not policy.enabled or zone == self._zone:
            return
        if self._zone is None:
            self._zone, self._source = zone, source
        elif self._is_running:
            raise ConfigError(f"time_zone: changing {self._zone} to {zone} needs a restart")
        else:
            raise ConfigError(
                f"{source}: time_zone: {zone} differs from {self._zone} in {self._source}: all policies of a run must "
                "have the same"
            )

    def refusal(self, policies: list[tuple[Policy, str]]) -> tuple[int, ConfigError] | None:
        """As `check` for several policies: which is refused first, and why. Then the zone is as it was before."""
        before = self._zone, self._source
        for number, (policy, source) in enumerate(policies):
            try:
                self.check(policy, source)
            except ConfigError as error:
                self._zone, self._source = before
                return number, error
        return None
