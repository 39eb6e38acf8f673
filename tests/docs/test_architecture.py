"""ARCHITECTURE.md agrees with the import rules, and what CONTRIBUTING.md sends people to exists."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")


def layers_of_the_rules() -> list[tuple[int, str]]:
    """The layers of tests/test_import_rules.py, as its text says them: tests do not import each other."""
    tree = ast.parse((ROOT / "tests" / "test_import_rules.py").read_text(encoding="utf-8"))
    values = [
        node.value
        for node in tree.body
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.target.id == "LAYERS"
    ]
    (value,) = values
    assert value is not None
    layers: tuple[tuple[str, ...], ...] = ast.literal_eval(value)
    return [(number, module) for number, layer in enumerate(layers, 1) for module in layer]


def section(title: str) -> str:
    return PAGE.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def test_the_table_of_modules_is_the_table_of_the_import_rules() -> None:
    rows = re.findall(r"^\| (\d+) \| `(\w+)` \| (.+) \|$", section("The modules and their layers"), re.MULTILINE)
    assert sorted((int(layer), module) for layer, module, _ in rows) == sorted(layers_of_the_rules())


def test_the_words_stand_in_the_order_of_the_alphabet_each_once() -> None:
    words = re.findall(r"^\| (?!word|---)([^|]+) \|", section("Words"), re.MULTILINE)
    assert len(words) > 40
    assert words == sorted(set(words))


def test_every_module_stands_in_the_drawing_or_in_the_text_below_it() -> None:
    pipeline = section("The pipeline")
    parts = ("streams", "models", "sampling", "strategies", "policy", "listeners", "limits", "fleet", "spool", "upload")
    assert not [
        part
        for part in (*parts, "sinks", "roboflow", "service", "telemetry", "status", "cli")
        if f"{part}/" not in pipeline
    ]


def test_what_contributors_are_sent_to_exists() -> None:
    text = "\n".join((ROOT / page).read_text(encoding="utf-8") for page in ("CONTRIBUTING.md", "ARCHITECTURE.md"))
    named = set(re.findall(r"\b(?:daemon|tests|docs|scripts|settings|models)/[\w./*]+", text))
    package = ROOT / "daemon" / "framesift"
    paths = {name.rstrip("./") for name in named if "NAME" not in name}
    assert len(paths) > 20
    assert not [path for path in paths if not any(folder.glob(path) for folder in (ROOT, package))]


def test_make_has_the_targets_that_contributors_are_sent_to() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"`make ([\w-]+)", (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")))
    assert len(targets) > 5
    assert not [target for target in targets if f"\n{target}:" not in makefile]
