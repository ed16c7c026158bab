"""Small recordings for the tests of `qwen-seg replay`: one ray-cast scene seen again and again, and stored answers about it."""

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
from synthetic import synthetic_scene

from qwen_seg_ros.frame import Frame
from qwen_seg_ros.geometry.mask import CroppedMask
from qwen_seg_ros.offline.bags.writer import write_bag
from qwen_seg_ros.pipeline import Pipeline
from qwen_seg_ros.segmentation.replay import ReplaySegmenter
from qwen_seg_ros.segmentation.result import Instance, Outcome, SegmentationResult
from qwen_seg_ros.settings import Settings

BEGIN_NS = 1_700_000_000 * 10**9
GAP_NS = 100_000_000


@cache
def scene() -> tuple[Frame, dict[str, SegmentationResult]]:
    """A 160x120 view of a box and a ball, and the answers to "the box" and "both"."""
    frame, masks, _ = synthetic_scene(3, ["box", "ball"], width=160, height=120)
    found = [
        Instance(name, m.box_px, m, 0.9, 0.8) for name, m in zip(("box", "ball"), map(CroppedMask.from_full, masks), strict=True)
    ]
    answers = {words: SegmentationResult(words, Outcome.FOUND, tuple(found[:n])) for words, n in (("the box", 1), ("both", 2))}
    return replace(frame, frame_id="camera"), answers


def frames(count: int) -> list[Frame]:
    """The scene every tenth of a second; a mark of its number in the first pixel keeps the pictures apart."""
    made = []
    for number in range(count):
        rgb = scene()[0].rgb.copy()
        rgb[0, 0] = number
        made.append(replace(scene()[0], rgb=rgb, stamp_ns=BEGIN_NS + number * GAP_NS))
    return made


def recording(folder: Path, count: int = 4) -> Path:
    return write_bag(folder, frames(count))


def pipeline() -> Pipeline:
    """With stored answers in place of a network."""
    return Pipeline(Settings(), ReplaySegmenter(scene()[1]))


def depth_png(metres: np.ndarray) -> np.ndarray:
    return np.rint(np.nan_to_num(metres) * 1000).astype(np.uint16)
