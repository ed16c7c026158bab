"""Laws and accuracy of the 3-D stage on ray-cast scenes with exact truth, and its behaviour on real depth pictures."""

import json
import os
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from synthetic import DEFAULT_SIZES_M, Shape, Truth, look_at_origin, points_in_base, synthetic_scene

from qwen_seg_ros.errors import InvalidInputError, SettingsError
from qwen_seg_ros.frame import Frame
from qwen_seg_ros.geometry.arrays import MaskImage
from qwen_seg_ros.geometry.camera import Camera
from qwen_seg_ros.geometry.mask import CroppedMask
from qwen_seg_ros.lifting.lift import lift
from qwen_seg_ros.lifting.object_cloud import Lifted, ObjectCloud
from qwen_seg_ros.lifting.settings import LiftSettings
from qwen_seg_ros.segmentation.result import Instance, Outcome, SegmentationResult

REAL = Path(os.environ.get("QWEN_SEG_REALDATA", "")) if os.environ.get("QWEN_SEG_REALDATA") else None
KINDS = ["box", "can", "ball", "bowl"]


def segmented(masks: list[MaskImage], phrases: list[str] | None = None) -> SegmentationResult:
    crops = [CroppedMask.from_full(m) for m in masks]
    names = phrases or [f"thing {k}" for k in range(len(masks))]
    return SegmentationResult(
        "all", Outcome.FOUND, tuple(Instance(n, c.box_px, c, 0.9, 0.8) for n, c in zip(names, crops, strict=True))
    )


def lift_scene(seed: int, shapes: list, **options) -> tuple[Frame, list[MaskImage], list[Truth], Lifted]:
    frame, masks, truths = synthetic_scene(seed, shapes, **options)
    return frame, masks, truths, lift(frame, segmented(masks))


def position_error_m(cloud: ObjectCloud, truth: Truth, base_from_camera: np.ndarray) -> float:
    return float(np.linalg.norm((base_from_camera @ cloud.box.pose)[:3, 3] - truth.centre_m))


def size_error(cloud: ObjectCloud, truth: Truth) -> np.ndarray:
    x, y, z = truth.size_m
    return np.abs(cloud.box.size_m / [max(x, y), min(x, y), z] - 1)


@pytest.mark.parametrize("kind", [k for k in DEFAULT_SIZES_M if k != "mug"])
@pytest.mark.parametrize("elevation_deg", [35, 65])
def test_the_scenes_agree_with_their_own_truth(kind: str, elevation_deg: float) -> None:
    frame, masks, (truth,) = synthetic_scene(1, [kind], elevation_rad=np.deg2rad(elevation_deg))
    in_object = (points_in_base(frame, masks[0]) - truth.centre_m) @ truth.base_from_object[:3, :3]
    assert (np.abs(in_object) < truth.size_m / 2 + 1e-4).all()
    np.testing.assert_allclose(in_object[:, 2].max(), truth.size_m[2] / 2, atol=0.003)


@pytest.mark.parametrize("kind", ["box", "can", "ball", "bowl", "bottle"])
@pytest.mark.parametrize("elevation_deg", [35, 50, 65])
@pytest.mark.parametrize("noise_m", [0.0, 0.002])
def test_position_and_size_from_one_view(kind: str, elevation_deg: float, noise_m: float) -> None:
    frame, _, (truth,), lifted = lift_scene(2, [kind], elevation_rad=np.deg2rad(elevation_deg), noise_m=noise_m)
    (cloud,) = lifted.objects
    assert position_error_m(cloud, truth, frame.base_from_camera) < 0.008
    assert size_error(cloud, truth).max() < 0.12


def test_completion_finds_the_hidden_back() -> None:
    frame, masks, (truth,) = synthetic_scene(0, [Shape("bottle", (0.07, 0.07, 0.2))], elevation_rad=0.6)
    found = [lift(frame, segmented(masks), LiftSettings(complete=complete)).objects[0] for complete in (True, False)]
    completed, seen = (position_error_m(c, truth, frame.base_from_camera) for c in found)
    assert completed < 0.005 < seen


@pytest.mark.parametrize(("distortion", "known_pose"), [((), False), ((0.08, -0.1, 0.001, -0.001, 0.02), True)])
def test_without_pose_and_with_a_distorting_lens(distortion: tuple, known_pose: bool) -> None:
    _, _, truths, lifted = lift_scene(3, KINDS, distortion=distortion, known_pose=known_pose)
    in_base = lifted.moved(look_at_origin(0.8, 0.8))
    assert in_base.scene.support.normal @ [0, 0, 1] > 0.9999 and abs(in_base.scene.support.offset_m) < 0.002
    for cloud, truth in zip(in_base.objects, truths, strict=True):
        np.testing.assert_allclose(cloud.box.pose[:3, 3], truth.centre_m, atol=0.01)


def test_small_images_work() -> None:
    frame, _, truths, lifted = lift_scene(4, ["box", "bowl"], width=160, height=120)
    for cloud, truth in zip(lifted.objects, truths, strict=True):
        assert position_error_m(cloud, truth, frame.base_from_camera) < 0.01


def test_boxes_stand_on_the_table_with_z_up() -> None:
    _, _, _, lifted = lift_scene(5, KINDS)
    for cloud in lifted.objects:
        np.testing.assert_allclose(cloud.box.pose[:3, 2], lifted.scene.up, atol=1e-6)
        assert lifted.scene.support.height(cloud.box.corners())[:4] == pytest.approx(0, abs=1e-5)
        assert cloud.box.size_m[0] >= cloud.box.size_m[1]


def test_a_table_that_depth_does_not_show_can_be_told() -> None:
    """A glossy table without depth: the object still reaches down to it, in any base frame and at any height."""
    frame, masks, truths = synthetic_scene(2, [Shape("box", (0.08, 0.06, 0.1))])
    assert frame.depth_m is not None and frame.base_from_camera is not None
    raised = np.eye(4)
    raised[2, 3] = 0.7
    bare = np.where(masks[0], frame.depth_m, np.nan).astype(np.float32)
    glossy = replace(frame, depth_m=bare, base_from_camera=raised @ frame.base_from_camera)
    told = LiftSettings(table_from="target_frame", table_height_m=0.7)
    lifted = lift(glossy, segmented(masks), told).moved(raised @ frame.base_from_camera)
    assert lifted.scene.support is not None and lifted.scene.support.normal == pytest.approx([0, 0, 1], abs=1e-6)
    assert lifted.scene.support.offset_m == pytest.approx(-0.7)
    bottom = lifted.objects[0].box.pose[2, 3] - lifted.objects[0].box.size_m[2] / 2
    assert bottom == pytest.approx(0.7, abs=0.003)
    assert lifted.objects[0].box.size_m[2] == pytest.approx(truths[0].size_m[2], abs=0.004)
    searched = lift(glossy, segmented(masks)).moved(raised @ frame.base_from_camera).scene.support
    assert searched is None or abs(-searched.offset_m - 0.7) > 0.05  # the top of the box
    without_pose = replace(frame, base_from_camera=None)
    assert lift(without_pose, segmented(masks), told).scene.support is not None  # searched, for want of a pose


def test_an_object_on_another_is_not_stretched_to_the_table() -> None:
    lower = Shape("box", (0.14, 0.14, 0.10))
    upper = Shape("can", (0.06, 0.06, 0.08), base_z_m=0.10)
    frame, _, truths, lifted = lift_scene(0, [lower, upper])
    assert position_error_m(lifted.objects[1], truths[1], frame.base_from_camera) < 0.01


def test_normals_are_unit_and_face_the_camera() -> None:
    _, _, _, lifted = lift_scene(6, KINDS)
    for cloud in lifted.objects:
        np.testing.assert_allclose(np.linalg.norm(cloud.normals, axis=1), 1, atol=1e-3)
        assert np.mean((cloud.normals * cloud.points_m).sum(axis=1) < 0.05) > 0.98


def test_normals_of_a_ball_point_away_from_its_centre() -> None:
    frame, _, (truth,), lifted = lift_scene(7, ["ball"])
    cloud = lifted.moved(frame.base_from_camera).objects[0]
    outward = (cloud.points_m - truth.centre_m) / np.linalg.norm(cloud.points_m - truth.centre_m, axis=1, keepdims=True)
    assert np.median((outward * cloud.normals).sum(axis=1)) > 0.98


def test_same_input_same_output() -> None:
    first, second = (lift_scene(8, KINDS, noise_m=0.002)[3] for _ in range(2))
    np.testing.assert_array_equal(first.scene.points_m, second.scene.points_m)
    for a, b in zip(first.objects, second.objects, strict=True):
        np.testing.assert_array_equal(a.box.pose, b.box.pose)


def test_permuting_instances_permutes_objects() -> None:
    frame, masks, _ = synthetic_scene(9, KINDS)
    order = [2, 0, 3, 1]
    plain, turned = lift(frame, segmented(masks)), lift(frame, segmented([masks[k] for k in order]))
    for place, k in enumerate(order):
        assert turned.objects[place].id == place + 1
        np.testing.assert_allclose(turned.objects[place].box.size_m, plain.objects[k].box.size_m, atol=1e-6)
        np.testing.assert_allclose(turned.objects[place].points_m, plain.objects[k].points_m, atol=1e-6)


def test_other_base_frames_change_nothing_in_the_camera() -> None:
    frame, masks, _ = synthetic_scene(10, ["box", "can"])
    turn = np.array([[0.0, -1, 0, 3], [1, 0, 0, -2], [0, 0, 1, 0.7], [0, 0, 0, 1]])
    elsewhere = lift(replace(frame, base_from_camera=turn @ frame.base_from_camera), segmented(masks))
    for a, b in zip(lift(frame, segmented(masks)).objects, elsewhere.objects, strict=True):
        np.testing.assert_allclose(a.box.pose, b.box.pose, atol=1e-9)


def test_moving_there_and_back() -> None:
    frame, _, _, lifted = lift_scene(11, ["box"])
    back = lifted.moved(frame.base_from_camera).moved(np.linalg.inv(frame.base_from_camera))
    np.testing.assert_allclose(back.objects[0].points_m, lifted.objects[0].points_m, atol=1e-5)
    np.testing.assert_allclose(back.objects[0].box.pose, lifted.objects[0].box.pose, atol=1e-9)
    np.testing.assert_allclose(back.scene.camera, 0, atol=1e-9)


def test_the_scene_holds_objects_and_neighbours_above_the_table() -> None:
    frame, masks, truths = synthetic_scene(12, ["box", "can"])
    lifted = lift(frame, segmented(masks[:1])).moved(frame.base_from_camera)  # the can is only a neighbour
    points, ids = lifted.scene.points_m, lifted.scene.object_ids
    assert set(np.unique(ids)) == {0, 1}
    assert points[:, 2].min() > 0.004
    can = np.linalg.norm(points[ids == 0, :2] - truths[1].centre_m[:2], axis=1)
    assert (can < truths[1].size_m[0] / 2 + 0.006).mean() > 0.95
    low, high = (f(lifted.objects[0].points_m, axis=0) for f in (np.min, np.max))
    assert (points > low - 0.3).all() and (points < high + 0.3).all()


def test_a_flat_object_is_kept_and_flagged() -> None:
    _, _, (truth,), lifted = lift_scene(13, ["card"])
    (cloud,) = lifted.objects
    assert {"flat", "thin"} <= set(cloud.flags)
    assert size_error(cloud, truth)[:2].max() < 0.08


def test_an_object_at_the_edge_of_the_image_is_flagged() -> None:
    _, _, _, lifted = lift_scene(14, [Shape("box", (0.1, 0.1, 0.1), (0.0, 0.42))])
    assert "cut" in lifted.objects[0].flags


def test_a_mask_that_leaks_hardly_changes_the_box() -> None:
    frame, masks, (truth,) = synthetic_scene(15, ["can"])
    leaking = cv2.dilate(masks[0].astype(np.uint8), np.ones((9, 9))).astype(bool)
    (cloud,) = lift(frame, segmented([leaking])).objects
    assert position_error_m(cloud, truth, frame.base_from_camera) < 0.01 and size_error(cloud, truth).max() < 0.15


def test_flying_pixels_do_not_stretch_the_box() -> None:
    frame, masks, (truth,) = synthetic_scene(16, ["can"])
    edge = cv2.dilate(masks[0].astype(np.uint8), np.ones((3, 3))).astype(bool) & ~cv2.erode(
        masks[0].astype(np.uint8), np.ones((3, 3))
    ).astype(bool)
    depth = frame.depth_m.copy()
    depth[edge] += np.random.default_rng(0).uniform(0, 0.3, edge.sum()).astype(np.float32)
    (cloud,) = lift(replace(frame, depth_m=depth), segmented([masks[0] | edge])).objects
    assert position_error_m(cloud, truth, frame.base_from_camera) < 0.01 and size_error(cloud, truth).max() < 0.15


def test_holes_in_the_depth_are_survived() -> None:
    frame, masks, (truth,) = synthetic_scene(17, ["box"])
    depth = frame.depth_m.copy()
    depth[np.random.default_rng(1).random(depth.shape) < 0.5] = np.nan
    (cloud,) = lift(replace(frame, depth_m=depth), segmented(masks)).objects
    assert cloud.depth_coverage == pytest.approx(0.5, abs=0.05)
    assert position_error_m(cloud, truth, frame.base_from_camera) < 0.01 and size_error(cloud, truth).max() < 0.1


def refusal(frame: Frame, mask: MaskImage) -> str:
    lifted = lift(frame, segmented([mask], ["the glass"]))
    assert not lifted.objects and len(lifted.scene.points_m) == 0
    assert (lifted.refused[0].id, lifted.refused[0].phrase) == (1, "the glass")
    return lifted.refused[0].reason


def test_refusals_say_why() -> None:
    frame, (mask,), _ = synthetic_scene(18, ["box"])
    blind = frame.depth_m.copy()
    blind[mask] = np.nan
    nowhere = np.full_like(frame.depth_m, np.nan)
    few = np.zeros_like(mask)
    few[240, 300:310] = True
    assert refusal(replace(frame, depth_m=None), mask) == "the frame has no depth image"
    assert refusal(replace(frame, camera=None), mask) == "the frame has no camera calibration"
    assert refusal(frame, mask & False) == "the mask is empty"
    assert refusal(replace(frame, depth_m=blind), mask).startswith(
        "only 0% of the mask has depth, 30% are needed (transparent, black"
    )
    assert refusal(replace(frame, depth_m=nowhere), mask).startswith("only 0% of the mask has depth")
    assert refusal(frame, few).endswith("of the mask's 10 pixels have sound depth, 20 are needed")


def test_one_bad_instance_leaves_the_others() -> None:
    frame, masks, _ = synthetic_scene(19, ["box", "can"])
    lifted = lift(frame, segmented([masks[0] & False, masks[1]], ["ghost", "can"]))
    assert [o.id for o in lifted.objects] == [2] and [r.id for r in lifted.refused] == [1]


def test_nothing_to_lift_is_an_empty_result_with_an_up() -> None:
    frame, _, _ = synthetic_scene(20, ["box"])
    lifted = lift(frame, segmented([]))
    assert lifted.objects == () and lifted.refused == ()
    np.testing.assert_allclose(lifted.scene.up, frame.base_from_camera[2, :3])


def test_masks_of_another_size_are_refused() -> None:
    frame, _, _ = synthetic_scene(21, ["box"])
    with pytest.raises(InvalidInputError, match="masks must be for the frame's 640x480 image, got one for 320x240"):
        lift(frame, segmented([np.ones((240, 320), bool)]))


def test_settings_are_checked() -> None:
    with pytest.raises(SettingsError, match=r"voxel_m must be between 0\.001 and 0\.02, got 1\.0"):
        LiftSettings(voxel_m=1.0)


def real_frames(folder: str) -> list[tuple[str, Frame, list[MaskImage]]]:
    if REAL is None or not (REAL / folder).is_dir():
        pytest.skip(f"real depth pictures: set QWEN_SEG_REALDATA to a folder that holds {folder}/")
    return [_read_real(path) for path in sorted((REAL / folder).iterdir()) if path.is_dir()]


def _read_real(path: Path) -> tuple[str, Frame, list[MaskImage]]:
    info = json.loads((path / "camera.json").read_text())
    camera = Camera(info["width"], info["height"], info["fx"], info["fy"], info.get("cx", 319.5), info.get("cy", 239.5))
    rgb = cv2.imread(str(next(path.glob("color.*"))))[..., ::-1].copy()
    raw, ids = cv2.imread(str(path / "depth.png"), cv2.IMREAD_UNCHANGED), cv2.imread(str(path / "seg.png"), cv2.IMREAD_UNCHANGED)
    depth = np.where(raw > 0, raw * info.get("depth_unit_m", 0.001), np.nan).astype(np.float32)
    first = 2 if path.parent.name == "mOSD" else 1
    return path.name, Frame(rgb, depth, camera), [ids == k for k in range(first, int(ids.max()) + 1) if (ids == k).sum() > 300]


@pytest.mark.parametrize("folder", ["6dof-graspnet", "mOSD"])
def test_real_depth_gives_plausible_sizes(folder: str) -> None:
    sizes, refused = [], 0
    for _, frame, masks in real_frames(folder):
        lifted = lift(frame, segmented(masks))
        refused += len(lifted.refused)
        sizes += [o.box.size_m for o in lifted.objects]
        assert lifted.scene.support is not None
    sizes = np.array(sizes)
    assert refused <= 0.1 * len(sizes)
    assert (sizes[:, :2].max(axis=1) < 0.6).all() and (sizes[:, 2] < 0.45).all()
    assert 0.05 < np.median(sizes[:, 0]) < 0.3
