"""The checksums in the rows of the spool: which columns they cover, and the SQL that computes and compares them.

The values are those that the database returns, so a checksum is written in a second step, by `seal`.
"""

from __future__ import annotations

import sqlite3

# The columns of each table that its checksum covers, in this order. Texts have a *. (Dates of
# charges change with the clock; two indexes have them once more.)
_COLUMNS = {
    "datapoint": "seq id* device* stream* frame captured_at_s accepted_at_s strategy* score tags* project* batch*"
    " account* batch_key* annotate width height size_bytes picture_hash extra*",
    "delivery": "seq sink* state* rank attempts tried refusals next_at_s image_id* why* extra*",
    "tally": "exit* number",
    "identity": "number id* format application roots*",
    "charge": "id* account* batch* project*",
    "late": "id* wall_s boottime_s boot_id* quotas* candidates*",
    "seen": "one wall_s boottime_s boot_id*",
    "signature": "number stream* options* id* captured_at_s bytes extra*",
    "held": "number id* stream* strategy* score wall_s boottime_s boot_id* facts* prediction* signature hash extra*",
}
CHECKED_COLUMNS = {table: tuple(columns.replace("*", "").split()) for table, columns in _COLUMNS.items()}


def _sum_of(table: str, prefix: str) -> str:
    names = _COLUMNS[table].split()
    values = (f"CAST({prefix}{name[:-1]} AS BLOB)" if name[-1] == "*" else prefix + name for name in names)
    return f"row_checksum('{table}', {', '.join(values)})"


# By table: the SQL expression of a row's checksum, and the condition that the row is what was written.
SUMS = {table: _sum_of(table, "") for table in _COLUMNS}
IS_WHOLE = {table: f"{table}.checksum IS {_sum_of(table, f'{table}.')}" for table in _COLUMNS}


def seal(cursor: sqlite3.Cursor | sqlite3.Connection, table: str, where: str, parameters: tuple[object, ...]) -> None:
    """Renews the checksum of rows that were written just now."""
    cursor.execute(f"UPDATE {table} SET checksum = {SUMS[table]} WHERE {where}", parameters)
