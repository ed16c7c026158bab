"""The predictor around the network: Frame and Instruction in, SegmentationResult out."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy

import numpy as np
import torch

from qwen_seg_ros.errors import OutOfMemoryError
from qwen_seg_ros.frame import Frame
from qwen_seg_ros.geometry.arrays import BoxPx, MaskImage
from qwen_seg_ros.geometry.box import GRID, grid_to_pixels, grown
from qwen_seg_ros.geometry.mask import CroppedMask
from qwen_seg_ros.model import checkpoint
from qwen_seg_ros.model.engine import Answer, EncodedImage, Engine
from qwen_seg_ros.segmentation.answer import AnswerEntry, ParsedAnswer, parse_answer
from qwen_seg_ros.segmentation.instruction import Instruction
from qwen_seg_ros.segmentation.result import Instance, Outcome, SegmentationResult
from qwen_seg_ros.segmentation.settings import SegmentationSettings

BOX_MARGIN = 0.3  # a mask may leave its box by this share of the box's size in all; what lies further out is noise
SMALL_MODEL = 200_000_000  # parameters up to which float32 is quick enough on a CPU


class QwenSegmenter:
    """Qwen3-VL-Seg behind the `Segmenter` protocol; safe to call from several threads.

    Raises:
        CheckpointError: naming the file that is missing or damaged.
    """

    def __init__(self, settings: SegmentationSettings) -> None:
        if settings.num_threads:
            torch.set_num_threads(settings.num_threads)
        self.settings = settings
        self.device = _device(settings.device)
        model, tokenizer, processor = checkpoint.load(settings.checkpoint)
        self.dtype = _dtype(settings.dtype, self.device, sum(p.numel() for p in model.parameters()))
        with _memory_guard():
            self.engine = Engine(model.to(self.device, self.dtype), tokenizer, processor)

    def encode(self, frame: Frame) -> EncodedImage:
        with _memory_guard():
            return self.engine.encode(frame.rgb)

    def segment(self, encoded: EncodedImage, instruction: Instruction) -> SegmentationResult:
        began = time.perf_counter()
        with _memory_guard():
            answer = self.engine.answer(encoded, instruction.text, self.settings.max_new_tokens, self._reject_bias())
            generated = time.perf_counter()
            parsed = parse_answer(answer.text, instruction.text, self.settings.max_instances)
            instances = self._instances(encoded, answer, parsed.entries)
        ended = time.perf_counter()
        return SegmentationResult(
            instruction.text,
            parsed.outcome,
            instances,
            parsed.absent,
            answer.text,
            _message(parsed, answer),
            {"generate": (generated - began) * 1e3, "masks": (ended - generated) * 1e3},
        )

    def with_settings(self, settings: SegmentationSettings) -> "QwenSegmenter":
        other = copy(self)
        other.settings = settings
        return other

    def info(self) -> dict[str, str]:
        model = self.engine.model
        total = sum(p.numel() for p in model.parameters())
        decoder = sum(p.numel() for p in model.mask_decoder.parameters()) if model.mask_decoder is not None else 0
        return {
            "checkpoint": self.settings.checkpoint,
            "device": str(self.device),
            "dtype": str(self.dtype).removeprefix("torch."),
            "parameters": f"{total / 1e6:.1f} M",
            "mask decoder": f"{decoder / 1e6:.1f} M ({decoder / total:.1%})",
        }

    def _reject_bias(self) -> float:
        """Log-odds shift that makes the model reject where its probability of "absent" exceeds the threshold."""
        threshold = min(max(self.settings.rejection_threshold, 1e-6), 1 - 1e-6)
        return float(-np.log(threshold / (1 - threshold)))

    def _instances(self, encoded: EncodedImage, answer: Answer, entries: tuple[AnswerEntry, ...]) -> tuple[Instance, ...]:
        if not entries:
            return ()
        boxes = np.stack([grid_to_pixels(np.array(e.box_grid), encoded.width, encoded.height) for e in entries])
        masks, mask_scores = self._masks(encoded, answer, entries, boxes)
        scores = [answer.present_probability[e.place] if e.place < len(answer.present_probability) else 0.0 for e in entries]
        out = [
            Instance(e.phrase, box, CroppedMask.from_full(mask), float(score), float(mask_score))
            for e, box, mask, score, mask_score in zip(entries, boxes, masks, scores, mask_scores, strict=True)
        ]
        return tuple(sorted(out, key=lambda i: -i.score * (0.5 + 0.5 * i.mask_score)))

    def _masks(
        self, encoded: EncodedImage, answer: Answer, entries: tuple[AnswerEntry, ...], boxes: np.ndarray
    ) -> tuple[list[MaskImage], list[float]]:
        """A mask for every entry; the filled box, with mask score 0, where the model wrote no mask token or has no decoder."""
        masks = [_box_mask(box, encoded.height, encoded.width) for box in boxes]
        scores = [0.0] * len(entries)
        able = [n for n, e in enumerate(entries) if e.mask_index is not None and e.mask_index < len(answer.mask_states)]
        if not able or encoded.pixels is None:
            return masks, scores
        normalised = torch.tensor([entries[n].box_grid for n in able], dtype=torch.float32) / GRID
        states = answer.mask_states[[entries[n].mask_index for n in able]]
        logits, iou = self.engine.masks(encoded, normalised, states)
        for row, n in enumerate(able):
            near = _box_mask(grown(boxes[n], BOX_MARGIN), encoded.height, encoded.width)
            mask = (logits[row] > 0).cpu().numpy() & near
            if mask.any():
                masks[n], scores[n] = mask, float(iou[row])
        return masks, scores


def _box_mask(box: BoxPx, height: int, width: int) -> MaskImage:
    mask = np.zeros((height, width), bool)
    x0, y0, x1, y1 = np.rint(box).astype(int)
    mask[max(y0, 0) : max(y1, 0), max(x0, 0) : max(x1, 0)] = True
    return mask


def _message(parsed: ParsedAnswer, answer: Answer) -> str:
    parts = list(parsed.notes)
    if answer.truncated:
        parts.append("the answer was cut off at max_new_tokens")
    if parsed.outcome is Outcome.NOT_FOUND:
        parts.insert(0, "not in the image: " + ", ".join(parsed.absent))
    return "; ".join(parts)


def _device(name: str) -> torch.device:
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)


def _dtype(name: str, device: torch.device, parameters: int) -> torch.dtype:
    if name != "auto":
        return getattr(torch, name)
    return torch.float32 if device.type == "cpu" and parameters <= SMALL_MODEL else torch.bfloat16


@contextmanager
def _memory_guard() -> Iterator[None]:
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise OutOfMemoryError(
            f"the device ran out of memory: {error}; use a smaller image, a smaller model or another device"
        ) from error
