"""What the field reports on each set: every figure is a ratio of sums over questions.

RES: the rules of RefCOCO and ReasonSeg papers; pixels labelled 255 count nowhere. GRES: the rules of gRefCOCO.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qwen_seg_ros.geometry.arrays import MaskImage
from qwen_seg_ros.offline.evaluation.measures import Metric
from qwen_seg_ros.offline.evaluation.metrics import gres_term, res_term
from qwen_seg_ros.offline.evaluation.public.split import IGNORED, Labels

CIOU = Metric("ciou", "cIoU", "sum of I by sum of U over all questions")
RES_MIOU = Metric("miou", "mIoU", "mean of I / (U + 1e-5); nothing said where nothing is true counts 1")
REASON_GIOU = Metric("giou", "gIoU", RES_MIOU.meaning)
GRES_GIOU = Metric("giou", "gIoU", "mean of I / U; a rejection is 1 without a target and 0 with one")
N_ACC = Metric("n_acc", "N-acc", "questions without a target: share rejected")
T_ACC = Metric("t_acc", "T-acc", "questions with a target: share not rejected")
OVER = (0.5, 0.6, 0.7, 0.8, 0.9)  # RES: IoU > X
FROM = (0.7, 0.8, 0.9)  # GRES: IoU >= X, questions with a target


def _key(threshold: float) -> str:
    return f"p{threshold * 100:.0f}"


PRECISIONS = tuple(Metric(_key(t), f"P@{t}", f"share of questions with IoU > {t}") for t in OVER)
GRES_PRECISIONS = tuple(Metric(_key(t), f"Pr@{t}", f"questions with a target: share with IoU >= {t}") for t in FROM)
RES = (CIOU, RES_MIOU, *PRECISIONS)
REASON = (REASON_GIOU, CIOU)
GRES = (GRES_GIOU, CIOU, N_ACC, T_ACC, *GRES_PRECISIONS)
METRICS = {"refcoco": RES, "refcoco+": RES, "refcocog": RES, "grefcoco": GRES, "reasonseg": REASON, "sa1b": RES}
Sums = dict[str, tuple[float, float]]  # key of a metric: numerator and denominator; left out where it does not apply


@dataclass(frozen=True)
class Pixels:
    """Counts of one answer: in both masks, in the prediction, in the truth; ignored pixels are in none."""

    shared: int
    predicted: int
    true: int

    @property
    def union(self) -> int:
        return self.predicted + self.true - self.shared


def pixels(prediction: MaskImage, labels: Labels) -> Pixels:
    keep, true = labels != IGNORED, labels == 1
    return Pixels(*(int(np.count_nonzero(mask)) for mask in (prediction & true, prediction & keep, true)))


def scores(dataset: str, counted: Pixels, rejected: bool) -> Sums:
    """One answer by the rules of the set; `rejected`: it says that there is no target."""
    return _gres(counted, rejected) if METRICS[dataset] is GRES else _res(counted)


def table(dataset: str, found: list[Sums]) -> NDArray[np.float64]:
    """Numerators and denominators (metrics, 2), summed over questions."""
    values = [[sums.get(metric.key, (0.0, 0.0)) for metric in METRICS[dataset]] for sums in found]
    return np.array(values, np.float64).reshape(-1, len(METRICS[dataset]), 2).sum(axis=0)


def _res(counted: Pixels) -> Sums:
    iou = res_term(counted.shared, counted.union)
    precisions = {_key(t): (float(iou > t), 1.0) for t in OVER}
    return {"ciou": (counted.shared, counted.union), "miou": (iou, 1.0), "giou": (iou, 1.0), **precisions}


def _gres(counted: Pixels, rejected: bool) -> Sums:
    term = gres_term(counted.shared, counted.predicted, counted.true, rejected)
    sums: Sums = {"giou": (term.iou, 1.0), "ciou": (term.intersection, term.union)}
    if not counted.true:
        return {**sums, "n_acc": (float(rejected), 1.0)}
    return {**sums, "t_acc": (float(not rejected), 1.0), **{_key(t): (float(term.iou >= t), 1.0) for t in FROM}}
