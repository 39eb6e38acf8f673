"""A real browser: $CHROMIUM, or the machine's own Chromium.

Without one, the tests that need it are skipped on a person's machine, with one line that says how to have it, and fail
in CI: .ci/run fails for any skipped test, too.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, sync_playwright

_NAMES = ("chromium", "chromium-browser", "google-chrome")
# No sandbox, since containers have none; and nothing that looks for servers of the browser's maker.
_ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def find_browser() -> str | None:
    """The path of a browser on this machine."""
    return os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, _NAMES)), None)


@contextmanager
def browser() -> Iterator[Browser]:
    """A browser without a window, which ends with the block."""
    path = find_browser()
    if path is None:
        refuse = pytest.fail if os.environ.get("CI") else pytest.skip
        refuse("no browser: install Chromium, or set CHROMIUM to its path")
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=path, args=_ARGUMENTS)
        try:
            yield found
        finally:
            found.close()
