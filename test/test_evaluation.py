"""Metrics against cases worked out by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qwen_seg_ros.geometry.mask import CroppedMask
from qwen_seg_ros.geometry.region import Region
from qwen_seg_ros.offline.data.expressions import Expression
from qwen_seg_ros.offline.evaluation.decoder_bound import true_answer
from qwen_seg_ros.offline.evaluation.metrics import (
    GresTotals,
    generalised_ious,
    grec_correct,
    gres_term,
    mask_ious,
    matched,
    res_iou,
)
from qwen_seg_ros.offline.evaluation.predictions import any_object, crop_ious, largest, of_instances, of_objects
from qwen_seg_ros.offline.evaluation.questions import View
from qwen_seg_ros.offline.evaluation.scoring import Score, average_score, score
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
    assert [t.iou for t in totals.terms] == pytest.approx([term])
    assert (totals.intersection, totals.union) == (intersection, union)


def test_gres_totals_over_all_rows() -> None:
    totals = GresTotals()
    for truth, flag, prediction, *_ in GRES_ROWS:
        totals.add(prediction, flag, truth)
    assert totals.giou == pytest.approx((1 + 1 + 1 / 3 + 1) / 9)
    assert totals.ciou == pytest.approx(3 / (3 + 2 + 3 + 3 + 2 + 2))
    assert totals.n_acc == pytest.approx(2 / 4)  # of four without a target two were rejected
    assert totals.t_acc == pytest.approx(3 / 5)


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


@given(st.permutations(range(4)), st.permutations(range(3)), st.integers(0, 2**32 - 1))
def test_matching_does_not_depend_on_the_order_of_instances(rows: list[int], cols: list[int], seed: int) -> None:
    ious = np.random.default_rng(seed).random((4, 3))
    assert sorted(matched(ious[rows][:, cols])) == pytest.approx(sorted(matched(ious)))


def test_matching_is_never_worse_than_greedy() -> None:
    ious = np.random.default_rng(1).random((5, 5))
    left, greedy = ious.copy(), 0.0
    for _ in range(5):
        row, col = np.unravel_index(left.argmax(), left.shape)
        greedy, left[row], left[:, col] = greedy + left[row, col], -1, -1
    assert matched(ious).sum() >= greedy


def test_generalised_iou_by_hand() -> None:
    """Two boxes of area 4: side by side (around 8), 2 apart (around 12, 4 of them empty), overlapping by half."""
    boxes = np.array([[2, 0, 4, 2], [4, 0, 6, 2], [1, 0, 3, 2]])
    assert generalised_ious(np.array([[0, 0, 2, 2]]), boxes)[0] == pytest.approx([0.0, -4 / 12, 2 / 6])


FIRST, SECOND = (0, 0, 10, 10), (20, 0, 30, 10)
GREC = {
    "nothing to find, nothing said": ([], [], True),
    "nothing to find, a box": ([FIRST], [], False),
    "missed": ([], [FIRST], False),
    "found": ([FIRST], [FIRST], True),
    "in another order": ([SECOND, FIRST], [FIRST, SECOND], True),
    "one too many": ([FIRST, SECOND], [FIRST], False),
    "one missing": ([FIRST], [FIRST, SECOND], False),
    "twice the same": ([FIRST, FIRST], [FIRST, SECOND], False),
    "half as wide, generalised IoU 0.5": ([(0, 0, 5, 10)], [FIRST], True),
    "a little less": ([(0, 0, 4.9, 10)], [FIRST], False),
    "IoU 0.51, generalised IoU 0.46": ([(1.8, 1.8, 11.8, 11.8)], [FIRST], False),
}


@pytest.mark.parametrize(("predicted", "true", "right"), GREC.values(), ids=GREC)
def test_grec(predicted: list, true: list, right: bool) -> None:
    assert grec_correct(np.array(predicted, float).reshape(-1, 4), np.array(true, float).reshape(-1, 4)) == right


def test_a_term_needs_no_masks() -> None:
    term = gres_term(intersection=1, predicted=2, true=2, rejected=False)
    assert (term.iou, term.intersection, term.union) == (pytest.approx(1 / 3), 1, 3)


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


def scored(instances: tuple[Instance, ...], view: View, question: Expression) -> Score:
    return score(of_instances(instances, rejected=False), view, question)


def test_a_single_question_takes_the_best_instance_only(view: View) -> None:
    question = asks("name", 1)
    assert scored(said(view, 1, 2), view, question).mask_iou == 1.0
    assert scored(said(view, 2, 1), view, question).mask_iou == 0.0
    assert scored((), view, question).box_hit == 0.0


def test_a_question_for_all_counts_each_instance(view: View) -> None:
    question = asks("all", 1, 2)
    assert scored(said(view, 2, 1), view, question).mask_iou == 1.0
    assert scored(said(view, 2), view, question).box_hit == 0.5


def test_a_question_for_all_counts_what_is_too_much(view: View) -> None:
    assert scored(said(view, 1, 2), view, asks("all", 1)).box_hit == 0.5


def test_box_hit_and_mask_hit_need_more_than_half(view: View) -> None:
    half = CroppedMask.from_full(view.masks((2,))[0] & (np.arange(8) < 2))
    exactly = Instance("can", half.box_px, half, 1.0, 1.0)
    got = scored((exactly,), view, asks("name", 2))
    assert (got.box_hit, got.mask_hit, got.mask_iou) == (0.0, 0.0, 0.5)


def test_baselines(view: View) -> None:
    one, other = asks("name", 1), asks("relation", 2)
    assert average_score(any_object(view, one), view, one).box_hit == pytest.approx(0.5)  # one of two
    assert average_score(largest(view, one), view, one).mask_iou == 0.0
    assert average_score(largest(view, other), view, other).mask_iou == 1.0
    assert score(of_objects(view, (1,)), view, asks("all", 1, 2)).mask_iou == pytest.approx(0.5)


@given(st.integers(0, 2**32 - 1))
def test_ious_of_crops_are_those_of_whole_masks(seed: int) -> None:
    masks = np.random.default_rng(seed).random((5, 6, 7)) > 0.8
    crops = [CroppedMask.from_full(mask) for mask in masks]
    assert crop_ious(crops[:2], crops[2:]) == pytest.approx(mask_ious(masks[:2], masks[2:]))


def test_the_true_answer_goes_from_left_to_right_and_rejects_what_is_absent(view: View) -> None:
    question = Expression("words", "several", (("can", (1, 2)), ("mug", ())))
    entries, order = true_answer(view, question, box_step=10, canvas=view.ids.shape, region=Region(0, 0, *view.ids.shape[::-1]))
    assert order == (2, 1)
    assert [e.box_grid for e in entries] == [(0, 0, 500, 1000), (750, 0, 1000, 1000), None]
