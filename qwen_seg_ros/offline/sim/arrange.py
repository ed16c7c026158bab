"""Where the objects of a scene stand: free, side by side, lying, on one another, in bowls and trays."""

from collections.abc import Sequence

import numpy as np

from qwen_seg_ros.offline.sim.choosing import choose
from qwen_seg_ros.offline.sim.looks import Look
from qwen_seg_ros.offline.sim.placed import Placed
from qwen_seg_ros.offline.sim.profiles import SceneProfile
from qwen_seg_ros.offline.sim.shapes import yaw_turn
from qwen_seg_ros.offline.sim.stage import Stage
from qwen_seg_ros.offline.sim.standing import SLACK_M, Pose, dropped, gap_m, pushed_against, standing

AREA_M = np.array([0.38, 0.3])  # half size of what centres of objects may use of the table
CAN_LIE = {"bottle", "can", "carton", "mug", "cup", "cylinder", "cone", "tube", "pitcher", "book", "box"}
FLAT = {"box", "book", "block", "brick", "can", "cylinder", "disc", "plate", "cube"}  # that something can stand on
HOLLOW = {"bowl", "basket", "crate", "tray", "pan", "ramekin"}  # that something can lie in
ROUND = {"can", "cylinder"}  # nothing stands on these when they lie
ROLLS = {"ball", "fruit"}
SUNK_M = 0.004  # what is inside something reaches below its rim by at least this
TALLEST_M = 0.42
TRIES = {"free": 60, "beside": 8, "on": 6}


class Arranger:
    """Puts objects on a stage one after the other."""

    def __init__(self, stage: Stage, profile: SceneProfile, rng: np.random.Generator) -> None:
        self.stage, self.profile, self.rng = stage, profile, rng
        self.area_m = AREA_M * np.sqrt(rng.uniform(*profile.spread))
        self.placed: list[Placed] = []

    def arrange(self, count: int) -> list[Placed]:
        """The objects that found a place, in the order of their numbers."""
        self.stage.clear()
        chosen = choose(self.stage.objects, self.profile, count, self.rng)
        for index, _ in chosen:
            if self.stage.objects[index].solid:
                self.stage.stretch_randomly(index, self.rng)
        for index, look in sorted(chosen, key=lambda pick: -self._extent(pick[0])):
            self._place(index, look)
        return self.placed

    def _extent(self, index: int) -> float:
        """Large things are placed first, some earlier and some later than that."""
        return float(np.ptp(self.stage.surface(index).corners_m[:, :2], axis=0).max() * self.rng.uniform(0.5, 1.5))

    def _place(self, index: int, look: Look) -> None:
        turn, lying = self._turn(index)
        pose = standing(self.stage.surface(index), turn, np.zeros(2))
        found = self._on(index, pose) if self.rng.random() < self.profile.stacked else None
        if found is None and self.rng.random() < self.profile.touching:
            found = self._beside(pose)
        found = found or self._free(pose)
        if found is not None:
            at, support = found
            self.stage.put(index, at.turn, at.place_m)
            self.placed.append(Placed.at(index, look, at, support, lying))

    def _turn(self, index: int) -> tuple[np.ndarray, bool]:
        yaw, item = yaw_turn(self.rng.uniform(0, 2 * np.pi)), self.stage.objects[index]
        wants = self.rng.random() < self.profile.lying and item.category in CAN_LIE
        side = self.stage.surface(index).side(self.rng) if wants else None
        return (yaw, False) if side is None else (yaw @ side, True)

    def _free(self, pose: Pose) -> tuple[Pose, int] | None:
        gap = self.rng.uniform(0.004, 0.04)
        for attempt in range(TRIES["free"]):
            spot = self.rng.uniform(-1, 1, 2) * (self.area_m + 0.002 * attempt)
            at = pose.moved(np.array([*spot, 0]))
            if self._is_clear(at, self.placed, gap):
                return at, 0
        return None

    def _beside(self, pose: Pose) -> tuple[Pose, int] | None:
        """Touching something that stands on the table."""
        others = [p for p in self.placed if p.support == 0]
        for _ in range(TRIES["beside"] if others else 0):
            other, angle = others[int(self.rng.integers(len(others)))], self.rng.uniform(0, 2 * np.pi)
            start = pose.moved(np.array([*other.centre_m[:2], 0]))
            at = pushed_against(other.pose, start, np.array([np.cos(angle), np.sin(angle)]))
            inside = (np.abs(at.footprint_m.mean(axis=0)) < self.area_m).all()
            if inside and self._is_clear(at, [p for p in self.placed if p is not other], SLACK_M):
                return at, 0
        return None

    def _on(self, index: int, pose: Pose) -> tuple[Pose, int] | None:
        """On top of something flat or in something hollow."""
        category = self.stage.objects[index].category
        for number in self._supports(category, pose):
            below, rest = self._tower(number), self.placed[number - 1]
            beside = [p for n, p in enumerate(self.placed, 1) if n not in below]
            for _ in range(TRIES["on"]):
                spot = rest.centre_m[:2] + self.rng.uniform(-0.25, 0.25, 2) * rest.size_m[1]
                landed = dropped(pose.moved(np.array([*spot, 0])), [self.placed[n - 1].pose for n in below])
                if landed and below[landed[1]] == number and self._fits(landed[0], rest, beside):
                    return landed[0], number
        return None

    def _supports(self, category: str, pose: Pose) -> list[int]:
        """Numbers of objects that could carry it, in random order, three at most."""
        size = float(np.ptp(pose.footprint_m, axis=0).max())
        fits = []
        for number, other in enumerate(self.placed, 1):
            kind = self.stage.objects[other.index].category
            carries = kind in HOLLOW or (kind in FLAT and category not in ROLLS)
            if carries and not (other.lying and kind in ROUND) and size < 1.3 * other.size_m[1]:
                fits.append(number)
        return [int(n) for n in self.rng.permutation(fits)][:3]

    def _tower(self, number: int) -> list[int]:
        """An object and all that it stands on."""
        numbers = [number]
        while self.placed[numbers[-1] - 1].support:
            numbers.append(self.placed[numbers[-1] - 1].support)
        return numbers

    def _fits(self, at: Pose, rest: Placed, beside: Sequence[Placed]) -> bool:
        """Clear of its neighbours, not too high, and really inside where it should be inside."""
        hollow = self.stage.objects[rest.index].category in HOLLOW
        inside = not hollow or at.low_m < rest.pose.high_m - SUNK_M
        return inside and at.high_m < TALLEST_M and self._is_clear(at, beside, SLACK_M)

    def _is_clear(self, at: Pose, others: Sequence[Placed], gap: float) -> bool:
        centre, reach = at.footprint_m.mean(axis=0), np.ptp(at.footprint_m, axis=0).max()
        near = [p for p in others if np.linalg.norm(p.centre_m[:2] - centre) < reach + p.size_m[0] + gap]
        return all(gap_m(p.pose.footprint_m, at.footprint_m) >= gap * 0.99 for p in near)
