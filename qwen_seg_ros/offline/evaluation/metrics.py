"""Metrics of referring segmentation, from masks and boxes alone.

Definitions: RES (LISA family), GRES and GREC (ReLA rules) and the instance-wise matching of Qwen3-VL-Seg; masks are bool
(H, W) and stacks of them (N, H, W), boxes xyxy with exclusive right and lower edges.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from qwen_seg_ros.geometry.arrays import MaskImage
from qwen_seg_ros.geometry.box import area
from qwen_seg_ros.geometry.box import iou as box_ious

Masks = NDArray[np.bool_]  # (N, H, W)
EPSILON = 1e-5  # RES: I / (U + EPSILON)
GREC_GIOU = 0.5  # generalised IoU from which a box of GREC counts as found


def res_iou(prediction: MaskImage, truth: NDArray) -> float:
    """One RES term. Truth pixels of value 255 are ignored; two empty masks count 1."""
    keep = np.asarray(truth) != 255
    predicted, true = prediction & keep, np.asarray(truth).astype(bool) & keep
    return res_term(int(np.count_nonzero(predicted & true)), int(np.count_nonzero(predicted | true)))


def res_term(intersection: int, union: int) -> float:
    """`res_iou` from counted pixels."""
    return 1.0 if union == 0 else intersection / (union + EPSILON)


@dataclass(frozen=True)
class GresTerm:
    """What one question adds: its term of gIoU, and to both sums of cIoU."""

    iou: float
    intersection: int
    union: int


def gres_term(intersection: int, predicted: int, true: int, rejected: bool) -> GresTerm:
    """The ReLA rules from counted pixels; `rejected`: the answer says "no target", whatever its mask."""
    if true == 0:
        return GresTerm(1.0, 0, 0) if rejected else GresTerm(0.0, 0, predicted)
    union = predicted + true - intersection
    return GresTerm(0.0, 0, union) if rejected else GresTerm(intersection / union, intersection, union)


@dataclass
class GresTotals:
    """GRES by the ReLA rules over questions with and without targets; "positive" = no target."""

    terms: list[GresTerm] = field(default_factory=list)
    absent_rejected: int = 0
    absent: int = 0
    present_kept: int = 0
    present: int = 0

    def add(self, prediction: MaskImage, rejected: bool, truth: MaskImage) -> None:
        """One question: the union of the predicted masks, whether the answer says "no target", the union of the true masks."""
        shared, predicted, true = (int(np.count_nonzero(mask)) for mask in (prediction & truth, prediction, truth))
        self.terms.append(gres_term(shared, predicted, true, rejected))
        present = bool(truth.any())
        self.present += present
        self.present_kept += present and not rejected
        self.absent += not present
        self.absent_rejected += not present and rejected

    @property
    def intersection(self) -> int:
        return sum(term.intersection for term in self.terms)

    @property
    def union(self) -> int:
        return sum(term.union for term in self.terms)

    @property
    def giou(self) -> float:
        return mean([term.iou for term in self.terms])

    @property
    def ciou(self) -> float:
        return self.intersection / self.union if self.union else float("nan")

    @property
    def n_acc(self) -> float:
        """Share of the questions without a target that were rejected; NaN without such questions."""
        return self.absent_rejected / self.absent if self.absent else float("nan")

    @property
    def t_acc(self) -> float:
        """Share of the questions with a target that were not rejected; NaN without such questions."""
        return self.present_kept / self.present if self.present else float("nan")


def mask_ious(predicted: Masks, true: Masks) -> NDArray[np.float64]:
    """(N, H, W) and (M, H, W) -> (N, M); two empty masks give 0 here, since an instance is never empty."""
    p = predicted.reshape(len(predicted), int(np.prod(predicted.shape[1:]))).astype(np.float32)
    t = true.reshape(len(true), int(np.prod(true.shape[1:]))).astype(np.float32)
    shared = (p @ t.T).astype(np.float64)
    union = p.sum(1, dtype=np.float64)[:, None] + t.sum(1, dtype=np.float64)[None] - shared
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)


def matched(ious_NM: NDArray[np.float64]) -> NDArray[np.float64]:
    """Best one-to-one (Hungarian) matching -> IoU of each of max(N, M) places, 0 where an instance has no partner."""
    rows, cols = linear_sum_assignment(ious_NM, maximize=True)
    places = np.zeros(max(ious_NM.shape))
    places[: len(rows)] = ious_NM[rows, cols]
    return places


def generalised_ious(first: NDArray, second: NDArray) -> NDArray[np.float64]:
    """Generalised IoU (Rezatofighi et al. 2019) of boxes (N, 4) and (M, 4) -> (N, M), -1..1: IoU less the share of the
    smallest box around both that neither covers."""
    a = np.asarray(first, np.float64).reshape(-1, 1, 4)
    b = np.asarray(second, np.float64).reshape(1, -1, 4)
    around = area(np.concatenate([np.minimum(a[..., :2], b[..., :2]), np.maximum(a[..., 2:], b[..., 2:])], axis=-1))
    ious = box_ious(first, second)
    union = (area(a) + area(b)) / (1 + ious)
    return ious - np.divide(around - union, around, out=np.ones_like(ious), where=around > 0)


def grec_correct(predicted: NDArray, true: NDArray) -> bool:
    """GREC: F1 = 1, every box found and none too many; without a target, no box. Boxes (N, 4) and (M, 4).

    Pairs are taken greedily, the best first, while their generalised IoU is at least 0.5.
    """
    if len(predicted) != len(true):
        return False
    gious = generalised_ious(predicted, true)
    for _ in range(len(true)):
        row, col = np.unravel_index(int(np.argmax(gious)), gious.shape)
        if gious[row, col] < GREC_GIOU:
            return False
        gious[row], gious[:, col] = -np.inf, -np.inf
    return True


def mean(values: list) -> float:
    return float(np.mean(values)) if values else float("nan")
