"""Samples -> tensors. All questions of a picture share one sequence: every question sees the picture and itself only.

Sequence of one picture: prefix (chat head, image tokens), then per question its text and answer; positions restart after
the image, so each branch looks exactly as it does at inference.

Shapes: B pictures, L sequence, M image tokens (rows x cols), n answer tokens that point, N instances with a mask,
h x w mask cells.
"""

from dataclasses import dataclass, fields

import cv2
import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from qwen_seg_ros.model import prompts
from qwen_seg_ros.model.processing import ImageProcessor
from qwen_seg_ros.offline.data.expressions import Expression
from qwen_seg_ros.offline.sim.scene import ObjectRecord
from qwen_seg_ros.offline.training.samples import Sample

BINS = 101  # box corners on the answer's grid in steps of ten
STEP = 10
IGNORE = -100
WEIGHT_DECISION, WEIGHT_DIGIT, WEIGHT_OTHER = 3.0, 1.0, 0.3


@dataclass
class Batch:
    """See `Batcher.__call__` for the meaning of each field."""

    image: Tensor  # (B, 3, H, W)
    input_ids: Tensor  # (B, L)
    position_ids: Tensor  # (3, B, L)
    attention: Tensor  # bool (B, 1, L, L)
    labels: Tensor  # (B, L) next token, IGNORE elsewhere
    weights: Tensor  # (B, L)
    point_at: Tensor  # (n, 2) picture, position of tokens that write the box
    point_target: Tensor  # (n, M) share of the object in each image token
    mask_at: Tensor  # (N, 2) picture, position of each mask token
    boxes: Tensor  # (N, 4) true boxes 0..1
    masks: Tensor  # (N, h, w) share of the object in each mask cell
    cell_words: Tensor  # (B, M, W) word tokens of the object in each cell, padded with IGNORE
    cell_box: Tensor  # (B, M, 4) its box 0..1, NaN where there is no object

    def to(self, device: torch.device) -> "Batch":
        return Batch(*(getattr(self, f.name).to(device) for f in fields(self)))


class Batcher:
    """Turns samples into a Batch; holds the tokenizer and the model's image geometry."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, processor: ImageProcessor, mask_stride: int) -> None:
        self.tokenizer, self.processor, self.mask_stride = tokenizer, processor, mask_stride
        self.digits = set(tokenizer.convert_tokens_to_ids(list("0123456789,")))
        self.decisions = set(tokenizer.convert_tokens_to_ids([prompts.BOX_KEY, prompts.LABEL_KEY, ",", "]"]))
        self.mask_token = tokenizer.convert_tokens_to_ids(prompts.MASK_TOKEN)
        self.box_key, self.box_end = tokenizer.convert_tokens_to_ids([prompts.BOX_KEY, prompts.LABEL_KEY_AFTER_BOX])
        self.background = tokenizer.pad_token_id

    def tokens(self, text: str) -> list[int]:
        return self.tokenizer(text, add_special_tokens=False).input_ids

    def __call__(self, samples: list[Sample]) -> Batch:
        pictures = [self._picture(sample) for sample in samples]
        length = -(-max(len(p["ids"]) for p in pictures) // 64) * 64
        stack = {
            k: torch.stack([_padded(p[k], length, fill) for p in pictures])
            for k, fill in (("ids", self.background), ("labels", IGNORE), ("weights", 0.0), ("branch", -2))
        }
        positions = torch.stack([_padded(p["positions"], length, 0) for p in pictures], dim=1)
        widest = max(p["words"].shape[1] for p in pictures)
        words = torch.stack(
            [torch.nn.functional.pad(p["words"], (0, widest - p["words"].shape[1]), value=IGNORE) for p in pictures]
        )
        return Batch(
            image=self.processor.normalise([p["rgb"] for p in pictures]),
            input_ids=stack["ids"],
            position_ids=positions,
            attention=branch_attention(stack["branch"]),
            labels=stack["labels"],
            weights=stack["weights"],
            point_at=_indexed(pictures, "point_at"),
            point_target=torch.cat([p["point_target"] for p in pictures]),
            mask_at=_indexed(pictures, "mask_at"),
            boxes=torch.cat([p["boxes"] for p in pictures]),
            masks=torch.cat([p["masks"] for p in pictures]),
            cell_words=words,
            cell_box=torch.stack([p["cell_box"] for p in pictures]),
        )

    def _picture(self, sample: Sample) -> dict:
        rgb = self.processor.resize(sample.rgb)
        height, width = rgb.shape[:2]
        unit = self.processor.token_px
        rows, cols = height // unit, width // unit
        ids = cv2.resize(sample.ids, (width, height), interpolation=cv2.INTER_NEAREST)
        cover = {o.id: _share(ids == o.id, unit) for o in sample.objects}
        scale = np.array([sample.ids.shape[1], sample.ids.shape[0]] * 2, np.float32)
        boxes = {o.id: np.asarray(o.box_px, np.float32) / scale for o in sample.objects}
        out = {"rgb": rgb, **self._cells(sample, cover, boxes, rows * cols)}
        out.update(self._sequence(sample, cover, boxes, rows, cols))
        masks = {o.id: _share(ids == o.id, self.mask_stride) for o in sample.objects}
        chosen = out.pop("instances")
        out["masks"] = torch.from_numpy(
            np.stack([masks[i] for i in chosen])
            if chosen
            else np.zeros((0, height // self.mask_stride, width // self.mask_stride), np.float32)
        )
        out["boxes"] = torch.from_numpy(np.stack([boxes[i] for i in chosen]) if chosen else np.zeros((0, 4), np.float32))
        return out

    def _cells(self, sample: Sample, cover: dict, boxes: dict, cells: int) -> dict:
        """Which object covers each image token, as words and as its box."""
        names = [sorted({t for form in _word_forms(o) for t in self.tokens(form)}) for o in sample.objects]
        words = np.full((cells, max(len(n) for n in names)), IGNORE, np.int64)
        words[:, 0] = self.background
        box = np.full((cells, 4), np.nan, np.float32)
        stacked = np.stack([cover[o.id].ravel() for o in sample.objects])
        owner = stacked.argmax(0)
        owned = stacked.max(0) > 0.12
        owner[stacked.argmax(1)] = np.arange(len(sample.objects))
        owned[stacked.argmax(1)] = True
        for cell in np.flatnonzero(owned):
            item = owner[cell]
            words[cell] = IGNORE
            words[cell, : len(names[item])] = names[item]
            box[cell] = boxes[sample.objects[item].id]
        return {"words": torch.from_numpy(words), "cell_box": torch.from_numpy(box)}

    def _sequence(self, sample: Sample, cover: dict, boxes: dict, rows: int, cols: int) -> dict:
        head, tail = prompts.IMAGE_PREFIX.split("{image}")
        prefix = [
            *self.tokens(head),
            *[self.tokenizer.convert_tokens_to_ids("<|image_pad|>")] * (rows * cols),
            *self.tokens(tail),
        ]
        start = len(self.tokens(head))
        grid = (
            np.stack([np.zeros(rows * cols), np.repeat(np.arange(rows), cols), np.tile(np.arange(cols), rows)]).astype(np.int64)
            + start
        )
        after = start + max(rows, cols)
        positions = [np.tile(np.arange(start), (3, 1)), grid, np.tile(after + np.arange(len(self.tokens(tail))), (3, 1))]
        first = after + len(self.tokens(tail))
        ids, labels, weights, branch = list(prefix), [IGNORE] * len(prefix), [0.0] * len(prefix), [-1] * len(prefix)
        point_at, point_target, mask_at, instances = [], [], [], []
        for number, question in enumerate(sample.questions):
            tokens, targets, pointing, masks = self._branch(question, boxes)
            offset = len(ids)
            for place, item in pointing:
                share = cover[item].ravel()
                point_at.append(offset + place)
                point_target.append(share / share.sum())
            for place, item in masks:
                mask_at.append(offset + place)
                instances.append(item)
            ids += tokens
            labels += targets
            weights += [self._weight(t) for t in targets]
            branch += [number] * len(tokens)
            positions.append(np.tile(first + np.arange(len(tokens)), (3, 1)))
        target = np.stack(point_target) if point_target else np.zeros((0, rows * cols))
        return {
            "ids": torch.tensor(ids),
            "labels": torch.tensor(labels),
            "weights": torch.tensor(weights),
            "branch": torch.tensor(branch),
            "positions": torch.from_numpy(np.concatenate(positions, axis=1)),
            "point_at": point_at,
            "point_target": torch.from_numpy(target.astype(np.float32)),
            "mask_at": mask_at,
            "instances": instances,
        }

    def _branch(self, question: Expression, boxes: dict) -> tuple[list[int], list[int], list, list]:
        """Tokens, next-token labels, positions that point at an object, positions of mask tokens."""
        entries: list[prompts.Entry] = []
        items: list[int] = []
        for phrase, targets in question.phrases:
            ordered = sorted(targets, key=lambda i: boxes[i][0] + boxes[i][2])
            items += ordered
            entries += [prompts.Entry(phrase, quantised(boxes[i])) for i in ordered] or [prompts.Entry(phrase, None)]
        ask = self.tokens(prompts.conversation_tail(question.text))
        answer = [*self.tokens(prompts.write_answer(entries)), self.tokenizer.eos_token_id]
        tokens = ask + answer
        labels = [IGNORE] * (len(ask) - 1) + answer + [IGNORE]
        pointing, masks, current, inside = [], [], iter(items), False
        item = 0  # no object has this id
        for place in range(len(ask), len(tokens)):
            if tokens[place] == self.box_key:
                item, inside = next(current), True
            if tokens[place] == self.box_end:
                inside = False
            if inside:
                pointing.append((place, item))
            if tokens[place] == self.mask_token:
                masks.append((place, item))
        return tokens, labels, pointing, masks

    def _weight(self, label: int) -> float:
        if label in self.decisions and label not in self.digits:
            return WEIGHT_DECISION
        return WEIGHT_DIGIT if label in self.digits else WEIGHT_OTHER


def quantised(box: np.ndarray) -> tuple[int, int, int, int]:
    """0..1 -> the answer's grid in steps of STEP: fewer informative digits for a small model to learn."""
    x0, y0, x1, y1 = (np.clip(np.rint(box * (BINS - 1)), 0, BINS - 1) * STEP).astype(int).tolist()
    return x0, y0, max(x1, x0 + STEP), max(y1, y0 + STEP)


def branch_attention(branch_BL: Tensor) -> Tensor:
    """Causal, and a question sees the prefix (-1) and its own branch only: bool (B, 1, L, L)."""
    length = branch_BL.shape[1]
    causal = torch.ones(length, length, dtype=torch.bool).tril()
    query, key = branch_BL[:, :, None], branch_BL[:, None, :]
    allowed = ((key == -1) | (query == key)) & causal
    return allowed[:, None]


def _word_forms(item: ObjectRecord) -> list[str]:
    """Each describing word at the start of a text and after a space: two tokens of one meaning."""
    words = {w for text in (item.name, item.colour, item.category, *item.aliases) for w in text.replace(",", " ").split()}
    return [form for word in words - {"and", "of", "with", "a"} for form in (word, f" {word}")]


def _share(mask: np.ndarray, unit: int) -> np.ndarray:
    """bool (H, W) -> float32 (H/unit, W/unit), share of each cell."""
    rows, cols = mask.shape[0] // unit, mask.shape[1] // unit
    return mask.reshape(rows, unit, cols, unit).mean((1, 3), dtype=np.float32)


def _padded(values: Tensor, length: int, fill: float) -> Tensor:
    return torch.nn.functional.pad(values, (0, length - values.shape[-1]), value=fill)


def _indexed(pictures: list[dict], key: str) -> Tensor:
    pairs = [(number, place) for number, picture in enumerate(pictures) for place in picture[key]]
    return torch.tensor(pairs, dtype=torch.long).reshape(-1, 2)
