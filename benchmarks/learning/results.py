"""The curves of a run as a file, and as the tables and drawings of docs/learning.md."""

from __future__ import annotations

import json
from collections.abc import Iterator
from html import escape
from pathlib import Path

import numpy as np

from learning.figures import Curves, Estimate, Numbers, best_reference, gain, mean_nights, needed_share
from learning.policies import CRON, RANDOM, STRATEGIES
from learning.protocol import Curve, Night

CurvesByCamera = dict[str, dict[str, dict[int, Curve]]]
_COLOURS = ("#888888", "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
_WIDTH, _HEIGHT, _LEFT, _TOP = 760, 420, 60, 20
_PLOT_WIDTH, _PLOT_HEIGHT = 380, 350


def read_curves(path: Path) -> CurvesByCamera:
    """The curves of a file: by camera, strategy and seed; none where there is no file."""
    if not path.exists():
        return {}
    stored = json.loads(path.read_text(encoding="utf-8"))
    return {
        camera: {
            strategy: {int(seed): tuple(Night(*night) for night in nights) for seed, nights in of_seeds.items()}
            for strategy, of_seeds in strategies.items()
        }
        for camera, strategies in stored.items()
    }


def write_curves(path: Path, curves: CurvesByCamera) -> None:
    """Writes the file, a line for each seed: [frames, boxes, score] after each night."""
    lines: list[str] = []
    for camera, strategies in sorted(curves.items()):
        of_camera = []
        for strategy, of_seeds in strategies.items():
            of_strategy = [
                f"   {json.dumps(str(seed))}: "
                + json.dumps([[round(n.frames, 1), round(n.boxes, 1), round(n.score, 4)] for n in curve])
                for seed, curve in sorted(of_seeds.items())
            ]
            of_camera.append(f"  {json.dumps(strategy)}: {{\n" + ",\n".join(of_strategy) + "\n  }")
        lines.append(f" {json.dumps(camera)}: {{\n" + ",\n".join(of_camera) + "\n }")
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


def table(curves: Curves, *, has_boxes: bool) -> str:
    """What was measured on one camera, in Markdown."""
    reference = best_reference(curves)
    heads = ["strategy", "frames", "score", "frames needed", *(["boxes needed"] if has_boxes else [])]
    heads += ["over the reference", "over cron"]
    lines = [f"| {' | '.join(heads)} |", "|" + "---|" * len(heads)]
    for strategy in _shown(curves):
        frames, _, score = mean_nights(curves, strategy)[-1]
        name = strategy + (" (the reference)" if strategy == reference else "")
        cells = [name, f"{frames:.0f}", f"{score:.3f}"]
        cells.append(_share(needed_share(curves, strategy, "frames")))
        if has_boxes:
            cells.append(_share(needed_share(curves, strategy, "boxes")))
        cells += [_gain(gain(curves, strategy, over)) if strategy != over else "" for over in (reference, CRON)]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _shown(curves: Curves) -> list[str]:
    return [strategy for strategy in STRATEGIES if strategy in curves]


def _share(of: Estimate) -> str:
    if of.value > 1:
        return f"not reached [{_number(of.low)}, {_number(of.high)}]"
    return f"{_number(of.value)} [{_number(of.low)}, {_number(of.high)}]"


def _number(share: float) -> str:
    return f"{share:.2f}" if share <= 1 else ">1"


def _gain(of: Estimate) -> str:
    return f"{of.value:+.3f} [{of.low:+.3f}, {of.high:+.3f}]"


def drawing(curves: Curves, strategies: list[str], title: str) -> str:
    """The mean curves of some strategies as an SVG: labelled frames to the right, score upwards."""
    means = {name: mean_nights(curves, name) for name in strategies}
    nights = np.concatenate(list(means.values()))
    most, low, high = nights[:, 0].max(), nights[:, 2].min(), nights[:, 2].max()

    def place(night: Numbers) -> str:
        x = _LEFT + _PLOT_WIDTH * night[0] / most
        y = _TOP + _PLOT_HEIGHT * (1 - (night[2] - low) / ((high - low) or 1))
        return f"{x:.1f},{y:.1f}"

    def parts() -> Iterator[str]:
        size = f'width="{_WIDTH}" height="{_HEIGHT}" viewBox="0 0 {_WIDTH} {_HEIGHT}"'
        yield f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="12">'
        yield f"<title>{escape(title)}</title>"
        yield f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="white"/>'
        yield f'<path d="M{_LEFT},{_TOP} v{_PLOT_HEIGHT} h{_PLOT_WIDTH}" fill="none" stroke="black"/>'
        for part in range(5):
            y = _TOP + _PLOT_HEIGHT * (1 - part / 4)
            yield f'<text x="{_LEFT - 6}" y="{y + 4:.0f}" text-anchor="end">{low + part / 4 * (high - low):.2f}</text>'
            x = _LEFT + _PLOT_WIDTH * part / 4
            yield f'<text x="{x:.0f}" y="{_TOP + _PLOT_HEIGHT + 16}" text-anchor="middle">{part / 4 * most:.0f}</text>'
        yield f'<text x="{_LEFT + _PLOT_WIDTH / 2:.0f}" y="{_HEIGHT - 16}" text-anchor="middle">{escape(title)}</text>'
        for number, (name, curve) in enumerate(means.items()):
            colour = _COLOURS[number % len(_COLOURS)]
            points = " ".join(map(place, curve))
            yield f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>'
            y = _TOP + 10 + 18 * number
            yield f'<path d="M{_LEFT + _PLOT_WIDTH + 10},{y - 4} h18" stroke="{colour}" stroke-width="2"/>'
            yield f'<text x="{_LEFT + _PLOT_WIDTH + 32}" y="{y}" font-size="9">{escape(name)}</text>'
        yield "</svg>"

    return "\n".join(parts()) + "\n"


def drawn_strategies(curves: Curves) -> list[str]:
    """Those whose curves are drawn: random, the reference, and the best others after the last day, eight in all."""
    first = [RANDOM, best_reference(curves)]
    others = [name for name in _shown(curves) if name not in first and not name.startswith("close_to_threshold")]
    others.sort(key=lambda name: -gain(curves, name, RANDOM).value)
    return first + others[: len(_COLOURS) - len(first)]
