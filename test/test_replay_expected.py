"""What counts as a difference from expected answers, and what does not."""

import copy
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rosbags")

from qwen_seg_ros.errors import InvalidInputError, SettingsError
from qwen_seg_ros.geometry.mask import encode_rle
from qwen_seg_ros.offline.bags.replay.comparison import Comparison, Tolerances, compare

UPRIGHT = [0.0, 0.0, 0.0, 1.0]


def segment(phrase: str, x: int) -> dict:
    mask = np.zeros((40, 60), bool)
    mask[10:20, x : x + 10] = True
    return {"id": 1, "phrase": phrase, "mask": {"size": [40, 60], "counts": encode_rle(mask)}}


def thing(phrase: str, x_m: float) -> dict:
    grasp = {"pose": {"position_m": [x_m, 0.0, 0.1], "quaternion_xyzw": list(UPRIGHT)}, "width_m": 0.05, "score": 0.8}
    pose = {"position_m": [x_m, 0.0, 0.05], "quaternion_xyzw": list(UPRIGHT)}
    return {"id": 1, "phrase": phrase, "pose": pose, "size_m": [0.08, 0.06, 0.1], "grasps": [grasp], "no_grasp": ""}


def answers() -> list[dict]:
    """Two frames: a mug and a can, then nothing."""
    found = {"status": "OK", "message": "", "frame": "base_link"}
    both = {"segments": [segment("mug", 5), segment("can", 30)], "objects": [thing("mug", 0.1), thing("can", 0.3)]}
    none = {"status": "NOT_FOUND", "message": "not in the image: mug", "frame": "camera", "segments": [], "objects": []}
    return [
        {"stamp_ns": 10, "time_s": 0.0, "instruction": "all", **found, **both},
        {"stamp_ns": 20, "instruction": "all", **none},
    ]


def compared(tmp_path: Path, expected: list[dict], got: list[dict], tolerances: Tolerances | None = None) -> Comparison:
    for name, lines in (("expected", expected), ("got", got)):
        (tmp_path / name).write_text("".join(json.dumps(line) + "\n" for line in lines))
    return compare(tmp_path / "expected", tmp_path / "got", tolerances or Tolerances())


def swap(line: dict) -> None:
    line["segments"].reverse()
    line["objects"].reverse()


def turn_hand(line: dict) -> None:
    line["objects"][0]["grasps"][0]["pose"]["quaternion_xyzw"] = [0.0, 0.0, 1.0, 0.0]


def other_best(line: dict) -> None:
    far = copy.deepcopy(line["objects"][0]["grasps"][0])
    far["pose"]["position_m"][2] = 0.3
    line["objects"][0]["grasps"].insert(0, far)


ALIKE: dict[str, Callable[[dict], None]] = {
    "nothing changed": lambda line: None,
    "another order": swap,
    "a millimetre": lambda line: line["objects"][0]["pose"]["position_m"].__setitem__(0, 0.101),
    "a hand turned by half": turn_hand,
    "the expected grasp is second best": other_best,
    "another score": lambda line: line["objects"][0]["grasps"][0].update(score=0.1),
    "a pixel": lambda line: line["segments"].__setitem__(0, segment("mug", 6)),
}


@pytest.mark.parametrize("change", ALIKE.values(), ids=ALIKE)
def test_what_does_not_matter_is_no_difference(change: Callable[[dict], None], tmp_path: Path) -> None:
    got = answers()
    change(got[0])
    assert compared(tmp_path, answers(), got) == Comparison(2, 0, ())


def no_grasp(line: dict) -> None:
    line["objects"][0].update(grasps=[], no_grasp="too wide for the gripper")


def tilt_hand(line: dict) -> None:
    line["objects"][0]["grasps"][0]["pose"]["quaternion_xyzw"] = [np.sin(0.3), 0.0, 0.0, np.cos(0.3)]


DIFFERENT: dict[str, tuple[Callable[[dict], None], tuple[str, str, str]]] = {
    "status": (lambda line: line.update(status="NO_DEPTH", message="dark"), ("status", "OK", "NO_DEPTH: dark")),
    "lost": (lambda line: line["segments"].pop(0), ("target", "'mug' found", "not found")),
    "one more": (lambda line: line["segments"].append(segment("fork", 45)), ("target", "no further one", "'fork' found")),
    "mask": (lambda line: line["segments"].__setitem__(0, segment("mug", 8)), ("mask of 'mug'", "IoU at least 0.8", "0.538")),
    "no object": (lambda line: line["objects"].pop(1), ("object in 3-D", "'can'", "none")),
    "position": (
        lambda line: line["objects"][0]["pose"]["position_m"].__setitem__(1, 0.012),
        ("position of 'mug'", "within 10 mm of +0.100 +0.000 +0.050", "12.0 mm away, +0.100 +0.012 +0.050"),
    ),
    "size": (
        lambda line: line["objects"][0].update(size_m=[0.08, 0.09, 0.1]),
        ("size of 'mug'", "8.0 x 6.0 x 10.0 cm within 20 mm", "8.0 x 9.0 x 10.0 cm"),
    ),
    "no grasp": (no_grasp, ("grasp of 'mug'", "one", "0; too wide for the gripper")),
    "hand": (
        tilt_hand,
        ("best grasp of 'mug'", "one of the best within 20 mm and 20 degrees", "nearest: 0.0 mm, 34 degrees"),
    ),
    "frame": (lambda line: line.update(frame="camera"), ("frame of the objects", "base_link", "camera")),
}


@pytest.mark.parametrize("change, words", DIFFERENT.values(), ids=DIFFERENT)
def test_what_matters_is_told_in_words(change: Callable[[dict], None], words: tuple[str, str, str], tmp_path: Path) -> None:
    got = answers()
    change(got[0])
    comparison = compared(tmp_path, answers(), got)
    assert [(d.what, d.expected, d.got) for d in comparison.differences] == [words]
    assert comparison.differences[0].time_s == 0.0 and comparison.differences[0].instruction == "all"


def test_tolerances_decide(tmp_path: Path) -> None:
    got = answers()
    tilt_hand(got[0])
    got[0]["objects"][1]["pose"]["position_m"][0] += 0.015
    assert len(compared(tmp_path, answers(), got).differences) == 2
    assert not compared(tmp_path, answers(), got, Tolerances(position_mm=16.0, grasp_deg=40.0)).differences
    assert not compared(tmp_path, answers(), got, Tolerances(position_mm=16.0, grasp_poses=False)).differences
    with pytest.raises(SettingsError, match=r"iou must be between 0.0 and 1.0"):
        Tolerances(iou=2.0)


def test_a_part_may_be_expected_and_a_missing_answer_is_a_difference(tmp_path: Path) -> None:
    part = [{"stamp_ns": 20, "instruction": "All", "status": "NOT_FOUND"}]
    assert compared(tmp_path, part, answers()) == Comparison(1, 1, ())
    lost = compared(tmp_path, answers(), answers()[:1])
    assert [(d.what, d.got) for d in lost.differences] == [("answer", "none for this stamp and instruction")]


BAD = {
    "no JSON": ("{", "line 1 cannot be read"),
    "no stamp": ('{"instruction": "a"}', "line 1 cannot be read .*every line must be a JSON object with at least stamp_ns"),
    "a list": ("[]", "line 1 cannot be read"),
    "half a mask": ('{"stamp_ns": 10, "instruction": "all", "segments": [{"mask": {"size": [4, 4], "counts": [3]}}]}',
                    "line 1 is no answer .*add up to 16"),
    "no pose": ('{"stamp_ns": 10, "instruction": "all", "objects": [{"phrase": "a"}]}', "line 1 is no answer .*pose"),
}  # fmt: skip


@pytest.mark.parametrize("text, words", BAD.values(), ids=BAD)
def test_a_bad_line_is_named(text: str, words: str, tmp_path: Path) -> None:
    compared(tmp_path, [], answers())
    (tmp_path / "expected").write_text(text + "\n")
    with pytest.raises(InvalidInputError, match=words):
        compare(tmp_path / "expected", tmp_path / "got", Tolerances())
    with pytest.raises(InvalidInputError, match="nowhere cannot be read"):
        compare(tmp_path / "nowhere", tmp_path / "got", Tolerances())
