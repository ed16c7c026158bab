"""Upper bound of the mask decoder: masks of the true boxes.

The mask tokens' states come from the model reading the true answer (teacher forcing), so that neither wording nor counting
errors weigh in.
"""

import numpy as np
import torch

from qwen_seg_ros.geometry.mask import CroppedMask
from qwen_seg_ros.model import prompts
from qwen_seg_ros.model.engine import EncodedImage, Engine
from qwen_seg_ros.offline.data.expressions import Expression
from qwen_seg_ros.offline.evaluation.predictions import Prediction, of_masks
from qwen_seg_ros.offline.evaluation.questions import View
from qwen_seg_ros.offline.training.answers import quantised


def from_decoder(engine: Engine, encoded: EncodedImage, view: View, question: Expression) -> Prediction | None:
    """Masks of the true boxes on the picture's own pixels; None for a model without a decoder."""
    if encoded.pixels is None:
        return None
    height, width = encoded.canvas
    entries, ids = true_answer(view, question, engine.model.config.box_step, encoded.canvas)
    boxes = view.boxes(ids)
    if not ids:
        return of_masks(boxes, [])
    states = engine.forced_states(encoded, question.text, prompts.write_answer(entries))
    logits, _ = engine.masks(encoded, torch.from_numpy(boxes / np.array([width, height] * 2, np.float32)), states)
    return of_masks(boxes, [CroppedMask.from_full(mask) for mask in (logits > 0).cpu().numpy()])


def true_answer(
    view: View, question: Expression, box_step: int, canvas: tuple[int, int]
) -> tuple[list[prompts.Entry], tuple[int, ...]]:
    """The entries the model was trained to write, from left to right within a phrase, and the ids of those with a box.

    canvas: height and width in pixels that boxes are written relative to."""
    height, width = canvas
    entries, order = [], []
    for phrase, targets in question.phrases:
        boxes = {i: view.boxes((i,))[0] / np.array([width, height] * 2, np.float32) for i in targets}
        for item in sorted(targets, key=lambda i: boxes[i][0] + boxes[i][2]):
            entries.append(prompts.Entry(phrase, quantised(boxes[item], box_step)))
            order.append(item)
        if not targets:
            entries.append(prompts.Entry(phrase, None))
    return entries, tuple(order)
