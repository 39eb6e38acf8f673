"""What the README shows is what the program reads."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

from framesift.frame import RefusalReason, SkipReason
from framesift.policy.policy import parse
from framesift.settings import load
from framesift.spool import FinalOutcome
from framesift.strategies import StrategyOptions

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")


def _block(beginning: str) -> str:
    """The indented block that begins with this line."""
    lines = README.splitlines()
    first = next(i for i, line in enumerate(lines) if line.strip().startswith(beginning))
    last = next(i for i in range(first, len(lines)) if lines[i] and not lines[i].startswith("    "))
    return textwrap.dedent("\n".join(lines[first:last]))


def test_the_policy_in_the_readme_is_one() -> None:
    after = README[README.index("### The policy") :]
    text = textwrap.dedent(re.search(r"\n( {4}\{\n.*?\n {4}\})\n", after, re.DOTALL).group(1))  # type: ignore[union-attr]  # it is there
    assert [s.name for s in parse(text, "README.md").sampling_strategies] == ["hard", "unsure", "everyday"]


def test_the_settings_in_the_readme_are_some(tmp_path: Path) -> None:
    (tmp_path / "framesift.yaml").write_text(_block("device: gate-7"))
    settings = load(tmp_path / "framesift.yaml", {"GATE_PASSWORD": "open sesame"})
    assert settings.streams[0].tags == ("north",)


def test_the_readme_names_every_strategy_every_outcome_and_every_reason() -> None:
    options = StrategyOptions.__args__[0].__args__  # type: ignore[attr-defined]  # Annotated[Union[...], ...]
    types = [str(option.model_fields["type"].annotation.__args__[0]) for option in options]
    for word in (*types, *map(str, FinalOutcome), *map(str, RefusalReason), *map(str, SkipReason)):
        assert f"`{word}`" in README, f"the README does not mention {word}"
