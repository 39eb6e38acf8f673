"""The empty street of the demo: sky, houses, pavements, road and what stands beside them.

One seed gives one street, painted twice: by day and at dusk. What can hide an actor (lamps, trees) is a separate prop,
so that the scene can draw it between the actors behind it and those in front of it.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import cv2
import numpy as np

from framesift.demo.view import Colour, Face, Picture, Points, View, blended, glow, paint, shaded

DAYLIGHT: Colour = (1.0, 1.0, 1.0)
_WALLS: tuple[Colour, ...] = (
    (122, 148, 196),
    (164, 196, 222),
    (196, 214, 226),
    (172, 188, 170),
    (186, 170, 150),
    (110, 126, 176),
    (150, 180, 214),
    (205, 205, 200),
    (140, 160, 160),
)
_AWNINGS: tuple[Colour, ...] = ((70, 70, 190), (150, 110, 50), (90, 130, 60), (60, 150, 210), (140, 70, 110))
_ROOFS: tuple[Colour, ...] = ((84, 92, 128), (96, 92, 88), (74, 84, 104))
_LIT: Colour = (120, 205, 255)
_WHITE: Colour = (214, 220, 222)


@dataclass(frozen=True, slots=True)
class House:
    """A plot along the street from `left` to `right` (metres); one without floors is a garden."""

    left: float
    right: float
    floors: int
    colour: Colour
    roof: Colour | None
    door: float
    shop: bool

    @property
    def height(self) -> float:
        """Metres from the ground to the eaves."""
        return 3.4 + 2.75 * (self.floors - 1) + 0.5


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the street's strips lie: depths (y) in metres, nearest first; traffic keeps to the right."""

    view: View
    kerb_near: float
    near_bicycles: float
    near_lane: float
    far_lane: float
    far_bicycles: float
    parking: float
    kerb_far: float
    facade: float
    crossing_x: float
    houses: tuple[House, ...]
    lamps: tuple[tuple[float, float], ...]
    trees: tuple[tuple[float, float, float], ...]
    shadow: tuple[float, float]
    dusk: Colour

    def edges(self, y: float, margin_m: float = 0.0) -> tuple[float, float]:
        """The x of the picture's left and right edge at a depth, moved outwards by a margin."""
        return self.view.edge(y, 0) - margin_m, self.view.edge(y, self.view.width) + margin_m

    def lamplight(self, x: float, y: float) -> float:
        """How much light of a lamp reaches a place: 0 in the dark, about 1 right under a lamp."""
        return min(sum(math.exp(-((x - at) ** 2 + (y - deep) ** 2) / 18.0) for at, deep in self.lamps), 1.2)


def lay_out(rng: np.random.Generator, width: int, height: int) -> Layout:
    """A random layout that looks like a street."""
    view = View(
        width=width,
        height=height,
        focal=rng.uniform(540, 660) * width / 640,
        horizon=rng.uniform(0.21, 0.28) * height,
        height_m=rng.uniform(5.2, 6.8),
        yaw=math.radians(rng.uniform(6, 20) * rng.choice((-1, 1))),
    )
    kerb = rng.uniform(15.6, 17.0)
    lane = rng.uniform(3.0, 3.3)
    parking = kerb + 2.9 + 2 * lane + 1.0
    facade = parking + 1.2 + rng.uniform(3.4, 4.2)
    left, right = view.edge(facade, 0) - 2, view.edge(facade, width) + 2
    houses = _build(rng, left - 10, right + 10)
    middle = view.edge(kerb, width / 2)
    lamps = tuple(
        (float(x), parking + 1.6) for x in np.arange(left + rng.uniform(1, 8), right + 4, rng.uniform(10.5, 13.5))
    )
    trees = tuple(
        (float(x), facade - 0.9, rng.uniform(0.8, 1.25))
        for x in np.arange(left + rng.uniform(3, 12), right, rng.uniform(8, 15))
    )
    near_lamp = (middle + rng.uniform(4.0, 7.5) * rng.choice((-1, 1)), kerb - 0.5)
    sun = rng.uniform(-0.9, 0.9)
    return Layout(
        view=view,
        kerb_near=kerb,
        near_bicycles=kerb + 0.75,
        near_lane=kerb + 1.5 + lane / 2,
        far_lane=kerb + 1.5 + 1.5 * lane,
        far_bicycles=kerb + 1.5 + 2 * lane + 0.55,
        parking=parking + 0.1,
        kerb_far=parking + 1.2,
        facade=facade,
        crossing_x=middle + rng.uniform(-6.0, 6.0),
        houses=houses,
        lamps=(*lamps, near_lamp),
        trees=trees,
        shadow=(sun, rng.uniform(-0.35, 0.15)),
        dusk=blended((0.56, 0.44, 0.41), (0.40, 0.30, 0.29), rng.uniform()),
    )


def _build(rng: np.random.Generator, left: float, right: float) -> tuple[House, ...]:
    houses: list[House] = []
    while left < right:
        width = rng.uniform(6.0, 10.5)
        if rng.uniform() < 0.16:
            width /= 2
            houses.append(
                House(left, left + width, 0, shaded((58, 112, 84), rng.uniform(0.85, 1.1)), None, left, False)
            )
        else:
            colour = shaded(_WALLS[int(rng.integers(len(_WALLS)))], rng.uniform(0.85, 1.05))
            roof = _ROOFS[int(rng.integers(len(_ROOFS)))] if rng.uniform() < 0.55 else None
            door = left + width * rng.uniform(0.12, 0.3)
            floors, shop = int(rng.integers(2, 4)), bool(rng.uniform() < 0.6)
            houses.append(House(left, left + width, floors, colour, roof, door, shop))
        left += width
    return tuple(houses)


def lamp(layout: Layout, x: float, y: float) -> list[Face]:
    """A street lamp with a dark head; the scene adds its light."""
    across = np.array(layout.view.right)

    def bar(left: float, right: float, low: float, high: float) -> Points:
        ends = [(left, low), (right, low), (right, high), (left, high)]
        return np.array([(x + across[0] * side, y + across[1] * side, z) for side, z in ends])

    iron: Colour = (74, 72, 66)
    return [
        Face(bar(-0.14, 0.14, 0.0, 0.5), shaded(iron, 0.85)),
        Face(bar(-0.07, 0.07, 0.5, 4.6), iron),
        Face(bar(-0.26, 0.26, 4.6, 4.75), shaded(iron, 0.8)),
        Face(bar(-0.2, 0.2, 4.25, 4.6), (190, 214, 222)),
    ]


def tree(layout: Layout, x: float, y: float, size: float, rng: np.random.Generator) -> list[Face]:
    """A tree in leaf: a trunk and a heap of round shapes, dark below and light above."""
    across = np.array(layout.view.right)

    def flat(shape: Points) -> Points:
        return np.column_stack((x + shape[:, 0] * across[0], y + shape[:, 0] * across[1], shape[:, 1]))

    trunk = np.array([(-0.16, 0.0), (0.16, 0.0), (0.1, 2.6), (-0.1, 2.6)]) * size
    faces = [Face(flat(trunk), (56, 74, 92))]
    green = blended((62, 118, 88), (70, 140, 140), float(rng.uniform()))
    angles = np.linspace(0, 2 * math.pi, 14, endpoint=False)
    for level, count, spread in ((0.75, 5, 1.2), (0.95, 5, 0.95), (1.15, 4, 0.6)):
        for place in np.linspace(-1, 1, count):
            middle = (place * spread + rng.uniform(-0.2, 0.2), 2.1 + level * 1.35 + rng.uniform(-0.3, 0.3))
            radius = rng.uniform(0.55, 0.85) * (1 + 0.12 * np.sin(angles * 5 + rng.uniform(0, 6)))
            leaf = np.column_stack((middle[0] + np.cos(angles) * radius, middle[1] + np.sin(angles) * radius * 0.85))
            faces.append(Face(flat(leaf * size), shaded(green, level * rng.uniform(0.92, 1.08))))
    return faces


def paint_street(layout: Layout, seed: int, dusk: bool) -> Picture:
    """The empty street without its props, of shape (height, width, 3). The same seed paints the same houses."""
    rng = np.random.default_rng((seed, 1))
    view, light = layout.view, layout.dusk if dusk else DAYLIGHT
    picture = _sky(view, rng, dusk)
    left, right = layout.edges(layout.facade, 14.0)
    ground = _strip(left, right, layout.facade, layout.facade + 40)
    paint(picture, [Face(ground, (96, 128, 118))], view, light)
    houses = _houses(layout, rng, dusk)
    paint(picture, houses, view, light)
    paint(picture, _ground(layout, rng), view, light)
    shape = (view.height, view.width)
    grain = cv2.GaussianBlur(rng.normal(0, 9, shape).astype(np.float32), (0, 0), 0.8)
    stains = cv2.resize(
        rng.normal(0, 3, (23, 40)).astype(np.float32), (view.width, view.height), interpolation=cv2.INTER_CUBIC
    )
    textured = (picture + ((grain + stains) * min(light))[:, :, None]).clip(0, 255).astype(np.uint8)
    if dusk:
        for x, y in layout.lamps:
            foot = view.pixels(np.array([(x, y, 0.0)]))[0]
            scale = view.pixels_per_metre(x, y)
            glow(textured, foot[0], foot[1], (5.5 * scale, 1.7 * scale), (40, 78, 104))
            glow(textured, foot[0], foot[1] - 3.6 * scale, (3.2 * scale, 3.2 * scale), (26, 48, 62))
    return textured


def _sky(view: View, rng: np.random.Generator, dusk: bool) -> Picture:
    overcast = rng.uniform()
    if dusk:
        top, bottom = (
            blended((104, 62, 44), (92, 70, 66), overcast),
            blended((118, 138, 226), (128, 122, 170), overcast),
        )
    else:
        top, bottom = (
            blended((226, 176, 112), (212, 204, 196), overcast),
            blended((248, 232, 208), (226, 222, 218), overcast),
        )
    share = np.clip(np.linspace(0, view.height / (view.horizon + 1), view.height), 0, 1)[:, None, None]
    picture = np.array(top) * (1 - share) + np.array(bottom) * share + np.zeros((view.height, view.width, 3))
    sky: Picture = picture.astype(np.uint8)
    puff = (20, 18, 34) if dusk else (18, 24, 34)
    for _ in range(int(rng.integers(3, 6))):
        column, row, size = rng.uniform(0, view.width), rng.uniform(0, view.horizon * 0.6), rng.uniform(20, 46)
        for step in np.linspace(-1, 1, 5):
            glow(sky, column + step * size * 1.2, row + rng.uniform(-3, 3), (size, size * rng.uniform(0.2, 0.3)), puff)
    far = (92, 70, 84) if dusk else (206, 190, 172)
    edge = 0.0
    while edge < view.width:
        step, rise = rng.uniform(18, 60), rng.uniform(0.1, 0.42) * view.horizon
        top_row = int(view.horizon - rise)
        cv2.rectangle(
            sky, (int(edge), top_row), (int(edge + step), view.height), shaded(far, rng.uniform(0.94, 1.04)), -1
        )
        edge += step
    return sky


def _strip(left: float, right: float, near: float, far: float, z: float = 0.0) -> Points:
    return np.array([(left, near, z), (right, near, z), (right, far, z), (left, far, z)])


def _wall(left: float, right: float, y: float, low: float, high: float) -> Points:
    return np.array([(left, y, low), (right, y, low), (right, y, high), (left, y, high)])


def _houses(layout: Layout, rng: np.random.Generator, dusk: bool) -> list[Face]:
    y = layout.facade
    walls: list[Face] = []
    fronts: list[Face] = []
    for house in layout.houses:
        left, right, high = house.left, house.right, house.height
        if not house.floors:
            fronts += _garden(house, y, rng)
            continue
        for x in (left, right):
            side = np.array([(x, y, 0), (x, y + 9, 0), (x, y + 9, high), (x, y, high)])
            walls.append(Face(side, shaded(house.colour, 0.72)))
        if house.roof is not None:
            ridge = [(right - 0.8, y + 3, high + 1.9), (left + 0.8, y + 3, high + 1.9)]
            walls.append(Face(np.array([(left, y, high), (right, y, high), *ridge]), house.roof))
        fronts += _front(house, y, rng, dusk)
    return walls + fronts


def _garden(house: House, y: float, rng: np.random.Generator) -> list[Face]:
    left, right = house.left, house.right
    posts = np.linspace(left, right, 9)
    tops = 1.15 + rng.uniform(-0.08, 0.08, 9)
    hedge = [(left, y, 0.0), *[(x, y, top) for x, top in zip(posts, tops, strict=True)], (right, y, 0.0)]
    reach = (right - left) * 0.55
    angles = np.linspace(0, 2 * math.pi, 18)
    radius = reach * (1 + 0.08 * np.sin(angles * 5))
    crown = np.column_stack(
        ((left + right) / 2 + np.cos(angles) * radius, np.full(18, y + 6.0), 3.4 + np.sin(angles) * radius * 0.9)
    )
    return [Face(crown, shaded(house.colour, 0.82)), Face(np.array(hedge), house.colour)]


def _front(house: House, y: float, rng: np.random.Generator, dusk: bool) -> list[Face]:
    x, width, colour, door = house.left, house.right - house.left, house.colour, house.door
    faces = [Face(_wall(x, house.right, y, 0, house.height), colour)]
    faces.append(Face(_wall(x, house.right, y, 0, 0.5), shaded(colour, 0.78)))
    faces.append(
        Face(_wall(x - 0.1, house.right + 0.1, y - 0.1, house.height - 0.3, house.height), shaded(colour, 1.16))
    )
    faces.append(Face(_wall(x, house.right, y, 3.25, 3.42), shaded(colour, 1.1)))
    count = max(int(width / 2.3), 2)
    for floor in range(1, house.floors):
        base = 3.4 + 2.75 * (floor - 1) + 0.65
        for number in range(count):
            middle = x + width * (number + 0.5) / count
            faces += _window((middle - 0.55, middle + 0.55), y, (base, base + 1.55), colour, rng, dusk)
    faces.append(Face(_wall(door - 0.6, door + 0.6, y, 0, 2.55), shaded(colour, 1.2)))
    painted = shaded(_AWNINGS[int(rng.integers(len(_AWNINGS)))], 0.6)
    faces.append(Face(_wall(door - 0.48, door + 0.48, y, 0, 2.42), painted))
    if not house.shop:
        for middle in np.arange(door + 1.9, house.right - 0.8, 2.2).tolist():
            faces += _window((middle - 0.55, middle + 0.55), y, (0.95, 2.6), colour, rng, dusk)
        return faces
    start, end = door + 1.0, house.right - 0.5
    faces += _window((start, end), y, (0.55, 2.6), colour, rng, dusk, shop=True)
    cloth = _AWNINGS[int(rng.integers(len(_AWNINGS)))]
    stripes = np.linspace(start - 0.2, end + 0.2, max(int((end - start) / 0.5), 3))
    for number, (one, two) in enumerate(itertools.pairwise(stripes)):
        corners = [(one, y, 3.15), (two, y, 3.15), (two, y - 0.9, 2.62), (one, y - 0.9, 2.62)]
        stripe = cloth if number % 2 else blended(cloth, _WHITE, 0.75)
        faces.append(Face(np.array(corners), stripe))
        faces.append(Face(_wall(one, two, y - 0.9, 2.45, 2.62), shaded(stripe, 0.88)))
    return faces


def _window(
    span: tuple[float, float],
    y: float,
    rise: tuple[float, float],
    colour: Colour,
    rng: np.random.Generator,
    dusk: bool,
    shop: bool = False,
) -> list[Face]:
    (left, right), (low, high) = span, rise
    burns = bool(rng.uniform() < 0.42) or shop
    glass = blended((120, 96, 74), (168, 146, 122), rng.uniform())
    warm = shaded(_LIT, rng.uniform(0.55, 0.9))
    faces = [Face(_wall(left - 0.12, right + 0.12, y, low - 0.12, high + 0.12), shaded(colour, 1.18))]
    faces.append(Face(_wall(left, right, y, low, high), warm if dusk and burns else glass, glows=dusk and burns))
    bars = np.linspace(left, right, max(int((right - left) / (1.3 if shop else 0.55)), 2) + 1)[1:-1]
    faces += [Face(_wall(bar - 0.035, bar + 0.035, y, low, high), shaded(colour, 1.1)) for bar in bars]
    faces.append(Face(_wall(left - 0.2, right + 0.2, y - 0.05, low - 0.2, low - 0.08), shaded(colour, 0.82)))
    return faces


def _ground(layout: Layout, rng: np.random.Generator) -> list[Face]:
    def across(near: float, far: float, colour: Colour) -> Face:
        (l1, r1), (l2, r2) = layout.edges(near, 3.0), layout.edges(far, 3.0)
        return Face(np.array([(l1, near, 0), (r1, near, 0), (r2, far, 0), (l2, far, 0)], float), colour)

    paving = blended((168, 172, 176), (150, 162, 172), rng.uniform())
    tar = blended((92, 88, 84), (112, 106, 102), rng.uniform())
    near, far = layout.kerb_near, layout.kerb_far
    lanes_near, lanes_far = layout.near_bicycles + 0.75, layout.far_bicycles + 0.6
    path = blended(tar, (70, 84, 150), rng.uniform(0.1, 0.45))
    faces = [across(far, layout.facade, paving), across(2.0, near, shaded(paving, 0.96))]
    for depth in np.arange(far + 0.9, layout.facade, 0.9).tolist():
        faces.append(across(depth, depth + 0.05, shaded(paving, 0.9)))
    for depth in np.arange(6.0, near - 0.4, 1.2).tolist():
        faces.append(across(depth, depth + 0.05, shaded(paving, 0.88)))
    for y_near, y_far in ((far, layout.facade), (6.0, near)):
        left, right = layout.edges(y_far, 4.0)
        for x in np.arange(left, right, 1.5).tolist():
            faces.append(Face(_strip(x, x + 0.05, y_near, y_far), shaded(paving, 0.9)))
    faces += [across(near, far, tar), across(near, lanes_near, path), across(lanes_far - 1.2, lanes_far, path)]
    faces.append(across(lanes_far, far, shaded(tar, 1.08)))
    left, right = layout.edges(far, 4.0)
    dash_phase = rng.uniform(0, 2)
    middle = (layout.near_lane + layout.far_lane) / 2
    for x in np.arange(left, right, 4.0).tolist():
        faces.append(Face(_strip(x + dash_phase, x + dash_phase + 1.8, middle - 0.07, middle + 0.07), _WHITE))
        faces.append(Face(_strip(x, x + 2.6, lanes_near - 0.06, lanes_near + 0.04), shaded(_WHITE, 0.9)))
        faces.append(Face(_strip(x, x + 2.6, lanes_far - 1.26, lanes_far - 1.16), shaded(_WHITE, 0.9)))
    for x in np.arange(left, right, 5.8).tolist():
        faces.append(Face(_strip(x, x + 0.1, lanes_far, far), shaded(_WHITE, 0.92)))
    bar = layout.crossing_x
    faces.append(Face(_strip(bar - 1.9, bar + 1.9, near, far), tar))
    for depth in np.arange(near + 0.3, far - 0.4, 0.95).tolist():
        faces.append(Face(_strip(bar - 1.6, bar + 1.6, depth, depth + 0.5), _WHITE))
    stone = shaded(paving, 1.16)
    faces += [across(far, far + 0.28, stone), across(near - 0.32, near, stone)]
    faces += [across(near, near + 0.12, shaded(tar, 0.6)), across(far - 0.16, far, shaded(tar, 0.6))]
    return faces
