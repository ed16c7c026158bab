"""What answers of the model do to tracks: empty and unreadable ones, misses, other instructions; bounds, clocks and parts."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tracking_world import Block, orbit, view

from qwen_seg_ros.errors import InvalidInputError, SettingsError
from qwen_seg_ros.frame import Frame
from qwen_seg_ros.geometry.mask import CroppedMask, mask_iou
from qwen_seg_ros.segmentation.result import Instance, Outcome, SegmentationResult
from qwen_seg_ros.tracking.flow import Flow, joined, warped
from qwen_seg_ros.tracking.look import likeness, look_of
from qwen_seg_ros.tracking.matching import common_words, mask_and_box_overlap
from qwen_seg_ros.tracking.settings import TrackingSettings
from qwen_seg_ros.tracking.surface import DepthView, surface_of
from qwen_seg_ros.tracking.tracker import Tracker

RED = Block("red", (0.08, 0.08, 0.09), (0.02, -0.13), 0.4)
GREEN = Block("green", (0.09, 0.06, 0.11), (0.05, 0.12), 0.7)
BLUE = Block("blue", (0.07, 0.07, 0.10), (-0.12, 0.02))
SCENE = view([RED, GREEN, BLUE])
EMPTY = SegmentationResult("things", Outcome.NOT_FOUND, absent=("things",))
UNREADABLE = SegmentationResult("things", Outcome.UNREADABLE_ANSWER, answer="?")


def at(time_s: float, frame: Frame = SCENE.frame) -> Frame:
    return replace(frame, stamp_ns=round(time_s * 1e9))


def test_an_answer_without_objects_is_handed_on_until_the_model_looks_again() -> None:
    tracker = Tracker()
    assert tracker.update(SCENE.frame, EMPTY).track_ids == ()
    carried = tracker.propagate(at(0.1))
    assert carried.segmentation.outcome is Outcome.NOT_FOUND and carried.segmentation.absent == ("things",)
    assert not tracker.due(at(0.1), "things"), "it did look"


def test_an_unreadable_answer_loses_no_object() -> None:
    tracker = Tracker()
    tracker.update(SCENE.frame, SCENE.answer())
    assert tracker.update(at(1), UNREADABLE).segmentation.outcome is Outcome.UNREADABLE_ANSWER
    assert tracker.propagate(at(1.1)).track_ids == ("1", "2", "3")
    tracker.update(at(1.2), replace(UNREADABLE, instruction="cans"))
    assert not tracker.due(at(1.3), "cans"), "the same words are not sent with every frame"
    assert tracker.propagate(at(1.3)).segmentation.outcome is Outcome.UNREADABLE_ANSWER


def test_an_object_that_is_back_after_the_model_missed_it_out_of_view_is_found() -> None:
    tracker, away = Tracker(), view([], orbit(180, turn_deg=60)).frame
    tracker.update(SCENE.frame, SCENE.answer())
    tracker.update(at(1, away), replace(EMPTY, absent=("thing", "spoon"), message="not in the image: thing, spoon"))
    assert tracker.propagate(at(1.1, away)).segmentation.outcome is Outcome.NOT_FOUND
    back = tracker.propagate(at(1.2))
    assert back.track_ids == ("1", "2", "3") and back.segmentation.outcome is Outcome.FOUND
    assert back.segmentation.absent == ("spoon",) and back.segmentation.message == ""


def test_an_unreadable_answer_with_nothing_in_sight_is_not_asked_for_again_at_once() -> None:
    tracker, away = Tracker(), view([], orbit(180, turn_deg=60)).frame
    tracker.update(SCENE.frame, SCENE.answer())
    tracker.propagate(at(0.1, away))
    assert tracker.due(at(0.2, away), "things")
    tracker.update(at(0.2, away), UNREADABLE)
    tracker.propagate(at(0.3, away))
    assert not tracker.due(at(0.4, away), "things")


def test_a_missed_object_is_hidden_and_has_its_id_when_it_is_found_again() -> None:
    tracker = Tracker(TrackingSettings(max_misses=1))
    tracker.update(SCENE.frame, SCENE.answer())
    for time_s in (1, 2, 3):  # followed in silence, then lost
        assert tracker.update(at(time_s), SCENE.answer(0, 2)).track_ids == ("1", "3")
        assert tracker.propagate(at(time_s + 0.1)).track_ids == ("1", "3")
    assert tracker.update(at(4), SCENE.answer()).track_ids == ("1", "2", "3")


def test_another_instruction_starts_new_tracks_and_keeps_the_ids_of_the_same_objects() -> None:
    tracker = Tracker()
    tracker.update(SCENE.frame, SCENE.answer(0, 1, phrase="left thing"))
    assert tracker.due(at(0.1), "cans") and not tracker.due(at(0.1), "things")
    tracked = tracker.update(at(0.1), SCENE.answer(2, 1, instruction="cans", phrase="can"))
    assert tracked.track_ids == ("3", "2")
    assert tracker.propagate(at(0.2)).track_ids == ("3", "2"), "what only the first one asked for is not shown"
    assert tracker.update(at(0.3), SCENE.answer(0, 1, phrase="left thing")).track_ids == ("1", "2")


def test_instances_without_a_pixel_have_no_id() -> None:
    nothing = CroppedMask.from_full(np.zeros((180, 240), bool))
    answer = SegmentationResult("things", Outcome.FOUND, (Instance("dot", nothing.box_px, nothing, 0.5, 0.5),))
    tracker = Tracker()
    assert tracker.update(SCENE.frame, answer).track_ids == ("",)
    assert tracker.known == 0


def test_misuse_is_told_in_words() -> None:
    with pytest.raises(InvalidInputError, match="call update"):
        Tracker().propagate(SCENE.frame)
    small = Frame(np.zeros((60, 80, 3), np.uint8))
    with pytest.raises(InvalidInputError, match="80x60 image, got one for 240x180"):
        Tracker().update(small, SCENE.answer())
    with pytest.raises(SettingsError, match="keep_lost_s"):
        TrackingSettings(keep_lost_s=-1.0)


def test_the_model_is_asked_at_the_set_rate() -> None:
    tracker = Tracker(TrackingSettings(refresh_s=0.5))
    assert tracker.due(SCENE.frame, "things")
    tracker.update(SCENE.frame, SCENE.answer())
    assert [tracker.due(at(time_s), "things") for time_s in (0.0, 0.49, 0.5, 9.0)] == [False, False, True, True]


def test_objects_out_of_sight_are_forgotten_after_a_while() -> None:
    away = view([], orbit(180, turn_deg=60)).frame
    for time_s, ids in ((10, ("1", "2", "3")), (70, ("4", "5", "6"))):
        tracker = Tracker(TrackingSettings(keep_lost_s=60.0))
        tracker.update(SCENE.frame, SCENE.answer())
        tracker.propagate(at(1, away))
        tracker.update(at(2, away), EMPTY)
        assert tracker.update(at(time_s), SCENE.answer()).track_ids == ids


def test_a_recording_that_starts_again_gets_new_ids() -> None:
    tracker = Tracker()
    tracker.update(at(10), SCENE.answer())
    assert tracker.due(SCENE.frame, "things")
    assert tracker.update(SCENE.frame, SCENE.answer()).track_ids == ("4", "5", "6")


def test_a_tracker_that_starts_over_asks_the_model_and_gives_new_ids() -> None:
    tracker = Tracker()
    tracker.update(SCENE.frame, SCENE.answer())
    tracker.forget()
    assert tracker.known == 0 and tracker.due(at(0.1), "things")
    assert tracker.update(at(0.1), SCENE.answer()).track_ids == ("4", "5", "6")


def test_images_of_another_size_do_not_confuse() -> None:
    tracker = Tracker()
    tracker.update(SCENE.frame, SCENE.answer())
    camera = SCENE.frame.camera.scaled_to(120, 90)
    depth = cv2.resize(SCENE.frame.depth_m, (120, 90), interpolation=cv2.INTER_NEAREST)
    small = Frame(cv2.resize(SCENE.frame.rgb, (120, 90)), depth, camera, SCENE.frame.base_from_camera, stamp_ns=1)
    assert tracker.propagate(small).track_ids == ("1", "2", "3"), "places in 3-D do not depend on the picture's size"
    assert tracker.propagate(Frame(small.rgb, stamp_ns=2)).segmentation.outcome is Outcome.FOUND
    assert tracker.propagate(Frame(SCENE.frame.rgb, stamp_ns=3)).track_ids == ()


def test_the_number_of_remembered_objects_is_bounded() -> None:
    """Sixty answers of three objects each, every time somewhere else in a picture without likeness to the last."""
    tracker, rng, given_out = Tracker(TrackingSettings(max_lost=10, max_misses=1)), np.random.default_rng(0), set()
    for n in range(60):
        frame = Frame(rng.integers(0, 255, (60, 80, 3), np.uint8), stamp_ns=n * 10**9)
        found = []
        for _ in range(3):
            mask = np.zeros((60, 80), bool)
            x, y = rng.integers(0, 60), rng.integers(0, 40)
            mask[y : y + 20, x : x + 20] = True
            found.append(Instance("thing", CroppedMask.from_full(mask).box_px, CroppedMask.from_full(mask), 0.9, 0.9))
        given_out |= set(tracker.update(frame, SegmentationResult("things", Outcome.FOUND, tuple(found))).track_ids)
        assert tracker.known <= 3 + 10 + 6
    assert len(given_out) > 10


def test_a_surface_is_seen_where_it_was_and_seen_through_when_it_is_gone() -> None:
    masks = [CroppedMask.from_full(mask) for mask in SCENE.masks]
    surfaces = [surface_of(SCENE.frame, mask) for mask in masks]
    same, without = DepthView(SCENE.frame), DepthView(view([RED, BLUE]).frame)
    for mask, surface in zip(masks, surfaces, strict=True):
        sight = same.sight(surface)
        assert sight.visible == 1 and mask_iou(sight.mask.full(), mask.full()) > 0.97
    assert [without.sight(surface).empty > 0.8 for surface in surfaces] == [False, True, False]
    assert np.linalg.norm(surfaces[1].centre_m[:2] - GREEN.xy_m) < 0.05


@pytest.mark.parametrize(("shift", "turn_deg", "zoom"), [((9, -6), 0, 1.0), ((0, 0), 8, 1.0), ((-20, 12), -4, 1.1)])
def test_flow_finds_a_known_motion(shift, turn_deg, zoom) -> None:
    x0, y0, x1, y1 = CroppedMask.from_full(SCENE.masks[2]).box_px
    motion = cv2.getRotationMatrix2D((float(x0 + x1) / 2, float(y0 + y1) / 2), turn_deg, zoom)
    motion[:, 2] += shift
    later = cv2.warpAffine(SCENE.frame.rgb, motion, (240, 180), borderMode=cv2.BORDER_REFLECT)
    found = Flow(SCENE.frame.rgb, later).motion(CroppedMask.from_full(SCENE.masks[2]))
    corners = np.array([[x0, y0, 1], [x1, y0, 1], [x0, y1, 1]])
    assert np.abs(corners @ found.T - corners @ motion.T).max() < 0.7


def test_flow_gives_up_after_a_cut() -> None:
    other = view([Block("yellow", (0.2, 0.2, 0.02), (0, 0))], orbit(20)).frame.rgb
    assert Flow(SCENE.frame.rgb, other).motion(CroppedMask.from_full(SCENE.masks[0])) is None


@settings(max_examples=30)
@given(st.integers(-300, 300), st.integers(-300, 300))
def test_a_shifted_mask_is_cut_at_the_border(x, y) -> None:
    mask = CroppedMask.from_full(SCENE.masks[0])
    by = np.array([[1, 0, x], [0, 1, y]], float)
    full = np.pad(SCENE.masks[0], 400)[400 - y :, 400 - x :][:180, :240]
    assert np.array_equal(warped(mask, by).full(), full)
    assert np.allclose(joined(by, by)[:, 2], 2 * by[:, 2])


def test_overlap_and_words_and_looks_are_symmetric_and_one_for_the_same() -> None:
    first, second = (CroppedMask.from_full(mask) for mask in SCENE.masks[:2])
    shifted = warped(first, np.array([[1.0, 0, 4], [0, 1, 3]]))
    assert mask_and_box_overlap(first, first) == 1 and mask_and_box_overlap(first, second) == 0
    assert 0 < mask_and_box_overlap(first, shifted) == mask_and_box_overlap(shifted, first) < 1
    assert (
        common_words("Red mug", "red mug") == 1
        and common_words("red mug", "red can") == common_words("red can", "red mug") == 1 / 3
    )
    looks = [look_of(SCENE.frame.rgb, CroppedMask.from_full(mask)) for mask in SCENE.masks]
    table = np.array([[likeness(a, b) for a in looks] for b in looks])
    assert np.allclose(table.diagonal(), 1) and np.allclose(table, table.T) and table[~np.eye(3, dtype=bool)].max() < 0.3
