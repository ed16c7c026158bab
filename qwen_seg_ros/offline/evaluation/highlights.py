"""The best and the worst answers of a split as pictures: the truth on the left, the answer on the right."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from qwen_seg_ros.drawing import draw_overlay
from qwen_seg_ros.geometry.arrays import RgbImage
from qwen_seg_ros.offline.data.expressions import Expression
from qwen_seg_ros.offline.evaluation.measures import KEYS
from qwen_seg_ros.offline.evaluation.questions import View
from qwen_seg_ros.offline.evaluation.replies import Reply, ReplyStore
from qwen_seg_ros.offline.evaluation.tabletop_ors import MODEL, Row, SplitResult
from qwen_seg_ros.segmentation.result import Instance, Outcome, SegmentationResult

SHOWN = 6
WORST_OF_A_KIND, BEST_OF_A_KIND = 2, 1
PANEL_PX, GAP_PX, QUALITY = 400, 6, 82
GIOU = KEYS.index("giou")


@dataclass(frozen=True, eq=False)
class Highlight:
    """jpeg: truth and answer side by side; iou: the question's term of gIoU."""

    row: Row
    iou: float
    jpeg: bytes


def highlights(result: SplitResult, views: Sequence[View], store: ReplyStore) -> tuple[list[Highlight], list[Highlight]]:
    """The worst and the best."""
    shuffled = [result.rows[n] for n in np.random.default_rng(0).permutation(len(result.rows))]  # ties are many
    ranked = sorted(shuffled, key=own_iou)
    worst = _varied(ranked, WORST_OF_A_KIND)
    best = _varied([row for row in reversed(ranked) if row not in worst], BEST_OF_A_KIND)
    return [_drawn(row, views, store) for row in worst], [_drawn(row, views, store) for row in best]


def own_iou(row: Row) -> float:
    return float(row.sums[MODEL][GIOU, 0])


def _varied(rows: Sequence[Row], of_a_kind: int) -> list[Row]:
    """The first ones, one a picture and few of a kind."""
    kinds: Counter[str] = Counter()
    pictures: set[int] = set()
    chosen: list[Row] = []
    for row in rows:
        if len(chosen) < SHOWN and kinds[row.kind] < of_a_kind and row.view not in pictures:
            chosen.append(row)
            kinds[row.kind] += 1
            pictures.add(row.view)
    return chosen


def _drawn(row: Row, views: Sequence[View], store: ReplyStore) -> Highlight:
    view = views[row.view]
    said = store.get(view)
    if said is None:
        raise RuntimeError(f"the reply to {row.text!r} was stored and is gone; do not change {store.file} during a run")
    return Highlight(row, own_iou(row), side_by_side(view, view.questions[row.question], said.replies[row.question]))


def side_by_side(view: View, question: Expression, reply: Reply) -> bytes:
    """JPEG."""
    answer = SegmentationResult(question.text, reply.outcome, reply.instances)
    panels = [panel(view, truth_of(view, question)), panel(view, answer)]
    gap = np.full((panels[0].shape[0], GAP_PX, 3), 255, np.uint8)
    picture = np.concatenate([panels[0], gap, panels[1]], axis=1)
    return bytes(cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1])


def truth_of(view: View, question: Expression) -> SegmentationResult:
    """The right answer."""
    boxes = {number: view.boxes((number,))[0] for number in question.target_ids}
    instances = [
        Instance(phrase, boxes[number], view.crop(number), 1.0, 1.0) for phrase, ids in question.phrases for number in ids
    ]
    return SegmentationResult(question.text, Outcome.FOUND if instances else Outcome.NOT_FOUND, tuple(instances))


def panel(view: View, result: SegmentationResult) -> RgbImage:
    """The picture with what was found, PANEL_PX wide."""
    drawn = draw_overlay(view.rgb, result)
    height = round(PANEL_PX * drawn.shape[0] / drawn.shape[1])
    return np.asarray(cv2.resize(drawn, (PANEL_PX, height), interpolation=cv2.INTER_AREA))
