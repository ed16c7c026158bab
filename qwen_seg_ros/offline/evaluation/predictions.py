"""Answers as boxes and masks: what a model said, and what could be said without one.

Baselines: "random" names any object in view (their mean is the expected value), "largest" the one with the most pixels,
"words" all objects whose true words hold the words of the instruction. Upper bound of masks made from boxes: the true boxes
with the depth that the model was given.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qwen_seg_ros.geometry.arrays import MaskImage
from qwen_seg_ros.geometry.mask import CroppedMask
from qwen_seg_ros.offline.data.expressions import Expression
from qwen_seg_ros.offline.evaluation.questions import View
from qwen_seg_ros.offline.evaluation.word_match import named_by_words
from qwen_seg_ros.segmentation.box_masks import masks_in_boxes
from qwen_seg_ros.segmentation.result import Instance


@dataclass(frozen=True, eq=False)
class Prediction:
    """boxes (N, 4) in pixels, their masks and scores (N,), best first; rejected: says that nothing matches."""

    boxes: NDArray
    masks: tuple[CroppedMask, ...]
    scores: NDArray
    rejected: bool

    def first(self) -> "Prediction":
        return Prediction(self.boxes[:1], self.masks[:1], self.scores[:1], self.rejected)

    def union(self, shape: tuple[int, ...]) -> MaskImage:
        """All masks as one, bool (H, W)."""
        out = np.zeros(shape, bool)
        for mask in self.masks:
            out[mask.rows_cols] |= mask.crop
        return out


def of_instances(instances: Sequence[Instance], rejected: bool) -> Prediction:
    boxes = np.array([i.box_px for i in instances], np.float64).reshape(-1, 4)
    return Prediction(boxes, tuple(i.mask for i in instances), np.array([i.score for i in instances], np.float64), rejected)


def of_masks(boxes: NDArray, masks: Sequence[CroppedMask]) -> Prediction:
    """Boxes known to be right; no box = rejected."""
    return Prediction(np.asarray(boxes, np.float64).reshape(-1, 4), tuple(masks), np.ones(len(masks)), not len(masks))


def of_objects(view: View, ids: Sequence[int]) -> Prediction:
    """The truth of these objects given as the answer."""
    return of_masks(view.boxes(tuple(ids)), [view.crop(number) for number in ids])


def any_object(view: View, question: Expression) -> list[Prediction]:
    """All that "random" could say."""
    return [of_objects(view, (item.id,)) for item in view.objects]


def largest(view: View, question: Expression) -> list[Prediction]:
    return [of_objects(view, (max(view.objects, key=lambda o: o.pixels).id,))]


def by_words(view: View, question: Expression) -> list[Prediction]:
    """The largest first, so that a question for one object has a definite answer."""
    named = named_by_words(question.text, view.objects)
    return [of_objects(view, [o.id for o in sorted(named, key=lambda o: -o.pixels)])]


def from_depth(view: View, question: Expression) -> list[Prediction]:
    """True boxes, masks from the depth that the model was given."""
    boxes = view.boxes(question.target_ids)
    made = masks_in_boxes(view.frame(), boxes) if len(boxes) else ()
    return [of_masks(boxes, [box.mask for box in made])]


def crop_ious(first: Sequence[CroppedMask], second: Sequence[CroppedMask]) -> NDArray[np.float64]:
    """IoU of every pair of masks of one image, (N, M); two empty masks give 0."""
    out = np.zeros((len(first), len(second)))
    for row, a in enumerate(first):
        for col, b in enumerate(second):
            shared = _shared_pixels(a, b)
            out[row, col] = shared / max(1, a.area_px + b.area_px - shared)
    return out


def _shared_pixels(a: CroppedMask, b: CroppedMask) -> int:
    (ax0, ay0, ax1, ay1), (bx0, by0, bx1, by1) = a.box_px.astype(int).tolist(), b.box_px.astype(int).tolist()
    x0, y0, x1, y1 = max(ax0, bx0), max(ay0, by0), min(ax1, bx1), min(ay1, by1)
    if x1 <= x0 or y1 <= y0:
        return 0
    ours, theirs = (m.crop[y0 - m.y_px : y1 - m.y_px, x0 - m.x_px : x1 - m.x_px] for m in (a, b))
    return int(np.count_nonzero(ours & theirs))
