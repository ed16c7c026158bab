"""Upper bound of the mask decoder: masks of the true boxes.

The mask tokens' states come from the model reading the true answer (teacher forcing), so that neither wording nor counting
errors weigh in.
"""

import numpy as np
import torch
from numpy.typing import NDArray

from qwen_seg_ros.geometry.mask import CroppedMask
from qwen_seg_ros.geometry.region import Region
from qwen_seg_ros.model import prompts
from qwen_seg_ros.model.engine import Engine
from qwen_seg_ros.offline.data.expressions import Expression
from qwen_seg_ros.offline.evaluation.predictions import Prediction, of_masks
from qwen_seg_ros.offline.evaluation.questions import View
from qwen_seg_ros.offline.training.answers import quantised
from qwen_seg_ros.segmentation.qwen import EncodedFrame


def from_decoder(engine: Engine, encoded: EncodedFrame, view: View, question: Expression) -> Prediction | None:
    """Masks of the true boxes on the picture's own pixels; None for a model without a decoder."""
    image, region = encoded.image, encoded.region
    if image.pixels is None:
        return None
    entries, ids = true_answer(view, question, engine.model.config.box_step, image.canvas, region)
    if not ids:
        return of_masks(view.boxes(ids), [])
    states = engine.forced_states(image, question.text, prompts.write_answer(entries))
    boxes = np.stack([_relative(view, number, image.canvas, region) for number in ids])
    logits, _ = engine.masks(image, torch.from_numpy(boxes), states)
    masks = [CroppedMask.from_part(m, region.x0, region.y0, *view.ids.shape) for m in (logits > 0).cpu().numpy()]
    return of_masks(view.boxes(ids), masks)


def true_answer(
    view: View, question: Expression, box_step: int, canvas: tuple[int, int], region: Region
) -> tuple[list[prompts.Entry], tuple[int, ...]]:
    """The entries the model was trained to write, from left to right within a phrase, and the ids of those with a box.

    canvas: height and width in pixels that boxes are written relative to; region: the part of the picture that it shows.
    """
    entries, order = [], []
    for phrase, targets in question.phrases:
        boxes = {number: _relative(view, number, canvas, region) for number in targets}
        for item in sorted(targets, key=lambda i: boxes[i][0] + boxes[i][2]):
            entries.append(prompts.Entry(phrase, quantised(boxes[item], box_step)))
            order.append(item)
        if not targets:
            entries.append(prompts.Entry(phrase, None))
    return entries, tuple(order)


def _relative(view: View, number: int, canvas: tuple[int, int], region: Region) -> NDArray[np.float32]:
    """The true box (4,) of an object, 0..1 of the canvas."""
    height, width = canvas
    inside = np.clip(view.boxes((number,))[0], np.tile(region.box[:2], 2), np.tile(region.box[2:], 2))
    return ((inside - np.tile(region.box[:2], 2)) / [width, height, width, height]).astype(np.float32)
