"""Metrics against cases worked out by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qwen_seg_ros.geometry.mask import CroppedMask
from qwen_seg_ros.offline.data.expressions import Expression
from qwen_seg_ros.offline.evaluation.metrics import GresTotals, mask_ious, matched, res_iou
from qwen_seg_ros.offline.evaluation.questions import View
from qwen_seg_ros.offline.evaluation.scoring import largest_object, random_object, score_answer, score_object, true_answer
from qwen_seg_ros.offline.sim.scene import ObjectRecord
from qwen_seg_ros.segmentation.result import Instance


def cells(*filled: int) -> np.ndarray:
    """A 2x4 mask with these of its cells 0..7 set."""
    mask = np.zeros(8, bool)
    mask[list(filled)] = True
    return mask.reshape(2, 4)


NOTHING = cells()


def test_res_iou_is_intersection_over_union_with_its_epsilon() -> None:
    assert res_iou(cells(0, 1, 2), cells(1, 2, 3)) == pytest.approx(2 / (4 + 1e-5), abs=1e-12)


def test_res_iou_of_two_empty_masks_is_one() -> None:
    assert res_iou(NOTHING, NOTHING) == 1.0


def test_res_iou_leaves_ignored_pixels_out() -> None:
    truth = cells(1).astype(np.uint8)
    truth[0, 0] = 255
    assert res_iou(cells(0, 1), truth) == pytest.approx(1, abs=1e-4)


# the four rows of the ReLA rules, then a target with an empty prediction: truth, flag, prediction -> gIoU term, I, U
GRES_ROWS = [
    (NOTHING, True, NOTHING, 1.0, 0, 0),
    (NOTHING, True, cells(0, 1), 1.0, 0, 0),
    (NOTHING, False, cells(0, 1, 2), 0.0, 0, 3),
    (NOTHING, False, NOTHING, 0.0, 0, 0),
    (cells(0, 1), True, NOTHING, 0.0, 0, 2),
    (cells(0, 1), True, cells(1, 2), 0.0, 0, 3),
    (cells(0, 1), False, cells(1, 2), 1 / 3, 1, 3),
    (cells(0, 1), False, cells(0, 1), 1.0, 2, 2),
    (cells(0, 1), False, NOTHING, 0.0, 0, 2),
]


@pytest.mark.parametrize(("truth", "flag", "prediction", "term", "intersection", "union"), GRES_ROWS)
def test_gres_row(truth: np.ndarray, flag: bool, prediction: np.ndarray, term: float, intersection: int, union: int) -> None:
    totals = GresTotals()
    totals.add(prediction, flag, truth)
    assert totals.terms == pytest.approx([term])
    assert (totals.intersection, totals.union) == (intersection, union)


def test_gres_totals_over_all_rows() -> None:
    totals = GresTotals()
    for truth, flag, prediction, *_ in GRES_ROWS:
        totals.add(prediction, flag, truth)
    assert totals.giou == pytest.approx((1 + 1 + 1 / 3 + 1) / 9)
    assert totals.ciou == pytest.approx(3 / (3 + 2 + 3 + 3 + 2 + 2))
    assert totals.n_acc == pytest.approx(2 / 4)  # of four without a target two were rejected
    assert totals.t_acc == pytest.approx(3 / 5)
    assert totals.precision_at(0.7) == pytest.approx(1 / 5)  # of those with a target only


def test_rates_without_questions_are_undefined() -> None:
    assert np.isnan([GresTotals().n_acc, GresTotals().t_acc, GresTotals().ciou, GresTotals().giou]).all()


def test_matching_is_best_overall_not_greedy() -> None:
    assert sorted(matched(np.array([[0.9, 0.8], [0.8, 0.1]]))) == pytest.approx([0.8, 0.8])


@pytest.mark.parametrize("shape", [(1, 3), (3, 1), (0, 2), (2, 0)])
def test_surplus_and_missing_instances_count_as_zeros(shape: tuple[int, int]) -> None:
    places = matched(np.ones(shape))
    assert len(places) == max(shape)
    assert places.sum() == min(shape)


@given(st.lists(st.booleans(), min_size=8, max_size=8), st.lists(st.booleans(), min_size=8, max_size=8))
def test_mask_ious_agree_with_counting(first: list[bool], second: list[bool]) -> None:
    a, b = (np.array(m).reshape(1, 2, 4) for m in (first, second))
    union = (a | b).sum()
    assert mask_ious(a, b)[0, 0] == pytest.approx((a & b).sum() / union if union else 0)


def record(number: int, box: tuple[int, int, int, int], pixels: int) -> ObjectRecord:
    return ObjectRecord(number, f"k{number}", "thing", "red", "can", (), box, pixels, (0, 0, 0), (0.1, 0.1, 0.1), 1.0)


@pytest.fixture
def view() -> View:
    """Object 1 fills columns 6..7 of a 4x8 picture, object 2 columns 0..3: the larger one, and further left."""
    ids = np.zeros((4, 8), np.uint8)
    ids[:, 6:8], ids[:, 0:4] = 1, 2
    return View(np.zeros((4, 8, 3), np.uint8), ids, (record(1, (6, 0, 8, 4), 8), record(2, (0, 0, 4, 4), 16)), ())


def asks(kind: str, *ids: int) -> Expression:
    return Expression("words", kind, (("can", ids),))


def said(view: View, *ids: int) -> tuple[Instance, ...]:
    masks = [CroppedMask.from_full(m) for m in view.masks(ids)]
    return tuple(Instance("can", m.box_px, m, 1.0, 1.0) for m in masks)


def test_a_single_question_takes_the_best_instance_only(view: View) -> None:
    question = asks("name", 1)
    assert score_answer(said(view, 1, 2), view, question).mask_iou == 1.0
    assert score_answer(said(view, 2, 1), view, question).mask_iou == 0.0
    assert score_answer((), view, question).box_hit == 0.0


def test_a_question_for_all_counts_each_instance(view: View) -> None:
    question = asks("all", 1, 2)
    assert score_answer(said(view, 2, 1), view, question).mask_iou == 1.0
    assert score_answer(said(view, 2), view, question).box_hit == 0.5


def test_box_hit_and_mask_hit_need_more_than_half(view: View) -> None:
    half = CroppedMask.from_full(view.masks((2,))[0] & (np.arange(8) < 2))
    exactly = Instance("can", half.box_px, half, 1.0, 1.0)
    scored = score_answer((exactly,), view, asks("name", 2))
    assert (scored.box_hit, scored.mask_hit, scored.mask_iou) == (0.0, 0.0, 0.5)


def test_baselines(view: View) -> None:
    assert random_object(view, asks("name", 1)).box_hit == pytest.approx(0.5)  # one of two
    assert largest_object(view, asks("name", 1)).mask_iou == 0.0
    assert largest_object(view, asks("relation", 2)).mask_iou == 1.0
    assert score_object(1, view, asks("all", 1, 2)).mask_iou == pytest.approx(0.5)


def test_the_true_answer_goes_from_left_to_right_and_rejects_what_is_absent(view: View) -> None:
    question = Expression("words", "several", (("can", (1, 2)), ("mug", ())))
    entries, order = true_answer(view, question, box_step=10)
    assert order == (2, 1)
    assert [e.box_grid for e in entries] == [(0, 0, 500, 1000), (750, 0, 1000, 1000), None]
