"""Whether a file contains what was written. Checked at each opening, once per hour, and after unexpected errors.

It checks all tables except the pictures, which have a hash: each index against its table, and values that are never
written. The rows of `datapoint` and `delivery` have checksums: see `rows.bury_damaged`.
"""

from __future__ import annotations

import sqlite3

from framesift.limits.clock_steps import FIRST_QUARANTINED_S, QUARANTINE_ACCOUNT
from framesift.spool import accounting, identity, schema
from framesift.spool.accounting import UNKNOWN_EXIT
from framesift.spool.checksums import IS_WHOLE
from framesift.spool.disk_errors import Malformed
from framesift.spool.records import FinalOutcome

_IN_THE_CALENDAR = "BETWEEN -62135510400 AND 253402214400"  # the years of Python, less one day at both ends
# A date of the calendar, or one that the limits have quarantined: see limits/clock_steps.py.
_DATED = (
    f"({{0}} BETWEEN -62135510400 AND {FIRST_QUARANTINED_S}"
    f" OR EXISTS (SELECT 1 FROM carried AS apart WHERE apart.account = '{QUARANTINE_ACCOUNT}'"
    f" AND {{0}} BETWEEN apart.at_s - {FIRST_QUARANTINED_S} AND apart.at_s + {FIRST_QUARANTINED_S}))"
)

# SQL conditions for values that are never written. Damaged text can't be found: names may contain anything.
INVALID_VALUES = {
    "charge": f"typeof(id) <> 'text' OR typeof(account) <> 'text' OR typeof(batch) <> 'text'"
    f" OR typeof(project) <> 'text' OR typeof(at_s) <> 'real' OR NOT {_DATED.format('charge.at_s')}"
    f" OR typeof(shared_at_s) NOT IN ('real', 'null') OR NOT {IS_WHOLE['charge']}",
    "late": "NOT json_valid(quotas) OR NOT json_valid(candidates) OR typeof(boot_id) <> 'text'"
    f" OR typeof(wall_s) <> 'real' OR typeof(boottime_s) <> 'real' OR NOT {IS_WHOLE['late']}",
    "send": "typeof(id) <> 'text' OR typeof(at_s) <> 'real' OR typeof(until_s) NOT IN ('real', 'null')",
    "carried": "typeof(account) <> 'text' OR window NOT IN ('', 'minutely', 'hourly', 'daily')"
    f" OR typeof(at_s) <> 'real' OR NOT {_DATED.format('carried.at_s')} OR typeof(amount) <> 'integer'"
    f" OR amount < 0 AND account <> '{QUARANTINE_ACCOUNT}'",
    "batch_past": "typeof(batch) <> 'text' OR typeof(images) <> 'integer' OR images < 1",
    "batch_there": "typeof(batch) <> 'text' OR typeof(images) <> 'integer' OR images < 0"
    " OR typeof(mark) <> 'integer' OR mark < 0 OR typeof(asked_at_s) <> 'real'",
    "seen": f"typeof(wall_s) <> 'real' OR typeof(boottime_s) <> 'real' OR typeof(boot_id) <> 'text'"
    f" OR NOT wall_s {_IN_THE_CALENDAR} OR NOT boottime_s BETWEEN 0 AND 1e10 OR NOT {IS_WHOLE['seen']}",
    "tally": f"exit NOT IN ('{UNKNOWN_EXIT}', {', '.join(repr(exit.value) for exit in FinalOutcome)})"
    f" OR typeof(number) <> 'integer' OR number < 0 OR NOT {IS_WHOLE['tally']}",
    "class_count": "typeof(class) <> 'text' OR typeof(number) <> 'integer' OR number < 0",
    "identity": f"NOT {IS_WHOLE['identity']}",
}
# Rows that would wait forever: without quota and without a request for it.
_FORGOTTEN = (
    "SELECT 1 FROM datapoint JOIN delivery USING (seq) WHERE state <> 'buried' AND NOT EXISTS"
    " (SELECT 1 FROM charge WHERE charge.id = datapoint.id AND (granted_by <> 'nobody'"
    " OR EXISTS (SELECT 1 FROM late WHERE late.id = datapoint.id))) LIMIT 1"
)


def verify(connection: sqlite3.Connection) -> None:
    """Raises Malformed if the file contains something that is never written, and other sqlite3.Error."""
    for table in ("datapoint", "delivery", *INVALID_VALUES):
        problem = find_problem(connection, table)
        if problem is not None:
            raise Malformed(problem)
    if connection.execute("SELECT count(*) FROM identity").fetchone() != (2,):
        raise Malformed("the file has no id")
    if identity.read(connection).format != schema.VERSION:
        raise Malformed("the file's identity is that of another format")
    accounting.verify_counts(connection)
    if connection.execute(_FORGOTTEN).fetchone():
        raise Malformed("a datapoint has no quota and no request for it")


def find_problem(connection: sqlite3.Connection, table: str) -> str | None:
    """The first problem of a table and its indexes; None if there is none. Raises sqlite3.Error."""
    problem = str(connection.execute(f"PRAGMA integrity_check('{table}')").fetchone()[0])
    if problem != "ok":
        return problem
    wrong = INVALID_VALUES.get(table)
    if wrong is not None and connection.execute(f"SELECT 1 FROM {table} WHERE {wrong} LIMIT 1").fetchone():
        return f"{table} contains values that are never written"
    return None
