"""Depth seen from another camera, against scenes whose depth is known exactly in both."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as run
from hypothesis import strategies as st

from qwen_seg_ros.errors import InvalidInputError
from qwen_seg_ros.geometry.camera import Camera
from qwen_seg_ros.geometry.registration import registered_depth
from qwen_seg_ros.geometry.transform import inverse, move_points, rotation_from_quaternion, transform

PLUMB_BOB, RATIONAL = (0.08, -0.12, 0.001, -0.002, 0.03), (0.3, -0.1, 1e-4, 1e-4, 0.02, 0.35, -0.12, 0.01)
BARREL = (-0.3, 0.0, 0.0, 0.0, 0.0)  # folds far rays back into the image
FISHEYE = (0.02, -0.005, 0.001, -0.0002)
COLOR = Camera(160, 120, 150.0, 148.0, 80.3, 58.9)
DEPTH = Camera(144, 112, 120.0, 121.0, 70.0, 57.0)
BESIDE = transform(rotation_from_quaternion(np.array([0.01, -0.02, 0.03, 1.0])), np.array([0.05, -0.01, 0.015]))
PLANE = (np.array([0.25, -0.35, 1.0]), 0.9)  # normal . p = distance, in the colour camera's frame

Plane = tuple[np.ndarray, float]


def rays(camera: Camera) -> np.ndarray:
    rows, columns = np.mgrid[: camera.height, : camera.width]
    xy = camera.rays(np.stack([columns.ravel(), rows.ravel()], axis=1))
    return np.column_stack([xy, np.ones(len(xy))]).astype(np.float64)


def seen(camera: Camera, camera_from_color: np.ndarray, *surfaces: tuple[Plane, float]) -> np.ndarray:
    """Exact depth (H, W) of planes given in the colour camera's frame, each within `reach` of its axis; NaN = no plane."""
    color_from_camera = inverse(camera_from_color)
    directions, start = rays(camera) @ color_from_camera[:3, :3].T, color_from_camera[:3, 3]
    nearest = np.full(len(directions), np.inf)
    for (normal, distance), reach in surfaces:
        with np.errstate(divide="ignore", invalid="ignore"):
            z = (distance - normal @ start) / (directions @ normal)  # along the optical axis: rays have z = 1
            places = start + directions * z[:, None]
            hit = (z > 0) & (np.abs(places[:, :2]).max(axis=1) < reach)
        nearest = np.where(hit, np.minimum(nearest, z), nearest)
    return np.where(np.isfinite(nearest), nearest, np.nan).reshape(camera.height, camera.width).astype(np.float32)


def covered(depth: np.ndarray, color: Camera, depth_camera: Camera, color_from_depth: np.ndarray) -> np.ndarray:
    """Pixels (H, W) of the colour image whose surface falls inside the depth image, a pixel from its edge."""
    points = (rays(color) * depth.reshape(-1, 1)).astype(np.float32)
    pixels = depth_camera.project(move_points(inverse(color_from_depth), points))
    inside = (pixels >= 1).all(axis=1) & (pixels <= np.array([depth_camera.width - 2, depth_camera.height - 2])).all(axis=1)
    return inside.reshape(depth.shape)


def turned(camera: Camera, **changes) -> Camera:
    return Camera(**{**vars(camera), **changes})


PAIRS = {
    "same kind": (COLOR, DEPTH),
    "colour twice as fine": (COLOR.scaled_to(320, 240), DEPTH),
    "colour five times as fine": (COLOR.scaled_to(640, 480), DEPTH),
    "colour coarser": (COLOR.scaled_to(64, 48), DEPTH),
    "other shape of pixels": (turned(COLOR, fx=300.0, width=300, cx=150.0), DEPTH),
    "depth distorted": (COLOR, turned(DEPTH, distortion=PLUMB_BOB)),
    "both distorted": (turned(COLOR, distortion=RATIONAL), turned(DEPTH, distortion=PLUMB_BOB)),
    "fisheye depth": (COLOR, turned(DEPTH, distortion=FISHEYE, fisheye=True)),
    "fisheye colour": (turned(COLOR, distortion=FISHEYE, fisheye=True), DEPTH),
    "wide depth, colour with a barrel": (turned(COLOR, fx=250.0, fy=250.0, distortion=BARREL), turned(DEPTH, fx=40.0, fy=40.0)),
}


@pytest.mark.parametrize("pair", PAIRS)
def test_a_slanted_plane_keeps_its_exact_depth_without_holes(pair):
    color, depth_camera = PAIRS[pair]
    depth = seen(depth_camera, inverse(BESIDE), (PLANE, np.inf))
    wanted = seen(color, np.eye(4), (PLANE, np.inf))
    found = registered_depth(depth, depth_camera, color, BESIDE)
    assert found.dtype == np.float32 and found.shape == wanted.shape
    inside = covered(wanted, color, depth_camera, BESIDE)
    assert inside.mean() > 0.5
    assert np.isfinite(found[inside]).all()
    exact = np.isfinite(found)
    np.testing.assert_allclose(found[exact], wanted[exact], rtol=2e-4 if color.distortion else 2e-6)


@given(st.integers(0, 2**32 - 1), st.sampled_from([0.0, 0.05, 0.6]))
@run(max_examples=20)
def test_seen_from_the_same_place_nothing_changes(seed, share_missing):
    rng = np.random.default_rng(seed)
    depth = rng.uniform(0.3, 4.0, (DEPTH.height, DEPTH.width)).astype(np.float32)
    depth[rng.random(depth.shape) < share_missing] = np.nan
    np.testing.assert_allclose(registered_depth(depth, DEPTH, DEPTH, np.eye(4)), depth, rtol=1e-5)


@pytest.mark.parametrize("quarter", [1, 2, 3])
def test_a_camera_turned_about_its_axis_sees_the_picture_turned(quarter):
    """A quarter turn to the right of the colour camera turns what it sees to the left."""
    square = Camera(100, 100, 90.0, 90.0, 49.5, 49.5)
    rng = np.random.default_rng(0)
    depth = np.where(rng.random((100, 100)) < 0.3, np.nan, rng.uniform(0.5, 3.0, (100, 100))).astype(np.float32)
    turn = np.linalg.matrix_power(np.array([[0.0, 1, 0], [-1, 0, 0], [0, 0, 1]]), quarter)
    found = registered_depth(depth, square, square, transform(turn, np.zeros(3)))
    np.testing.assert_allclose(found, np.rot90(depth, quarter), rtol=1e-5)


FAR, NEAR = ((np.array([0.0, 0.0, 1.0]), 1.0), np.inf), ((np.array([0.0, 0.0, 1.0]), 0.5), 0.1)


@pytest.mark.parametrize("size", [(160, 120), (320, 240), (640, 480), (80, 60)])
def test_a_near_plate_hides_the_far_wall(size):
    """On the plate nothing of the wall shines through; beside it the wall is exact, or unknown in the plate's shadow."""
    color = COLOR.scaled_to(*size)
    depth = seen(DEPTH, inverse(BESIDE), FAR, NEAR)
    found = registered_depth(depth, DEPTH, color, BESIDE)
    xy = rays(color)[:, :2].reshape(color.height, color.width, 2)
    pixel = 0.5 / DEPTH.fx  # metres at the plate
    off_edge = np.abs(xy * 0.5).max(axis=2) - 0.1
    on, beside = off_edge < -2 * pixel, off_edge > 2 * pixel
    np.testing.assert_allclose(found[on], 0.5, rtol=1e-5)
    known = beside & np.isfinite(found)
    np.testing.assert_allclose(found[known], 1.0, rtol=1e-5)
    wall = (rays(color) * 1.0)[beside.ravel()]
    start = BESIDE[:3, 3]  # the depth camera
    through = start + (wall - start) * ((0.5 - start[2]) / (wall[:, 2] - start[2]))[:, None]
    shadow = np.abs(through[:, :2]).max(axis=1) - 0.1
    inside = covered(np.ones((color.height, color.width)), color, DEPTH, BESIDE)[beside]
    assert (shadow < -2 * pixel).any()
    assert not np.isfinite(found[beside][shadow < -2 * pixel]).any()
    assert np.isfinite(found[beside][(shadow > 2 * pixel) & inside]).all()


def test_a_lone_pixel_grows_with_the_picture():
    """Seen four times as fine from the same place, one depth pixel is a patch of about four by four pixels around its place."""
    depth = np.full((DEPTH.height, DEPTH.width), np.nan, np.float32)
    depth[50, 60] = 0.8
    fine = DEPTH.scaled_to(4 * DEPTH.width, 4 * DEPTH.height)
    rows, columns = np.nonzero(registered_depth(depth, DEPTH, fine, np.eye(4)) == np.float32(0.8))
    assert {len(set(rows)), len(set(columns))} <= {4, 5} and len(rows) == len(set(rows)) * len(set(columns))
    assert abs(rows.mean() - (4 * 50.5 - 0.5)) < 0.6 and abs(columns.mean() - (4 * 60.5 - 0.5)) < 0.6


def test_neighbours_on_different_surfaces_are_not_joined():
    depth = np.full((DEPTH.height, DEPTH.width), 1.0, np.float32)
    depth[:, 70:] = 0.6
    found = registered_depth(depth, DEPTH, DEPTH.scaled_to(720, 560), BESIDE)
    normal, offset = BESIDE[:3, 2], BESIDE[:3, 2] @ BESIDE[:3, 3]
    color = DEPTH.scaled_to(720, 560)
    walls = [((z + offset) / (rays(color) @ normal)).reshape(found.shape) for z in (0.6, 1.0)]
    off = np.min([np.abs(found - wall) for wall in walls], axis=0)
    assert np.nanmax(off) < 1e-4 and np.isfinite(found).mean() > 0.5


def test_a_surface_does_not_show_its_back():
    """Two cameras face each other with a sheet between them: what the one sees, the other cannot."""
    facing = transform(np.diag([-1.0, 1.0, -1.0]), np.array([0.0, 0.0, 2.0]))
    depth = np.ones((DEPTH.height, DEPTH.width), np.float32)
    assert not np.isfinite(registered_depth(depth, DEPTH, COLOR, facing)).any()


def test_nothing_measured_and_nothing_in_view_are_nan():
    depth = np.full((DEPTH.height, DEPTH.width), np.nan, np.float32)
    assert np.isnan(registered_depth(depth, DEPTH, COLOR, BESIDE)).all()
    for distorted in ((), RATIONAL):
        color, away = turned(COLOR, distortion=distorted), transform(np.eye(3), np.array([0, 0, -3.0]))
        assert np.isnan(registered_depth(np.ones_like(depth), DEPTH, color, away)).all()


def test_what_is_no_measurement_is_not_drawn():
    depth = np.full((DEPTH.height, DEPTH.width), 1.0, np.float32)
    depth[10:20, 10:20], depth[30:40, 10:20], depth[50:60, 10:20] = 0.0, -1.0, np.inf
    found = registered_depth(depth, DEPTH, DEPTH, np.eye(4))
    np.testing.assert_allclose(found, np.where((depth > 0) & (depth < 9), depth, np.nan), rtol=1e-5)


@pytest.mark.parametrize("size", [(160, 120), (480, 360)])
def test_noise_tears_no_holes_and_does_not_grow(size):
    color, noise_m = COLOR.scaled_to(*size), 0.003
    depth = seen(DEPTH, inverse(BESIDE), (PLANE, np.inf))
    noisy = (depth + np.random.default_rng(1).normal(0, noise_m, depth.shape)).astype(np.float32)
    wanted, found = seen(color, np.eye(4), (PLANE, np.inf)), registered_depth(noisy, DEPTH, color, BESIDE)
    inside = covered(wanted, color, DEPTH, BESIDE)
    assert np.isfinite(found[inside]).mean() > 0.999
    off = (found - wanted)[inside & np.isfinite(found)]
    assert np.sqrt((off**2).mean()) < 1.2 * noise_m and abs(off.mean()) < noise_m / 2


@pytest.mark.parametrize(("depth", "moved", "words"), [
    (np.ones((5, 5), np.float32), BESIDE, r"depth_m must be float32 \(112, 144\), got float32 \(5, 5\)"),
    (np.ones((112, 144), np.float64), BESIDE, "got float64"),
    (np.ones((112, 144), np.float32), np.eye(3), r"color_from_depth must be float64 \(4, 4\)"),
    (np.ones((112, 144), np.float32), np.full((4, 4), np.nan), "must be finite"),
])
def test_what_does_not_fit_is_refused(depth, moved, words):
    with pytest.raises(InvalidInputError, match=words):
        registered_depth(depth, DEPTH, COLOR, moved)
