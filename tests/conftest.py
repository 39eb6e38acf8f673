"""For every test: no canary may be in a line that it printed or logged, or in a file that it left."""

from __future__ import annotations

import gc
from collections.abc import Generator
from pathlib import Path

import pytest
from hypothesis import settings

import canaries

# How long an example takes is the machine's business: tests share it with others. For `examples` in exhaustive.py.
settings.register_profile("some", deadline=None, max_examples=20)
settings.register_profile("exhaustive", deadline=None, max_examples=100)
settings.load_profile("some")


def pytest_collection_finish() -> None:
    """All tests together are a million objects that stay: no search for garbage, of which some tests cause many, looks
    at them."""
    gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Fails a test whose lines (stdout, stderr, and the log of every library down to DEBUG), or whose exception with
    all that led to it, holds a canary; and one that leaves a canary in a file."""
    report = yield
    leaks = canaries.find_in_text("".join(text for _, text in report.sections))
    error = call.excinfo.value if call.excinfo is not None else None
    while error is not None:
        if not isinstance(error, AssertionError):  # what pytest itself shows of a test's values
            leaks += canaries.find_in_text(f"{error} {error!r}")
        error = error.__cause__ or error.__context__
    folder = getattr(item, "funcargs", {}).get("tmp_path")
    if call.when == "call" and isinstance(folder, Path):
        leaks += canaries.find_in_files(folder)
    if leaks:
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} let a secret out: {', '.join(sorted(set(leaks)))}"
    return report
