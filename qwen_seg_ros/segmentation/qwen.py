"""The predictor around the network: Frame and Instruction in, SegmentationResult out."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from qwen_seg_ros.errors import OutOfMemoryError, StoppedError
from qwen_seg_ros.frame import Frame
from qwen_seg_ros.geometry.arrays import BoxPx, MaskImage
from qwen_seg_ros.geometry.box import GRID, grid_to_pixels, grown
from qwen_seg_ros.geometry.mask import CroppedMask
from qwen_seg_ros.geometry.region import Region
from qwen_seg_ros.model import checkpoint
from qwen_seg_ros.model.engine import Answer, EncodedImage, Engine
from qwen_seg_ros.model.processing import ImageProcessor
from qwen_seg_ros.model.text_masks import text_mask_in_image
from qwen_seg_ros.segmentation.answer import AnswerEntry, ParsedAnswer, parse_answer
from qwen_seg_ros.segmentation.box_masks import BoxMask, masks_in_boxes
from qwen_seg_ros.segmentation.closer_look import part_with_things
from qwen_seg_ros.segmentation.instruction import Instruction
from qwen_seg_ros.segmentation.result import Instance, Outcome, SegmentationResult
from qwen_seg_ros.segmentation.segmenter import Stop, never
from qwen_seg_ros.segmentation.settings import SegmentationSettings

BOX_MARGIN = 0.3  # a mask may leave its box by this share of the box's size in all; what lies further out is noise
TEXT_CONFIDENCE = 0.5  # of a mask written as text: no quality is predicted with it
MASKS_FROM = {
    "boxes": "from boxes and depth",
    "mask_token": "from mask tokens",
    "text4seg": "written as text, whole image",
    "text4seg++": "written as text, box by box",
}
HOW_MADE = {  # said of masks that no decoder made
    "depth": "masks made from depth",
    "colour": "masks made from colour alone, for want of depth: expect rough edges",
    "box": "the box itself stands in for a mask: neither depth nor colour parted the object from what is around it",
}
CPU_IS_FULL = "DefaultCPUAllocator: can't allocate memory"  # what torch says of it
OPENCV_NO_MEMORY = -4  # its error code StsNoMem
LOOKED_CLOSER = "looked only where things stand on the table; look_closer: false looks at the whole picture"
LESS_MEMORY = "for want of memory the model saw the picture with half of the pixels only, and may have missed small things"
SMALL_MODEL = 200_000_000  # parameters up to which float32 is quick enough on a CPU


@dataclass(frozen=True, eq=False)
class EncodedFrame:
    """A frame as the network remembers it, and the frame itself for masks made from its depth.

    region: the part of the picture that the network saw; its boxes and masks are those of this part. reduced: with half of the
    pixels, for want of memory.
    """

    image: EncodedImage
    frame: Frame
    region: Region
    reduced: bool = False


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
        model, tokenizer, processor = checkpoint.load(settings.checkpoint, "auto")
        self.dtype = _dtype(settings.dtype, self.device, sum(p.numel() for p in model.parameters()))
        if not settings.num_threads and self.device.type == "cpu" and self.dtype == torch.float32:
            torch.set_num_threads(max(1, (os.cpu_count() or 2) // 2))  # a small network: more threads mostly wait for each other
        with _memory_guard():
            self.engine = Engine(model.to(self.device, self.dtype), tokenizer, processor)

    def encode(self, frame: Frame) -> EncodedFrame:
        """Where memory does not suffice, once more with half of the pixels."""
        region = self._region(frame)
        try:
            with _memory_guard():
                return EncodedFrame(self.engine.encode(frame.rgb[region.rows_cols]), frame, region)
        except OutOfMemoryError:
            if self._halved(region) is None:
                raise
        return self._encode_with_less(frame, region)  # not in the handler: the error keeps alive what did not fit

    def segment(self, encoded: EncodedFrame, instruction: Instruction, stop: Stop = never) -> SegmentationResult:
        """Where memory does not suffice, once more on half of the pixels."""
        try:
            return self._segment(encoded, instruction, stop)
        except OutOfMemoryError:
            if encoded.reduced or self._halved(encoded.region) is None:
                raise
        return self._segment(self._encode_with_less(encoded.frame, encoded.region), instruction, stop)

    def _halved(self, region: Region) -> ImageProcessor | None:
        return self.engine.processor.halved(*region.shape)

    def _encode_with_less(self, frame: Frame, region: Region) -> EncodedFrame:
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        with _memory_guard():
            image = self.engine.encode(frame.rgb[region.rows_cols], self._halved(region))
        return EncodedFrame(image, frame, region, reduced=True)

    def _segment(self, encoded: EncodedFrame, instruction: Instruction, stop: Stop) -> SegmentationResult:
        began = time.perf_counter()
        with _memory_guard():
            answer = self.engine.answer(encoded.image, instruction.text, self.settings.max_new_tokens, self._reject_bias(), stop)
            generated = time.perf_counter()
            if stop():
                raise StoppedError("before masks")
            parsed = parse_answer(answer.text, instruction.text, self.settings.max_instances)
            found = self._found(encoded, answer, parsed.entries)
        ended = time.perf_counter()
        return SegmentationResult(
            instruction.text,
            parsed.outcome,
            _instances(found),
            parsed.absent,
            answer.text,
            _message(parsed, answer, found, encoded),
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
        share = f"{decoder / 1e6:.1f} M ({decoder / total:.1%})" if decoder else "none"
        used = {"GPU memory": f"{torch.cuda.memory_allocated(self.device) / 2**20:.0f} MiB"} if self.device.type == "cuda" else {}
        return {
            "checkpoint": self.settings.checkpoint,
            "device": str(self.device),
            "dtype": str(self.dtype).removeprefix("torch."),
            "parameters": f"{total / 1e6:.1f} M",
            "mask decoder": share,
            "masks": MASKS_FROM[model.config.answers],
            **used,
        }

    def _region(self, frame: Frame) -> Region:
        if not self.settings.look_closer:
            return Region(0, 0, frame.width, frame.height)
        return part_with_things(frame, self.engine.processor.canvas(frame.height, frame.width))

    def _reject_bias(self) -> float:
        """Log-odds shift that makes the model reject where its probability of "absent" exceeds the threshold."""
        threshold = min(max(self.settings.rejection_threshold, 1e-6), 1 - 1e-6)
        return float(-np.log(threshold / (1 - threshold)))

    def _found(self, encoded: EncodedFrame, answer: Answer, entries: tuple[AnswerEntry, ...]) -> list["_Found"]:
        """Every entry with a mask: the decoder's, the one the model wrote as text, or one made from depth or colour."""
        boxes = [_in_picture(np.array(entry.box_grid), encoded) for entry in entries]
        masks: dict[int, BoxMask] = {}
        with_token = [n for n, e in enumerate(entries) if e.mask_index is not None and e.mask_index < len(answer.mask_states)]
        if encoded.image.pixels is not None and with_token:
            masks |= self._decoded(encoded, answer, entries, boxes, with_token)
        masks |= {n: _written(e.mask_text, e, boxes[n], encoded) for n, e in enumerate(entries) if e.mask_text is not None}
        masks = {n: mask for n, mask in masks.items() if mask.mask.area_px}
        left = [n for n in range(len(entries)) if n not in masks]
        if left:
            masks |= dict(zip(left, masks_in_boxes(encoded.frame, np.stack([boxes[n] for n in left])), strict=True))
        return [_Found(e.phrase, boxes[n], masks[n], answer.score(e.span)) for n, e in enumerate(entries)]

    def _decoded(
        self, encoded: EncodedFrame, answer: Answer, entries: tuple[AnswerEntry, ...], boxes: list[BoxPx], chosen: list[int]
    ) -> dict[int, BoxMask]:
        """Masks of the entries with a mask token, by number; what lies far outside the box is cut off."""
        normalised = torch.tensor([entries[n].box_grid for n in chosen], dtype=torch.float32) / GRID
        states = answer.mask_states[[entries[n].mask_index for n in chosen]]
        logits, iou = self.engine.masks(encoded.image, normalised, states)
        inside = (logits > 0).cpu().numpy()
        return {
            n: BoxMask(_cut(mask, grown(boxes[n], BOX_MARGIN), encoded), float(score), "decoder")
            for n, mask, score in zip(chosen, inside, iou, strict=True)
        }


@dataclass(frozen=True, eq=False)
class _Found:
    phrase: str
    box_px: BoxPx
    mask: BoxMask
    score: float

    @property
    def instance(self) -> Instance:
        return Instance(self.phrase, self.box_px, self.mask.mask, self.score, self.mask.confidence)


def _instances(found: list[_Found]) -> tuple[Instance, ...]:
    """Best first."""
    return tuple(sorted((f.instance for f in found), key=lambda i: -i.score * (0.5 + 0.5 * i.mask_score)))


def _cut(mask: MaskImage, box: BoxPx, encoded: EncodedFrame) -> CroppedMask:
    """The piece inside the box of a mask of the part that the network saw."""
    region, frame = encoded.region, encoded.frame
    inside = Region.of_box(np.rint(box), frame.width, frame.height).within(region)
    x0, y0 = max(inside.x0, 0), max(inside.y0, 0)
    piece = mask[y0 : max(inside.y1, 0), x0 : max(inside.x1, 0)]
    return CroppedMask.from_part(piece, region.x0 + x0, region.y0 + y0, frame.height, frame.width)


def _in_picture(box_grid: NDArray, encoded: EncodedFrame) -> BoxPx:
    """A box as the network wrote it, in pixels of the picture; without what lies in a border around what the network saw."""
    corner, end = np.split(encoded.region.box.astype(np.float32), 2)
    box = grid_to_pixels(box_grid, *encoded.image.canvas[::-1]) + np.tile(corner, 2)
    return np.minimum(box, np.tile(end, 2))


def _written(text: str, entry: AnswerEntry, box: BoxPx, encoded: EncodedFrame) -> BoxMask:
    """The mask that the model wrote as text."""
    region, frame, image = encoded.region, encoded.frame, encoded.image
    box = box - np.tile(region.box[:2], 2).astype(np.float32)
    mask = text_mask_in_image(text, box, *image.canvas, entry.phrase)[: image.height, : image.width]
    return BoxMask(CroppedMask.from_part(mask, region.x0, region.y0, frame.height, frame.width), TEXT_CONFIDENCE, "text")


def _message(parsed: ParsedAnswer, answer: Answer, found: list[_Found], encoded: EncodedFrame) -> str:
    parts = list(parsed.notes)
    if answer.truncated:
        parts.append("the answer was cut off at max_new_tokens")
    if parsed.outcome is Outcome.NOT_FOUND:
        parts.insert(0, "not in the image: " + ", ".join(parsed.absent))
        if encoded.image.width < encoded.frame.width:
            parts.append(LOOKED_CLOSER)
    if encoded.reduced:
        parts.append(LESS_MEMORY)
    parts += [HOW_MADE[method] for method in sorted({f.mask.method for f in found} & set(HOW_MADE))]
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
    """Raises OutOfMemoryError in place of what the libraries raise when memory does not suffice."""
    try:
        yield
    except (RuntimeError, MemoryError, cv2.error) as error:
        if not _of_memory(error):
            raise
        first_line = str(error).partition("\n")[0]
        raise OutOfMemoryError(
            f"the device ran out of memory: {first_line}; use a smaller image, a smaller model or another device"
        ) from error


def _of_memory(error: Exception) -> bool:
    """torch has an error of its own for a GPU only."""
    if isinstance(error, cv2.error):
        return getattr(error, "code", None) == OPENCV_NO_MEMORY
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or CPU_IS_FULL in str(error)
