"""What every segmenter can do, and where to find one by name."""

from collections.abc import Callable
from importlib import import_module
from typing import Any, Protocol

from qwen_seg_ros.errors import SettingsError
from qwen_seg_ros.frame import Frame
from qwen_seg_ros.segmentation.instruction import Instruction
from qwen_seg_ros.segmentation.result import SegmentationResult
from qwen_seg_ros.segmentation.settings import SegmentationSettings

Stop = Callable[[], bool]  # asked again and again while a request is worked on; True ends it


def never() -> bool:
    """Nobody takes the request back."""
    return False


class Segmenter(Protocol):
    """No hidden state: `encode` returns a value, `segment` uses it, so two requests cannot mix."""

    def encode(self, frame: Frame) -> Any:
        """Look at a frame once; the value serves any number of instructions.

        Raises:
            InvalidInputError: the image cannot be used. OutOfMemoryError: the device is full.
        """

    def segment(self, encoded: Any, instruction: Instruction, stop: Stop = never) -> SegmentationResult:
        """Find what `instruction` names. stop: to be asked wherever the work can be broken off, at the least between two tokens
        of an answer.

        Raises:
            StoppedError: `stop` said so. Others as `encode`.
        """

    def with_settings(self, settings: SegmentationSettings) -> "Segmenter":
        """The same loaded model under other limits and thresholds; what is read-only in `settings` stays as it was."""

    def info(self) -> dict[str, str]:
        """What answers here (model, device, format), for logs and diagnostics."""


# name -> "module:factory", called with SegmentationSettings; imported only when asked for, so that nobody else waits for torch
SEGMENTERS = {
    "qwen": "qwen_seg_ros.segmentation.qwen:QwenSegmenter",
    "replay": "qwen_seg_ros.segmentation.replay:from_settings",
}


def load_segmenter(settings: SegmentationSettings) -> Segmenter:
    """The segmenter that `settings.segmenter` names.

    Raises:
        SettingsError: for an unknown name. CheckpointError: when its files are missing or damaged.
    """
    if settings.segmenter not in SEGMENTERS:
        raise SettingsError(f"segmenter must be one of {', '.join(SEGMENTERS)}, got {settings.segmenter!r}")
    module, factory = SEGMENTERS[settings.segmenter].split(":")
    return getattr(import_module(module), factory)(settings)
