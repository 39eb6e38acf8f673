"""A real browser: $CHROMIUM, the machine's own Chromium, or npm's where node and npm are.

Without one, a module of tests that needs it is skipped as a whole on a person's machine, with one line that says how to
have it. In CI its tests fail.
"""

from __future__ import annotations

import functools
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, sync_playwright

from rigs.npm_browser import npm_browser

_NO_BROWSER = "no browser: install Chromium, or node and npm, or set CHROMIUM to its path"
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


@functools.cache
def find_browser() -> tuple[str, dict[str, str]] | None:
    """The path of a browser on this machine, and the environment that it needs; npm may load it for minutes."""
    path = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, _NAMES)), None)
    return npm_browser() if path is None else (path, dict(os.environ))


def skip_without_browser() -> None:
    """At the top of a module: skips all of it where there is no browser, but in CI."""
    if find_browser() is None and not os.environ.get("CI"):
        pytest.skip(_NO_BROWSER, allow_module_level=True)


@contextmanager
def browser() -> Iterator[Browser]:
    """A browser without a window, which ends with the block."""
    found = find_browser()
    if found is None:
        pytest.fail(_NO_BROWSER)
    path, variables = found
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=path, args=_ARGUMENTS, env=dict(variables))
        try:
            yield started
        finally:
            started.close()
