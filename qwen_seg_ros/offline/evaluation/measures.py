"""What is measured of one answer: for each metric what it adds to a numerator and to a denominator."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qwen_seg_ros.geometry.box import iou as box_ious
from qwen_seg_ros.offline.data.expressions import Expression
from qwen_seg_ros.offline.evaluation.metrics import grec_correct, gres_term, matched, res_term
from qwen_seg_ros.offline.evaluation.predictions import Prediction, crop_ious
from qwen_seg_ros.offline.evaluation.questions import View, asks_for_one

GREC_SCORE = 0.7  # GREC counts boxes from this score on


@dataclass(frozen=True)
class Metric:
    """A figure 0..1; higher is better for all of them."""

    key: str
    title: str
    meaning: str


METRICS = (
    Metric("miou", "mIoU", "questions with a target: mean of I / (U + 1e-5), all masks of an answer as one"),
    Metric("giou", "gIoU", "all questions by the rules of GRES: a rejection is 1 without a target and 0 with one"),
    Metric("ciou", "cIoU", "all questions by the rules of GRES: sum of I by sum of U"),
    Metric("p50", "P@0.5", "questions with a target: share with IoU > 0.5"),
    Metric("p70", "P@0.7", "questions with a target: share with IoU > 0.7"),
    Metric("p90", "P@0.9", "questions with a target: share with IoU > 0.9"),
    Metric("box", "box Acc@0.5", "questions with a target: share of boxes with IoU > 0.5, several matched one to one"),
    Metric("instance", "instance IoU", "questions with a target: mean IoU of masks, several matched one to one"),
    Metric("n_acc", "N-acc", "questions without a target: share rejected"),
    Metric("t_acc", "T-acc", "questions with a target: share not rejected"),
    Metric("grec", "F1 = 1", "all questions by the rules of GREC: every box found and none too many, scores from 0.7 on"),
    Metric("grec_all", "F1 = 1 any", "the same with every box that was written"),
)
KEYS = tuple(metric.key for metric in METRICS)
THRESHOLDS = {"p50": 0.5, "p70": 0.7, "p90": 0.9}
Sums = NDArray[np.float64]  # (M, 2): numerator and denominator of every metric, 0 and 0 where it does not apply


def measure(prediction: Prediction, view: View, question: Expression) -> Sums:
    """One answer against the truth."""
    values = _over_all_questions(prediction, view, question)
    if question.target_ids:
        values |= _with_target(prediction, view, question)
    else:
        values["n_acc"] = (float(prediction.rejected), 1.0)
    return np.array([values.get(key, (0.0, 0.0)) for key in KEYS])


def _over_all_questions(prediction: Prediction, view: View, question: Expression) -> dict[str, tuple[float, float]]:
    shared, predicted, true = _pixels(prediction, view, question)
    term = gres_term(shared, predicted, true, prediction.rejected)
    truth = view.boxes(question.target_ids)
    return {
        "giou": (term.iou, 1.0),
        "ciou": (term.intersection, term.union),
        "grec": (grec_correct(prediction.boxes[prediction.scores >= GREC_SCORE], truth), 1.0),
        "grec_all": (grec_correct(prediction.boxes, truth), 1.0),
    }


def _with_target(prediction: Prediction, view: View, question: Expression) -> dict[str, tuple[float, float]]:
    shared, predicted, true = _pixels(prediction, view, question)
    iou = res_term(shared, predicted + true - shared)
    boxes, masks = by_instance(prediction, view, question)
    return {
        "miou": (iou, 1.0),
        **{key: (float(iou > threshold), 1.0) for key, threshold in THRESHOLDS.items()},
        "box": (float((boxes > 0.5).mean()), 1.0),
        "instance": (float(masks.mean()), 1.0),
        "t_acc": (float(not prediction.rejected), 1.0),
    }


def by_instance(prediction: Prediction, view: View, question: Expression) -> tuple[NDArray, NDArray]:
    """IoUs of boxes and of masks, one for each place of the matching.

    A question for one object takes the first prediction, as a robot would; for several, predictions and truth are matched
    one to one, and surplus predictions and missed objects count as zeros alike.
    """
    if asks_for_one(question):
        prediction = prediction.first()
    targets = question.target_ids
    by_box = matched(box_ious(prediction.boxes, view.boxes(targets)))
    by_mask = matched(crop_ious(prediction.masks, [view.crop(number) for number in targets]))
    return by_box, by_mask


def _pixels(prediction: Prediction, view: View, question: Expression) -> tuple[int, int, int]:
    """Pixels of prediction and truth together, of the prediction, of the truth."""
    predicted, true = prediction.union(view.ids.shape), view.union(question.target_ids)
    return int(np.count_nonzero(predicted & true)), int(np.count_nonzero(predicted)), int(np.count_nonzero(true))
