"""COCO's "segmentation" -> mask: polygons, run lengths as a list, and run lengths as a compressed string.

Written out rather than left to pycocotools, which does not check its input, and so that figures do not depend on what is
installed.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qwen_seg_ros.errors import InvalidInputError
from qwen_seg_ros.geometry.arrays import MaskImage
from qwen_seg_ros.geometry.mask import decode_rle
from qwen_seg_ros.offline.data.user_lines import runs_of_string
from qwen_seg_ros.offline.evaluation.public.reading import entry, number

MAX_NUMBERS = 200_000  # of the polygons of one object


@dataclass(frozen=True, eq=False)
class Polygons:
    """rings: each (N, 2) as x, y; pixel (column, row) covers x = column..column + 1 and y = row..row + 1."""

    rings: tuple[NDArray[np.float64], ...]

    def mask(self, height: int, width: int) -> MaskImage:
        """Pixels whose centre lies within any ring; within one ring the even-odd rule holds."""
        out = np.zeros((height, width), bool)
        for ring in self.rings:
            out |= _filled(ring, height, width)
        return out


@dataclass(frozen=True, eq=False)
class Runs:
    """counts: runs down the columns, the first of zeros, or COCO's compressed string of them."""

    height: int
    width: int
    counts: tuple[int, ...] | str

    def mask(self, height: int, width: int) -> MaskImage:
        """
        Raises:
            InvalidInputError: for another size than the picture's, and runs that do not add up to it.
        """
        if (self.height, self.width) != (height, width):
            given = f"segmentation size [height, width] must be [{height}, {width}] as the picture's"
            raise InvalidInputError(f"{given}, got [{self.height}, {self.width}]")
        runs = runs_of_string(self.counts) if isinstance(self.counts, str) else list(self.counts)
        return decode_rle(runs, height, width)


def parse_segmentation(values: Any) -> Polygons | Runs:
    """A list of polygons [x0, y0, x1, y1, ...] or {"size": [height, width], "counts": list or string}.

    Raises:
        InvalidInputError: for anything else. Runs are checked against the picture when the mask is made.
    """
    return _polygons(values) if isinstance(values, list) else _runs(values)


def _polygons(values: list) -> Polygons:
    if not all(isinstance(ring, list) for ring in values) or sum(map(len, values)) > MAX_NUMBERS:
        raise InvalidInputError(f"segmentation must be a list of polygons with {MAX_NUMBERS} numbers at most")
    rings = [_ring(ring) for ring in values if len(ring) >= 6]  # two points enclose nothing; the sets hold a few of them
    if not rings:
        raise InvalidInputError("segmentation has no polygon of three points [x0, y0, x1, y1, x2, y2, ...]")
    return Polygons(tuple(rings))


def _ring(values: list) -> NDArray[np.float64]:
    if len(values) % 2:
        raise InvalidInputError(f"a polygon must hold pairs x, y, got {len(values)} numbers")
    return np.array([number(v, "a polygon") for v in values]).reshape(-1, 2)


def _runs(values: Any) -> Runs:
    size, counts = entry(values, "size", list), entry(values, "counts", (str, list))
    if len(size) != 2 or not all(isinstance(n, int) and 0 < n <= 100_000 for n in size):
        raise InvalidInputError(f"size must be [height, width] in pixels, got {size!r:.60}")
    if isinstance(counts, str):
        return Runs(size[0], size[1], counts)
    pixels = size[0] * size[1]
    if not all(isinstance(n, int) and 0 <= n <= pixels for n in counts):
        raise InvalidInputError(f"counts must be whole numbers 0..{pixels}, or COCO's compressed string")
    return Runs(size[0], size[1], tuple(counts))


def _filled(ring_N2: NDArray[np.float64], height: int, width: int) -> MaskImage:
    """Even-odd rule at the centres of pixels: along a row, each crossing of the outline turns inside to outside and back."""
    turns = np.zeros((height, width + 1), np.int32)
    for (x0, y0), (x1, y1) in zip(ring_N2, np.roll(ring_N2, -1, axis=0), strict=True):
        rows = np.arange(*_rows_between(y0, y1, height))
        crossed = x0 + (rows + 0.5 - y0) * ((x1 - x0) / (y1 - y0)) if len(rows) else np.zeros(0)
        turns[rows, np.clip(np.ceil(crossed - 0.5), 0, width).astype(int)] += 1
    return np.cumsum(turns[:, :width], axis=1) % 2 == 1


def _rows_between(y0: float, y1: float, height: int) -> tuple[int, int]:
    """First row and the row after the last one whose centre lies in [min, max) of the two."""
    low, high = (int(np.clip(np.ceil(y - 0.5), 0, height)) for y in (min(y0, y1), max(y0, y1)))
    return low, high
