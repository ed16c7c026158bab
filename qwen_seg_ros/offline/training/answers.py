"""What a model is taught to write: the truth about a question in the recipe's answer format."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from qwen_seg_ros.geometry.box import GRID
from qwen_seg_ros.model import prompts
from qwen_seg_ros.model.text_masks import encode_bricks, encode_labels, label_grid
from qwen_seg_ros.offline.data.expressions import Expression
from qwen_seg_ros.offline.data.plain_questions import PlainQuestion
from qwen_seg_ros.offline.data.samples import Sample


class Written(NamedTuple):
    """The user's turn, the model's turn, and the objects in the order of their entries."""

    question: str
    answer: str
    items: tuple[int, ...]


@dataclass(frozen=True)
class AnswerWriter:
    """answers: one of configuration.ANSWER_FORMATS. box_step: boxes are written in these steps of the grid."""

    answers: str = "mask_token"
    box_step: int = 1

    def __call__(self, question: Expression | PlainQuestion, sample: Sample, boxes: dict[int, np.ndarray]) -> Written:
        """boxes: object id -> true box (4,), 0..1."""
        if isinstance(question, PlainQuestion):
            return Written(question.text, question.answer, ())
        asked = prompts.question(question.text, self.answers)
        if self.answers == "text4seg":
            return Written(asked, _whole_image(question, sample), ())
        entries, items = [], []
        for phrase, targets in question.phrases:
            ordered = sorted(targets, key=lambda i: boxes[i][0] + boxes[i][2])  # from left to right
            entries += [self._entry(phrase, i, sample, boxes[i]) for i in ordered] or [prompts.Entry(phrase, None)]
            items += ordered
        return Written(asked, prompts.write_answer(entries), tuple(items))

    def _entry(self, phrase: str, item: int, sample: Sample, box: np.ndarray) -> prompts.Entry:
        grid = quantised(box, self.box_step)
        if self.answers == "mask_token":
            return prompts.Entry(phrase, grid)
        if self.answers == "boxes":
            return prompts.Entry(phrase, grid, None)
        height, width = sample.ids.shape
        box_px = np.array(grid, np.float32) / GRID * np.array([width, height] * 2, np.float32)
        return prompts.Entry(phrase, grid, encode_bricks(sample.mask(item), box_px))


def quantised(box: np.ndarray, step: int = 1) -> tuple[int, int, int, int]:
    """0..1 -> the answer's grid in steps of `step`, never without area: a small model has fewer digits to learn."""
    cells = GRID // step
    x0, y0, x1, y1 = (np.clip(np.rint(box * cells), 0, cells) * step).astype(int).tolist()
    x0, y0 = min(x0, GRID - step), min(y0, GRID - step)
    return x0, y0, max(x1, x0 + step), max(y1, y0 + step)


def _whole_image(question: Expression, sample: Sample) -> str:
    """One grid for the image; a phrase without a target has no cell."""
    masks = {phrase: np.any([sample.mask(i) for i in ids], axis=0) for phrase, ids in question.phrases if ids}
    names = ", ".join(f"'{phrase}'" for phrase, _ in question.phrases)
    empty = {question.phrases[0][0]: np.zeros(sample.ids.shape, bool)}
    return f"Sure, here is the segmentation mask for {names}:\n{encode_labels(label_grid(masks or empty))}"
