"""Truth of simulated scenes in a JSON file beside their bag: which object every pixel belongs to, and where the objects stand."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from qwen_seg_ros.errors import InvalidInputError
from qwen_seg_ros.frame import Frame
from qwen_seg_ros.geometry.arrays import MaskImage
from qwen_seg_ros.geometry.mask import decode_rle, encode_rle
from qwen_seg_ros.offline.bags.topics import OPTICAL_FRAME
from qwen_seg_ros.offline.bags.writer import write_bag
from qwen_seg_ros.offline.sim.noise import noisy_depth
from qwen_seg_ros.offline.sim.scene import ObjectRecord, SimScene

FILE_NAME = "truth.json"
FIRST_STAMP_NS, GAP_NS = 1_750_000_000 * 10**9, 2 * 10**9


@dataclass(frozen=True, eq=False)
class SceneTruth:
    """One recorded scene. masks: whole-image bool (H, W) of the visible pixels, by object id."""

    seed: int
    stamp_ns: int
    objects: tuple[ObjectRecord, ...]
    masks: dict[int, MaskImage]


def record(folder: Path, scenes: Sequence[SimScene], noise: bool = False) -> Path:
    """Write a bag with one frame a scene (every two seconds) and its truth.

    noise: the depth of a stereo camera instead of exact depth.
    """
    frames = [recorded_frame(scene, FIRST_STAMP_NS + n * GAP_NS, noise) for n, scene in enumerate(scenes)]
    write_bag(folder, frames)
    truths = [_to_json(scene, frame.stamp_ns) for scene, frame in zip(scenes, frames, strict=True)]
    (Path(folder) / FILE_NAME).write_text(json.dumps({"scenes": truths}) + "\n")
    return Path(folder)


def load_truth(folder: Path) -> list[SceneTruth]:
    """Raises InvalidInputError when the bag has no truth beside it."""
    path = Path(folder) / FILE_NAME
    if not path.exists():
        raise InvalidInputError(f"{path} is missing; only bags made by qwen-seg simulate have a truth")
    return [_from_json(item) for item in json.loads(path.read_text())["scenes"]]


def recorded_frame(scene: SimScene, stamp_ns: int, noise: bool) -> Frame:
    """A scene as `record` writes it."""
    depth = noisy_depth(scene.depth_m, scene.seed) if noise else scene.depth_m
    return Frame(scene.rgb, depth, scene.camera, scene.base_from_camera, OPTICAL_FRAME, stamp_ns)


def _to_json(scene: SimScene, stamp_ns: int) -> dict:
    height, width = scene.ids.shape
    masks = {str(o.id): encode_rle(scene.ids == o.id) for o in scene.objects}
    return {
        "seed": scene.seed,
        "stamp_ns": stamp_ns,
        "height": height,
        "width": width,
        "objects": [o.to_dict() for o in scene.objects],
        "masks": masks,
    }


def _from_json(item: dict) -> SceneTruth:
    masks = {int(number): decode_rle(counts, item["height"], item["width"]) for number, counts in item["masks"].items()}
    return SceneTruth(item["seed"], item["stamp_ns"], tuple(ObjectRecord.from_dict(o) for o in item["objects"]), masks)
