"""One training picture with its questions: what was stored of a view (offline.data.store), augmented and asked.

Augmentation changes the picture
and the ids together; the expressions are drawn afterwards from what is left visible, so that "the left mug" stays true after
a flip.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import cv2
import numpy as np

from qwen_seg_ros.geometry.arrays import MaskImage
from qwen_seg_ros.geometry.mask import CroppedMask
from qwen_seg_ros.offline.data.expressions import Expression, expressions
from qwen_seg_ros.offline.data.plain_questions import PlainQuestion
from qwen_seg_ros.offline.sim.scene import ObjectRecord

MIN_PIXELS = 80
Asked = TypeVar("Asked", Expression, PlainQuestion)


@dataclass(frozen=True, eq=False)
class Sample:
    """rgb uint8 (H, W, 3), ids uint8 (H, W), the visible objects (may be none) and the questions about them.

    An ids image has one owner a pixel. Where true masks overlap (pictures of users), `layers` holds each of them whole and ids
    shows the smaller one on top; `mask` is the truth in both cases.
    """

    rgb: np.ndarray
    ids: np.ndarray
    objects: tuple[ObjectRecord, ...]
    questions: tuple[Expression | PlainQuestion, ...]
    layers: Mapping[int, CroppedMask] | None = None

    def mask(self, object_id: int) -> MaskImage:
        """The whole true mask of one object, bool (H, W)."""
        return self.ids == object_id if self.layers is None else self.layers[object_id].full()


def resized_mask(mask: MaskImage, height: int, width: int) -> MaskImage:
    """bool (H, W) -> bool (height, width): cells covered by half, and at least the one covered most."""
    if mask.shape == (height, width):
        return mask
    share = cv2.resize(mask.astype(np.float32), (width, height), interpolation=cv2.INTER_AREA)
    return np.asarray(share >= max(1e-6, min(0.5, float(share.max()))))


def augment(rgb: np.ndarray, ids: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Flip, zoom and shift, light, tint and noise. What comes in at the border is plain: a mirrored border would show objects
    twice, and no mask would know of the copies."""
    if rng.random() < 0.5:
        rgb, ids = rgb[:, ::-1], ids[:, ::-1]
    height, width = ids.shape
    zoom = rng.uniform(0.75, 1.25)
    shift = rng.uniform(-0.08, 0.08, 2) * (width, height)
    matrix = np.array([[zoom, 0, width * (1 - zoom) / 2 + shift[0]], [0, zoom, height * (1 - zoom) / 2 + shift[1]]])
    plain = tuple(float(v) for v in rgb.mean((0, 1)))
    rgb = cv2.warpAffine(np.ascontiguousarray(rgb), matrix, (width, height), flags=cv2.INTER_LINEAR, borderValue=plain)
    ids = cv2.warpAffine(np.ascontiguousarray(ids), matrix, (width, height), flags=cv2.INTER_NEAREST, borderValue=0)
    return recoloured(rgb, rng), ids


def recoloured(rgb: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Other light, tint and noise; nothing moves."""
    levels = np.linspace(0, 1, 256)[:, None] ** rng.uniform(0.75, 1.3) * rng.uniform(0.75, 1.2) * rng.uniform(0.92, 1.08, 3)
    x = cv2.LUT(np.ascontiguousarray(rgb), levels[None].astype(np.float32))
    if rng.random() < 0.3:
        x = np.asarray(cv2.GaussianBlur(x, (3, 3), rng.uniform(0.3, 1.0)))
    x = x + rng.standard_normal(x.shape, np.float32) * np.float32(rng.uniform(0, 0.03))
    return (x.clip(0, 1) * 255).astype(np.uint8)


def visible(objects: tuple[ObjectRecord, ...], ids: np.ndarray) -> tuple[ObjectRecord, ...]:
    """The objects still in view with their boxes measured anew."""
    out = []
    for item in objects:
        rows, cols = np.nonzero(ids == item.id)
        if len(rows) >= MIN_PIXELS:
            box = (int(cols.min()), int(rows.min()), int(cols.max()) + 1, int(rows.max()) + 1)
            out.append(replace(item, box_px=box, pixels=len(rows)))
    return tuple(out)


def pick_questions(
    objects: tuple[ObjectRecord, ...],
    width: int,
    count: int,
    rng: np.random.Generator,
    doubtful: tuple[ObjectRecord, ...] = (),
) -> tuple[Expression, ...]:
    """Up to `count` expressions, kinds drawn evenly so that the many names do not crowd out relations and absences.

    doubtful: objects of which a sliver is seen; nothing is said that could mean them.
    """
    return evenly(list(expressions(objects, width, rng, doubtful=doubtful)), count, rng)


def evenly(pool: Sequence[Asked], count: int, rng: np.random.Generator) -> tuple[Asked, ...]:
    """Up to `count` of the pool, its kinds by turns, in an order that is drawn."""
    shuffled = list(pool)
    by_kind: dict[str, list[Asked]] = {}
    rng.shuffle(shuffled)
    for item in shuffled:
        by_kind.setdefault(item.kind, []).append(item)
    chosen: list[Asked] = []
    while len(chosen) < count and by_kind:
        for kind in list(by_kind):
            chosen.append(by_kind[kind].pop())
            if not by_kind[kind]:
                del by_kind[kind]
    order = rng.permutation(len(chosen))[:count]
    return tuple(chosen[i] for i in order)
