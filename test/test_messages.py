"""Messages -> arrays -> messages: every encoding, padded rows, both byte orders, and refusals that say why."""

from array import array

import numpy as np
import pytest

pytest.importorskip("qwen_seg_ros.msg", reason="needs the built interfaces: make test, or source .ws/env.sh")
from hypothesis import given
from hypothesis import strategies as st
from sensor_msgs.msg import CameraInfo, Image, PointCloud2, PointField, RegionOfInterest

from qwen_seg_ros.errors import InvalidInputError
from qwen_seg_ros.geometry.mask import CroppedMask
from qwen_seg_ros.geometry.oriented_box import OrientedBox
from qwen_seg_ros.geometry.sensor_messages import camera_of, depth_of, stamp_ns_of
from qwen_seg_ros.geometry.transform import rotation_with_z, transform
from qwen_seg_ros.grasping.grasp import Grasp, GraspPlan
from qwen_seg_ros.lifting.object_cloud import Lifted, ObjectCloud, Scene
from qwen_seg_ros.msg import Status
from qwen_seg_ros.ros import messages_out as out
from qwen_seg_ros.ros.messages_in import points_from_cloud, rgb_from_image
from qwen_seg_ros.segmentation.result import Instance, Outcome, SegmentationResult

RNG = np.random.default_rng(5)
RGB = RNG.integers(0, 256, (7, 5, 3), dtype=np.uint8)
MM = RNG.integers(1, 5000, (7, 5), dtype=np.uint16)


def message(pixels: np.ndarray, encoding: str, pad: int = 0, big: bool = False) -> Image:
    """An image with `pad` garbage bytes at the end of every row."""
    height, width = pixels.shape[:2]
    ordered = pixels.astype(pixels.dtype.newbyteorder(">" if big else "<"))
    rows = np.frombuffer(np.ascontiguousarray(ordered).tobytes(), np.uint8).reshape(height, -1)
    padded = np.hstack([rows, np.full((height, pad), 0xAB, np.uint8)])
    msg = Image(height=height, width=width, encoding=encoding, is_bigendian=int(big), step=padded.shape[1])
    msg.data = array("B", padded.tobytes())
    return msg


ALPHA = np.full((7, 5, 1), 9, np.uint8)
GRAY = RGB[..., :1]
COLOURS = {
    "rgb8": (RGB, RGB),
    "bgr8": (RGB[..., ::-1], RGB),
    "rgba8": (np.concatenate([RGB, ALPHA], 2), RGB),
    "bgra8": (np.concatenate([RGB[..., ::-1], ALPHA], 2), RGB),
    "mono8": (GRAY, np.repeat(GRAY, 3, 2)),
}


@pytest.mark.parametrize("pad", [0, 3, 64])
@pytest.mark.parametrize("encoding", COLOURS)
def test_colour_encodings_give_the_same_rgb(encoding: str, pad: int) -> None:
    stored, expected = COLOURS[encoding]
    np.testing.assert_array_equal(rgb_from_image(message(stored, encoding, pad)), expected)


def test_rgb8_is_a_view_of_the_message() -> None:
    msg = message(RGB, "rgb8", pad=4)
    assert np.shares_memory(rgb_from_image(msg), np.frombuffer(msg.data, np.uint8))


@pytest.mark.parametrize("pad", [0, 2, 5])
@pytest.mark.parametrize("big", [False, True])
def test_millimetres_become_metres(big: bool, pad: int) -> None:
    depth = depth_of(message(MM, "16UC1", pad, big))
    assert depth.dtype == np.float32
    np.testing.assert_allclose(depth, MM / 1000, rtol=1e-6)


@pytest.mark.parametrize("pad", [0, 4, 7])
@pytest.mark.parametrize("big", [False, True])
def test_metres_stay_metres(big: bool, pad: int) -> None:
    metres = (MM / 1000).astype(np.float32)
    np.testing.assert_array_equal(depth_of(message(metres, "32FC1", pad, big)), metres)


def test_every_kind_of_missing_depth_is_nan() -> None:
    metres = np.array([[0.0, np.nan, np.inf, -np.inf, -1.0, 0.5]], np.float32)
    np.testing.assert_array_equal(np.isnan(depth_of(message(metres, "32FC1"))), [[1, 1, 1, 1, 1, 0]])
    np.testing.assert_array_equal(np.isnan(depth_of(message(np.array([[0, 1]], np.uint16), "16UC1"))), [[1, 0]])


@given(st.integers(1, 9), st.integers(1, 9), st.sampled_from(["rgb8", "mono16", "16UC1"]))
def test_what_goes_out_comes_in_again(height: int, width: int, encoding: str) -> None:
    if encoding == "rgb8":
        pixels = RNG.integers(0, 256, (height, width, 3), dtype=np.uint8)
        np.testing.assert_array_equal(rgb_from_image(out.image_message(pixels, encoding, out.header(0, ""))), pixels)
    else:
        labels = RNG.integers(0, 65536, (height, width), dtype=np.uint16)
        msg = out.image_message(labels, encoding, out.header(0, ""))
        np.testing.assert_array_equal(np.frombuffer(msg.data, "<u2").reshape(height, width), labels)
        assert msg.step == 2 * width


@pytest.mark.parametrize(("read", "msg", "words"), [
    (rgb_from_image, message(RGB, "bayer_rggb8"), "bayer_rggb8"),
    (rgb_from_image, message(MM, "16UC1"), "rgb8, bgr8"),
    (depth_of, message(RGB, "rgb8"), "16UC1 .millimetres"),
    (depth_of, message(np.full((2, 3), 800.0, np.float32), "32FC1"), "800 m away: are its values millimetres"),
    (depth_of, Image(height=2, width=2, encoding="16UC1", step=4, data=array("B", bytes(7))), "8 bytes, got step 4"),
    (rgb_from_image, Image(height=2, width=2, encoding="rgb8", step=5, data=array("B", bytes(12))), "step of at least 6"),
    (rgb_from_image, Image(encoding="rgb8"), "0x0"),
    (rgb_from_image, Image(height=2**32 - 1, width=2**32 - 1, step=2**32 - 1, encoding="rgb8"), "got step"),
])
def test_unusable_images_are_refused_with_the_reason(read, msg: Image, words: str) -> None:
    with pytest.raises(InvalidInputError, match=words):
        read(msg)


def info(**changes) -> CameraInfo:
    msg = CameraInfo(width=640, height=480, distortion_model="plumb_bob", d=[0.1, -0.2, 0.0, 0.0, 0.0])
    msg.k = [500.0, 0.0, 320.0, 0.0, 510.0, 240.0, 0.0, 0.0, 1.0]
    msg.p = [400.0, 0.0, 310.0, 0.0, 0.0, 405.0, 230.0, 0.0, 0.0, 0.0, 1.0, 0.0]
    for name, value in changes.items():
        setattr(msg, name, value)
    return msg


def test_camera_reads_k_and_d_for_raw_and_p_for_rectified_images() -> None:
    raw, rectified = camera_of(info()), camera_of(info(), rectified=True)
    assert (raw.fx, raw.fy, raw.cx, raw.cy, raw.distortion) == (500, 510, 320, 240, (0.1, -0.2, 0, 0, 0))
    assert (rectified.fx, rectified.fy, rectified.cx, rectified.cy, rectified.distortion) == (400, 405, 310, 230, ())


def test_region_and_binning_keep_the_rays() -> None:
    """A pixel of the cropped, binned image sees along the ray of its place in the full image."""
    full = camera_of(info(d=[]))
    roi = RegionOfInterest(x_offset=100, y_offset=60, width=200, height=120)
    part = camera_of(info(d=[], binning_x=2, binning_y=2, roi=roi))
    assert (part.width, part.height) == (100, 60)
    np.testing.assert_allclose(part.rays([[10, 20]]), full.rays([[100 + 2 * 10, 60 + 2 * 20]]), atol=1e-6)


@pytest.mark.parametrize(("changes", "words"), [
    ({"k": [0.0] * 9}, r"not calibrated: K\[0\] is 0"),
    ({"k": [float("nan")] * 9}, "not calibrated"),
    ({"distortion_model": "wavy"}, "wavy"),
    ({"width": 0}, "at least 1x1"),
    ({"k": [1e-30, 0.0, 320.0, 0.0, 1e-30, 240.0, 0.0, 0.0, 1.0], "d": []}, "describes no lens"),
    ({"d": [0.0, 0.0, 0.0, 23.0, 0.0]}, "cannot be undone"),
])
def test_unusable_calibration_is_refused(changes: dict, words: str) -> None:
    with pytest.raises(InvalidInputError, match=words):
        camera_of(info(**changes))


def mask(y: slice, x: slice) -> CroppedMask:
    full = np.zeros((20, 30), bool)
    full[y, x] = True
    return CroppedMask.from_full(full)


def instance(phrase: str, y: slice, x: slice, score: float = 0.9) -> Instance:
    crop = mask(y, x)
    return Instance(phrase, crop.box_px, crop, score, 0.8)


BEST, SECOND = instance("cup", slice(2, 9), slice(3, 12)), instance("cup", slice(5, 15), slice(8, 20), 0.5)
TWO = SegmentationResult("cups", Outcome.FOUND, (BEST, SECOND), ("fork",))


def test_masks_are_cropped_to_their_region() -> None:
    message = out.segment_array(out.header(123, "cam"), "cups", Status(), (20, 30), TWO)
    assert [s.id for s in message.segments] == [1, 2] and list(message.absent) == ["fork"]
    for segment, found in zip(message.segments, TWO.instances, strict=True):
        roi = segment.roi
        again = np.zeros((20, 30), np.uint8)
        crop = np.frombuffer(segment.mask.data, np.uint8).reshape(roi.height, roi.width)
        again[roi.y_offset:roi.y_offset + roi.height, roi.x_offset:roi.x_offset + roi.width] = crop
        np.testing.assert_array_equal(again, found.mask.full() * np.uint8(255))
        assert (segment.mask.height, segment.mask.width, segment.mask.encoding) == (roi.height, roi.width, "mono8")


def test_the_best_object_owns_shared_pixels_of_the_label_image() -> None:
    labels = out.label_image(TWO, 20, 30)
    first, second = (i.mask.full() for i in TWO.instances)
    np.testing.assert_array_equal(labels, np.where(first, 1, np.where(second, 2, 0)))


def test_clouds_carry_points_colours_and_ids() -> None:
    points = RNG.normal(size=(11, 3)).astype(np.float32)
    colors = RNG.integers(0, 256, (11, 3), dtype=np.uint8)
    cloud = out.cloud_message(out.header(0, "cam"), points, colors, np.arange(11))
    assert {f.name: (f.offset, f.datatype) for f in cloud.fields} == {
        "x": (0, PointField.FLOAT32), "y": (4, PointField.FLOAT32), "z": (8, PointField.FLOAT32), "rgb": (12, PointField.FLOAT32),
        "object_id": (16, PointField.UINT32)}
    assert len(cloud.data) == cloud.row_step == 11 * cloud.point_step
    raw = np.frombuffer(cloud.data, np.uint8).reshape(11, cloud.point_step)
    np.testing.assert_array_equal(raw[:, :12].copy().view("<f4"), points)
    np.testing.assert_array_equal(raw[:, 12:15], colors[:, ::-1])  # packed 0x00RRGGBB, little endian
    np.testing.assert_array_equal(raw[:, 16:].copy().view("<u4")[:, 0], np.arange(11))


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("kind", ["f4", "f8"])
def test_points_of_any_layout_come_in(kind: str, big: bool) -> None:
    """An organised cloud of 3 rows with padded points and rows, and holes."""
    order = ">" if big else "<"
    layout = np.dtype({"names": ["x", "y", "z"], "formats": [order + kind] * 3, "offsets": [8, 16, 24], "itemsize": 40})
    rows = np.zeros((3, 5), layout)
    xyz = RNG.normal(size=(3, 5, 3)).astype(np.float32)
    xyz[1, 2], xyz[2, 4, 0] = np.nan, np.inf
    for axis, name in enumerate("xyz"):
        rows[name] = xyz[..., axis]
    padded = np.hstack([np.frombuffer(rows.tobytes(), np.uint8).reshape(3, 200), np.full((3, 7), 0xAB, np.uint8)])
    number = {"f4": PointField.FLOAT32, "f8": PointField.FLOAT64}[kind]
    fields = [PointField(name=name, offset=offset, datatype=number, count=1) for name, offset in (("x", 8), ("y", 16), ("z", 24))]
    cloud = PointCloud2(height=3, width=5, fields=fields, is_bigendian=big, point_step=40, row_step=207)
    cloud.data = array("B", padded.tobytes())
    flat = xyz.reshape(-1, 3)
    np.testing.assert_array_equal(points_from_cloud(cloud), flat[np.isfinite(flat).all(axis=1)])


@pytest.mark.parametrize(("changes", "words"), [
    ({"width": 12}, "row_step of at least 192"),
    ({"height": 2}, "needs a row_step of at least 176 and 352 bytes, got row_step 176 and 176 bytes"),
    ({"point_step": 8}, "fields end at byte 12 cannot have a point_step of 8"),
    ({"point_step": 2**32 - 1, "width": 0}, "cannot have a point_step of 4294967295"),
    ({"width": 0}, "none of the 0 points"),
    ({"fields": []}, "fields x y z of float32 or float64, got none"),
])
def test_unusable_clouds_are_refused(changes: dict, words: str) -> None:
    cloud = out.cloud_message(out.header(0, "cam"), np.ones((11, 3), np.float32), np.zeros((11, 3), np.uint8))
    for name, value in changes.items():
        setattr(cloud, name, value)
    with pytest.raises(InvalidInputError, match=words):
        points_from_cloud(cloud)


def test_grasps_of_all_objects_are_ranked_together() -> None:
    def plan(object_id: int, *scores: float) -> GraspPlan:
        return GraspPlan(object_id, f"thing {object_id}", tuple(Grasp(np.eye(4), np.eye(4), 0.05, s, "top_down") for s in scores))

    message = out.grasp_target_array(out.header(5, "base"), "things", Status(), "panda", [plan(1, 0.4, 0.2), plan(2, 0.9)])
    assert [(t.object_id, round(t.score, 3)) for t in message.targets] == [(2, 0.9), (1, 0.4), (1, 0.2)]
    pose = out.best_grasp_pose(message)
    assert pose is not None and pose.header.frame_id == "base" and stamp_ns_of(pose.header.stamp) == 5
    assert out.best_grasp_pose(out.grasp_target_array(out.header(0, ""), "", Status(), "", [])) is None


def test_an_object_without_points_and_an_empty_mask_are_no_trouble() -> None:
    nothing = np.zeros((0, 3), np.float32)
    cloud = ObjectCloud(1, "cup", 0.5, nothing, np.zeros((0, 3), np.uint8), nothing, OrientedBox(np.eye(4), np.ones(3)), 0.0)
    lifted = Lifted((cloud,), Scene(nothing, np.zeros(0, np.uint16), None, np.array([0, 0, 1.0]), np.zeros(3)))
    assert out.scene_object_array(out.header(0, ""), "cup", Status(), lifted).objects[0].cloud.width == 0
    empty = SegmentationResult("cup", Outcome.FOUND, (instance("cup", slice(0, 0), slice(0, 0)),))
    assert len(out.segment_array(out.header(0, ""), "cup", Status(), (20, 30), empty).segments[0].mask.data) == 0


@given(st.floats(-3, 3), st.floats(-3, 3), st.floats(-3, 3))
def test_poses_turn_like_their_matrix(x: float, y: float, z: float) -> None:
    axis = np.array([x, y, z]) if abs(x) + abs(y) + abs(z) > 1e-3 else np.array([0, 0, 1.0])
    matrix = transform(rotation_with_z(axis, np.array([1.0, 0.3, 0.0])), np.array([x, y, z]))
    pose = out.pose_message(matrix)
    q = pose.orientation
    turned_z = [2 * (q.x * q.z + q.w * q.y), 2 * (q.y * q.z - q.w * q.x), 1 - 2 * (q.x**2 + q.y**2)]
    np.testing.assert_allclose(turned_z, matrix[:3, 2], atol=1e-9)
    np.testing.assert_allclose([pose.position.x, pose.position.y, pose.position.z], [x, y, z])


@given(st.integers(0, 2**31 - 1), st.integers(0, 10**9 - 1))
def test_stamps_survive(sec: int, nanosec: int) -> None:
    total = sec * 10**9 + nanosec
    assert stamp_ns_of(out.header(total, "").stamp) == total


def test_text_that_no_string_field_takes_is_made_printable() -> None:
    clean = out.printable("a\0b\ud800\n" + "x" * 1000)
    assert clean.startswith("a\ufffdb\ufffd\ufffd") and len(clean) == 503
    clean.encode()
