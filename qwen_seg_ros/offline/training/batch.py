"""Samples -> tensors. All questions of a picture share one sequence: every question sees the picture and itself only.

Sequence of one picture: prefix (chat head, image tokens), then per question its text and answer; positions restart after
the image, so each branch looks exactly as it does at inference.

Shapes: B pictures, L sequence, M image tokens (rows x cols), n answer tokens that point, N instances with a mask,
h x w mask cells.
"""

from dataclasses import dataclass, fields, replace

import cv2
import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from qwen_seg_ros.errors import InvalidInputError
from qwen_seg_ros.geometry.mask import CroppedMask
from qwen_seg_ros.model import prompts
from qwen_seg_ros.model.processing import ImageProcessor
from qwen_seg_ros.offline.data.expressions import Expression
from qwen_seg_ros.offline.data.plain_questions import PlainQuestion
from qwen_seg_ros.offline.data.samples import Sample, resized_mask
from qwen_seg_ros.offline.sim.scene import ObjectRecord
from qwen_seg_ros.offline.training.answers import AnswerWriter

BINS = 101  # box corners as classes, for the helper loss
IGNORE = -100
WEIGHT_DECISION, WEIGHT_DIGIT, WEIGHT_OTHER = 3.0, 1.0, 0.3
GREY = 128  # of the padding


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
    """Turns samples into a Batch; holds the tokenizer and the model's image geometry.

    helpers: also truth for the helper losses, and emphasis on the tokens that decide; both need the embedded tokenizer, whose
    fixed pieces of an answer are single tokens. picture: (height, width) to pad pictures to, None = all of one size already.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        processor: ImageProcessor,
        mask_stride: int,
        writer: AnswerWriter,
        helpers: bool = False,
        picture: tuple[int, int] | None = None,
    ) -> None:
        self.tokenizer, self.processor, self.mask_stride, self.writer = tokenizer, processor, mask_stride, writer
        self.picture, self.helpers = picture, helpers
        self.known_names: dict[tuple, list[int]] = {}
        ids = tokenizer.convert_tokens_to_ids
        self.image_token, self.mask_token, self.background = ids("<|image_pad|>"), ids(prompts.MASK_TOKEN), tokenizer.pad_token_id
        known = tokenizer.get_added_vocab()
        if helpers and prompts.BOX_KEY not in known:
            raise InvalidInputError(
                "the helper losses need the embedded model's tokenizer; set losses words, corners, pointing to 0"
            )
        self.digits = {known[c] for c in "0123456789," if c in known}
        self.decisions = {known[t] for t in (prompts.BOX_KEY, prompts.LABEL_KEY, "]") if t in known}
        self.box_key, self.box_end = known.get(prompts.BOX_KEY), known.get(prompts.LABEL_KEY_AFTER_BOX)

    def tokens(self, text: str) -> list[int]:
        return self.tokenizer(text, add_special_tokens=False).input_ids

    def __call__(self, samples: list[Sample]) -> Batch:
        if self.picture:
            samples = [padded(sample, *self.picture) for sample in samples]
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
        canvas = self.processor.canvas(*sample.ids.shape)
        if canvas != sample.ids.shape:
            sample = padded(sample, *canvas, sample.rgb.mean((0, 1)))
        rgb = self.processor.resize(sample.rgb)
        height, width = rgb.shape[:2]
        unit = self.processor.token_px
        masks = {o.id: resized_mask(sample.mask(o.id), height, width) for o in sample.objects}
        cover = {i: _share(mask, unit) for i, mask in masks.items()}
        scale = np.array([sample.ids.shape[1], sample.ids.shape[0]] * 2, np.float32)
        boxes = {o.id: np.asarray(o.box_px, np.float32) / scale for o in sample.objects}
        out = {"rgb": rgb, **self._cells(sample, cover, boxes, (height // unit) * (width // unit))}
        out.update(self._sequence(sample, cover, boxes, height // unit, width // unit))
        chosen = out.pop("instances")
        cells = np.zeros((0, height // self.mask_stride, width // self.mask_stride), np.float32)
        out["masks"] = torch.from_numpy(np.stack([_share(masks[i], self.mask_stride) for i in chosen]) if chosen else cells)
        out["boxes"] = torch.from_numpy(np.stack([boxes[i] for i in chosen]) if chosen else np.zeros((0, 4), np.float32))
        return out

    def _cells(self, sample: Sample, cover: dict, boxes: dict, cells: int) -> dict:
        """Which object covers each image token, as words and as its box; a stand-in where no helper loss asks for it."""
        if not self.helpers or not sample.objects:
            nothing = torch.full((cells, 1), self.background)
            return {"words": nothing, "cell_box": torch.full((cells, 4), torch.nan)}
        names = [self._names(o) for o in sample.objects]
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

    def _names(self, item: ObjectRecord) -> list[int]:
        """Tokens of the words that describe an object."""
        about = (item.name, item.colour, item.category, item.aliases)
        if about not in self.known_names:
            self.known_names[about] = sorted({t for form in _word_forms(item) for t in self.tokens(form)})
        return self.known_names[about]

    def _sequence(self, sample: Sample, cover: dict, boxes: dict, rows: int, cols: int) -> dict:
        head, tail = prompts.IMAGE_PREFIX.split("{image}")
        prefix = [
            *self.tokens(head),
            *[self.image_token] * (rows * cols),
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
            tokens, targets, pointing, masks = self._branch(question, sample, boxes)
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

    def _branch(
        self, question: Expression | PlainQuestion, sample: Sample, boxes: dict
    ) -> tuple[list[int], list[int], list, list]:
        """Tokens, next-token labels, positions that point at an object, positions of mask tokens."""
        written = self.writer(question, sample, boxes)
        ask = self.tokens(written.question + prompts.ANSWER_PREFIX)
        answer = [*self.tokens(written.answer), self.tokenizer.eos_token_id]
        tokens = ask + answer
        labels = [IGNORE] * (len(ask) - 1) + answer + [IGNORE]
        masks = [n for n in range(len(ask), len(tokens)) if tokens[n] == self.mask_token]
        pointing = self._pointing(tokens, len(ask), written.items) if self.helpers else []
        return tokens, labels, pointing, list(zip(masks, written.items, strict=bool(masks)))

    def _pointing(self, tokens: list[int], start: int, items: tuple[int, ...]) -> list[tuple[int, int]]:
        """Positions at which a box is written, with its object."""
        out, current, inside = [], iter(items), False
        item = 0  # no object has this id
        for place in range(start, len(tokens)):
            if tokens[place] == self.box_key:
                item, inside = next(current), True
            if tokens[place] == self.box_end:
                inside = False
            if inside:
                out.append((place, item))
        return out

    def _weight(self, label: int) -> float:
        """All tokens alike, unless the tokenizer lets the deciding ones be told."""
        if not self.decisions:
            return 1.0
        if label in self.decisions:
            return WEIGHT_DECISION
        return WEIGHT_DIGIT if label in self.digits else WEIGHT_OTHER


def padded(sample: Sample, height: int, width: int, border: ArrayLike = GREY) -> Sample:
    """The picture shrunk, if it must be, and put in the upper left corner of a plain one; masks and boxes go with it."""
    scale = min(1.0, height / sample.rgb.shape[0], width / sample.rgb.shape[1])
    size = tuple(max(1, round(v * scale)) for v in sample.rgb.shape[:2])
    rgb = np.empty((height, width, 3), np.uint8)
    rgb[:] = np.asarray(border).astype(np.uint8)
    rgb[: size[0], : size[1]] = cv2.resize(sample.rgb, size[::-1], interpolation=cv2.INTER_AREA)
    ids = np.zeros((height, width), np.uint8)
    ids[: size[0], : size[1]] = cv2.resize(sample.ids, size[::-1], interpolation=cv2.INTER_NEAREST)
    objects = tuple(replace(o, box_px=tuple(round(v * scale) for v in o.box_px)) for o in sample.objects)
    layers = None
    if sample.layers is not None:
        layers = {i: CroppedMask.from_full(_placed(m.full(), size, height, width)) for i, m in sample.layers.items()}
    return Sample(rgb, ids, objects, sample.questions, layers)


def _placed(mask: np.ndarray, size: tuple[int, ...], height: int, width: int) -> np.ndarray:
    out = np.zeros((height, width), bool)
    out[: size[0], : size[1]] = resized_mask(mask, *size[:2])
    return out


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
