"""The whole path with stored answers: what comes back for good and for bad input."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from synthetic import Shape, synthetic_scene

from qwen_seg_ros.errors import CheckpointError, InvalidInputError, OutOfMemoryError, SettingsError
from qwen_seg_ros.frame import Frame
from qwen_seg_ros.geometry.mask import CroppedMask, mask_iou
from qwen_seg_ros.geometry.oriented_box import OrientedBox
from qwen_seg_ros.geometry.transform import inverse, move_points, transform
from qwen_seg_ros.grasping.preferences import Preferences
from qwen_seg_ros.pipeline import Pipeline
from qwen_seg_ros.segmentation.instruction import Instruction
from qwen_seg_ros.segmentation.replay import ReplaySegmenter, load_answers, save_answers
from qwen_seg_ros.segmentation.result import Instance, Outcome, SegmentationResult
from qwen_seg_ros.segmentation.segmenter import SEGMENTERS, load_segmenter
from qwen_seg_ros.segmentation.settings import SegmentationSettings
from qwen_seg_ros.settings import Settings, updated
from qwen_seg_ros.status import StatusCode

SHAPES = [Shape("box", (0.09, 0.05, 0.08), (0.0, 0.1)), Shape("box", (0.13, 0.13, 0.08), (0.0, -0.1))]


def found(text, named_masks, absent=()):
    instances = tuple(Instance(name, mask.box_px, mask, 0.9, 0.8) for name, mask in named_masks)
    return SegmentationResult(text, Outcome.FOUND, instances, absent)


@pytest.fixture(scope="module")
def scene():
    frame, masks, truths = synthetic_scene(0, SHAPES)
    small, large = (CroppedMask.from_full(mask) for mask in masks)
    answers = {
        "the small box": found("the small box", [("small box", small)]),
        "all boxes": found("all boxes", [("small box", small), ("large box", large)]),
        "the small box and the cup": found("the small box and the cup", [("small box", small)], ("cup",)),
        "gibberish": SegmentationResult("gibberish", Outcome.UNREADABLE_ANSWER, answer="lorem ipsum"),
    }
    return frame, truths, answers


@pytest.fixture(scope="module")
def pipeline(scene):
    return Pipeline(segmenter=ReplaySegmenter(scene[2]))


def without(frame: Frame, **changes) -> Frame:
    return replace(frame, **changes)


def test_words_in_grasps_out(pipeline, scene):
    frame, truths, _ = scene
    result = pipeline.run(frame, "The small BOX")
    assert result.status.code is StatusCode.OK and result.in_base
    (item,), (plan,) = result.lifted.objects, result.plans
    assert np.linalg.norm(item.box.pose[:3, 3] - truths[0].centre_m) < 0.01
    assert np.linalg.norm(plan.grasps[0].pose[:2, 3] - truths[0].centre_m[:2]) < 0.02
    assert set(result.stage_ms) == {"encode", "generate", "lift", "grasp"} and min(result.stage_ms.values()) >= 0
    assert (result.frame_id, result.stamp_ns) == (frame.frame_id, frame.stamp_ns)


def test_a_missing_grasp_is_said_in_the_status(pipeline, scene):
    result = pipeline.run(scene[0], "all boxes")
    assert result.status.code is StatusCode.OK
    assert [bool(plan.grasps) for plan in result.plans] == [True, False]
    assert "large box: no grasp from above: the object is 13" in result.status.message


def test_a_frame_without_pose_stays_in_the_camera_frame(pipeline, scene):
    frame = scene[0]
    based, local = pipeline.run(frame, "the small box"), pipeline.run(without(frame, base_from_camera=None), "the small box")
    assert local.status.code is StatusCode.OK and not local.in_base
    moved = frame.base_from_camera @ local.lifted.objects[0].box.pose
    assert np.allclose(moved[:3, 3], based.lifted.objects[0].box.pose[:3, 3], atol=0.003)


@pytest.mark.parametrize(("changes", "words"), [
    ({"depth_m": None}, "no depth image; connect a depth topic"),
    ({"camera": None}, "no camera calibration; connect the colour camera's camera_info"),
])
def test_without_depth_or_camera_the_masks_remain(pipeline, scene, changes, words):
    result = pipeline.run(without(scene[0], **changes), "the small box")
    assert result.status.code is StatusCode.NO_DEPTH and words in result.status.message
    assert len(result.segmentation.instances) == 1 and result.lifted is None and result.plans == ()


def test_depth_without_a_valid_value(pipeline, scene):
    frame = scene[0]
    result = pipeline.run(without(frame, depth_m=np.full_like(frame.depth_m, np.nan)), "the small box")
    assert result.status.code is StatusCode.NO_DEPTH and "holds no valid value" in result.status.message


def test_depth_missing_on_the_object_only(pipeline, scene):
    frame, _, answers = scene
    depth = frame.depth_m.copy()
    depth[answers["the small box"].instances[0].mask.full()] = np.nan
    one = pipeline.run(without(frame, depth_m=depth), "the small box")
    assert one.status.code is StatusCode.NO_DEPTH and "small box:" in one.status.message
    both = pipeline.run(without(frame, depth_m=depth), "all boxes")
    assert both.status.code is StatusCode.OK and "small box:" in both.status.message and len(both.lifted.objects) == 1


def test_absent_and_unreadable_are_two_things(pipeline, scene):
    frame = scene[0]
    absent, unreadable = pipeline.run(frame, "the zebra"), pipeline.run(frame, "gibberish")
    assert absent.status.code is StatusCode.NOT_FOUND and absent.status.message == "not in the image: the zebra"
    assert unreadable.status.code is StatusCode.UNREADABLE_ANSWER and "lorem ipsum" in unreadable.status.message
    partly = pipeline.run(frame, "the small box and the cup")
    assert partly.status.code is StatusCode.OK and partly.status.message == "not in the image: cup"


@pytest.mark.parametrize(("text", "words"), [("", "is empty"), ("x" * 10_000, "at most 500"), ("a\x07b", "U+0007")])
def test_bad_instructions_come_back_as_a_status(pipeline, scene, text, words):
    result = pipeline.run(scene[0], text)
    assert result.status.code is StatusCode.INVALID_INPUT and words in result.status.message
    assert result.segmentation is None


def test_an_image_of_another_size_is_invalid_input(pipeline):
    result = pipeline.run(Frame(np.zeros((24, 32, 3), np.uint8)), "the small box")
    assert result.status.code is StatusCode.INVALID_INPUT and "640x480" in result.status.message


@pytest.mark.parametrize(("error", "code"), [
    (OutOfMemoryError("full; use a smaller model"), StatusCode.OUT_OF_MEMORY),
    (InvalidInputError("too small"), StatusCode.INVALID_INPUT),
])
def test_errors_of_the_segmenter(scene, error, code):
    class Failing(ReplaySegmenter):
        def segment(self, encoded, instruction, stop):
            raise error

    result = Pipeline(segmenter=Failing({})).run(scene[0], "anything")
    assert result.status.code is code and str(error) in result.status.message


def test_faults_of_the_program_are_not_hidden(scene):
    class Broken(ReplaySegmenter):
        def segment(self, encoded, instruction, stop):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        Pipeline(segmenter=Broken({})).run(scene[0], "anything")


def test_one_look_serves_many_instructions(scene):
    class Counting(ReplaySegmenter):
        looks = 0

        def encode(self, frame):
            self.looks += 1
            return super().encode(frame)

    segmenter = Counting(scene[2])
    pipeline = Pipeline(segmenter=segmenter)
    encoded = pipeline.encode(scene[0])
    first = pipeline.run_encoded(scene[0], encoded, "the small box")
    second = pipeline.run_encoded(scene[0], encoded, Instruction("all boxes"))
    assert (len(first.plans), len(second.plans), segmenter.looks) == (1, 2, 1)
    assert "encode" not in first.stage_ms


def wished(pipeline: Pipeline, frame: Frame, **wishes):
    """The plan for the small box, by the way through `run` and by the one through `run_encoded`."""
    preferences = Preferences(**wishes)
    run = pipeline.run(frame, "the small box", preferences=preferences)
    encoded = pipeline.run_encoded(frame, pipeline.encode(frame), "the small box", preferences=preferences)
    (plan,), (other,) = run.plans, encoded.plans
    assert plan.rejected == other.rejected
    assert all(np.array_equal(a.pose, b.pose) for a, b in zip(plan.grasps, other.grasps, strict=True))
    return plan


@pytest.mark.parametrize("direction", [(0, 0, -1), (1, 0, -1)])
def test_a_wanted_approach_turns_the_best_grasp(pipeline, scene, direction):
    wanted = np.array(direction) / np.linalg.norm(direction)
    free, asked = wished(pipeline, scene[0]), wished(pipeline, scene[0], approach=wanted, approach_weight=0.9)
    assert free.grasps[0].pose[:3, 2] @ wanted < 0.9 < 0.999 < asked.grasps[0].pose[:3, 2] @ wanted


def test_wishes_are_in_the_frame_of_the_results(pipeline, scene):
    """Without a base frame that is the camera's: told the same direction in its axes, the same hand comes."""
    base_from_camera, wanted = scene[0].base_from_camera, np.array([1, 0, -1]) / np.sqrt(2)
    in_camera = base_from_camera[:3, :3].T @ wanted
    plan = wished(pipeline, without(scene[0], base_from_camera=None), approach=in_camera, approach_weight=0.9)
    assert (base_from_camera @ plan.grasps[0].pose)[:3, 2] @ wanted > 0.999


def in_the_way(grasp, box: OrientedBox, gripper) -> bool:
    """Whether the hand holds a point of the box somewhere on its straight way in."""
    sides = [np.linspace(-s / 2, s / 2, 15) for s in box.size_m]
    filled = move_points(inverse(grasp.pose) @ box.pose, np.stack(np.meshgrid(*sides), -1).reshape(-1, 3))
    ways = np.linspace(0, np.linalg.norm(grasp.pregrasp[:3, 3] - grasp.pose[:3, 3]), 11)[:, None, None, None] * [0, 0, 1]
    centres, sizes = gripper.boxes(grasp.width_m).transpose(1, 0, 2)
    inside = np.abs(filled[:, None] + ways - centres) < sizes / 2 - 1e-4
    return bool(inside.all(axis=-1).any())


def test_a_keep_out_box_removes_the_grasps_that_enter_it(pipeline, scene):
    free = wished(pipeline, scene[0])
    best = free.grasps[0].pose[:3, 3]
    box = OrientedBox(transform(np.eye(3), np.add(best, (0.06, 0, 0.08))), np.array([0.06, 0.3, 0.1]))
    kept = wished(pipeline, scene[0], keep_out=(box,))
    assert any(in_the_way(grasp, box, pipeline.gripper) for grasp in free.grasps)
    assert kept.grasps and not any(in_the_way(grasp, box, pipeline.gripper) for grasp in kept.grasps)
    assert kept.rejected["in a keep-out box"] > 0 and "in a keep-out box" not in free.rejected


def test_stages_are_told_and_grasps_can_be_left_out(pipeline, scene):
    stages: list[str] = []
    result = pipeline.run(scene[0], "the small box", plan_grasps=False, on_stage=stages.append)
    assert stages == ["encode", "segment", "lift"] and result.plans == () and result.lifted.objects


@pytest.mark.parametrize("after", range(4))
def test_a_request_can_be_stopped_before_every_stage(pipeline, scene, after):
    asked = iter([False] * after + [True])
    result = pipeline.run(scene[0], "the small box", cancelled=lambda: next(asked))
    stage = ("encode", "segment", "lift", "grasp")[after]
    assert result.status.code is StatusCode.DEADLINE and f"stopped before {stage}" in result.status.message
    assert (result.segmentation is not None, result.lifted is not None) == (after >= 2, after >= 3)


def test_answers_survive_the_folder(tmp_path, scene):
    save_answers(tmp_path, scene[2])
    stored = load_answers(tmp_path)
    assert list(stored) == list(scene[2])
    for text, answer in scene[2].items():
        assert (stored[text].outcome, stored[text].absent) == (answer.outcome, answer.absent)
        for one, other in zip(stored[text].instances, answer.instances, strict=True):
            assert one.phrase == other.phrase and np.array_equal(one.box_px, other.box_px)
            assert mask_iou(one.mask.full(), other.mask.full()) == 1
    settings = updated(Settings(), {"segmentation.segmenter": "replay", "segmentation.checkpoint": str(tmp_path)})
    assert Pipeline(settings).run(scene[0], "all boxes").status.code is StatusCode.OK


@pytest.mark.parametrize("text", [None, "{", "[]", '{"a": {"instances": [{"phrase": "x"}]}}', '{"a": {"outcome": "maybe"}}'])
def test_damaged_answers_name_the_file(tmp_path, text):
    if text is not None:
        (tmp_path / "answers.json").write_text(text)
    with pytest.raises(CheckpointError, match=r"answers\.json"):
        load_segmenter(SegmentationSettings(segmenter="replay", checkpoint=str(tmp_path)))


def test_unknown_names_are_refused_with_the_known_ones():
    with pytest.raises(SettingsError, match="qwen, replay"):
        SegmentationSettings(segmenter="gpt")
    assert set(SEGMENTERS) == {"qwen", "replay"}
    with pytest.raises(SettingsError, match="neither one of panda"):
        Pipeline(updated(Settings(), {"grasping.gripper": "claw"}), ReplaySegmenter({}))


def test_the_pipeline_loads_neither_torch_nor_ros():
    code = "import sys, qwen_seg_ros.pipeline; print([m for m in ('torch', 'transformers', 'rclpy') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
