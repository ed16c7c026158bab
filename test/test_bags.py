"""Recordings: what is written comes back, in pure Python, and wrong folders are told from right ones."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from synthetic import synthetic_scene

pytest.importorskip("rosbags")

from rosbags.highlevel import AnyReader

from qwen_seg_ros.errors import InvalidInputError
from qwen_seg_ros.frame import Frame
from qwen_seg_ros.geometry.sensor_messages import depth_of, rgb_of
from qwen_seg_ros.offline.bags.reader import read_bag
from qwen_seg_ros.offline.bags.topics import Topics
from qwen_seg_ros.offline.bags.truth import FILE_NAME, load_truth, record
from qwen_seg_ros.offline.bags.writer import depth_mm, write_bag
from qwen_seg_ros.offline.sim.scene import ObjectRecord, SimScene


def frame(seed: int, stamp_ns: int) -> Frame:
    made, _, _ = synthetic_scene(seed, ["box", "ball"], width=160, height=120)
    pose = made.base_from_camera if made.base_from_camera is not None else np.eye(4)
    return Frame(made.rgb, made.depth_m, made.camera, pose, "camera", stamp_ns)


@pytest.fixture(scope="module")
def frames() -> list[Frame]:
    return [frame(seed, 10**18 + seed * 10**9) for seed in range(3)]


@pytest.fixture(scope="module")
def bag(frames: list[Frame], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bag(tmp_path_factory.mktemp("bags") / "bag", frames)


def test_frames_come_back(bag: Path, frames: list[Frame]) -> None:
    read = list(read_bag(bag))
    assert [f.stamp_ns for f in read] == [f.stamp_ns for f in frames]
    for got, given in zip(read, frames, strict=True):
        assert np.array_equal(got.rgb, given.rgb)
        assert np.array_equal(np.isnan(got.depth_m), np.isnan(given.depth_m))
        np.testing.assert_allclose(got.depth_m, given.depth_m, atol=0.00051)  # millimetres
        assert got.camera == given.camera and got.frame_id == "camera"
        np.testing.assert_allclose(got.base_from_camera, frames[0].base_from_camera, atol=1e-9)  # one static camera


def test_the_folder_is_a_rosbag2(bag: Path) -> None:
    with AnyReader([bag]) as reader:
        kinds = {c.topic: (c.msgtype, c.msgcount) for c in reader.connections}
    topics = Topics()
    assert kinds[topics.colour] == kinds[topics.depth] == ("sensor_msgs/msg/Image", 3)
    assert kinds[topics.info] == ("sensor_msgs/msg/CameraInfo", 3)
    assert kinds[topics.static_transforms] == ("tf2_msgs/msg/TFMessage", 1)
    assert (bag / "metadata.yaml").exists() and (bag / "bag.mcap").exists()


def test_an_existing_folder_is_kept(bag: Path, frames: list[Frame]) -> None:
    with pytest.raises(InvalidInputError, match="exists already"):
        write_bag(bag, frames)
    assert len(list(read_bag(bag))) == 3


def test_a_frame_without_depth_is_refused(tmp_path: Path, frames: list[Frame]) -> None:
    with pytest.raises(InvalidInputError, match="this one has no depth"):
        write_bag(tmp_path / "bag", [Frame(frames[0].rgb)])


def test_missing_bag_and_topic_are_named(bag: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"there is no bag .*nowhere"):
        list(read_bag(tmp_path / "nowhere"))
    with pytest.raises(InvalidInputError, match=r"no topic /eye or /eye/compressed; it has /camera/"):
        list(read_bag(bag, Topics(colour="/eye")))


def test_depth_millimetres_and_back() -> None:
    metres = np.array([[0.0004, 0.5, 1.2345, np.nan, np.inf, 70.0]], np.float32)
    assert depth_mm(metres).tolist() == [[0, 500, 1234, 0, 0, 65535]]


class Message:
    def __init__(self, **fields: object) -> None:
        self.__dict__.update(fields)


def test_encodings_are_read_with_padding_and_order() -> None:
    padded = np.zeros((2, 8), np.uint8)
    padded[:, :6] = np.arange(12).reshape(2, 6)
    message = Message(encoding="bgr8", height=2, width=2, step=8, is_bigendian=0, data=padded.ravel())
    assert rgb_of(message)[0, 0].tolist() == [2, 1, 0]
    big = Message(encoding="16UC1", height=1, width=2, step=4, is_bigendian=1, data=np.array([3, 232, 0, 0], np.uint8))
    assert depth_of(big)[0, 0] == pytest.approx(1.0) and np.isnan(depth_of(big)[0, 1])


def test_a_compressed_picture_is_decoded_and_rubbish_is_not() -> None:
    picture = np.zeros((8, 8, 3), np.uint8)
    picture[..., 0] = 200  # red
    data = cv2.imencode(".png", picture[..., ::-1])[1]
    assert np.array_equal(rgb_of(Message(format="png", data=data)), picture)
    with pytest.raises(InvalidInputError, match="no whole JPEG or PNG"):
        rgb_of(Message(format="jpeg", data=np.arange(50, dtype=np.uint8)))


@pytest.mark.parametrize("encoding", ["bayer_rggb8", "yuv422"])
def test_unknown_encodings_are_named(encoding: str) -> None:
    with pytest.raises(InvalidInputError, match=encoding):
        rgb_of(Message(encoding=encoding))


def test_truth_beside_the_bag(frames: list[Frame], tmp_path: Path) -> None:
    ids = np.zeros((120, 160), np.uint8)
    ids[30:60, 20:50] = 1
    box = ObjectRecord(1, "k", "red box", "red", "box", (), (20, 30, 50, 60), 900, (0.1, 0.2, 0.03), (0.1, 0.05, 0.06), 0.8)
    made = frames[0]
    scene = SimScene(5, made.rgb, made.depth_m, ids, made.camera, made.base_from_camera, (box,))
    folder = record(tmp_path / "bag", [scene, scene])
    truths = load_truth(folder)
    assert [t.stamp_ns for t in truths] == [f.stamp_ns for f in read_bag(folder)]
    assert truths[0].objects == (box,) and np.array_equal(truths[0].masks[1], ids == 1)
    (folder / FILE_NAME).unlink()
    with pytest.raises(InvalidInputError, match="truth"):
        load_truth(folder)


def test_the_demo_bag_is_small_and_fits_its_instructions() -> None:
    demo = Path(__file__).resolve().parents[1] / "demo"
    assert sum(f.stat().st_size for f in (demo / "bag").iterdir()) <= 6_000_000
    truths = json.loads((demo / "bag" / FILE_NAME).read_text())["scenes"]
    assert len(truths) == len(list(read_bag(demo / "bag"))) == 5
