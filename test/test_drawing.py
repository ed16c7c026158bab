"""Pictures of results: right size, inputs untouched, marks where the objects and grasps are."""

import numpy as np
import pytest
from synthetic import synthetic_scene

from qwen_seg_ros.drawing import BACKGROUND, BEST_GRASP, color, draw_cloud, draw_overlay
from qwen_seg_ros.frame import Frame
from qwen_seg_ros.geometry.mask import CroppedMask
from qwen_seg_ros.geometry.transform import transform
from qwen_seg_ros.grasping.grasp import Grasp, GraspPlan
from qwen_seg_ros.lifting.lift import lift
from qwen_seg_ros.lifting.object_cloud import Lifted
from qwen_seg_ros.segmentation.result import Instance, Outcome, SegmentationResult


def scene(width: int = 640, height: int = 480, names: tuple[str, ...] = ("box", "can")) -> tuple[Frame, SegmentationResult]:
    frame, masks, _ = synthetic_scene(1, list(names), width=width, height=height)
    crops = [CroppedMask.from_full(m) for m in masks]
    instances = tuple(Instance(n, c.box_px, c, 0.9, 0.8) for n, c in zip(names, crops, strict=True))
    return frame, SegmentationResult("all", Outcome.FOUND, instances)


def top_grasps(lifted: Lifted) -> list[GraspPlan]:
    plans = []
    for cloud in lifted.objects:
        axes = cloud.box.pose[:3, :3]
        pose = transform(np.column_stack([axes[:, 0], -axes[:, 1], -axes[:, 2]]), cloud.box.pose[:3, 3])
        plans.append(GraspPlan(cloud.id, cloud.phrase, (Grasp(pose, pose, 0.06, 0.9, "top_down"),)))
    return plans


@pytest.mark.parametrize("size", [(640, 480), (160, 120), (1280, 720)])
def test_overlay_marks_the_masks_and_leaves_the_image_alone(size: tuple[int, int]) -> None:
    frame, result = scene(*size)
    before = frame.rgb.copy()
    picture = draw_overlay(frame.rgb, result)
    assert picture.shape == frame.rgb.shape and picture.dtype == np.uint8
    np.testing.assert_array_equal(frame.rgb, before)
    for instance in result.instances:
        changed = (picture != frame.rgb).any(axis=-1)[instance.mask.rows_cols][instance.mask.crop]
        assert changed.mean() > 0.9


def test_grasps_are_drawn_where_they_project() -> None:
    frame, result = scene()
    plans = top_grasps(lift(frame, result))
    picture = draw_overlay(frame.rgb, result, frame.camera, plans)
    for plan in plans:
        x, y = np.rint(frame.camera.project((plan.grasps[0].pose @ [0, 0.03, 0, 1])[None, :3])[0]).astype(int)
        np.testing.assert_array_equal(picture[y, x], BEST_GRASP)
    np.testing.assert_array_equal(draw_overlay(frame.rgb, result, None, plans), draw_overlay(frame.rgb, result))


def test_odd_content_is_drawn_without_harm() -> None:
    frame, result = scene()
    nobody = Instance(
        "ein sehr langer Name für eine Tasse " * 4,
        np.array([-20, -20, 900, 900], np.float32),
        CroppedMask.from_full(np.zeros((480, 640), bool)),
        0,
        0,
    )
    assert draw_overlay(frame.rgb, SegmentationResult("x", Outcome.FOUND, (nobody,) * 9)).shape == (480, 640, 3)
    for outcome in (Outcome.NOT_FOUND, Outcome.UNREADABLE_ANSWER):
        assert (draw_overlay(frame.rgb, SegmentationResult("x", outcome)) != frame.rgb).any()
    behind = transform(np.eye(3), np.array([0, 0, -1.0]))
    plan = GraspPlan(1, "x", (Grasp(behind, behind, 0.05, 0.5, "top_down"),))
    np.testing.assert_array_equal(draw_overlay(frame.rgb, result, frame.camera, [plan]), draw_overlay(frame.rgb, result))


def test_cloud_picture_is_the_same_in_every_frame() -> None:
    frame, result = scene()
    lifted = lift(frame, result)
    plans = top_grasps(lifted)
    picture = draw_cloud(lifted, plans, (400, 300))
    assert picture.shape == (300, 400, 3)
    assert (picture != BACKGROUND).any(axis=-1).mean() > 0.1
    for number in (1, 2):
        assert (np.abs(picture.astype(int) - color(number)).sum(axis=-1) < 30).any()
    moved = draw_cloud(lifted.moved(frame.base_from_camera), [p.moved(frame.base_from_camera) for p in plans], (400, 300))
    assert np.abs(moved.astype(int) - picture).mean() < 5  # rounding moves single pixels


def test_cloud_picture_without_objects_says_so() -> None:
    frame, _ = scene()
    empty = lift(frame, SegmentationResult("x", Outcome.NOT_FOUND))
    picture = draw_cloud(empty)
    assert picture.shape == (480, 640, 3) and (picture != BACKGROUND).any()
