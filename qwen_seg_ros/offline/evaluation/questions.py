"""What is asked: views with truth and the questions about them, always the same for the same seeds.

The only place of the evaluation that knows how views are rendered, stored and asked about.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np

from qwen_seg_ros.frame import Frame
from qwen_seg_ros.geometry.arrays import DepthImage, MaskImage, Matrix4, RgbImage
from qwen_seg_ros.geometry.camera import Camera
from qwen_seg_ros.geometry.mask import CroppedMask
from qwen_seg_ros.offline.data.expressions import KINDS, Expression, expressions
from qwen_seg_ros.offline.data.samples import evenly, list_views, load_view, pick_questions
from qwen_seg_ros.offline.evaluation.splits import FIRST_TEST_SEED, Split
from qwen_seg_ros.offline.sim.dataset import generate
from qwen_seg_ros.offline.sim.noise import noisy_colour, noisy_depth
from qwen_seg_ros.offline.sim.scene import ObjectRecord

__all__ = ["FIRST_TEST_SEED", "SINGLE_TARGET", "SplitViews", "View", "asks_for_one", "rendered", "rendered_split", "views"]
FOR_MORE = ("all", "several")
SINGLE_TARGET = tuple(kind for kind in KINDS if kind not in (*FOR_MORE, "absent"))


def asks_for_one(question: Expression) -> bool:
    """Only one object will do, so that only the first answer counts."""
    return question.kind not in FOR_MORE and len(question.target_ids) == 1


@dataclass(frozen=True, eq=False)
class View:
    """rgb uint8 (H, W, 3), ids uint8 (H, W) with 0 = no object, the objects in view and the questions about them; depth_m,
    camera and base_from_camera as in Frame. key: names the view within its split."""

    rgb: RgbImage
    ids: np.ndarray
    objects: tuple[ObjectRecord, ...]
    questions: tuple[Expression, ...]
    depth_m: DepthImage | None = None
    camera: Camera | None = None
    base_from_camera: Matrix4 | None = None
    key: str = ""

    def frame(self) -> Frame:
        """What the model is given: nothing of the truth."""
        return Frame(self.rgb, self.depth_m, self.camera, self.base_from_camera)

    def masks(self, ids: tuple[int, ...]) -> np.ndarray:
        """True masks (N, H, W)."""
        return self.ids[None] == np.array(ids, self.ids.dtype).reshape(-1, 1, 1)

    def union(self, ids: tuple[int, ...]) -> MaskImage:
        """All pixels of these objects, bool (H, W)."""
        wanted = np.zeros(256, bool)
        wanted[list(ids)] = True
        return wanted[self.ids]

    def crop(self, number: int) -> CroppedMask:
        """True mask of one object."""
        return self._crops[number]

    @cached_property
    def _crops(self) -> dict[int, CroppedMask]:
        return {o.id: CroppedMask.from_full(self.ids == o.id) for o in self.objects}

    def boxes(self, ids: tuple[int, ...]) -> np.ndarray:
        """True boxes (N, 4) in pixels."""
        by_id = {o.id: o.box_px for o in self.objects}
        return np.array([by_id[i] for i in ids], np.float32).reshape(-1, 4)


def rendered(cache: Path, first_seed: int, scenes: int, size: tuple[int, int]) -> Path:
    """A folder of `scenes` rendered views, one an arrangement; rendered when it is not there yet."""
    folder = cache / f"{first_seed}_{scenes}_{size[0]}x{size[1]}"
    generate(folder, first_seed, scenes, views=1, size=size)
    return folder


def views(folder: Path, questions: int, limit: int | None = None) -> Iterator[View]:
    """The first `limit` views of a folder of shards with up to `questions` questions each, in a fixed order."""
    for number, (shard, line) in enumerate(list_views(folder)[:limit]):
        rgb, ids, objects = load_view(shard, line)
        if objects:
            yield View(rgb, ids, objects, pick_questions(objects, ids.shape[1], questions, np.random.default_rng([7, number])))


def rendered_split(split: Split, cache: Path, scenes: int, size: tuple[int, int]) -> Path:
    """The views of a split with depth, one an arrangement; rendered when they are not there yet."""
    folder = cache / f"{split.profile}_{split.first_seed}_{scenes}_{size[0]}x{size[1]}"
    generate(folder, split.first_seed, scenes, views=1, size=size, depth=True)
    return folder


class SplitViews(Sequence[View]):
    """Views of a folder of shards, read when they are asked for; colour and depth as sensors give them."""

    def __init__(self, folder: Path, split: Split, questions: int, limit: int | None = None) -> None:
        self.split, self.questions = split, questions
        self._lines = list_views(folder)[:limit]

    def __len__(self) -> int:
        return len(self._lines)

    def __getitem__(self, number: int) -> View:  # type: ignore[override]
        shard, line = self._lines[number]
        rgb, ids, objects = load_view(shard, line)
        truth = json.loads(line)
        seed = int(truth["seed"])
        return View(
            noisy_colour(rgb, seed),
            ids,
            objects,
            self._questions(objects, ids.shape[1], seed),
            _depth(shard / f"{truth['name']}_depth.png", seed),
            Camera(**{**truth["camera"], "distortion": tuple(truth["camera"]["distortion"])}),
            np.array(truth["base_from_camera"], np.float64),
            f"{seed}_{truth['name']}",
        )

    def _questions(self, objects: tuple[ObjectRecord, ...], width: int, seed: int) -> tuple[Expression, ...]:
        rng = np.random.default_rng([7, seed])
        return evenly(list(expressions(objects, width, rng)), self.questions, rng) if objects else ()


def _depth(file: Path, seed: int) -> DepthImage | None:
    """Stored millimetres -> metres with the noise of a sensor; None where no depth was stored."""
    if not file.exists():
        return None
    exact = cv2.imread(str(file), cv2.IMREAD_UNCHANGED).astype(np.float32) / 1000
    return noisy_depth(exact, seed)
