"""Opens the daemon's page in a browser, with the key for its pictures."""

from __future__ import annotations

import webbrowser
from pathlib import Path

from rich.markup import escape

from framesift.cli.console import out
from framesift.settings import StatusSettings
from framesift.status import key_file, page_key


def open_in_browser(settings: StatusSettings, spool: Path) -> None:
    """Prints the page's address, and opens it where there is a browser. spool: of the running daemon."""
    token = None if settings.token is None else settings.token.get_secret_value()
    host = settings.host
    for anywhere, here in (("0.0.0.0", "127.0.0.1"), ("::", "::1")):
        host = here if host == anywhere else host
    shown = f"[{host}]" if ":" in host else host
    address = f"http://{shown}:{settings.port}/?key={page_key(token, key_file(spool))}"
    out.print(escape(address), soft_wrap=True, highlight=False)  # with the key, which it is for
    webbrowser.open(address)
