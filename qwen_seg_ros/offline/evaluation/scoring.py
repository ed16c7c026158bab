"""One answer against the truth in three numbers, for the short report of `qwen-seg evaluate`."""

from dataclasses import dataclass

from qwen_seg_ros.offline.data.expressions import Expression
from qwen_seg_ros.offline.evaluation.measures import by_instance
from qwen_seg_ros.offline.evaluation.metrics import mean
from qwen_seg_ros.offline.evaluation.predictions import Prediction
from qwen_seg_ros.offline.evaluation.questions import View


@dataclass(frozen=True)
class Score:
    """Shares 0..1 of one question: box_hit and mask_hit at IoU > 0.5, mask_iou; of several instances their means."""

    box_hit: float
    mask_iou: float
    mask_hit: float


def score(prediction: Prediction, view: View, question: Expression) -> Score:
    """A question with a target."""
    boxes, masks = by_instance(prediction, view, question)
    return Score(float((boxes > 0.5).mean()), float(masks.mean()), float((masks > 0.5).mean()))


def average(scores: list[Score]) -> Score:
    """NaN for no scores."""
    return Score(*(mean([getattr(s, name) for s in scores]) for name in ("box_hit", "mask_iou", "mask_hit")))


def average_score(predictions: list[Prediction], view: View, question: Expression) -> Score:
    """Of all that could be said: its expected value."""
    return average([score(prediction, view, question) for prediction in predictions])
