"""Which actors are on the demo's street, and where, in each frame; decided before anything is drawn.

The story has two acts with an empty street between them. Vehicles keep their distance and stop at the crossing for
those who wait there; people walk along the pavements, come out of doors, cross, stand for a while. One vehicle is
parked.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from framesift.demo.actors import dress
from framesift.demo.backdrop import Layout
from framesift.demo.body import Look, Pose

_BRAKE = 3.2
_PICK_UP = 2.2
_GAP_M = 2.2
_ROOM_M = 10.0
_RUN_UP_M = 16.0
_EMPTY_S = 2.5


@dataclass(frozen=True, slots=True)
class Track:
    """One actor's way: positions in metres for the frames from `first` on."""

    look: Look
    first: int
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    heading: NDArray[np.int8]
    travelled_m: NDArray[np.float64]

    def pose(self, number: int, lights: bool) -> Pose | None:
        """Where the actor is in a frame; None while it is not on the street."""
        at = number - self.first
        if not 0 <= at < len(self.x):
            return None
        moving = bool(at > 0 and self.travelled_m[at] - self.travelled_m[at - 1] > 0.01)
        travelled = float(self.travelled_m[at])
        return Pose(float(self.x[at]), float(self.y[at]), int(self.heading[at]), travelled, moving, lights)


@dataclass(frozen=True, slots=True)
class Act:
    """A stretch of the story in seconds: nobody is seen before `start_s` (unless it is 0) or after `end_s`."""

    start_s: float
    end_s: float
    opens: bool


@dataclass(frozen=True, slots=True)
class _Crossing:
    """Somebody on the crossing: arrives at the kerb, leaves it, and steps onto the other one."""

    arrives_s: float
    leaves_s: float
    done_s: float
    start_y: float
    end_y: float

    def blocks(self, y: float, now_s: float) -> bool:
        """Whether traffic at depth `y` should wait: while somebody is about to step into its lane or is still in it."""
        pace = (self.done_s - self.leaves_s) / (self.end_y - self.start_y)
        near, far = (self.leaves_s + (y + side - self.start_y) * pace for side in (-2.0, 2.0))
        enters, gone = min(near, far), max(near, far)
        return min(max(enters - 3.5, self.arrives_s), enters) <= now_s <= gone


def acts(duration_s: float) -> tuple[Act, ...]:
    """The story's acts; a story under 20 s has no time for an empty street."""
    if duration_s < 20:
        return (Act(0.0, duration_s + 60, True),)
    pause = duration_s * 0.46
    return Act(0.0, pause, True), Act(pause + _EMPTY_S, duration_s + 60, False)


def stage(layout: Layout, rng: np.random.Generator, duration_s: float, fps: float) -> tuple[Track, ...]:
    """The tracks of all actors through the story."""
    tracks: list[Track] = []
    for act in acts(duration_s):
        until = min(act.end_s, duration_s)
        walks, crossings = _people(layout, rng, act, until, fps)
        tracks += walks
        tracks += _parked(layout, rng, act, until, fps)
        for lane, heading in ((layout.near_lane, 1), (layout.far_lane, -1)):
            tracks += _lane(layout, rng, act, until, fps, lane, heading, crossings, bicycles=False)
        for lane, heading in ((layout.near_bicycles, 1), (layout.far_bicycles, -1)):
            tracks += _lane(layout, rng, act, until, fps, lane, heading, crossings, bicycles=True)
    return tuple(tracks)


@dataclass(slots=True)
class _Driver:
    look: Look
    start_s: float
    cruise: float
    at: float
    speed: float
    path: list[float]
    first: int


def _lane(
    layout: Layout,
    rng: np.random.Generator,
    act: Act,
    until_s: float,
    fps: float,
    y: float,
    heading: int,
    crossings: list[_Crossing],
    bicycles: bool,
) -> list[Track]:
    # They start far enough outside the picture to brake for whoever is on the crossing.
    left, right = layout.edges(y + 1.2, _RUN_UP_M)
    length = right - left
    stop_at = (layout.crossing_x - left if heading > 0 else right - layout.crossing_x) - 2.6
    queue: list[_Driver] = []
    mean_gap = 13.0 if bicycles else 4.6
    clear = length / (4.5 if bicycles else 7.0) + 2.5
    start = act.start_s + float(rng.exponential(mean_gap)) * (0.2 if act.opens else 0.6)
    if act.opens:
        start -= float(rng.uniform(1.0, 5.0))
    elif y == layout.far_lane:
        start += 6.0  # whoever comes to park has the lane for itself
    while start < until_s - (clear if act.end_s < until_s + 1 else 0):
        kind = "bicycle" if bicycles else ("truck" if rng.uniform() < 0.34 else "car")
        cruise = float(rng.uniform(3.8, 5.0) if bicycles else rng.uniform(6.5, 9.0))
        queue.append(_Driver(dress(kind, rng), start, cruise, 0.0, cruise, [], 0))
        start += float(rng.exponential(mean_gap)) + 1.6
    tracks: list[Track] = []
    step = 1 / fps
    on_road: list[_Driver] = []
    for tick in range(int((act.start_s - 8) * fps) if act.opens else int(act.start_s * fps), int(until_s * fps) + 1):
        now = tick * step
        if queue and queue[0].start_s <= now and (not on_road or on_road[-1].at > _ROOM_M):
            driver = queue.pop(0)
            driver.first = tick
            on_road.append(driver)
        blocked = any(crossing.blocks(y, now) for crossing in crossings)
        ahead: _Driver | None = None
        for driver in on_road:
            limit = driver.cruise
            if ahead is not None:
                space = ahead.at - driver.at - (ahead.look.length_m + driver.look.length_m) / 2 - _GAP_M
                limit = min(limit, float(np.sqrt(2 * _BRAKE * max(space, 0.0)) + ahead.speed * 0.6))
            line = stop_at - driver.look.length_m / 2 - driver.at
            if blocked and line > -0.6 and driver.speed**2 / (2 * _BRAKE) <= max(line, 0) + 0.7:
                limit = min(limit, float(np.sqrt(2 * _BRAKE * max(line, 0.0))))
            change = np.clip(limit - driver.speed, -1.4 * _BRAKE * step, _PICK_UP * step)
            driver.speed = max(driver.speed + float(change), 0.0)
            driver.at += driver.speed * step
            driver.path.append(driver.at)
            ahead = driver
        for driver in [one for one in on_road if one.at > length]:
            on_road.remove(driver)
            tracks.append(_rolled(driver, left, right, y, heading))
    return tracks + [_rolled(driver, left, right, y, heading) for driver in on_road]


def _rolled(driver: _Driver, left: float, right: float, y: float, heading: int) -> Track:
    gone = np.array(driver.path)
    gone = gone[gone < right - left - _RUN_UP_M + 5.0]
    outside = int((gone < _RUN_UP_M - 5.0).sum())
    gone = gone[outside:]
    x = left + gone if heading > 0 else right - gone
    return Track(driver.look, driver.first + outside, x, np.full(len(x), y), np.full(len(x), heading, np.int8), gone)


def _parked(layout: Layout, rng: np.random.Generator, act: Act, until_s: float, fps: float) -> list[Track]:
    """In an opening act a vehicle stands there and drives off at the end; in a later one it comes and stays."""
    look = dress("truck" if rng.uniform() < 0.4 else "car", rng)
    left, right = layout.edges(layout.parking, 5.0)
    spot = 0.0
    for _ in range(20):
        spot = float(rng.uniform(left + 8, right - 8))
        if abs(spot - layout.crossing_x) > look.length_m / 2 + 3:
            break
    first = int(act.start_s * fps)
    times = np.arange(first, int(until_s * fps) + 1) / fps
    if len(times) < 2:
        return []
    if act.opens:
        leaves = until_s - 7.0 if act.end_s < until_s + 1 else until_s + 60
        rolled = 0.5 * 1.8 * np.maximum(times - leaves, 0.0) ** 2
        merged = np.clip(rolled / 9.0, 0, 1)
    else:
        arrives = act.start_s + 5.0
        rolled = -0.5 * 1.8 * np.maximum(arrives + 1.0 - times, 0.0) ** 2
        merged = np.clip(-rolled / 9.0, 0, 1)
    merged = merged * merged * (3 - 2 * merged)
    y = layout.parking - merged * (layout.parking - layout.far_lane)
    x = spot - rolled
    seen = (x > left - 4) & (x < right + 4)
    if not seen.any():
        return []
    begin, end = int(np.argmax(seen)), len(seen) - int(np.argmax(seen[::-1]))
    heading = np.full(end - begin, -1, np.int8)
    return [Track(look, first + begin, x[begin:end], y[begin:end], heading, rolled[begin:end] - rolled[begin])]


def _people(
    layout: Layout, rng: np.random.Generator, act: Act, until_s: float, fps: float
) -> tuple[list[Track], list[_Crossing]]:
    walks: list[Track] = []
    crossings: list[_Crossing] = []
    busy = max(until_s - act.start_s, 4.0)
    routes = ("pass", "pass", "cross", "cross", "wait", "visit", "near", "visit", "near", "pass")
    for turn in range(int(busy / 3.6) + 2):
        route = "wait" if turn == 0 else ("cross" if turn == 1 else routes[int(rng.integers(len(routes)))])
        for _ in range(30):
            way, pauses = _route(layout, rng, route)
            speed = float(rng.uniform(1.15, 1.75))
            earliest = act.start_s - 18 if act.opens else act.start_s
            start = float(rng.uniform(earliest, until_s - 1))
            legs = np.hypot(*np.diff(np.array(way), axis=0).T)
            took = float(legs.sum() / speed + sum(pauses))
            if start + took < act.end_s or act.end_s > until_s + 1:
                break
        else:
            continue
        look = dress("person", rng)
        walks.append(_walked(look, way, pauses, speed, start, fps))
        if route == "cross":
            kerb = start + float(legs[0]) / speed
            steps = kerb + pauses[1]
            crossings.append(_Crossing(kerb, steps, steps + float(legs[1]) / speed, way[1][1], way[2][1]))
        if rng.uniform() < 0.3:
            beside = [(x + 0.55, y + 0.35) for x, y in way]
            walks.append(_walked(dress("person", rng), beside, pauses, speed, start, fps))
    return walks, crossings


def _route(layout: Layout, rng: np.random.Generator, kind: str) -> tuple[list[tuple[float, float]], list[float]]:
    """Way points in metres, and how long one pauses at each but the last, in seconds."""
    far = float(rng.uniform(layout.kerb_far + 0.9, layout.facade - 1.2))
    near = float(rng.uniform(layout.kerb_near - 2.6, layout.kerb_near - 0.9))
    doors = [house.door for house in layout.houses if house.floors]
    inside = [door for door in doors if layout.edges(layout.facade)[0] < door < layout.edges(layout.facade)[1]] or doors
    door = float(inside[int(rng.integers(len(inside)))])
    ends = layout.edges(far, 1.2)
    way_in, way_out = (ends[0], ends[1]) if rng.uniform() < 0.5 else (ends[1], ends[0])
    if kind == "near":
        ends = layout.edges(near, 1.0)
        return ([(ends[0], near), (ends[1], near)] if way_in < way_out else [(ends[1], near), (ends[0], near)]), [0.0]
    if kind == "visit":
        coming = [(way_in, far), (door, far), (door, layout.facade - 0.35)]
        return (coming if rng.uniform() < 0.5 else coming[::-1]), [0.0, 0.0]
    if kind == "wait":
        spot = float(layout.edges(far)[0] + (layout.edges(far)[1] - layout.edges(far)[0]) * rng.uniform(0.15, 0.85))
        deep = layout.kerb_far + 0.7
        return [(door, layout.facade - 0.35), (spot, deep), (way_out, far)], [0.0, float(rng.uniform(5, 9))]
    if kind == "cross":
        zebra = layout.crossing_x + float(rng.uniform(-1.1, 1.1))
        home = layout.edges(near, 1.0)[int(rng.integers(2))]
        way = [
            (home, near),
            (zebra, layout.kerb_near - 0.35),
            (zebra, layout.kerb_far + 0.6),
            (door, layout.facade - 0.4),
        ]
        return (way if rng.uniform() < 0.5 else way[::-1]), [0.0, float(rng.uniform(2.0, 3.2)), 0.0]
    return [(way_in, far), (way_out, far)], [0.0]


def _walked(
    look: Look, way: list[tuple[float, float]], pauses: list[float], speed: float, start_s: float, fps: float
) -> Track:
    times, xs, ys = [start_s], [way[0][0]], [way[0][1]]
    for number, (x, y) in enumerate(way[1:]):
        if pauses[number] > 0:
            times.append(times[-1] + pauses[number])
            xs.append(xs[-1])
            ys.append(ys[-1])
        times.append(times[-1] + float(np.hypot(x - xs[-1], y - ys[-1])) / speed)
        xs.append(x)
        ys.append(y)
    first = int(np.ceil(start_s * fps))
    ticks = np.arange(first, max(int(times[-1] * fps), first + 1)) / fps
    x_at, y_at = np.interp(ticks, times, xs), np.interp(ticks, times, ys)
    dx, dy = np.gradient(x_at) if len(ticks) > 1 else np.zeros(1), np.gradient(y_at) if len(ticks) > 1 else np.zeros(1)
    heading = np.where(np.abs(dx) > np.maximum(np.abs(dy) * 0.5, 1e-4), np.sign(dx), 0).astype(np.int8)
    travelled = np.concatenate(([0.0], np.cumsum(np.hypot(np.diff(x_at), np.diff(y_at)))))
    return Track(look, first, x_at, y_at, heading, travelled)
