"""A replay gives the same bytes every time, goes on where it was interrupted, never mixes two, and tells every failure."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rosbags")

from replay_recordings import BEGIN_NS, GAP_NS, frames, pipeline, recording, scene
from rosbags.highlevel import AnyReader

from qwen_seg_ros.errors import InvalidInputError
from qwen_seg_ros.geometry.mask import decode_rle
from qwen_seg_ros.geometry.transform import rotation_from_quaternion, transform
from qwen_seg_ros.offline.bags.discovery import Asked
from qwen_seg_ros.offline.bags.replay.output import BAG, LATENCIES, RESULTS, RUN, UNFINISHED
from qwen_seg_ros.offline.bags.replay.run import Progress, Question, Summary, replay
from qwen_seg_ros.offline.bags.replay.timetable import Timetable, load_timetable
from qwen_seg_ros.offline.bags.result_messages import BEST, OBJECTS, SEGMENTS, TARGETS
from qwen_seg_ros.offline.bags.selection import Selection
from qwen_seg_ros.offline.bags.writer import write_bag

BOX = Question(Timetable.always(["the box"]))
ASKED = Question(Timetable.always(["the box", "the fork"]))
SAME = (RESULTS, RUN, f"{BAG}/{BAG}.mcap", f"{BAG}/metadata.yaml")


@pytest.fixture(scope="module")
def bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return recording(tmp_path_factory.mktemp("replayed") / "bag", 3)


@pytest.fixture(scope="module")
def done(bag: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Summary]:
    out = tmp_path_factory.mktemp("answers") / "out"
    return out, replay(bag, ASKED, pipeline(), out)


def lines(out: Path) -> list[dict]:
    return [json.loads(line) for line in (out / RESULTS).read_text().splitlines()]


def test_every_frame_is_answered_with_words_and_reasons(done: tuple[Path, Summary]) -> None:
    out, summary = done
    assert (summary.answers, summary.begun_with, summary.statuses) == (6, 0, {"OK": 3, "NOT_FOUND": 3})
    answers = lines(out)
    assert [a["stamp_ns"] for a in answers] == [BEGIN_NS + n * GAP_NS for n in (0, 0, 1, 1, 2, 2)]
    assert [a["time_s"] for a in answers[::2]] == [0.0, 0.1, 0.2]
    found, absent = answers[0], answers[1]
    assert found["status"] == "OK" and found["frame"] == "base_link" and found["camera_frame"] == "camera"
    mask = decode_rle(found["segments"][0]["mask"]["counts"], *found["segments"][0]["mask"]["size"])
    assert np.array_equal(mask, scene()[1]["the box"].instances[0].mask.full())
    assert absent["status"] == "NOT_FOUND" and absent["absent"] == ["the fork"] and absent["segments"] == []
    latencies = json.loads((out / LATENCIES).read_text())
    assert len(latencies["answers"]) == 6 and latencies["stages"]["lift"]["count"] == 3
    assert latencies["stages"]["encode"]["count"] == 3  # looked at once for two instructions


def test_the_results_are_those_of_the_pipeline(done: tuple[Path, Summary]) -> None:
    direct = pipeline().run(replace(frames(1)[0], depth_m=millimetres(frames(1)[0].depth_m)), "the box")
    told = lines(done[0])[0]["objects"][0]
    np.testing.assert_allclose(told["pose"]["position_m"], direct.lifted.objects[0].box.pose[:3, 3], atol=1e-5)
    np.testing.assert_allclose(told["size_m"], direct.lifted.objects[0].box.size_m, atol=1e-4)
    assert told["grasp_count"] == len(direct.plans[0].grasps) > 0
    assert told["grasps"][0]["score"] == pytest.approx(direct.plans[0].grasps[0].score, abs=1e-4)


def millimetres(depth_m: np.ndarray) -> np.ndarray:
    """As the recording keeps it."""
    return (np.rint(depth_m * 1000).astype(np.float32) * np.float32(0.001)).astype(np.float32)


def test_the_result_bag_says_the_same_as_the_lines(done: tuple[Path, Summary]) -> None:
    messages: dict[str, list] = {}
    with AnyReader([done[0] / BAG]) as reader:  # with the definitions that the bag carries
        for connection, log_ns, raw in reader.messages():
            messages.setdefault(connection.topic, []).append((log_ns, reader.deserialize(raw, connection.msgtype)))
    assert {topic: len(found) for topic, found in messages.items()} == {SEGMENTS: 6, OBJECTS: 6, TARGETS: 6, BEST: 3}
    for answer, (log_ns, segments), (_, objects), (_, targets) in zip(
        lines(done[0]), *(messages[topic] for topic in (SEGMENTS, OBJECTS, TARGETS)), strict=True
    ):
        for message in (segments, objects, targets):
            assert message.header.stamp.sec * 10**9 + message.header.stamp.nanosec == answer["stamp_ns"] == log_ns
            assert message.instruction == answer["instruction"]
            assert getattr(message.status, answer["status"]) == message.status.code
        assert (segments.height, segments.width) == tuple(answer["size"]) and list(segments.absent) == answer["absent"]
        for told, segment in zip(answer["segments"], segments.segments, strict=True):
            full, roi = np.zeros(told["mask"]["size"], bool), segment.roi
            crop = segment.mask.data.reshape(segment.mask.height, segment.mask.width) > 0
            full[roi.y_offset : roi.y_offset + roi.height, roi.x_offset : roi.x_offset + roi.width] = crop
            assert np.array_equal(full, decode_rle(told["mask"]["counts"], *told["mask"]["size"]))
        for told, item in zip(answer["objects"], objects.objects, strict=True):
            place = [item.pose.position.x, item.pose.position.y, item.pose.position.z]
            np.testing.assert_allclose(place, told["pose"]["position_m"], atol=1e-5)
            points = item.cloud.data.view(np.float32).reshape(-1, 4)[:, :3]
            assert len(points) == item.cloud.width > 50
            assert (
                points.min(axis=0)[2] > -0.01 and np.linalg.norm(points.mean(axis=0) - place) < 0.1
            )  # on the table, about the box
            assert len(targets.targets) == told["grasp_count"]
            assert targets.targets[0].score == pytest.approx(told["grasps"][0]["score"], abs=1e-4)
    best = messages[BEST][0][1].pose
    turn = rotation_from_quaternion(np.array([best.orientation.x, best.orientation.y, best.orientation.z, best.orientation.w]))
    first = pipeline().run(replace(frames(1)[0], depth_m=millimetres(frames(1)[0].depth_m)), "the box").plans[0].grasps[0].pose
    np.testing.assert_allclose(transform(turn, np.array([best.position.x, best.position.y, best.position.z])), first, atol=1e-4)


class Enough(Exception):
    pass


@pytest.mark.parametrize("after", [1, 2])
def test_an_interrupted_run_goes_on_and_ends_with_the_same_bytes(
    after: int, bag: Path, done: tuple[Path, Summary], tmp_path: Path
) -> None:
    def stop(progress: Progress) -> None:
        if progress.answers == after:
            raise Enough

    with pytest.raises(Enough):
        replay(bag, ASKED, pipeline(), tmp_path / "out", stop)
    assert len(lines(tmp_path / "out")) == after and (tmp_path / "out" / UNFINISHED).exists()
    (tmp_path / "out" / RESULTS).write_text('{"half a li')  # the last line may be cut off
    told: list[Progress] = []
    summary = replay(bag, ASKED, pipeline(), tmp_path / "out", told.append)
    assert summary.begun_with == after and summary.answers == 6 and [p.answers for p in told] == list(range(after + 1, 7))
    assert all((tmp_path / "out" / name).read_bytes() == (done[0] / name).read_bytes() for name in SAME)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted([RESULTS, RUN, LATENCIES, BAG])


def test_what_is_finished_is_not_done_again(bag: Path, done: tuple[Path, Summary]) -> None:
    before = {name: (done[0] / name).read_bytes() for name in (*SAME, LATENCIES)}
    told: list[Progress] = []
    summary = replay(bag, ASKED, pipeline(), done[0], told.append)
    assert told == [] and summary.answers == summary.begun_with == 6
    assert all((done[0] / name).read_bytes() == data for name, data in before.items())


def test_another_replay_does_not_go_on_here(bag: Path, done: tuple[Path, Summary], tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"holds another replay: instructions was .*the fork.*, is .*name a new folder"):
        replay(bag, BOX, pipeline(), done[0])
    with pytest.raises(InvalidInputError, match="every was 1, is 2"):
        replay(bag, replace(ASKED, selection=Selection(every=2)), pipeline(), done[0])
    (tmp_path / "diary.txt").write_text("mine")
    with pytest.raises(InvalidInputError, match=r"holds other files \(diary.txt\); name a new or empty folder"):
        replay(bag, BOX, pipeline(), tmp_path)


def test_instructions_hold_from_their_time_on(bag: Path, tmp_path: Path) -> None:
    (tmp_path / "asked.yaml").write_text("- {at: 0.1, say: the box}\n- {at: 0.2, say: [both, the  fork]}\n")
    replay(bag, Question(load_timetable(tmp_path / "asked.yaml"), plan_grasps=False), pipeline(), tmp_path / "out")
    assert [(a["time_s"], a["instruction"]) for a in lines(tmp_path / "out")] == [
        (0.1, "the box"),
        (0.2, "both"),
        (0.2, "the fork"),
    ]
    assert lines(tmp_path / "out")[0]["objects"][0]["grasps"] == []


BAD_TIMETABLES = {
    "words": ("the box", "must be a list of entries"),
    "no words": ("- {at: 1.0, say: []}", "asks nothing"),
    "backwards": ("- {at: 2, say: a}\n- {at: 1, say: b}", "must ascend, but 1 follows 2"),
    "a yes": ("- {at: 1, say: yes}", "quote yes, no and numbers"),
    "no time": ("- {at: soon, say: a}", "entry 1: `at` must be seconds"),
    "another key": ("- {at: 1, ask: a}", "entry 1 must have `at` and `say`"),
    "empty words": ("- {at: 1, say: ' '}", "entry 1: instruction is empty"),
    "no YAML": ("- {at: 1", "cannot be read"),
}


@pytest.mark.parametrize("text, words", BAD_TIMETABLES.values(), ids=BAD_TIMETABLES)
def test_a_bad_timetable_is_told_from_a_good_one(text: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "asked.yaml").write_text(text)
    with pytest.raises(InvalidInputError, match=words):
        load_timetable(tmp_path / "asked.yaml")


def test_a_frame_that_cannot_be_used_is_an_answer_and_the_rest_goes_on(tmp_path: Path) -> None:
    made = frames(2)
    small = replace(made[1], depth_m=np.ascontiguousarray(made[1].depth_m))
    object.__setattr__(small, "depth_m", made[1].depth_m[:60])  # a camera whose depth changes its size
    bag = write_bag(tmp_path / "bag", [made[0], small])
    summary = replay(bag, replace(BOX, plan_grasps=False), pipeline(), tmp_path / "out")
    assert summary.statuses == {"OK": 1, "INVALID_INPUT": 1}
    assert "depth image is 160x60, colour image 160x120" in lines(tmp_path / "out")[1]["message"]


def test_results_stay_in_the_camera_frame_and_say_why(bag: Path, tmp_path: Path) -> None:
    question = replace(BOX, plan_grasps=False, selection=Selection(target_frame="map", every=3))
    replay(bag, question, pipeline(), tmp_path / "out")
    answer = lines(tmp_path / "out")[0]
    assert answer["status"] == "NO_TRANSFORM" and answer["frame"] == "camera" and answer["objects"]
    assert answer["message"].startswith("no transform map <- camera: no path from 'camera' to 'map'")


def test_masks_alone_need_no_depth(bag: Path, tmp_path: Path) -> None:
    replay(bag, replace(BOX, asked=Asked(no_depth=True), selection=Selection(every=3)), pipeline(), tmp_path / "out")
    answer = lines(tmp_path / "out")[0]
    assert answer["status"] == "NO_DEPTH" and len(answer["segments"]) == 1 and answer["objects"] == []
