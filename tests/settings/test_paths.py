"""Paths in the settings: which texts are none, and which the spool can't have because something else has them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from framesift.config.errors import ConfigError
from framesift.settings import Settings, load

WHOLE: dict[str, Any] = {
    "streams": [{"name": "gate", "source": "clip.mp4", "model": {"type": "onnx", "path": "net.onnx"}}],
    "model": {"type": "recorded", "path": "said.jsonl", "task": "object-detection"},
    "policy": "policy.json",
    "sink": {"type": "folder", "path": "collected"},
    "decisions": {"path": "decisions"},
}


def loaded(folder: Path, environ: dict[str, str] | None = None, **settings: Any) -> Settings:
    (folder / "framesift.yaml").write_text(json.dumps({**WHOLE, **settings}))
    return load(folder / "framesift.yaml", environ or {})


@pytest.mark.parametrize(
    "settings",
    [
        {"spool": {"path": ""}},
        {"sink": {"type": "folder", "path": " "}},
        {"decisions": {"path": ""}},
        {"policy": ""},
        {"model": {"type": "onnx", "path": ""}},
        {"network": {"ca_file": ""}},
    ],
)
def test_an_empty_path_is_refused_wherever_it_stands(tmp_path: Path, settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="an empty path is not allowed: name a file or a folder"):
        loaded(tmp_path, **settings)


def test_a_variable_that_is_an_empty_path_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^FRAMESIFT_SPOOL__PATH: .*an empty path is not allowed"):
        loaded(tmp_path, {"FRAMESIFT_SPOOL__PATH": ""})


@pytest.mark.parametrize("scheme", ["s3", "file"])
@pytest.mark.parametrize("key", ["spool", "decisions", "sink"])
def test_an_address_is_no_path_and_is_not_repeated(tmp_path: Path, key: str, scheme: str) -> None:
    block = {**WHOLE.get(key, {}), "path": f"{scheme}://user:precious@bucket/x"}
    with pytest.raises(ConfigError, match=f"it begins with {scheme}://, and must be a path on this machine") as refused:
        loaded(tmp_path, **{key: block})
    assert "precious" not in str(refused.value)


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("framesift.yaml", "the settings file"),
        ("policy.json", "policy"),
        ("clip.mp4", r"streams\[0\].source"),
        ("net.onnx", r"streams\[0\].model.path"),
        ("said.jsonl", "model.path"),
        ("collected", "sink.path"),
        ("decisions", "decisions.path"),
        ("link/policy.json", "policy"),
    ],
)
def test_the_spool_has_no_path_that_something_else_has(tmp_path: Path, path: str, name: str) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    with pytest.raises(
        ConfigError, match=f"spool.path: {tmp_path}/{path} is {name} too: the spool needs a file of its"
    ):
        loaded(tmp_path, spool={"path": path})


def test_paths_of_their_own_are_allowed(tmp_path: Path) -> None:
    assert loaded(tmp_path, spool={"path": "collected/spool.db"}).spool.path == tmp_path / "collected" / "spool.db"
