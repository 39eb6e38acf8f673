"""docs/clients.md: each of its snippets is run as it stands, with nothing but the listener's port changed."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from canaries import KEY
from framesift.frame import RefusalReason
from framesift.listeners.ingest import IngestBounds
from framesift.listeners.request_outcomes import RequestOutcome
from rigs.inference import InferenceServer
from rigs.listeners import RunningListener, picture, request_head, running_listener

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "clients.md").read_text(encoding="utf-8")
TOKEN = "a-token-of-this-listener"
SNIPPETS = re.findall(r"```(sh|python)\n(.*?)```", TEXT, re.DOTALL)
HANDING_IN = [(kind, code) for kind, code in SNIPPETS if "9470" in code]
PASSING = [(kind, code) for kind, code in SNIPPETS if "9001" in code and "inference_sdk" not in code]
# Half a gigabyte of other packages come with it: test_listener_passing_sampling_data.py sends what it sends.
WITH_THE_SDK = [code for _, code in SNIPPETS if "inference_sdk" in code]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "a.jpg").write_bytes(picture(80, 60))
    (tmp_path / "b.png").write_bytes(picture(80, 60, ".png"))
    (tmp_path / "listener").mkdir()
    return tmp_path


def ran(kind: str, code: str, folder: Path, listener: RunningListener) -> str:
    """What the snippet prints."""
    code = re.sub(r"127\.0\.0\.1:(9470|9001)", f"127.0.0.1:{listener.port}", code)
    words = [sys.executable, "-c", code] if kind == "python" else ["sh", "-ec", code]
    variables = {**os.environ, "LISTENER_TOKEN": TOKEN, "ROBOFLOW_API_KEY": KEY}
    done = subprocess.run(words, cwd=folder, env=variables, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(("kind", "code"), HANDING_IN)
def test_a_snippet_hands_in_what_it_says(folder: Path, kind: str, code: str) -> None:
    token: dict[str, Any] = {"token": TOKEN} if "TOKEN" in code else {}
    with running_listener(folder / "listener", **token) as listener:
        printed = ran(kind, code, folder, listener)
        items = listener.items()
        assert len(items) == (2 if "b.png" in code else 1)
        assert {item.stream for item in items} == {"gate" if "gate" in code else "listener"}
        assert printed.count("all") >= len(items)
        assert listener.count("refused") == listener.count("failed") == 0


@pytest.mark.parametrize(("kind", "code"), PASSING)
def test_a_snippet_passes_and_is_sampled(folder: Path, kind: str, code: str) -> None:
    with InferenceServer() as server, running_listener(folder / "listener", upstream=server.url) as listener:
        assert "predictions" in ran(kind, code, folder, listener)
        assert listener.until(lambda: listener.count("offered") == 1)
        assert len(listener.items()) == 1


def test_the_snippet_with_the_sdk_only_names_the_listener() -> None:
    (code,) = WITH_THE_SDK
    compile(code, "docs/clients.md", "exec")
    assert 'api_url="http://127.0.0.1:9001"' in code


def test_the_client_of_ten_lines_comes_back_when_it_was_told_to(folder: Path) -> None:
    (code,) = [code for _, code in HANDING_IN if "Retry-After" in code]
    with (
        running_listener(folder / "listener", bounds=IngestBounds(max_concurrent=1)) as listener,
        socket.create_connection(("127.0.0.1", listener.port), timeout=20) as busy,
    ):
        busy.sendall(request_head("Expect: 100-continue", "Content-Length: 2"))
        assert busy.recv(1000).startswith(b"HTTP/1.1 100")
        printed: list[str] = []
        client = threading.Thread(target=lambda: printed.append(ran("python", code, folder, listener)))
        client.start()
        assert listener.until(lambda: listener.count("door_busy") == 1)
        busy.sendall(b"{}")
        client.join(30)
        assert "'charged': 'all'" in printed[0]
        assert len(listener.items()) == 1


def test_the_page_names_every_outcome_and_every_reason_and_has_snippets_for_all_it_promises() -> None:
    for word in (*RequestOutcome, *(set(RefusalReason) - {RefusalReason.MODEL_FAILED})):
        if word not in (RequestOutcome.REFUSED,):
            assert f"`{word}`" in TEXT, f"docs/clients.md does not mention {word}"
    assert (len(HANDING_IN), len(PASSING), len(WITH_THE_SDK)) == (7, 2, 1)
