"""What is asked: views with truth and the questions about them, always the same for the same seeds."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from qwen_seg_ros.geometry.arrays import RgbImage
from qwen_seg_ros.offline.data.expressions import Expression
from qwen_seg_ros.offline.data.samples import list_views, load_view, pick_questions
from qwen_seg_ros.offline.sim.dataset import generate
from qwen_seg_ros.offline.sim.scene import ObjectRecord

SINGLE_TARGET = ("category", "colour_category", "name", "relation")
FIRST_TEST_SEED = 5_000_000  # from here on nothing is trained or tuned


@dataclass(frozen=True, eq=False)
class View:
    """rgb uint8 (H, W, 3), ids uint8 (H, W) with 0 = no object, the objects in view and the questions about them."""

    rgb: RgbImage
    ids: np.ndarray
    objects: tuple[ObjectRecord, ...]
    questions: tuple[Expression, ...]

    def masks(self, ids: tuple[int, ...]) -> np.ndarray:
        """True masks (N, H, W)."""
        return self.ids[None] == np.array(ids, self.ids.dtype).reshape(-1, 1, 1)

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
