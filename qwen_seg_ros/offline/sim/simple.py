"""Scenes of the profile "simple": objects stand upright on the table without touching. Recordings and benchmarks made before
there were profiles name seeds of these, so nothing here may draw another random number."""

from dataclasses import dataclass

import cv2
import numpy as np

from qwen_seg_ros.offline.sim.looks import Finish
from qwen_seg_ros.offline.sim.placed import Placed
from qwen_seg_ros.offline.sim.stage import Stage
from qwen_seg_ros.offline.sim.world import LIGHTS, REPEATS, TABLE_HALF_M, background_numbers, mujoco

SPREAD_M = np.array([0.30, 0.22])  # half size of the area for object centres
PAINT_FINISH = Finish(0.3, 0.4)


@dataclass(frozen=True, eq=False)
class Outline:
    """hull_m: (V, 3) corners of an upright object seen from above, centred over the origin; place_m: what brings it there."""

    hull_m: np.ndarray
    height_m: float
    place_m: np.ndarray

    @property
    def radius_m(self) -> float:
        """Of a circle in which nearly all of it stands."""
        return float(np.linalg.norm(np.ptp(self.hull_m, axis=0)) / 2) * 0.85


class SimpleScenes:
    """Arranges and dresses a stage."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.outlines = [_outline(stage.vertices(i)) for i in range(len(stage.objects))]

    def arrange(self, rng: np.random.Generator, count: int) -> list[Placed]:
        """The objects that found a free place."""
        self.stage.clear()
        spread = SPREAD_M * rng.uniform(0.6, 1.0)
        placed: list[Placed] = []
        circles: list[tuple[np.ndarray, float]] = []
        for index in self._choose(rng, count):
            spot = _free_spot(rng, circles, self.outlines[index].radius_m, spread)
            if spot is not None:
                circles.append((spot, self.outlines[index].radius_m))
                placed.append(self._put(index, spot, rng.uniform(0, 2 * np.pi)))
                self.stage.show(index)
        return placed

    def dress(self, rng: np.random.Generator) -> None:
        """Table, floor, walls, shades of paint and lights."""
        self.stage.size_table(np.array(TABLE_HALF_M))
        for surface in REPEATS:
            number = int(rng.integers(len(background_numbers(surface, "starter"))))
            self.stage.paper(surface, number, rng.uniform(0.7, 1.0) * rng.uniform(0.92, 1.05, 3))
        for index, item in enumerate(self.stage.objects):
            if item.paint:
                shade = np.array(item.paint) * rng.uniform(0.8, 1.15) + rng.uniform(-0.03, 0.03, 3)
                self.stage.paint(index, shade, PAINT_FINISH)
        self.stage.fill_light(rng.uniform(0.22, 0.45), rng.uniform(0.05, 0.3))
        for light in range(LIGHTS):
            hang_lamp(self.stage, light, rng)

    def _choose(self, rng: np.random.Generator, count: int) -> list[int]:
        """Often objects of one category or colour are taken on purpose, so that there is something to tell apart."""
        objects = self.stage.objects
        order = [int(i) for i in rng.permutation(len(objects))]
        chosen = [order.pop()]
        while order and len(chosen) < count:
            like = objects[chosen[int(rng.integers(len(chosen)))]]
            kind = rng.random()
            same = "category" if kind < 0.3 else "colour" if kind < 0.45 else None
            fits = [i for i in order if same is None or getattr(objects[i], same) == getattr(like, same)]
            pick = (fits or order)[-1]
            order.remove(pick)
            chosen.append(pick)
        return chosen

    def _put(self, index: int, spot: np.ndarray, yaw: float) -> Placed:
        outline, stage = self.outlines[index], self.stage
        mocap = stage.model.body(f"object{index}").mocapid[0]
        turn = np.array([[np.cos(yaw), -np.sin(yaw)], [np.sin(yaw), np.cos(yaw)]])
        yaw_quat = np.array([np.cos(yaw / 2), 0, 0, np.sin(yaw / 2)])
        mujoco.mju_mulQuat(stage.data.mocap_quat[mocap], yaw_quat, stage.body_quat(index))
        stage.data.mocap_pos[mocap] = [*(turn @ outline.place_m[:2] + spot), outline.place_m[2]]
        return Placed.upright(index, stage.objects[index], outline.hull_m @ turn.T + spot, outline.height_m)


def hang_lamp(stage: Stage, light: int, rng: np.random.Generator) -> None:
    """A lamp somewhere above the table, the second half as bright and without shadow."""
    angle, reach = rng.uniform(0, 2 * np.pi), rng.uniform(0.3, 1.6)
    position = np.array([reach * np.cos(angle), reach * np.sin(angle), rng.uniform(1.2, 1.9)])
    aim = np.array([*rng.uniform(-0.2, 0.2, 2), 0])
    tint = np.array([1, rng.uniform(0.9, 1), rng.uniform(0.78, 1)])
    stage.hang_light(light, position, aim, rng.uniform(0.3, 0.8) / (1 + light) * tint, light == 0)


def _outline(points: np.ndarray) -> Outline:
    low, high = points.min(0), points.max(0)
    centre = np.array([*(low + high)[:2] / 2, low[2]])
    hull = cv2.convexHull((points - centre)[:, :2].astype(np.float32)).reshape(-1, 2)
    return Outline(hull, float(high[2] - low[2]), -centre)


def _free_spot(
    rng: np.random.Generator, circles: list[tuple[np.ndarray, float]], radius: float, spread: np.ndarray
) -> np.ndarray | None:
    gap = rng.uniform(0.01, 0.04)
    for attempt in range(60):
        spot = rng.uniform(-1, 1, 2) * (spread + 0.002 * attempt)
        if all(np.linalg.norm(spot - other) > radius + size + gap for other, size in circles):
            return spot
    return None
