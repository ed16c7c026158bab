"""Masks to grasps: this package beside a plain Open3D pipeline, milliseconds per object.

Both get the same picture, the same true masks and the same gripper, and take turns in one process. What the plain pipeline does
is what tutorials teach, step by step:

    cloud      the whole RGB-D image becomes one cloud
    table      segment_plane (RANSAC, 1000 planes) on that full cloud
    select     the object's points by its mask, less the table
    outliers   remove_statistical_outlier (20 neighbours, 2 sigma)
    clusters   DBSCAN (eps 12 mm, 10 points), the largest cluster stays
    box        get_minimal_oriented_bounding_box
    normals    estimate_normals by a KD-tree (10 mm, 30 neighbours)
    grasps     as many antipodal candidates as this package looked at: each crops the object's cloud between its fingers, and
               those that hold it crop the scene with the boxes of the hand (the far side is mostly unseen from one view and
               need not be seen; what is seen of it must lie inside the friction cone)

It is helped a little: for the grasps its object is thinned to 4 mm and its scene to 5 mm, as ours are, and a candidate that fails
a check is spared the next. It is no optimum either: cutting the picture at the masks and thinning before every step, as this
package does, would make it faster. Its boxes do not stand upright, and its grasps know nothing of unseen space. The two do not
find the same grasps; only the time is compared here (benchmarks/grasp_trials.py tells how well ours hold).

"cloud" and "table" are done once per picture and shared among its objects; so is this package's lifting, a single call.

    python benchmarks/open3d_comparison.py --scenes 6 --repeats 5      rendered scenes where QWEN_SEG_ASSETS is set
    python benchmarks/open3d_comparison.py --synthetic                 ray-cast scenes: nothing to install
    OMP_NUM_THREADS=1 python benchmarks/open3d_comparison.py           one core for Open3D, too
"""

import argparse
import os
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import open3d as o3d
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table

from qwen_seg_ros.errors import MissingExtraError
from qwen_seg_ros.frame import Frame
from qwen_seg_ros.geometry.arrays import MaskImage
from qwen_seg_ros.geometry.mask import CroppedMask
from qwen_seg_ros.grasping.gripper import Gripper, load_gripper
from qwen_seg_ros.grasping.planner import plan_grasps
from qwen_seg_ros.grasping.settings import GraspSettings
from qwen_seg_ros.lifting.lift import lift
from qwen_seg_ros.segmentation.result import Instance, Outcome, SegmentationResult

FIRST_SEED = 7_000_000  # away from training, development and evaluation
OBJECTS, LEAST_PX, NOISE_M = 5, 400, 0.001
GOAL_LIFT_MS, GOAL_PLAN_MS, GOAL_RATIO = 10.0, 40.0, 5.0
OURS = ("lifting", "planning")
LIFTING_STEPS = ("cloud", "table", "select", "outliers", "clusters", "box", "normals")
Times = dict[str, list[float]]  # milliseconds per object by step
Cloud = o3d.geometry.PointCloud


@dataclass(frozen=True, eq=False)
class Case:
    """A picture of `OBJECTS` things and their true masks."""

    frame: Frame
    masks: list[MaskImage]

    def segmentation(self) -> SegmentationResult:
        crops = [CroppedMask.from_full(mask) for mask in self.masks]
        things = tuple(Instance("thing", crop.box_px, crop, 1.0, 1.0) for crop in crops)
        return SegmentationResult("things", Outcome.FOUND, things)


def rendered(scenes: int) -> Iterator[Case]:
    """640x480 views of five objects, noise of a depth camera added.

    Raises:
        MissingExtraError: without MuJoCo or the assets.
    """
    from qwen_seg_ros.offline.sim.renderer import SceneRenderer

    renderer, seed, found = SceneRenderer(640, 480), FIRST_SEED, 0
    while found < scenes:
        (view,) = renderer.render(seed, count=(OBJECTS, OBJECTS))
        masks = [view.ids == item.id for item in view.objects]
        seed += 1
        if len(masks) == OBJECTS and min(mask.sum() for mask in masks) >= LEAST_PX:
            found += 1
            yield Case(noisy(view.frame(), seed), masks)


def noisy(frame: Frame, seed: int) -> Frame:
    noise = np.random.default_rng(seed).normal(0, NOISE_M, frame.depth_m.shape) * frame.depth_m**2
    return Frame(frame.rgb, (frame.depth_m + noise).astype(np.float32), frame.camera, frame.base_from_camera)


def ray_cast(scenes: int) -> Iterator[Case]:
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "test"))
    from synthetic import synthetic_scene

    for seed in range(scenes):
        yield Case(*synthetic_scene(seed, ["box", "can", "mug", "ball", "bowl"], noise_m=NOISE_M)[:2])


def cases(scenes: int, synthetic: bool, console: Console) -> tuple[list[Case], str]:
    if not synthetic:
        try:
            return list(rendered(scenes)), "rendered scenes"
        except MissingExtraError as error:
            console.print(f"ray-cast scenes instead of rendered ones: {error}", style="yellow")
    return list(ray_cast(scenes)), "ray-cast scenes"


@contextmanager
def timed(times: Times, step: str, shared_by: int = 1) -> Iterator[None]:
    start = time.perf_counter()
    yield
    times[step].append(1e3 * (time.perf_counter() - start) / shared_by)


def ours(case: Case, gripper: Gripper, settings: GraspSettings, times: Times) -> list[int]:
    """This package, as the node runs it -> how many candidates it looked at per object."""
    segmentation, proposed = case.segmentation(), []
    with timed(times, "lifting", len(case.masks)):
        lifted = lift(case.frame, segmentation).moved(case.frame.base_from_camera)
    for item in lifted.objects:
        with timed(times, "planning"):
            plan = plan_grasps(item, lifted.scene, gripper, settings)
        proposed.append(plan.proposed)
    return proposed


def plain(case: Case, gripper: Gripper, settings: GraspSettings, candidates: list[int], times: Times) -> int:
    """The plain Open3D pipeline -> how many grasps it found."""
    shares = len(case.masks)
    with timed(times, "cloud", shares):
        cloud, seen = whole_cloud(case.frame)
    with timed(times, "table", shares):
        plane, on_table = cloud.segment_plane(0.008, 3, 1000)
    off_table = np.ones(len(cloud.points), bool)
    off_table[on_table] = False
    plane = np.array(plane) * (1 if plane[3] > 0 else -1)  # the camera is above the table
    found = 0
    for number, mask in enumerate(case.masks):
        with timed(times, "select"):
            chosen = mask[seen] & off_table
            target = cloud.select_by_index(np.flatnonzero(chosen))
        target = cleaned(target, times)
        with timed(times, "grasps"):
            others = cloud.select_by_index(np.flatnonzero(off_table & ~chosen))
            search = GraspSearch(target.voxel_down_sample(0.004), others.voxel_down_sample(0.005), plane, gripper, settings)
            found += search.grasps(candidates[number], np.random.default_rng(number))
    return found


def whole_cloud(frame: Frame) -> tuple[Cloud, MaskImage]:
    """The cloud of all pixels with depth, row by row, and which pixels those are, (H, W)."""
    depth = o3d.geometry.Image(np.nan_to_num(frame.depth_m))
    picture = o3d.geometry.RGBDImage.create_from_color_and_depth(
        o3d.geometry.Image(np.ascontiguousarray(frame.rgb)), depth, 1.0, 100.0, False
    )
    camera = frame.camera
    lens = o3d.camera.PinholeCameraIntrinsic(camera.width, camera.height, camera.fx, camera.fy, camera.cx, camera.cy)
    return Cloud.create_from_rgbd_image(picture, lens), np.asarray(picture.depth) > 0


def cleaned(target: Cloud, times: Times) -> Cloud:
    """Outliers, clusters, box and normals of one object's cloud."""
    with timed(times, "outliers"):
        target = target.remove_statistical_outlier(20, 2.0)[0]
    with timed(times, "clusters"):
        labels = np.asarray(target.cluster_dbscan(0.012, 10))
        target = target.select_by_index(np.flatnonzero(labels == np.bincount(labels + 1)[1:].argmax()))
    with timed(times, "box"):
        target.get_minimal_oriented_bounding_box(robust=True)
    with timed(times, "normals"):
        target.estimate_normals(o3d.geometry.KDTreeSearchParamHybrid(0.01, 30))
        target.orient_normals_towards_camera_location(np.zeros(3))
    return target


class GraspSearch:
    """Antipodal candidates from single surface points, each checked by crops. plane: (4,) a b c d, normal up."""

    def __init__(self, target: Cloud, others: Cloud, plane: NDArray, gripper: Gripper, settings: GraspSettings) -> None:
        self.points, self.normals = np.asarray(target.points), np.asarray(target.normals)
        self.target, self.others, self.plane = target.points, others.points, plane
        self.gripper, self.settings = gripper, settings
        self.cone = np.cos(np.arctan(settings.friction))

    def grasps(self, candidates: int, rng: np.random.Generator) -> int:
        """How many of so many random candidates hold the object and touch nothing."""
        return sum(self._good(*self._candidate(rng)) for _ in range(candidates))

    def _candidate(self, rng: np.random.Generator) -> tuple[NDArray, NDArray]:
        """Rotation (3, 3) that closes along the normal of a random point and comes from above, and that point."""
        index = rng.integers(len(self.points))
        closing, side = self.normals[index], rng.normal(size=3)
        approach = side - closing * (side @ closing)
        approach /= np.linalg.norm(approach)
        approach *= -1 if approach @ self.plane[:3] > 0 else 1
        return np.stack([np.cross(closing, approach), closing, approach], axis=1), self.points[index]

    def _good(self, rotation: NDArray, point: NDArray) -> bool:
        hand = self.gripper
        opening = hand.max_opening_m
        between = self._crop(
            self.target,
            rotation,
            point,
            np.array([0, -opening / 2, 0]),
            np.array([hand.finger_width_m, opening, hand.pad_height_m]),
        )
        if len(between) < 2:
            return False
        along = (self.points[between] - point) @ rotation[:, 1]
        width = along.max() - along.min()
        if not self.settings.min_width_m <= width <= opening - self.settings.width_margin_m:
            return False
        far = self.normals[between][along < along.min() + 0.006] @ rotation[:, 1]
        if (far[far < -0.1] > -self.cone).any():
            return False
        middle = point + rotation[:, 1] * (along.max() + along.min()) / 2
        return self._free(rotation, middle, min(width + self.settings.opening_margin_m, opening))

    def _free(self, rotation: NDArray, middle: NDArray, opening: float) -> bool:
        """Whether the hand's boxes, drawn out to the pre-grasp pose, meet neither the table nor a point."""
        way = np.array([0, 0, self.settings.pregrasp_m])
        for centre, size in self.gripper.boxes(opening):
            reach = np.abs(rotation.T @ self.plane[:3]) @ size / 2
            if (middle + rotation @ centre) @ self.plane[:3] + self.plane[3] - reach < self.settings.table_clearance_m:
                return False
            if any(self._crop(cloud, rotation, middle, centre - way / 2, size + way) for cloud in (self.others, self.target)):
                return False
        return True

    def _crop(
        self, cloud: o3d.utility.Vector3dVector, rotation: NDArray, origin: NDArray, centre: NDArray, size: NDArray
    ) -> list[int]:
        """Which points lie in a box of the hand."""
        box = o3d.geometry.OrientedBoundingBox(origin + rotation @ centre, rotation, size)
        return list(box.get_point_indices_within_bounding_box(cloud))


def compare(todo: list[Case], repeats: int, gripper: Gripper, settings: GraspSettings, console: Console) -> tuple[Times, int]:
    """Milliseconds per object by step of both, in turns, and how many grasps the plain pipeline found.

    The first round of each pays for loading libraries and does not count.
    """
    times: Times = defaultdict(list)
    plain(todo[0], gripper, settings, ours(todo[0], gripper, settings, defaultdict(list)), defaultdict(list))
    found = 0
    for _ in track(range(repeats), description="rounds", console=console):
        for case in todo:
            candidates = ours(case, gripper, settings, times)
            found += plain(case, gripper, settings, candidates, times)
    return times, found


def per_object(times: Times, steps: tuple[str, ...]) -> float:
    """The sum of the steps' medians."""
    return sum(float(np.median(times[step])) for step in steps)


def report(times: Times, console: Console) -> None:
    table = Table(title="milliseconds per object")
    for column in ("", "step", "p50", "p95"):
        table.add_column(column, justify="left" if column in ("", "step") else "right")
    for who, steps in (("this package", OURS), ("plain Open3D", (*LIFTING_STEPS, "grasps"))):
        for step in steps:
            p50, p95 = np.percentile(times[step], [50, 95])
            table.add_row(who, step, f"{p50:.2f}", f"{p95:.2f}")
        table.add_row(who, "all", f"{per_object(times, steps):.2f}", "", style="bold", end_section=True)
    console.print(table)
    ratios = {
        "lifting": per_object(times, LIFTING_STEPS) / per_object(times, ("lifting",)),
        "grasps": per_object(times, ("grasps",)) / per_object(times, ("planning",)),
        "both": per_object(times, (*LIFTING_STEPS, "grasps")) / per_object(times, OURS),
    }
    console.print("times as fast as plain Open3D: " + ", ".join(f"{name} {value:.1f}" for name, value in ratios.items()))
    verdict("lifting, p50 per object", per_object(times, ("lifting",)), "<=", GOAL_LIFT_MS, console)
    verdict("planning, p50 per object", per_object(times, ("planning",)), "<=", GOAL_PLAN_MS, console)
    verdict("both beside plain Open3D", ratios["both"], ">=", GOAL_RATIO, console)


def verdict(what: str, value: float, sense: str, goal: float, console: Console) -> None:
    met = value <= goal if sense == "<=" else value >= goal
    console.print(f"{what}: {value:.1f}, goal {sense} {goal:g}: {'met' if met else 'missed'}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenes", type=int, default=4, help="pictures of five objects each (default 4)")
    parser.add_argument("--repeats", type=int, default=3, help="rounds over all pictures (default 3)")
    parser.add_argument("--gripper", default="panda", help="a gripper of the package, or the path of a gripper YAML file")
    parser.add_argument("--synthetic", action="store_true", help="ray-cast scenes even where assets are there")
    options = parser.parse_args()
    if options.scenes < 1 or options.repeats < 1:
        parser.error("--scenes and --repeats must be 1 or more")
    console = Console()
    gripper, settings = load_gripper(options.gripper), GraspSettings()
    todo, what = cases(options.scenes, options.synthetic, console)
    times, found = compare(todo, options.repeats, gripper, settings, console)
    threads = os.environ.get("OMP_NUM_THREADS", "all")
    console.print(f"{len(todo)} {what}, {OBJECTS} objects each, 640x480, {options.repeats} rounds, threads of Open3D: {threads}")
    console.print(f"plain Open3D found {found} grasps")
    report(times, console)


if __name__ == "__main__":
    main()
