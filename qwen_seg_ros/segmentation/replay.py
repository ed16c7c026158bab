"""A segmenter that gives stored answers: launch tests and demos without a network.

A folder of answers holds `answers.json`:
    {"the red mug": {"answer": "...", "absent": [], "instances": [
        {"phrase": "red mug", "box_px": [x0, y0, x1, y1], "score": 0.9, "mask_score": 0.8,
         "mask": {"height": 480, "width": 640, "counts": [...]}}]}}      (COCO's uncompressed run lengths, column-major)
"""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from qwen_seg_ros.errors import CheckpointError, InvalidInputError
from qwen_seg_ros.frame import Frame
from qwen_seg_ros.geometry.mask import CroppedMask, decode_rle, encode_rle
from qwen_seg_ros.segmentation.instruction import Instruction
from qwen_seg_ros.segmentation.result import Instance, Outcome, SegmentationResult
from qwen_seg_ros.segmentation.segmenter import Stop, never
from qwen_seg_ros.segmentation.settings import SegmentationSettings

FILE_NAME = "answers.json"


class ReplaySegmenter:
    """answers: instruction (upper and lower case alike) -> result; any other instruction is NOT_FOUND."""

    def __init__(self, answers: Mapping[str, SegmentationResult], max_instances: int = 100) -> None:
        self._answers = {text.casefold(): answer for text, answer in answers.items()}
        self._max_instances = max_instances

    def encode(self, frame: Frame) -> tuple[int, int]:
        return frame.height, frame.width

    def segment(self, encoded: tuple[int, int], instruction: Instruction, stop: Stop = never) -> SegmentationResult:
        """Raises InvalidInputError when the stored masks are for another image size."""
        answer = self._answers.get(instruction.text.casefold())
        if answer is None:
            return SegmentationResult(instruction.text, Outcome.NOT_FOUND, absent=(instruction.text,))
        for instance in answer.instances:
            stored = (instance.mask.height, instance.mask.width)
            if stored != encoded:
                raise InvalidInputError(f"stored answers are for {stored[1]}x{stored[0]} images, got {encoded[1]}x{encoded[0]}")
        return replace(answer, instruction=instruction.text, instances=answer.instances[: self._max_instances])

    def with_settings(self, settings: SegmentationSettings) -> "ReplaySegmenter":
        return ReplaySegmenter(self._answers, settings.max_instances)

    def info(self) -> dict[str, str]:
        return {"segmenter": "replay", "answers": str(len(self._answers))}


def from_settings(settings: SegmentationSettings) -> ReplaySegmenter:
    """`settings.checkpoint` is the folder of answers."""
    return ReplaySegmenter(load_answers(Path(settings.checkpoint)), settings.max_instances)


def save_answers(folder: Path, answers: Mapping[str, SegmentationResult]) -> Path:
    """Write `answers.json` for `load_answers`; returns its path."""
    path = Path(folder) / FILE_NAME
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({text: _to_json(answer) for text, answer in answers.items()}))
    return path


def load_answers(folder: Path) -> dict[str, SegmentationResult]:
    """Inverse of `save_answers`.

    Raises:
        CheckpointError: naming the file and what is wrong with it.
    """
    path = Path(folder) / FILE_NAME
    try:
        stored = json.loads(path.read_text())
        return {text: _from_json(text, answer) for text, answer in stored.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise CheckpointError(f"{path} cannot be replayed ({reason}); save_answers writes such files") from error


def _to_json(result: SegmentationResult) -> dict:
    instances = [
        {
            "phrase": i.phrase,
            "box_px": i.box_px.tolist(),
            "score": i.score,
            "mask_score": i.mask_score,
            "mask": {"height": i.mask.height, "width": i.mask.width, "counts": encode_rle(i.mask.full())},
        }
        for i in result.instances
    ]
    return {"outcome": result.outcome.value, "answer": result.answer, "absent": list(result.absent), "instances": instances}


def _from_json(text: str, stored: dict) -> SegmentationResult:
    instances = tuple(_instance(item) for item in stored.get("instances", ()))
    outcome = Outcome(stored["outcome"]) if "outcome" in stored else (Outcome.FOUND if instances else Outcome.NOT_FOUND)
    return SegmentationResult(text, outcome, instances, tuple(stored.get("absent", ())), stored.get("answer", ""))


def _instance(item: dict) -> Instance:
    mask = CroppedMask.from_full(decode_rle(item["mask"]["counts"], item["mask"]["height"], item["mask"]["width"]))
    box = np.asarray(item.get("box_px", mask.box_px), np.float32).reshape(4)
    return Instance(str(item["phrase"]), box, mask, float(item.get("score", 1.0)), float(item.get("mask_score", 1.0)))
