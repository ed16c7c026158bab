"""Messages as nobody should send them: strategies of Hypothesis, valid and broken ones mixed."""

from array import array
from typing import Any, TypeAlias

import numpy as np
from geometry_msgs.msg import Point, Pose, PoseStamped, Quaternion, Vector3, Vector3Stamped
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointCloud2, PointField
from std_msgs.msg import Header

from node_support.compressed import colour_message, depth_message
from qwen_seg_ros.msg import GraspPreferences, KeepOutBox

Numbers: TypeAlias = SearchStrategy[float]
UINT32 = 2**32 - 1
ENCODINGS = ("rgb8", "bgr8", "rgba8", "bgra8", "mono8", "16UC1", "32FC1", "mono16", "bayer_rggb8", "", "rgb8 ", "\x00")
BYTES = {"rgb8": 3, "bgr8": 3, "rgba8": 4, "bgra8": 4, "mono8": 1, "16UC1": 2, "32FC1": 4}
NUMBERS = st.one_of(
    st.sampled_from([0.0, -1.0, 1e-300, 1e30, 1e300, float("nan"), float("inf"), -float("inf")]), st.floats(-10, 10), st.floats()
)
WEIGHTS = st.one_of(st.floats(0, 1, width=32), st.floats(width=32))
SIZES = st.one_of(st.integers(0, 40), st.sampled_from([1, 640, 2**31, UINT32]))
WORDS = st.one_of(st.text(max_size=20), st.sampled_from(["camera", "/camera", "lost"]))


@st.composite
def headers(draw: Any) -> Header:
    """Every stamp that the message can hold, also those that are no time."""
    msg = Header(frame_id=draw(WORDS))
    msg.stamp.sec = draw(st.one_of(st.integers(0, 5), st.integers(-(2**31), 2**31 - 1)))
    msg.stamp.nanosec = draw(st.one_of(st.integers(0, 10**9 - 1), st.integers(0, UINT32)))
    return msg


@st.composite
def images(draw: Any) -> Image:
    """About half of them are whole; of the others size, step, encoding and bytes contradict each other."""
    msg = Image(header=draw(headers()), encoding=draw(st.sampled_from(ENCODINGS)), is_bigendian=draw(st.integers(0, 1)))
    whole = draw(st.booleans())
    msg.width, msg.height = (draw(st.integers(1, 40) if whole else SIZES) for _ in range(2))
    row = BYTES.get(msg.encoding, 1) * min(msg.width, 40)
    msg.step = row + draw(st.integers(0, 3)) if whole else draw(st.one_of(SIZES, st.just(row)))
    size = msg.step * msg.height if whole else draw(st.integers(0, 5000))
    seed = draw(st.integers(0, 99))
    msg.data = array("B", np.random.default_rng(seed).bytes(size))
    return msg


@st.composite
def compressed_images(draw: Any) -> CompressedImage:
    """Pictures as image_transport sends them, then damaged in some bytes, cut, or under another name."""
    pixels = np.random.default_rng(draw(st.integers(0, 9))).integers(0, 255, (24, 32, 3), np.uint8)
    codec = draw(st.sampled_from(["jpeg", "png", "16UC1", "32FC1"]))
    if codec in ("jpeg", "png"):
        msg = colour_message(pixels, codec)
    else:
        msg = depth_message(pixels[..., 0].astype(np.uint16 if codec == "16UC1" else np.float32) + 1, codec)
    data = bytearray(msg.data)
    for at, value in draw(st.lists(st.tuples(st.integers(0, len(data) - 1), st.integers(0, 255)), max_size=4)):
        data[at] = value
    data = data[: draw(st.one_of(st.just(len(data)), st.integers(0, len(data))))]
    forms = [msg.format, "jpeg", "png", "", "16UC1; compressedDepth png", "32FC1; compressedDepth png", "h264", ";", "\x00;"]
    return CompressedImage(header=draw(headers()), format=draw(st.sampled_from(forms)), data=array("B", bytes(data)))


@st.composite
def camera_infos(draw: Any) -> CameraInfo:
    """K, P and D with everything that a float can be, sizes with everything that they can hold; about a third is sound."""
    msg = CameraInfo(header=draw(headers()), width=32, height=24)
    msg.k = [30.0, 0.0, 16.0, 0.0, 30.0, 12.0, 0.0, 0.0, 1.0]
    msg.p = [30.0, 0.0, 16.0, 0.0, 0.0, 30.0, 12.0, 0.0, 0.0, 0.0, 1.0, 0.0]
    msg.distortion_model = draw(st.sampled_from(["plumb_bob", "plumb_bob", "rational_polynomial", "equidistant", "", "\x00"]))
    few = st.lists(st.floats(-10, 10), min_size=4, max_size=5)
    msg.d = draw(st.one_of(st.just([]), few, st.lists(NUMBERS, max_size=15), st.lists(NUMBERS, min_size=4, max_size=4)))
    broken = draw(st.sampled_from(["nothing", "numbers", "numbers", "sizes"]))
    for matrix in (msg.k, msg.p) if broken == "numbers" else ():
        for at, value in draw(st.lists(st.tuples(st.integers(0, len(matrix) - 1), NUMBERS), max_size=3)):
            matrix[at] = value
    if broken == "sizes":
        msg.width, msg.height, msg.binning_x, msg.binning_y = (draw(SIZES) for _ in range(4))
        msg.roi.x_offset, msg.roi.y_offset, msg.roi.width, msg.roi.height = (draw(SIZES) for _ in range(4))
    return msg


@st.composite
def clouds(draw: Any) -> PointCloud2:
    kinds = [PointField.FLOAT32, PointField.FLOAT64, PointField.UINT8, 0, 255]
    names = st.sampled_from(["x", "y", "z", "rgb", ""])
    offsets = st.one_of(st.integers(0, 24), SIZES)
    fields = st.builds(PointField, name=names, offset=offsets, datatype=st.sampled_from(kinds), count=SIZES)
    msg = PointCloud2(header=draw(headers()), fields=draw(st.lists(fields, max_size=5)), is_bigendian=draw(st.booleans()))
    if draw(st.booleans()):
        msg.fields = [PointField(name=n, offset=4 * k, datatype=PointField.FLOAT32, count=1) for k, n in enumerate("xyz")]
    sizes = st.one_of(st.sampled_from([1, 12, 16, 24]), SIZES)
    msg.width, msg.height, msg.point_step, msg.row_step = (draw(sizes) for _ in range(4))
    if draw(st.booleans()):
        msg.width, msg.height, msg.point_step, msg.row_step = draw(st.integers(1, 20)), 1, 12, 240
    msg.data = array("B", np.random.default_rng(draw(st.integers(0, 99))).normal(size=60).astype("<f4").tobytes())
    return msg


def preferences() -> SearchStrategy[GraspPreferences]:
    """Half of them are sound."""
    sound = _preferences(st.floats(-1, 1), st.floats(0.01, 3), st.floats(0, 1, width=32))
    return st.one_of(sound, _preferences(NUMBERS, NUMBERS, WEIGHTS))


def _preferences(places: Numbers, sizes: Numbers, weights: Numbers) -> SearchStrategy[GraspPreferences]:
    turns = st.one_of(st.just(Quaternion(w=1.0)), st.builds(Quaternion, x=places, y=places, z=places, w=places))
    poses = st.builds(PoseStamped, header=headers(), pose=st.builds(Pose, position=_triples(Point, places), orientation=turns))
    boxes = st.builds(KeepOutBox, pose=poses, size=_triples(Vector3, sizes))
    approach = st.builds(Vector3Stamped, header=headers(), vector=_triples(Vector3, places))
    return st.builds(
        GraspPreferences,
        approach=st.lists(approach, max_size=1),
        approach_weight=weights,
        keep_out=st.lists(boxes, max_size=2),
        part=st.one_of(st.just(PointCloud2()), clouds()),
        part_weight=weights,
    )


def _triples(kind: type, numbers: Numbers) -> SearchStrategy:
    return st.builds(kind, x=numbers, y=numbers, z=numbers)


def odd_depths() -> SearchStrategy[np.ndarray]:
    """float32 (24, 32): a plane with specks of anything, or bits at random."""

    def specks(seed: int, value: float, share: float) -> np.ndarray:
        rng = np.random.default_rng(seed)
        depth = np.full((24, 32), 0.8, np.float32) + rng.normal(0, 0.002, (24, 32)).astype(np.float32)
        with np.errstate(over="ignore"):
            return np.where(rng.random(depth.shape) < share, np.float32(value), depth).astype(np.float32)

    def bits(seed: int) -> np.ndarray:
        return np.random.default_rng(seed).integers(0, 2**32, (24, 32), np.uint32).view(np.float32)

    return st.one_of(st.builds(specks, st.integers(0, 99), NUMBERS, st.floats(0, 1)), st.builds(bits, st.integers(0, 99)))
