"""Metrics of referring segmentation, from masks and boxes alone.

Definitions: RES (LISA family), GRES (ReLA rules) and the instance-wise matching of Qwen3-VL-Seg; masks are bool (H, W) and
stacks of them (N, H, W), boxes xyxy with exclusive right and lower edges.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from qwen_seg_ros.geometry.arrays import MaskImage

Masks = NDArray[np.bool_]  # (N, H, W)
EPSILON = 1e-5  # RES: I / (U + EPSILON)


def res_iou(prediction: MaskImage, truth: NDArray) -> float:
    """One RES term. Truth pixels of value 255 are ignored; two empty masks count 1."""
    keep = np.asarray(truth) != 255
    predicted, true = prediction & keep, np.asarray(truth).astype(bool) & keep
    union = np.count_nonzero(predicted | true)
    return 1.0 if union == 0 else float(np.count_nonzero(predicted & true) / (union + EPSILON))


@dataclass
class GresTotals:
    """GRES by the ReLA rules over questions with and without targets; "positive" = no target."""

    terms: list[float] = field(default_factory=list)  # gIoU terms
    intersection: int = 0
    union: int = 0
    present_ious: list[float] = field(default_factory=list)  # I/U of questions with a target, 0 where rejected
    absent_rejected: int = 0
    absent: int = 0
    present_kept: int = 0
    present: int = 0

    def add(self, prediction: MaskImage, rejected: bool, truth: MaskImage) -> None:
        """One question: the union of the predicted masks, whether the answer says "no target", the union of the true masks."""
        if truth.any():
            self._add_present(prediction, rejected, truth)
            return
        self.absent += 1
        self.absent_rejected += rejected
        self.terms.append(float(rejected))
        self.union += 0 if rejected else int(np.count_nonzero(prediction))

    def _add_present(self, prediction: MaskImage, rejected: bool, truth: MaskImage) -> None:
        union = int(np.count_nonzero(prediction | truth))
        shared = 0 if rejected else int(np.count_nonzero(prediction & truth))
        term = shared / union
        self.present += 1
        self.present_kept += not rejected
        self.terms.append(term)
        self.present_ious.append(term)
        self.intersection += shared
        self.union += union

    @property
    def giou(self) -> float:
        return mean(self.terms)

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

    def precision_at(self, threshold: float) -> float:
        """Share of the questions with a target with IoU >= `threshold`."""
        return mean([iou >= threshold for iou in self.present_ious])


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


def mean(values: list) -> float:
    return float(np.mean(values)) if values else float("nan")
