"""Rows of files of formats 1 and 2 as rows of this format. They have no checksums: values must do."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, TypeVar

from framesift.spool import row_checks
from framesift.spool.format_1 import VERSION as FORMAT_1
from framesift.spool.identity import APPLICATION_ID
from framesift.spool.records import FinalOutcome, State

T = TypeVar("T")

# Tables whose rows can't be taken for those of another one.
UNLIKE_OTHERS = ("datapoint", "charge", "late")
_NEW_NAMES = {"image": "picture"}
_EXITS = {exit.value for exit in FinalOutcome}
_STATES = {state.value for state in State}


def with_new_names(by_name: Mapping[str, T]) -> dict[str, T]:
    """The same with the names that the tables have in this format."""
    return {_NEW_NAMES.get(name, name): value for name, value in by_name.items()}


def convert(table: str, values: dict[str, Any], format: int) -> dict[str, Any]:
    """The values of a row of `format` by the names that the columns have in this format. table: its new name."""
    found = values | {"sink": "", "extra": "{}"}
    if format == FORMAT_1:
        found |= {"account": values.get("account", values.get("strategy")), "refusals": 0}
        if table == "datapoint":
            found["batch_key"] = values["batch"]
        elif table == "charge":
            found["project"] = ""
    if table == "identity":
        found |= {"number": values["one"], "format": format, "application": APPLICATION_ID, "roots": "{}"}
    if table == "picture":
        found |= {"number": values["seq"], "bytes": values["jpeg"]}
    return found


def is_valid(table: str, values: Mapping[str, Any]) -> bool:
    """Whether a row has only values that are written, as far as they show. values: as `convert` returns them."""
    if table == "datapoint":
        facts = {name: value for name, value in values.items() if name not in row_checks.OF_DELIVERY}
        return row_checks.damaged_column(facts) is None
    if table == "delivery":
        numbers = (values["rank"], values["next_at_s"] or 0.0)
        is_number = all(isinstance(number, float) and math.isfinite(number) for number in numbers)
        state = {name: values[name] for name in row_checks.OF_DELIVERY}
        return is_number and values["state"] in _STATES and row_checks.damaged_column(state) is None
    if table == "tally":
        return values["exit"] in _EXITS and row_checks.is_count(values["number"])
    return True
