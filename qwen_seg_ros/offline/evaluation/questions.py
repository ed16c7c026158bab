"""What is asked: views with truth and the questions about them, always the same for the same seeds.

The only place of the evaluation that knows how views are rendered, stored and asked about.
"""

import multiprocessing
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from qwen_seg_ros.frame import Frame
from qwen_seg_ros.geometry.arrays import DepthImage, MaskImage, Matrix4, RgbImage
from qwen_seg_ros.geometry.camera import Camera
from qwen_seg_ros.geometry.mask import CroppedMask
from qwen_seg_ros.offline.data.expressions import KINDS, Expression, expressions
from qwen_seg_ros.offline.data.mix import doubtful_objects
from qwen_seg_ros.offline.data.samples import evenly, pick_questions
from qwen_seg_ros.offline.data.store import StoredViews
from qwen_seg_ros.offline.data.stored_view import StoredView
from qwen_seg_ros.offline.evaluation.splits import FIRST_TEST_SEED, Split
from qwen_seg_ros.offline.sim.dataset import Rendering, Shard, generate, render_whole, show_progress
from qwen_seg_ros.offline.sim.noise import noisy_colour, noisy_depth
from qwen_seg_ros.offline.sim.profiles import scene_profile
from qwen_seg_ros.offline.sim.scene import ObjectRecord

__all__ = ["FIRST_TEST_SEED", "SINGLE_TARGET", "SplitViews", "View", "asks_for_one", "rendered", "rendered_split", "views"]
SHARD = 25  # arrangements in a file: what an interruption loses
FAR_M = 10.0
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
    """A folder of `scenes` rendered simple views, one an arrangement; rendered when it is not there yet."""
    folder = cache / f"{first_seed}_{scenes}_{size[0]}x{size[1]}"
    generate(folder, first_seed, scenes, views=1, size=size, profile="simple")
    return folder


def views(folder: Path, questions: int, limit: int | None = None) -> Iterator[View]:
    """The first `limit` views of a folder with up to `questions` questions each, in a fixed order; without those that show
    something of which nothing is known, for it might be what is asked for."""
    for number, stored in enumerate(StoredViews(folder)[:limit]):
        hardly = doubtful_objects(stored.objects, stored.objects, stored.ids)
        if stored.objects and hardly is not None:
            rng = np.random.default_rng([7, number])
            asked = pick_questions(stored.objects, stored.ids.shape[1], questions, rng, hardly)
            yield View(stored.rgb, stored.ids, stored.objects, asked)


def rendered_split(split: Split, cache: Path, scenes: int, size: tuple[int, int], workers: int) -> Path:
    """The views of a split with depth, one an arrangement; only what is not there yet is rendered."""
    folder = cache / f"{split.profile}_{split.first_seed}_{scenes}_{size[0]}x{size[1]}"
    rendering = Rendering(1, size, split.profile, depth=True)
    shards = [
        Shard(folder / f"shard_{start:05d}.parquet", split.first_seed + start, min(SHARD, scenes - start), rendering)
        for start in range(0, scenes, SHARD)
    ]
    waiting = [shard for shard in shards if not shard.finished()]
    if waiting:
        show_progress(scenes, waiting, _run(waiting, workers))
    return folder


def _run(shards: list[Shard], workers: int) -> Iterator[int]:
    """-> arrangements finished since the last yield."""
    if workers == 1:
        yield from (1 for shard in shards for _ in shard.render())
        return
    with multiprocessing.get_context("spawn").Pool(workers) as pool:  # OpenGL contexts do not survive a fork
        yield from pool.imap_unordered(render_whole, shards)


class SplitViews(Sequence[View]):
    """Views of a folder, read when they are asked for, with the questions of a split; colour and depth as sensors give them."""

    def __init__(self, folder: Path, split: Split, questions: int, limit: int | None = None) -> None:
        self.split, self.questions = split, questions
        self._stored = StoredViews(folder, depth=True)[:limit]

    def __len__(self) -> int:
        return len(self._stored)

    def __getitem__(self, number: int) -> View:  # type: ignore[override]
        stored = self._stored[number]
        rgb, depth_m = _as_sensed(stored)
        asked = self._asked(stored)
        camera, base_from_camera = stored.camera, stored.base_from_camera
        return View(rgb, stored.ids, stored.objects, asked, depth_m, camera, base_from_camera, stored.key)

    def _asked(self, stored: StoredView) -> tuple[Expression, ...]:
        """Kinds by turns; the same for the same scene. None where something is in view of which nothing is known."""
        hardly = doubtful_objects(stored.objects, stored.objects, stored.ids)
        if not stored.objects or hardly is None:
            return ()
        rng = np.random.default_rng([7, stored.seed])
        said = expressions(stored.objects, stored.ids.shape[1], rng, self.split.wording, hardly)
        return evenly(list(said), self.questions, rng)


def _as_sensed(stored: StoredView) -> tuple[RgbImage, DepthImage | None]:
    """Colour and depth; exact pictures get the noise of a good sensor, those of a profile with sensors have theirs."""
    if scene_profile(stored.profile).sensors:
        return stored.rgb, stored.depth_m
    depth_m = None if stored.depth_m is None else _noisy(stored.depth_m, stored.seed)
    return noisy_colour(stored.rgb, stored.seed), depth_m


def _noisy(depth_m: DepthImage, seed: int) -> DepthImage:
    """What is unknown counts as far away and stays unknown."""
    unknown = np.isnan(depth_m)
    sensed = noisy_depth(np.where(unknown, np.float32(FAR_M), depth_m), seed)
    return np.where(unknown, np.float32(np.nan), sensed)
