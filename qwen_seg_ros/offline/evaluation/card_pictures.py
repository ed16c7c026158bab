"""Pictures beside the card: one scene of every split with a question's truth, and the best and worst answers."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np

from qwen_seg_ros.geometry.arrays import RgbImage
from qwen_seg_ros.offline.evaluation.highlights import GAP_PX, QUALITY, Highlight, highlights, panel, truth_of
from qwen_seg_ros.offline.evaluation.plan import Plan
from qwen_seg_ros.offline.evaluation.questions import SplitViews
from qwen_seg_ros.offline.evaluation.replies import ReplyStore
from qwen_seg_ros.offline.evaluation.tabletop_ors import SplitResult

CAPTION_PX, INK = 24, (40, 44, 52)
SPLIT_COLUMNS, ANSWER_COLUMNS = 4, 2


def write_pictures(card: Path, plan: Plan, views: Mapping[str, SplitViews], results: Sequence[SplitResult]) -> None:
    """card_splits.jpg, and card_best.jpg and card_worst.jpg of the first split, beside the card."""
    examples = [picture for name, found in views.items() for picture in _example(name, found)]
    _write(card, "splits", examples, SPLIT_COLUMNS)
    first = results[0]
    worst, best = highlights(first, views[first.name], ReplyStore(plan.store / f"{first.name}.jsonl"))
    for name, chosen in (("best", best), ("worst", worst)):
        _write(card, name, [_answer(item) for item in chosen], ANSWER_COLUMNS)


def _example(name: str, views: SplitViews) -> list[RgbImage]:
    """The first picture with a question about something that is there, and what it means; none where there is no such picture."""
    for view in views:
        for question in view.questions:
            if question.target_ids:
                return [_captioned(panel(view, truth_of(view, question)), f"{name}: {question.text}")]
    return []


def _answer(item: Highlight) -> RgbImage:
    picture = cv2.imdecode(np.frombuffer(item.jpeg, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
    return _captioned(np.ascontiguousarray(picture), f"{item.row.text}  (truth, answer; IoU {item.iou:.2f})")


def _captioned(picture: RgbImage, text: str) -> RgbImage:
    """The words below, in what of ASCII the font has."""
    strip = np.full((CAPTION_PX, picture.shape[1], 3), 255, np.uint8)
    letters = text.encode("ascii", "replace").decode()
    room = max(8, picture.shape[1] // 7)
    shown = letters if len(letters) <= room else f"{letters[: room - 2]}.."
    cv2.putText(strip, shown, (2, CAPTION_PX - 8), cv2.FONT_HERSHEY_SIMPLEX, 0.4, INK, 1, cv2.LINE_AA)
    return np.concatenate([picture, strip])


def _write(card: Path, name: str, pictures: list[RgbImage], columns: int) -> None:
    """A sheet; pictures are of one size."""
    if not pictures:
        return
    height, width = pictures[0].shape[:2]
    rows = -(-len(pictures) // columns)
    sheet = np.full((rows * (height + GAP_PX), columns * (width + GAP_PX), 3), 255, np.uint8)
    for number, picture in enumerate(pictures):
        y, x = number // columns * (height + GAP_PX), number % columns * (width + GAP_PX)
        sheet[y : y + height, x : x + width] = picture
    file = card.with_name(f"{card.stem}_{name}.jpg")
    cv2.imwrite(str(file), sheet[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
