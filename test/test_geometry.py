"""Laws of cameras, transforms, boxes, masks, clouds, normals and planes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from qwen_seg_ros.errors import InvalidInputError
from qwen_seg_ros.geometry.arrays import require
from qwen_seg_ros.geometry.box import area, grid_to_pixels, grown, iou, pixels_to_grid
from qwen_seg_ros.geometry.camera import Camera
from qwen_seg_ros.geometry.cloud import clusters, voxel_down, voxel_mean, voxel_numbers
from qwen_seg_ros.geometry.mask import CroppedMask, decode_rle, encode_rle, mask_iou
from qwen_seg_ros.geometry.normals import normals_from_depth
from qwen_seg_ros.geometry.oriented_box import fit_level_box
from qwen_seg_ros.geometry.plane import Plane, fit_support
from qwen_seg_ros.geometry.transform import (
    inverse,
    move_points,
    quaternion_from_rotation,
    rotation_from_quaternion,
    rotation_with_z,
    transform,
)

CAMERAS = {
    "rectified": Camera(640, 480, 600.0, 590.0, 322.5, 238.1),
    "plumb bob": Camera(640, 480, 600.0, 590.0, 322.5, 238.1, (0.08, -0.12, 0.001, -0.002, 0.03)),
    "rational": Camera(640, 480, 600.0, 590.0, 322.5, 238.1, (0.3, -0.1, 1e-4, 1e-4, 0.02, 0.35, -0.12, 0.01)),
    "fisheye": Camera(640, 480, 400.0, 400.0, 320.0, 240.0, (0.02, -0.005, 0.001, -0.0002), fisheye=True),
}
unit = st.floats(-1, 1, allow_nan=False)


def random_pose(rng: np.random.Generator) -> np.ndarray:
    return transform(rotation_from_quaternion(rng.normal(size=4)), rng.normal(size=3))


@pytest.mark.parametrize("camera", CAMERAS.values(), ids=CAMERAS)
def test_deproject_inverts_project(camera: Camera) -> None:
    rng = np.random.default_rng(0)
    points = np.column_stack([rng.uniform(-0.4, 0.4, (200, 2)), rng.uniform(0.9, 1.5, 200)])
    np.testing.assert_allclose(camera.deproject(camera.project(points), points[:, 2]), points, atol=2e-4)


@pytest.mark.parametrize("camera", CAMERAS.values(), ids=CAMERAS)
def test_project_inverts_deproject(camera: Camera) -> None:
    pixels = np.random.default_rng(1).uniform([60, 60], [580, 420], (200, 2))
    np.testing.assert_allclose(camera.project(camera.deproject(pixels, np.full(200, 0.7))), pixels, atol=0.1)


def test_scaled_camera_sees_the_same_rays() -> None:
    camera = CAMERAS["plumb bob"]
    half = camera.scaled_to(320, 240)
    pixels = np.array([[0.0, 0.0], [320.0, 100.0], [639.0, 479.0]])
    np.testing.assert_allclose(half.rays((pixels + 0.5) / 2 - 0.5), camera.rays(pixels), atol=1e-6)
    assert half.scaled_to(640, 480).cx == pytest.approx(camera.cx)


@pytest.mark.parametrize("values", [(640, 480, 0, 600), (640, 480, np.nan, 600), (0, 480, 600, 600), (640, 480, 600, -1)])
def test_uncalibrated_cameras_are_refused(values: tuple) -> None:
    with pytest.raises(InvalidInputError, match=r"camera must be calibrated.*got"):
        Camera(*values, cx=320.0, cy=240.0)


@given(arrays(np.float64, 4, elements=unit).filter(lambda q: np.linalg.norm(q) > 1e-3))
def test_quaternion_round_trip(quaternion: np.ndarray) -> None:
    rotation = rotation_from_quaternion(quaternion)
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-9)
    assert np.linalg.det(rotation) == pytest.approx(1)
    back = quaternion_from_rotation(rotation)
    assert back[3] >= 0 and np.linalg.norm(back) == pytest.approx(1)
    np.testing.assert_allclose(rotation_from_quaternion(back), rotation, atol=1e-9)


@pytest.mark.parametrize("quaternion", [[0, 0, 0, 0], [np.nan, 0, 0, 1]])
def test_quaternions_without_direction_are_refused(quaternion: list) -> None:
    with pytest.raises(InvalidInputError, match="a rotation needs a quaternion x y z w of length > 0, got"):
        rotation_from_quaternion(quaternion)


def test_inverse_cancels_and_moves_points_back() -> None:
    rng = np.random.default_rng(2)
    base_from_camera, points = random_pose(rng), rng.normal(size=(20, 3))
    np.testing.assert_allclose(inverse(base_from_camera) @ base_from_camera, np.eye(4), atol=1e-12)
    np.testing.assert_allclose(move_points(inverse(base_from_camera), move_points(base_from_camera, points)), points, atol=1e-5)


@given(arrays(np.float64, 3, elements=unit).filter(lambda v: np.linalg.norm(v) > 1e-3), arrays(np.float64, 3, elements=unit))
def test_rotation_with_z_is_right_handed_even_for_a_parallel_hint(z: np.ndarray, hint: np.ndarray) -> None:
    rotation = rotation_with_z(z, hint)
    np.testing.assert_allclose(rotation.T @ rotation, np.eye(3), atol=1e-9)
    assert np.linalg.det(rotation) == pytest.approx(1)
    np.testing.assert_allclose(rotation[:, 2], z / np.linalg.norm(z), atol=1e-9)
    np.testing.assert_allclose(rotation_with_z(z, z)[:, 2], rotation[:, 2], atol=1e-9)


@given(st.lists(st.integers(0, 1000), min_size=4, max_size=4), st.integers(1, 4000), st.integers(1, 4000))
def test_grid_boxes_survive_pixels(box: list[int], width: int, height: int) -> None:
    assert pixels_to_grid(grid_to_pixels(np.array(box), width, height), width, height).tolist() == box


def test_grid_covers_the_image() -> None:
    np.testing.assert_allclose(grid_to_pixels(np.array([0, 0, 1000, 1000]), 640, 480), [0, 0, 640, 480])
    assert pixels_to_grid(np.array([-5, -5, 700, 500]), 640, 480).tolist() == [0, 0, 1000, 1000]


def test_iou_of_same_apart_half_and_inverted_boxes() -> None:
    box = np.array([0, 0, 10, 10])
    others = np.array([box, [20, 20, 30, 30], [5, 0, 15, 10], [10, 10, 0, 0]])
    np.testing.assert_allclose(iou(box[None], others)[0], [1, 0, 1 / 3, 0])
    assert area(others[3]) == 0
    np.testing.assert_allclose(grown(box, 0.4), [-2, -2, 12, 12])


masks = arrays(np.bool_, array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=12))


@given(masks)
def test_rle_and_crop_round_trip(mask: np.ndarray) -> None:
    np.testing.assert_array_equal(decode_rle(encode_rle(mask), *mask.shape), mask)
    cropped = CroppedMask.from_full(mask)
    np.testing.assert_array_equal(cropped.full(), mask)
    assert cropped.area_px == mask.sum()


@pytest.mark.parametrize(
    ("mask", "counts"),
    [
        (np.zeros((2, 3), bool), [6]),
        (np.ones((2, 3), bool), [0, 6]),
        (np.array([[True, False], [False, False]]), [0, 1, 3]),
        (np.array([[False, False], [False, True]]), [3, 1]),
        (np.array([[False, True], [True, False]]), [1, 2, 1]),
    ],
    ids=["empty", "full", "first pixel", "last pixel", "column major"],
)
def test_rle_is_column_major_and_starts_with_zeros(mask: np.ndarray, counts: list[int]) -> None:
    assert encode_rle(mask) == counts


def test_wrong_rle_is_refused() -> None:
    for counts in ([3, 2], [-1, 7], []):
        with pytest.raises(InvalidInputError, match=r"RLE runs must be >= 0 and add up to 6 \(3x2\), got"):
            decode_rle(counts, 2, 3)


def test_mask_box_and_errors() -> None:
    mask = np.zeros((480, 640), bool)
    mask[10:20, 30:50] = True
    assert CroppedMask.from_full(mask).box_px.tolist() == [30, 10, 50, 20]
    with pytest.raises(InvalidInputError, match=r"does not lie inside the 640x480 image"):
        CroppedMask(np.ones((10, 10), bool), 635, 0, 480, 640)
    with pytest.raises(InvalidInputError, match=r"mask must be bool \(\*, \*\), got uint8 \(480, 640\)"):
        CroppedMask.from_full(mask.astype(np.uint8))
    with pytest.raises(ValueError, match="read-only"):
        CroppedMask.from_full(mask).crop[0, 0] = False
    assert mask_iou(mask, mask) == 1 and mask_iou(mask, ~mask) == 0 and mask_iou(mask & False, mask & False) == 1


def test_require_says_what_was_wanted_and_given() -> None:
    with pytest.raises(InvalidInputError, match=r"depth_m must be float32 \(480, 640\), got uint16 \(480, 640\)"):
        require(np.zeros((480, 640), np.uint16), "depth_m", (480, 640), np.float32)
    with pytest.raises(InvalidInputError, match="got list"):
        require([1, 2], "points", (None, 3), np.float32)


def test_voxels_keep_the_mean_whatever_the_order() -> None:
    rng = np.random.default_rng(3)
    points = rng.uniform(-0.1, 0.1, (500, 3)).astype(np.float32)
    numbers = voxel_numbers(points, 0.02)
    means, weights = voxel_mean(points, numbers), np.bincount(numbers)
    np.testing.assert_allclose(np.average(means, axis=0, weights=weights), points.mean(axis=0), atol=1e-6)
    assert (np.floor(means / 0.02) == np.floor(points / 0.02)[np.unique(numbers, return_index=True)[1]]).all()
    shuffled = rng.permutation(points)
    np.testing.assert_allclose(np.sort(voxel_down(shuffled, 0.02), axis=0), np.sort(means, axis=0), atol=1e-6)
    assert voxel_down(points[:0], 0.02).shape == (0, 3)


def test_clusters_tell_two_heaps_and_noise_apart() -> None:
    rng = np.random.default_rng(4)
    heap = rng.uniform(0, 0.02, (60, 3))
    labels = clusters(np.concatenate([heap, heap + np.array([0.1, 0, 0]), [[0.05, 0.2, 0]]]), 0.012, 5)
    assert len(set(labels[:60])) == 1 and len(set(labels[60:120])) == 1 and labels[0] != labels[60] and labels[120] == -1


@pytest.mark.parametrize("camera", [CAMERAS["rectified"], CAMERAS["plumb bob"]], ids=["rectified", "distorted"])
@settings(max_examples=20, deadline=None)
@given(direction=arrays(np.float64, 3, elements=unit).filter(lambda v: v[2] < -0.35))
def test_normals_of_a_plane_are_its_normal(camera: Camera, direction: np.ndarray) -> None:
    normal = direction / np.linalg.norm(direction)
    rows, cols = np.mgrid[200:230, 300:340]
    rays = camera.rays(np.stack([cols.ravel(), rows.ravel()], 1)).reshape(30, 40, 2)
    depth = (normal[2] / (rays @ normal[:2] + normal[2])).astype(np.float32)  # the plane through (0, 0, 1)
    valid = np.random.default_rng(5).random((30, 40)) < 0.8
    found = normals_from_depth(depth, rays, valid, 3)[valid]
    np.testing.assert_allclose(found, np.tile(normal, (len(found), 1)), atol=5e-3)


def test_normals_need_a_window_of_pixels() -> None:
    valid = np.zeros((10, 10), bool)
    valid[5] = True  # one row of pixels has no direction
    assert np.isnan(normals_from_depth(np.ones((10, 10), np.float32), np.zeros((10, 10, 2), np.float32), valid, 2)).all()


def test_plane_heights_do_not_change_when_all_moves() -> None:
    rng = np.random.default_rng(6)
    plane, points, pose = Plane(np.array([0.6, 0.0, 0.8]), -0.3), rng.normal(size=(30, 3)), random_pose(rng)
    np.testing.assert_allclose(plane.moved(pose).height(move_points(pose, points)), plane.height(points), atol=1e-5)
    np.testing.assert_allclose(plane.moved(pose).moved(inverse(pose)).normal, plane.normal, atol=1e-12)


def table_with_box(rng: np.random.Generator) -> np.ndarray:
    """A table z = 0 under a box whose top holds more points than the table shows."""
    table = np.column_stack([rng.uniform(-0.2, 0.2, (400, 2)), rng.normal(0, 0.001, 400)])
    top = np.column_stack([rng.uniform(-0.1, 0.1, (600, 2)), rng.normal(0.1, 0.001, 600)])
    return np.concatenate([table, top])


def test_the_support_is_the_lowest_plane_not_the_largest() -> None:
    rng = np.random.default_rng(7)
    plane = fit_support(table_with_box(rng), np.array([0.0, 0, 1]), 0.008)
    assert plane is not None and abs(plane.offset_m) < 0.001
    np.testing.assert_allclose(plane.normal, [0, 0, 1], atol=0.01)


def test_the_support_moves_with_the_points() -> None:
    rng = np.random.default_rng(8)
    points, pose = table_with_box(rng), random_pose(rng)
    here = fit_support(points, np.array([0.0, 0, 1]), 0.008)
    there = fit_support(move_points(pose, points), pose[:3, :3] @ [0, 0, 1] + pose[:3, 3], 0.008)
    np.testing.assert_allclose(there.normal, here.moved(pose).normal, atol=1e-4)
    assert there.offset_m == pytest.approx(here.moved(pose).offset_m, abs=1e-4)


def test_the_support_keeps_to_the_given_up_and_may_be_absent() -> None:
    rng = np.random.default_rng(9)
    wall = np.column_stack([np.zeros(300), rng.uniform(-0.2, 0.2, (300, 2))])
    assert fit_support(wall, np.array([1.0, 0, 0]), 0.008, up=np.array([0.0, 0, 1])) is None
    assert fit_support(wall, np.array([1.0, 0, 0]), 0.008) is not None
    assert fit_support(wall[:10], np.array([1.0, 0, 0]), 0.008) is None


@given(st.floats(-3.1, 3.1), st.floats(0.03, 0.3), st.floats(0.01, 0.029))
def test_level_box_finds_a_rectangle(yaw: float, length: float, width: float) -> None:
    corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * [length / 2, width / 2]
    turn = np.array([[np.cos(yaw), -np.sin(yaw)], [np.sin(yaw), np.cos(yaw)]])
    box = fit_level_box(corners @ turn.T + [0.2, -0.1], 0.0, 0.05, 0.001)
    np.testing.assert_allclose(box.size_m, [length + 0.001, width + 0.001, 0.05], atol=1e-4)
    np.testing.assert_allclose(box.pose[:3, 3], [0.2, -0.1, 0.025], atol=1e-4)
    assert abs(box.pose[:2, 0] @ turn[:, 0]) == pytest.approx(1, abs=1e-3)
    assert np.linalg.det(box.pose[:3, :3]) == pytest.approx(1)
    np.testing.assert_allclose(box.corners().mean(axis=0), box.pose[:3, 3], atol=1e-6)
