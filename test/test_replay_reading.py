"""Recordings of every kind give the same frames, topics are found or asked for, and colour meets the depth of its moment."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("rosbags")

from replay_recordings import BEGIN_NS, GAP_NS, STORE, calibration_fields, frames, header, make, pixels, put, recording, write
from rosbags.convert.converter import convert
from rosbags.typesys import Stores, get_typestore

from qwen_seg_ros.errors import InvalidInputError, SettingsError
from qwen_seg_ros.geometry.frame_tree import FrameTree
from qwen_seg_ros.geometry.sensor_messages import camera_of, depth_of
from qwen_seg_ros.geometry.transform import transform
from qwen_seg_ros.offline.bags.discovery import Asked, find_topics
from qwen_seg_ros.offline.bags.opening import open_bag
from qwen_seg_ros.offline.bags.pairing import KEPT, Pairing, Stamped
from qwen_seg_ros.offline.bags.reader import read_bag
from qwen_seg_ros.offline.bags.selection import Selection, Thinning
from qwen_seg_ros.offline.bags.topics import CAMERA_INFO, IMAGE, Topics
from qwen_seg_ros.offline.bags.views import Views
from qwen_seg_ros.offline.bags.writer import connect, open_writer


@pytest.fixture(scope="module")
def bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return recording(tmp_path_factory.mktemp("mcap") / "bag")


def converted(bag: Path, to: Path, storage: str = "sqlite3", compress: str | None = None, mode: str = "file") -> Path:
    ros1 = get_typestore(Stores.ROS1_NOETIC) if to.suffix == ".bag" else None
    convert([bag], to, storage, 8, compress, mode, None, ros1, (), (), (), ())
    return to


FORMS: dict[str, Callable[[Path, Path], Path]] = {
    "the mcap alone": lambda bag, to: bag / "bag.mcap",
    "sqlite3": lambda bag, to: converted(bag, to / "db"),
    "compressed file": lambda bag, to: converted(bag, to / "packed", compress="zstd"),
    "compressed messages": lambda bag, to: converted(bag, to / "messages", "mcap", "zstd", "message"),
    "ROS 1": lambda bag, to: converted(bag, to / "old.bag", compress="bz2"),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_kind_of_recording_gives_the_same_frames(form: str, bag: Path, tmp_path: Path) -> None:
    read, wanted = list(read_bag(FORMS[form](bag, tmp_path))), list(read_bag(bag))
    assert [f.stamp_ns for f in read] == [BEGIN_NS + n * GAP_NS for n in range(4)]
    for got, want in zip(read, wanted, strict=True):
        assert np.array_equal(got.rgb, want.rgb) and np.array_equal(got.depth_m, want.depth_m, equal_nan=True)
        assert got.camera == want.camera and np.array_equal(got.base_from_camera, want.base_from_camera)


def test_files_of_a_split_recording_without_metadata_are_one(tmp_path: Path) -> None:
    for number in range(2):
        with open_writer(tmp_path / f"part{number}") as writer:
            write(writer, frames(4)[2 * number : 2 * number + 2])
        (tmp_path / f"part{number}" / f"part{number}.mcap").rename(tmp_path / f"all_{number}.mcap")
    for number in range(2):
        (tmp_path / f"part{number}" / "metadata.yaml").unlink()
        (tmp_path / f"part{number}").rmdir()
    assert [f.stamp_ns for f in read_bag(tmp_path)] == [f.stamp_ns for f in frames(4)]


def made(folder: Path, *cameras, **how) -> Path:
    with open_writer(folder) as writer:
        for names in cameras:
            write(writer, frames(2), names=names, **how)
    return folder


FRONT = ("/front/rgb/image", "/front/depth/image", "/front/rgb/camera_info")
WRIST = ("/wrist/rgb/image", "/wrist/depth/image", "/wrist/rgb/camera_info")


def test_topics_are_found_by_type_whatever_they_are_called(tmp_path: Path) -> None:
    with open_bag(made(tmp_path / "bag", ("/a", "/b", "/c"))) as reader:
        assert find_topics(reader) == Topics("/a", "/b", "/c")


def test_a_compressed_colour_topic_will_do(tmp_path: Path) -> None:
    bag = made(tmp_path / "bag", ("/eye/compressed", "/depth", "/camera_info"), jpeg=True)
    assert np.array_equal(next(read_bag(bag)).rgb, frames(1)[0].rgb)
    with open_bag(bag) as reader:
        assert find_topics(reader, Asked(image="/eye")).colour == "/eye/compressed"


def test_two_cameras_are_asked_about_and_one_word_decides(tmp_path: Path) -> None:
    with open_bag(made(tmp_path / "bag", FRONT, WRIST)) as reader:
        with pytest.raises(InvalidInputError, match=r"could be the colour image: /front.*/wrist.*; say which with --image"):
            find_topics(reader)
        assert find_topics(reader, Asked(image=WRIST[0])) == Topics(*WRIST)


def test_a_missing_topic_is_an_error_that_lists_what_is_there(bag: Path, tmp_path: Path) -> None:
    with open_writer(tmp_path / "blind") as writer:
        words = connect(writer, STORE, "/words", "std_msgs/msg/String")
        put(writer, words, BEGIN_NS, data="hello")
    words = r"no colour image; it has /words \(std_msgs/msg/String, 1 messages\)"
    with open_bag(tmp_path / "blind") as reader, pytest.raises(InvalidInputError, match=words):
        find_topics(reader)
    with open_bag(bag) as reader:
        with pytest.raises(
            InvalidInputError, match=r"no topic /eye or .*; it has /camera/.* \(sensor_msgs/msg/Image, 4 messages\)"
        ):
            find_topics(reader, Asked(image="/eye"))
        with pytest.raises(InvalidInputError, match=r"camera_info holds no depth image but sensor_msgs/msg/CameraInfo"):
            find_topics(reader, Asked(depth="/camera/color/camera_info"))


@pytest.mark.parametrize("name", ["x.mcap", "x.db3", "x.bag"])
def test_a_damaged_recording_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"not a recording" * 50)
    with pytest.raises(InvalidInputError, match=f"{name} cannot be read"):
        list(read_bag(tmp_path / name))


@pytest.mark.parametrize("form", ["compressed messages", "sqlite3", "ROS 1"])
def test_damage_inside_is_told_with_its_place(form: str, bag: Path, tmp_path: Path) -> None:
    made = FORMS[form](bag, tmp_path)
    file = made if made.is_file() else next(path for path in made.iterdir() if path.suffix in (".mcap", ".db3"))
    whole = file.read_bytes()
    third = len(whole) // 3
    file.write_bytes(whole[:third] + b"\xff" * third + whole[2 * third :])
    with pytest.raises(
        InvalidInputError, match=r"the recording is damaged 0\.\d+ s after its start|cannot be read as a recording"
    ):
        list(read_bag(made))


def test_what_is_no_recording_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"holds no recording: neither metadata.yaml nor a file with .mcap"):
        list(read_bag(tmp_path))
    (tmp_path / "notes.txt").write_text("no bag")
    with pytest.raises(
        InvalidInputError, match=r"notes.txt is no recording; give a rosbag2 folder or a file that ends with .mcap"
    ):
        list(read_bag(tmp_path / "notes.txt"))


def test_depth_of_another_moment_is_not_taken(tmp_path: Path) -> None:
    assert len(list(read_bag(made(tmp_path / "near", FRONT, shift_ns=40_000_000)))) == 2
    with open_bag(made(tmp_path / "far", FRONT, shift_ns=60_000_000)) as reader:
        views = Views(reader, find_topics(reader), Selection(tolerance_s=0.03))
        assert [view.stamp_ns for view in views] == []
        assert views.counts.colours == 2 and views.counts.least_gap_ns == 40_000_000


@given(st.lists(st.integers(0, 300), min_size=1, max_size=40), st.lists(st.integers(0, 300), min_size=1, max_size=40))
def test_every_colour_image_gets_the_nearest_depth(colours: list[int], depths: list[int]) -> None:
    colours, depths = sorted(set(colours)), sorted(set(depths))
    pairing, found = Pairing(5e-9), {}
    for stamp, is_depth in sorted([(s, False) for s in colours] + [(s, True) for s in depths]):
        (pairing.add_depth if is_depth else pairing.add_colour)(Stamped(stamp, stamp, None))
        found.update({c.stamp_ns: d.stamp_ns for c, d in pairing.pairs()})
    found.update({c.stamp_ns: d.stamp_ns for c, d in pairing.pairs(ended=True)})
    gaps = {c: min(abs(c - d) for d in depths) for c in colours}
    assert set(found) == {c for c, gap in gaps.items() if gap <= 5}
    assert all(abs(c - d) == gaps[c] for c, d in found.items())


def test_images_without_partner_do_not_pile_up() -> None:
    pairing = Pairing(0.01)
    for stamp in range(10_000):
        pairing.add_colour(Stamped(stamp * GAP_NS, stamp, None))
        assert list(pairing.pairs()) == []
    waiting = list(pairing.pairs(ended=True))
    assert waiting == [] and pairing.counts.colours == 10_000 and pairing.counts.pairs == 0
    assert len(pairing._colours) <= KEPT


def test_frames_are_thinned_out_by_number_or_by_time() -> None:
    stamps = [n * GAP_NS for n in range(10)]
    every, slow = Thinning(Selection(every=4)), Thinning(Selection(rate_hz=4.0))
    assert [n for n, s in enumerate(stamps) if every.takes(s)] == [0, 4, 8]
    assert [n for n, s in enumerate(stamps) if slow.takes(s)] == [0, 3, 5, 8]
    with pytest.raises(SettingsError, match="every 2, or 4 a second, not both"):
        Selection(every=2, rate_hz=4.0)


def test_a_part_of_the_recording(bag: Path) -> None:
    with open_bag(bag) as reader:
        views = list(Views(reader, find_topics(reader), Selection(start_s=0.1, duration_s=0.15)))
        assert [round(view.time_s, 3) for view in views] == [0.1, 0.2]
        assert views[0].look().frame.base_from_camera is not None  # though its transform was recorded before
        with pytest.raises(InvalidInputError, match=r"0.3 s long; nothing is left after --start 9"):
            Views(reader, find_topics(reader), Selection(start_s=9.0))


def two_eyes(folder: Path, calibrated: bool, right_m: float | None, size: tuple[int, int]) -> tuple[np.ndarray | None, str]:
    """Depth and remark of a recording whose depth is of the frame "other", so far beside colour's, None = nobody knows."""
    frame, (width, height) = frames(1)[0], size
    info = frame.camera.scaled_to(width, height)
    with open_writer(folder) as writer:
        write(writer, [frame], names=("/eye/image", "/far/depth", "/eye/camera_info"))
        depth = connect(writer, STORE, "/other/depth", IMAGE)
        head = make("std_msgs/msg/Header", stamp=header(frame.stamp_ns).stamp, frame_id="other")
        wall = np.full((height, width), 800, np.uint16)
        put(writer, depth, frame.stamp_ns, header=head, height=height, width=width, **pixels(wall, "16UC1", 2))
        if calibrated:
            calibration = connect(writer, STORE, "/other/camera_info", CAMERA_INFO)
            fields = calibration_fields(info)
            put(writer, calibration, frame.stamp_ns, header=head, height=height, width=width, **fields)
        if right_m is not None:
            fixed = connect(writer, STORE, "/tf_static", "tf2_msgs/msg/TFMessage")
            put(writer, fixed, frame.stamp_ns, transforms=[beside("other", right_m)])
    with open_bag(folder) as reader:
        topics = find_topics(reader, Asked(depth="/other/depth"))
        look = next(iter(Views(reader, topics, Selection()))).look()
        return look.frame.depth_m, look.note


def beside(child: str, right_m: float = 0.05):
    """The pose of `child`: so far to the right of the camera."""
    place = make("geometry_msgs/msg/Vector3", x=right_m, y=0.0, z=0.0)
    turn = make("geometry_msgs/msg/Quaternion", x=0.0, y=0.0, z=0.0, w=1.0)
    move = make("geometry_msgs/msg/Transform", translation=place, rotation=turn)
    return make("geometry_msgs/msg/TransformStamped", header=header(BEGIN_NS), child_frame_id=child, transform=move)


def test_depth_of_another_camera_is_registered_or_left_out_with_a_reason(tmp_path: Path) -> None:
    depth, note = two_eyes(tmp_path / "whole", calibrated=True, right_m=0.05, size=(80, 60))
    assert note == "" and depth.shape == (120, 160)
    np.testing.assert_allclose(depth[20:100, 20:], 0.8, atol=1e-3)  # a wall stays a wall
    assert np.isnan(depth[60, 3])  # which the other camera, farther right, does not see
    depth, note = two_eyes(tmp_path / "unplaced", calibrated=True, right_m=None, size=(80, 60))
    assert depth is None and "it cannot be registered: no path from 'other' to 'camera'" in note
    depth, note = two_eyes(tmp_path / "uncalibrated", calibrated=False, right_m=0.05, size=(80, 60))
    assert depth is None and "without calibration of its own and of another size" in note


@pytest.mark.parametrize(
    ("right_m", "used", "remark"),
    [
        (0.05, False, "and the frames lie apart"),
        (0.0, True, ""),
        (None, True, "taken as registered, positions are wrong"),
    ],
)
def test_depth_without_calibration_of_its_own_is_used_unless_the_frames_lie_apart(
    right_m: float | None, used: bool, remark: str, tmp_path: Path
) -> None:
    """As the node does it."""
    depth, note = two_eyes(tmp_path / "bag", calibrated=False, right_m=right_m, size=(160, 120))
    assert (depth is not None) is used and (remark in note if remark else note == "")


def test_a_view_waits_for_the_pose_that_is_recorded_after_it(tmp_path: Path) -> None:
    with open_writer(tmp_path / "bag") as writer:
        write(writer, frames(1))
        moving = connect(writer, STORE, "/tf", "tf2_msgs/msg/TFMessage")
        link = beside("camera")
        link.header.frame_id = "base_link"
        put(writer, moving, BEGIN_NS + 50_000_000, transforms=[link])
    [frame] = read_bag(tmp_path / "bag")
    np.testing.assert_allclose(frame.base_from_camera[:3, 3], [0.05, 0, 0])


def test_moving_frames_are_interpolated_and_not_guessed() -> None:
    tree = FrameTree(tolerance_s=0.1)
    quarter = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
    tree.add("base", "arm", transform(np.eye(3), np.zeros(3)), 0, fixed=False)
    tree.add("/base", "arm", transform(quarter, np.array([1.0, 0, 0])), 10**9, fixed=False)
    tree.add("arm", "camera", transform(np.eye(3), np.array([0, 0, 1.0])), 0, fixed=True)
    half = np.sqrt(0.5)
    expected = transform(np.array([[half, -half, 0], [half, half, 0], [0, 0, 1]]), np.array([0.5, 0, 1]))
    np.testing.assert_allclose(tree.find("base", "camera", 5 * 10**8), expected, atol=1e-12)
    np.testing.assert_allclose(tree.find("camera", "base", 5 * 10**8) @ expected, np.eye(4), atol=1e-12)
    np.testing.assert_allclose(tree.find("base", "arm", 1_090_000_000)[:3, 3], [1, 0, 0])
    with pytest.raises(LookupError, match=r"no path from 'camera' to 'base' at .*; frames with a parent: arm, camera"):
        tree.find("base", "camera", 2 * 10**9)


def test_compressed_depth_is_read() -> None:
    raw = np.array([[0, 500], [1234, 65535]], np.uint16)
    data = np.frombuffer(b"\0" * 12 + cv2.imencode(".png", raw)[1].tobytes(), np.uint8)
    depth = depth_of(SimpleNamespace(format="16UC1; compressedDepth png", data=data))
    np.testing.assert_allclose(depth, [[np.nan, 0.5], [1.234, 65.535]], rtol=1e-6)


def test_calibration_of_either_spelling_with_binning_and_region() -> None:
    roi = SimpleNamespace(x_offset=20, y_offset=10, width=200, height=100)
    k = [400.0, 0, 160, 0, 410.0, 120, 0, 0, 1]
    fields = {"distortion_model": "plumb_bob", "binning_x": 2, "binning_y": 2, "roi": roi, "width": 320, "height": 240}
    new = camera_of(SimpleNamespace(**fields, k=k, d=[0.0] * 5))
    assert new == camera_of(SimpleNamespace(**fields, K=k, D=[]))
    assert (new.width, new.height, new.fx, new.fy, new.cx, new.cy) == (100, 50, 200, 205, 70, 55)
    with pytest.raises(InvalidInputError, match=r"K\[0\] is 0 for a 320x240 image; calibrate"):
        camera_of(SimpleNamespace(**fields, k=[0.0] * 9, d=[]))
