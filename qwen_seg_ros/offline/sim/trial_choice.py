"""Who chooses the grasp in a trial: the planner on full or seen clouds, the whole pipeline by instruction, simple baselines."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from qwen_seg_ros.frame import Frame
from qwen_seg_ros.geometry.mask import CroppedMask
from qwen_seg_ros.geometry.oriented_box import fit_level_box
from qwen_seg_ros.geometry.plane import Plane
from qwen_seg_ros.geometry.transform import transform
from qwen_seg_ros.grasping.grasp import Grasp, GraspPlan
from qwen_seg_ros.grasping.gripper import Gripper
from qwen_seg_ros.grasping.planner import plan_grasps
from qwen_seg_ros.lifting.lift import lift
from qwen_seg_ros.lifting.object_cloud import Lifted, ObjectCloud, Scene
from qwen_seg_ros.offline.sim.trial_physics import Outcome
from qwen_seg_ros.offline.sim.trial_solids import SurfaceCloud
from qwen_seg_ros.pipeline import Pipeline
from qwen_seg_ros.segmentation.result import Instance, SegmentationResult
from qwen_seg_ros.segmentation.result import Outcome as Answer
from qwen_seg_ros.settings import Settings
from qwen_seg_ros.status import StatusCode

EYE_M = 1.5  # height above the table from which the full cloud counts as seen
HIGHEST_BITE_M = 0.02
PALM_GAP_M = 0.005


@dataclass(frozen=True, eq=False)
class Sight:
    """What is known in a trial: a noisy view, and the truth for those who may use it.

    ids (H, W): number of the object plus one, 0 = none. clouds: full surfaces of all objects in the base frame, None = not there.
    targets: numbers of the objects that may be taken.
    """

    frame: Frame
    ids: np.ndarray
    clouds: tuple[SurfaceCloud | None, ...]
    targets: tuple[int, ...]
    instruction: str = ""


@dataclass(frozen=True, eq=False)
class Choice:
    """The grasp in the base frame and the number of its object, or the reason why there is none."""

    target: int = -1
    grasp: Grasp | None = None
    reason: Outcome = Outcome.NO_GRASP


Chooser = Callable[[Sight], Choice]


class Choosers:
    """The ways to choose, by name; the model is loaded when it is first needed."""

    def __init__(self, settings: Settings, gripper: Gripper) -> None:
        self.settings, self.gripper = settings, gripper
        self._pipeline: Pipeline | None = None

    def oracle(self, sight: Sight) -> Choice:
        """True masks and the full surface of everything."""
        return self._best(sight, full_lifted(sight, self.settings.lifting.table_clearance_m))

    def view(self, sight: Sight) -> Choice:
        """True masks of the targets in one noisy view."""
        return self._best(sight, self._seen(sight))

    def model(self, sight: Sight) -> Choice:
        """Words and the view alone."""
        self._pipeline = self._pipeline or Pipeline(self.settings)
        result = self._pipeline.run(sight.frame, sight.instruction)
        if result.status.code in (StatusCode.NOT_FOUND, StatusCode.UNREADABLE_ANSWER):
            return Choice(reason=Outcome.NOT_FOUND)
        if result.segmentation is None or result.lifted is None or not result.lifted.objects:
            return Choice(reason=Outcome.NO_CLOUD)
        first = result.lifted.objects[0].id
        meant = _object_under(result.segmentation.instances[first - 1].mask, sight.ids)
        if meant not in sight.targets:
            return Choice(reason=Outcome.WRONG_OBJECT)
        return _best_of([(meant, result.plans[0])])

    def centroid(self, sight: Sight) -> Choice:
        """Straight down on the mean of the seen points, closing across the shorter side."""
        return self._straight_down(sight, lambda points: (points.mean(axis=0)[:2], float(points[:, 2].mean())))

    def highest(self, sight: Sight) -> Choice:
        """Straight down on the highest seen point, closing across the shorter side."""

        def place(points: np.ndarray) -> tuple[np.ndarray, float]:
            top = points[points[:, 2].argmax()]
            return top[:2], float(top[2]) - HIGHEST_BITE_M

        return self._straight_down(sight, place)

    def _seen(self, sight: Sight) -> Lifted:
        known = [n for n in sight.targets if (sight.ids == n + 1).any()]
        masks = [CroppedMask.from_full(sight.ids == n + 1) for n in known]
        instances = tuple(Instance(str(n), m.box_px, m, 1.0, 1.0) for n, m in zip(known, masks, strict=True))
        lifted = lift(sight.frame, SegmentationResult("", Answer.FOUND, instances), self.settings.lifting)
        assert sight.frame.base_from_camera is not None
        return lifted.moved(sight.frame.base_from_camera)

    def _best(self, sight: Sight, lifted: Lifted) -> Choice:
        if not lifted.objects:
            return Choice(reason=Outcome.NO_CLOUD)
        wanted = [cloud for cloud in lifted.objects if int(cloud.phrase) in sight.targets]
        plans = [(int(c.phrase), plan_grasps(c, lifted.scene, self.gripper, self.settings.grasping)) for c in wanted]
        return _best_of(plans)

    def _straight_down(self, sight: Sight, place: Callable[[np.ndarray], tuple[np.ndarray, float]]) -> Choice:
        """On the object that reaches highest."""
        objects = self._seen(sight).objects
        if not objects:
            return Choice(reason=Outcome.NO_CLOUD)
        cloud = max(objects, key=lambda item: float(item.points_m[:, 2].max()))
        xy, z = place(cloud.points_m)
        lowest = self.settings.grasping.table_clearance_m + self.gripper.tip_beyond_tcp_m
        palm = float(cloud.points_m[:, 2].max()) - self.gripper.palm_above_tcp_m + PALM_GAP_M
        return Choice(int(cloud.phrase), self._down(xy, max(z, lowest, palm), cloud.box.pose[:3, 1]))

    def _down(self, xy: np.ndarray, z: float, closing: np.ndarray) -> Grasp:
        y = np.array([*closing[:2], 0.0]) / np.linalg.norm(closing[:2])
        down = np.array([0.0, 0.0, -1.0])
        turn = np.stack([np.cross(y, down), y, down], axis=1)
        tcp = np.array([*xy, z])
        before = transform(turn, tcp - self.settings.grasping.pregrasp_m * down)
        return Grasp(transform(turn, tcp), before, self.gripper.max_opening_m, 1.0, "straight_down")


def full_lifted(sight: Sight, clearance_m: float) -> Lifted:
    """All objects with their full surfaces, seen from above the middle of the targets; phrases are their numbers."""
    objects, points, ids = [], [], []
    for number, cloud in enumerate(sight.clouds):
        if cloud is not None:
            keep = cloud.points_m[:, 2] > clearance_m
            objects.append(_object_cloud(number, SurfaceCloud(cloud.points_m[keep], cloud.normals[keep])))
            points.append(cloud.points_m[keep])
            ids.append(np.full(int(keep.sum()), number + 1, np.uint16))
    up = np.array([0.0, 0.0, 1.0])
    middle = np.mean([points[k].mean(axis=0) for k, o in enumerate(objects) if int(o.phrase) in sight.targets], axis=0)
    eye = np.array([*middle[:2], EYE_M])
    return Lifted(tuple(objects), Scene(np.concatenate(points), np.concatenate(ids), Plane(up, 0.0), up, eye))


def _object_cloud(number: int, cloud: SurfaceCloud) -> ObjectCloud:
    box = fit_level_box(cloud.points_m[:, :2], 0.0, float(cloud.points_m[:, 2].max()))
    colours = np.zeros((len(cloud.points_m), 3), np.uint8)
    return ObjectCloud(number + 1, str(number), 1.0, cloud.points_m, colours, cloud.normals, box, 1.0)


def _best_of(plans: list[tuple[int, GraspPlan]]) -> Choice:
    found = [(plan.grasps[0].score, target, plan.grasps[0]) for target, plan in plans if plan.grasps]
    if not found:
        return Choice()
    _, target, grasp = max(found, key=lambda item: item[0])
    return Choice(target, grasp)


def _object_under(mask: CroppedMask, ids: np.ndarray) -> int:
    """Number of the object that most of the mask lies on, -1 = none."""
    return int(np.bincount(ids[mask.full()], minlength=1).argmax()) - 1
