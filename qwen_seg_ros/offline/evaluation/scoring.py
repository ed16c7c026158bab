"""One answer against the truth, and the same for what could be answered without a model.

Baselines: "random" is the expected score of naming one object by chance (the mean over all objects in view), "largest" names
the object with the most pixels. Upper bound: the mask decoder with the true boxes; the mask tokens' states come from the model
reading the true answer (teacher forcing), so that neither wording nor counting errors weigh in.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from transformers import DynamicCache

from qwen_seg_ros.geometry.box import iou as box_ious
from qwen_seg_ros.model import prompts
from qwen_seg_ros.model.engine import EncodedImage, Engine
from qwen_seg_ros.offline.data.expressions import Expression
from qwen_seg_ros.offline.evaluation.metrics import Masks, mask_ious, matched, mean
from qwen_seg_ros.offline.evaluation.questions import SINGLE_TARGET, View
from qwen_seg_ros.offline.training.answers import quantised
from qwen_seg_ros.segmentation.result import Instance


@dataclass(frozen=True)
class Score:
    """Shares 0..1 of one question: box_hit and mask_hit at IoU > 0.5, mask_iou; of several instances their means."""

    box_hit: float
    mask_iou: float
    mask_hit: float


NOTHING = Score(0.0, 0.0, 0.0)


def score(boxes: np.ndarray, masks: Masks, view: View, question: Expression) -> Score:
    """Predicted boxes (N, 4) and masks (N, H, W), best first.

    A question for one object takes the first prediction, as a robot would; for several, predictions and truth are matched
    one to one, and surplus predictions and missed objects count as zeros alike.
    """
    if question.kind in SINGLE_TARGET:
        boxes, masks = boxes[:1], masks[:1]
    if not len(boxes):
        return NOTHING
    targets = question.target_ids
    by_box = matched(box_ious(boxes, view.boxes(targets)))
    by_mask = matched(mask_ious(masks, view.masks(targets)))
    return Score(float((by_box > 0.5).mean()), float(by_mask.mean()), float((by_mask > 0.5).mean()))


def score_answer(instances: tuple[Instance, ...], view: View, question: Expression) -> Score:
    masks = np.array([i.mask.full() for i in instances], bool).reshape(-1, *view.ids.shape)
    return score(np.array([i.box_px for i in instances]).reshape(-1, 4), masks, view, question)


def score_object(number: int, view: View, question: Expression) -> Score:
    """The truth of one object given as the answer."""
    return score(view.boxes((number,)), view.masks((number,)), view, question)


def random_object(view: View, question: Expression) -> Score:
    scores = [score_object(o.id, view, question) for o in view.objects]
    return average(scores)


def largest_object(view: View, question: Expression) -> Score:
    return score_object(max(view.objects, key=lambda o: o.pixels).id, view, question)


def average(scores: list[Score]) -> Score:
    """NaN for no scores."""
    return Score(*(mean([getattr(s, name) for s in scores]) for name in ("box_hit", "mask_iou", "mask_hit")))


def true_boxes(engine: Engine, encoded: EncodedImage, view: View, question: Expression) -> Score:
    """The upper bound, with the true boxes on the pictures' own pixels; box_hit is 1 by construction."""
    if encoded.pixels is None:
        return replace(NOTHING, box_hit=1.0)
    entries, ids = true_answer(view, question, engine.model.config.box_step)
    states = forced_states(engine, encoded, question.text, prompts.write_answer(entries))
    height, width = view.ids.shape
    boxes = view.boxes(ids)
    logits, _ = engine.masks(encoded, torch.from_numpy(boxes / np.array([width, height] * 2, np.float32)), states)
    return score(boxes, (logits > 0).cpu().numpy(), view, question)


def true_answer(view: View, question: Expression, box_step: int) -> tuple[list[prompts.Entry], tuple[int, ...]]:
    """The entries the model was trained to write, from left to right within a phrase, and the ids of those with a box."""
    height, width = view.ids.shape
    entries, order = [], []
    for phrase, targets in question.phrases:
        boxes = {i: view.boxes((i,))[0] / np.array([width, height] * 2, np.float32) for i in targets}
        for item in sorted(targets, key=lambda i: boxes[i][0] + boxes[i][2]):
            entries.append(prompts.Entry(phrase, quantised(boxes[item], box_step)))
            order.append(item)
        if not targets:
            entries.append(prompts.Entry(phrase, None))
    return entries, tuple(order)


@torch.inference_mode()
def forced_states(engine: Engine, encoded: EncodedImage, instruction: str, answer: str) -> torch.Tensor:
    """Hidden states (N, T) at the mask tokens while the model reads `answer`."""
    cache = DynamicCache()
    for number, (keys, values) in enumerate(encoded.prefix):
        cache.update(keys, values, number)
    tokens = engine.tokenizer(prompts.conversation_tail(instruction) + answer, add_special_tokens=False).input_ids
    ids = torch.tensor([tokens], device=engine.device)
    positions = (torch.arange(len(tokens), device=engine.device) + encoded.next_position).expand(3, 1, -1)
    embeds = engine.model.get_input_embeddings()(ids)
    text = engine.model.model.language_model
    hidden = text(inputs_embeds=embeds, position_ids=positions, past_key_values=cache, use_cache=True)
    return hidden.last_hidden_state[0][ids[0] == engine.mask_id]
