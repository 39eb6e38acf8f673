"""What `framesift check` finds at the Redis server that keeps the shared limits."""

from __future__ import annotations

from collections.abc import Iterator

from framesift.cli.probes import Finding
from framesift.clock.clock import Clock
from framesift.clock.moment import CLOCK_SET_AFTER_S
from framesift.limits import LimitsUnavailable
from framesift.settings import RedisSettings

LEDGER_WITHIN_S = 5.0
CLOCKS_APART_S = 60.0


def check_shared_limits(settings: RedisSettings, clock: Clock) -> Iterator[Finding]:
    """Whether the Redis server can keep the shared limits, and which of its settings could lose them."""
    from framesift.limits.shared.connection import LedgerConnection
    from framesift.limits.shared.ledger import Ledger

    connection = LedgerConnection(settings.server, LEDGER_WITHIN_S)
    try:
        connection.connect()
        memory, server = connection.server_info("memory"), connection.server_info("server")
        # A ledger that no device uses: shows whether this account may run all commands of the script.
        Ledger(settings.server, f"{settings.prefix}:{{-check}}", "check", "here").connect(clock.now())
    except LimitsUnavailable as error:
        advice = "does the server run, is the password right, and has the account the permissions in docs/fleet.md?"
        yield Finding("limits", False, f"{settings.url}: {error}", advice)
        return
    finally:
        connection.close()
    name = "valkey" if "valkey_version" in server else "redis"
    version = server.get(f"{name}_version", "of an unknown version")
    yield Finding("limits", True, f"{settings.url}: {name} {version}; its devices share the limits")
    eviction = memory.get("maxmemory_policy", "noeviction")
    if eviction != "noeviction":
        text = f"{settings.url} evicts keys when its memory is full ({eviction}): limits would be lost"
        yield Finding("limits", None, text, "set maxmemory-policy noeviction")
    if settings.password is None:
        text = f"{settings.url} answers without a password"
        yield Finding(
            "limits", None, text, "set a password there and in limits.redis.password; docs/fleet.md has an ACL"
        )
    now = clock.now()
    server_s = int(server.get("server_time_usec", 0)) / 1e6 or now.wall_s
    for whose, wall_s in (("this machine", now.wall_s), (settings.url, server_s)):
        if wall_s < CLOCK_SET_AFTER_S:
            yield Finding("limits", None, f"the clock of {whose} isn't set", "is time synchronised there?")
    if abs(server_s - now.wall_s) > CLOCKS_APART_S:
        text = f"the clocks of this machine and {settings.url} are {abs(server_s - now.wall_s):.0f} s apart"
        yield Finding("limits", None, text, "windows follow the server's clock, batch dates this machine's")
