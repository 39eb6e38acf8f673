"""What `framesift check` advises where a policy, or the certificates that are trusted, can't be used."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import pytest

from canaries import KEY
from framesift.cli.check_advice import policy_advice
from rigs.daemon import POLICY, framesift, write_configuration
from rigs.document_server import DocumentServer, Page
from rigs.footage import numbered_clip
from rigs.platform import Platform
from rigs.privileges import without_privileges


def findings(folder: Path, settings: dict[str, Any], subject: str) -> list[dict[str, str]]:
    """What `check` says of a subject."""
    numbered_clip(folder / "clip.mp4", frames=3)
    write_configuration(folder, {"streams": [{"name": "gate", "source": "clip.mp4"}], **settings})
    told = json.loads(framesift(folder, "check", "--json", ROBOFLOW_API_KEY=KEY).stdout)
    return [one for one in told if one["name"].startswith(subject)]


def test_a_policy_that_may_not_be_read_is_no_matter_of_its_content() -> None:
    with tempfile.TemporaryDirectory() as made:  # not below tmp_path, which another user may not even read
        path = Path(made) / "policy.json"
        path.write_text(json.dumps(POLICY))
        path.chmod(0)
        Path(made).chmod(0o755)
        with without_privileges():
            assert "its owner and mode" in policy_advice(path)
        Path(made).chmod(0o700)
    assert "framesift init" in policy_advice(path)


def test_a_policy_that_is_a_folder_and_one_that_a_server_cuts_are_not_corrected_by_init(tmp_path: Path) -> None:
    (found,) = findings(tmp_path, {"policy": "."}, "policy")
    assert "is a folder" in found["message"]
    assert "give the path of a file" in found["advice"]
    with DocumentServer() as server:
        server.pages["/policy.json"] = Page(json.dumps(POLICY).encode()[:-20])
        (found,) = findings(tmp_path, {"policy": f"{server.url}/policy.json"}, "policy")
    assert "is not JSON" in found["message"]
    assert found["advice"] == "correct what the server at this address sends"


@pytest.mark.parametrize(("content", "why"), [(None, "No such file"), (b"no certificate", "no certificate in it")])
def test_certificates_that_cant_be_read_are_found_also_where_nothing_is_asked(
    tmp_path: Path, content: bytes | None, why: str
) -> None:
    if content is not None:
        (tmp_path / "ca.pem").write_bytes(content)
    (found,) = findings(tmp_path, {"network": {"ca_file": "ca.pem"}}, "network")
    assert found["status"] == "failed"
    assert "ca.pem" in found["message"]
    assert why in found["message"]
    sink = {"sink": {"type": "roboflow", "project": "p"}, "roboflow": {"api_url": "http://127.0.0.1:1"}}
    (found,) = findings(tmp_path, {"network": {"ca_file": "ca.pem"}, **sink}, "sink")
    assert why in found["message"]
    assert "is the network there?" not in f"{found}"


def test_whether_the_network_is_there_is_asked_only_where_nobody_answered(tmp_path: Path) -> None:
    with Platform() as platform:
        settings = platform.settings("nowhere")
        (found,) = findings(tmp_path, settings, "sink")
        assert "404" in found["message"]
        assert "is the network there?" not in f"{found}"
    (found,) = findings(tmp_path, settings, "sink")
    assert "is the network there?" in found["message"]
