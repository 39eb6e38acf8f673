"""A small rendered street: the demo's camera, and the true objects in each of its pictures.

From one seed comes one street with one story: houses and trees, people and vehicles that move, cross, hide each
other and stand still, a moment without anybody, first by day and then at dusk. Any frame can be asked for in any
order, and the same street gives the same frame each time. Nothing is loaded: every pixel is drawn.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from framesift.demo.actors import CLASS_NAMES, faces, footprint
from framesift.demo.backdrop import DAYLIGHT, Layout, lamp, lay_out, paint_street, tree
from framesift.demo.body import Look, Pose
from framesift.demo.traffic import Track, stage
from framesift.demo.view import Colour, Face, Picture, area, blended, darken, glow, paint, stamp

__all__ = ["CLASS_NAMES", "SceneObject", "Street", "write_video"]

_NOISE_DAY = 2.0
_NOISE_DUSK = 6.5
_SMALLEST_PIXELS = 12
_LAMP_WARMTH: Colour = (0.42, 0.62, 0.80)


@dataclass(frozen=True, slots=True)
class SceneObject:
    """An object that can be seen in a frame: the box around what is visible of it (x, y is the centre; pixels).

    `visible` is the share (0 to 1] of its whole area that neither others nor the picture's edge hide.
    """

    class_name: str
    x: float
    y: float
    width: float
    height: float
    visible: float


@dataclass(frozen=True, slots=True)
class _SceneItem:
    """Something to draw in a frame; props have no look."""

    look: Look | None
    pose: Pose
    parts: list[tuple[str, list[Face]]]


class Street:
    """A street for `frames` frames at `fps`, in pictures of `width` by `height` pixels."""

    def __init__(
        self, seed: int = 7, width: int = 640, height: int = 360, frames: int = 600, fps: float = 12.0
    ) -> None:
        if width < 64 or height < 36:
            raise ValueError(f"a street of {width}x{height} pixels is too small: at least 64x36")
        if frames < 1 or not fps > 0:
            raise ValueError(f"a street needs at least 1 frame and a positive rate, not {frames} frames at {fps} fps")
        self.seed = seed
        self.width = width
        self.height = height
        self.frames = frames
        self.fps = fps
        self._layout: Layout = lay_out(np.random.default_rng((seed, 0)), width, height)
        self._day = paint_street(self._layout, seed, dusk=False)
        self._dusk = paint_street(self._layout, seed, dusk=True)
        self._props = _props(self._layout, np.random.default_rng((seed, 2)))
        self._tracks: tuple[Track, ...] = stage(self._layout, np.random.default_rng((seed, 3)), frames / fps, fps)
        grain = np.random.default_rng((seed, 4)).normal(0, 1, (height + 64, width + 64, 3))
        self._grain = (grain * 32).astype(np.int16)

    def darkness(self, number: int) -> float:
        """How dark it is in a frame: 0 by day, 1 when the lamps are the only light."""
        share = min(max((number / self.frames - 0.46) / 0.14, 0.0), 1.0)
        return share * share * (3 - 2 * share)

    def render(self, number: int) -> Picture:
        """The frame as BGR of shape (height, width, 3)."""
        return self._draw(number, self._items(number))

    def render_empty(self, number: int) -> Picture:
        """The same frame without actors, in the same light and with the same noise."""
        return self._draw(number, self._props)

    def truth(self, number: int) -> tuple[SceneObject, ...]:
        """The objects that are visible in a frame, the farthest first."""
        owners = np.zeros((self.height, self.width), np.uint8)
        whole: list[tuple[str, int]] = []
        for item in self._items(number):
            if item.look is None:
                stamp(owners, item.parts[0][1], self._layout.view, 255)
                continue
            for class_name, part in item.parts:
                whole.append((class_name, area(part, self._layout.view)))
                stamp(owners, part, self._layout.view, len(whole))
        found: list[SceneObject] = []
        for owner, (class_name, pixels) in enumerate(whole, start=1):
            rows, columns = np.nonzero(owners == owner)
            if len(rows) < _SMALLEST_PIXELS:
                continue
            left, right = float(columns.min()), float(columns.max() + 1)
            top, bottom = float(rows.min()), float(rows.max() + 1)
            box = ((left + right) / 2, (top + bottom) / 2, right - left, bottom - top)
            found.append(SceneObject(class_name, *box, visible=min(len(rows) / pixels, 1.0)))
        return tuple(found)

    def _items(self, number: int) -> list[_SceneItem]:
        if not 0 <= number < self.frames:
            raise IndexError(f"frame {number} of a street that has frames 0 to {self.frames - 1}")
        lights = self.darkness(number) > 0.35
        there = list(self._props)
        for track in self._tracks:
            pose = track.pose(number, lights)
            if pose is not None:
                there.append(_SceneItem(track.look, pose, faces(track.look, pose, self._layout.view)))
        return sorted(there, key=lambda one: (-one.pose.y, -abs(one.pose.x)))

    def _draw(self, number: int, items: list[_SceneItem]) -> Picture:
        dark = self.darkness(number)
        picture: Picture = cv2.addWeighted(self._day, 1 - dark, self._dusk, dark, 0).astype(np.uint8)
        layout = self._layout
        for one in items:
            if one.look is not None:
                self._cast_shadow(picture, one.look, one.pose, dark)
        for one in items:
            light = blended(DAYLIGHT, self._lamplit(one.pose), dark)
            for _, part in one.parts:
                paint(picture, part, layout.view, light)
            if dark > 0.2 and (one.look is None or one.look.class_name in ("car", "truck")):
                self._shine(picture, one, dark)
        return self._add_noise(picture, number, dark)

    def _lamplit(self, pose: Pose) -> Colour:
        warm = 0.75 * self._layout.lamplight(pose.x, pose.y)
        dusk = self._layout.dusk
        return (
            dusk[0] + warm * _LAMP_WARMTH[0] * 0.6,
            dusk[1] + warm * _LAMP_WARMTH[1] * 0.6,
            dusk[2] + warm * _LAMP_WARMTH[2] * 0.6,
        )

    def _cast_shadow(self, picture: Picture, look: Look, pose: Pose, dark: float) -> None:
        tall = {"person": 1.6, "bicycle": 1.4, "car": 1.2, "truck": 2.4}[look.class_name] * (1 - dark)
        ground = footprint(look, pose, tall, self._layout.shadow)
        darken(picture, self._layout.view.pixels(ground), 0.34 - 0.08 * dark)

    def _shine(self, picture: Picture, one: _SceneItem, dark: float) -> None:
        """The glow around lamps and in front of headlights."""
        view, pose = self._layout.view, one.pose
        scale = view.pixels_per_metre(pose.x, pose.y)
        if one.look is None:
            if one.parts[0][0] == "lamp":
                head = view.pixels(np.array([(pose.x, pose.y, 4.4)]))[0]
                glow(picture, head[0], head[1], (1.1 * scale, 1.1 * scale), (110 * dark, 170 * dark, 205 * dark))
            return
        nose = pose.x + pose.heading * one.look.length_m / 2
        spots = view.pixels(np.array([(nose, pose.y - 0.8, 0.7), (nose + pose.heading * 2.6, pose.y, 0.0)]))
        glow(picture, spots[0][0], spots[0][1], (0.7 * scale, 0.6 * scale), (90 * dark, 130 * dark, 150 * dark))
        glow(picture, spots[1][0], spots[1][1], (2.6 * scale, 0.55 * scale), (50 * dark, 74 * dark, 84 * dark))

    def _add_noise(self, picture: Picture, number: int, dark: float) -> Picture:
        top, left = np.random.default_rng((self.seed, 5, number)).integers(0, 64, 2)
        grain = self._grain[top : top + self.height, left : left + self.width]
        strength = (_NOISE_DAY + (_NOISE_DUSK - _NOISE_DAY) * dark) / 32
        noisy: NDArray[np.int16] = cv2.addWeighted(picture.astype(np.int16), 1.0, grain, strength, 0).astype(np.int16)
        return noisy.clip(0, 255).astype(np.uint8)


def _props(layout: Layout, rng: np.random.Generator) -> list[_SceneItem]:
    props: list[_SceneItem] = []
    for x, y in layout.lamps:
        props.append(_SceneItem(None, Pose(x, y, 0, 0.0, False, False), [("lamp", lamp(layout, x, y))]))
    for x, y, size in layout.trees:
        props.append(_SceneItem(None, Pose(x, y, 0, 0.0, False, False), [("tree", tree(layout, x, y, size, rng))]))
    return sorted(props, key=lambda one: -one.pose.y)


def write_video(street: Street, path: Path | str, progress: Callable[[int, int], None] | None = None) -> None:
    """Renders the whole street into an mp4 file; `progress` is called with the number of finished frames, and of all.

    Raises OSError where the file can't be written or OpenCV has no encoder.
    """
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), street.fps, (street.width, street.height))
    if not writer.isOpened():
        raise OSError(f"cannot write a video to {path}: is the folder there, and does OpenCV have FFmpeg?")
    try:
        for number in range(street.frames):
            writer.write(street.render(number))
            if progress is not None:
                progress(number + 1, street.frames)
    finally:
        writer.release()
