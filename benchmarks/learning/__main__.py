"""Runs all strategies on the cameras of some seeds, and writes what they need and reach.

    make bench-learning                  # four seeds
    make bench-learning FULL=1           # 24 seeds: the figures of docs/learning.md
    make bench-learning ARGS="--seeds 1 --days 2 --clips 48 --cameras digits"

Prints a table for each camera. In the folder --out are then each curve (curves.json), and the drawings (CAMERA.svg).
With --keep, curves that the file has already are not made again: for a run that was stopped, or for new strategies.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

from learning import digits, street
from learning.camera import Camera, Learner
from learning.figures import Curves
from learning.policies import STRATEGIES
from learning.protocol import Curve, curve_of
from learning.results import CurvesByCamera, drawing, drawn_strategies, read_curves, table, write_curves

CAMERAS: dict[str, Callable[[int, int, int], Camera]] = {"digits": digits.digits_camera, "street": street.street_camera}
CLIPS = {"digits": digits.CLIPS, "street": street.CLIPS}


def curves_of(camera: str, seed: int, days: int, clips: int, strategies: Sequence[str]) -> dict[str, Curve]:
    """The curves of these strategies on one camera."""
    shown = CAMERAS[camera](seed, days, clips)
    learner = Learner(shown, seed)
    return {strategy: curve_of(strategy, shown, learner, seed) for strategy in strategies}


def drawing_of(camera: str, curves: Curves) -> str:
    """The drawing of a camera's curves."""
    return drawing(curves, drawn_strategies(curves), f"labelled frames, and the score on the test ({camera})")


def _missing(curves: CurvesByCamera, cameras: Sequence[str], seeds: range) -> Iterator[tuple[str, int, list[str]]]:
    for seed in seeds:
        for camera in cameras:
            has = curves.get(camera, {})
            strategies = [strategy for strategy in STRATEGIES if seed not in has.get(strategy, {})]
            if strategies:
                yield camera, seed, strategies


def main() -> None:
    """Runs what the arguments ask for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--days", type=int, default=5)
    parser.add_argument("--clips", type=int, help="of a day; as each camera has, if absent")
    parser.add_argument("--cameras", nargs="+", choices=CAMERAS, default=list(CAMERAS))
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("build/learning"))
    parser.add_argument("--keep", action="store_true")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    file = given.out / "curves.json"
    curves = read_curves(file) if given.keep else {}
    with ProcessPoolExecutor(given.processes) as pool:
        made = {
            pool.submit(curves_of, camera, seed, given.days, given.clips or CLIPS[camera], strategies): (camera, seed)
            for camera, seed, strategies in _missing(curves, given.cameras, range(1, given.seeds + 1))
        }
        for done in as_completed(made):
            camera, seed = made[done]
            for strategy, curve in done.result().items():
                curves.setdefault(camera, {}).setdefault(strategy, {})[seed] = curve
            write_curves(file, curves)
            print(f"{camera} {seed}", flush=True)
    curves = read_curves(file)  # as it was rounded, so that the tables are those of the file
    for camera in given.cameras:
        text = table(curves[camera], has_boxes=camera == "street")
        (given.out / f"{camera}.svg").write_text(drawing_of(camera, curves[camera]), encoding="utf-8")
        print(f"\n{camera}\n\n{text}")


if __name__ == "__main__":
    main()
