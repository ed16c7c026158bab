"""A rectangle of whole pixels: where a crop lies in an image, or a smaller crop in a larger one."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qwen_seg_ros.geometry.box import area, grown


@dataclass(frozen=True)
class Region:
    """Right and lower edge exclusive."""

    x0: int
    y0: int
    x1: int
    y1: int

    @classmethod
    def of_box(cls, box: NDArray, width: int, height: int) -> "Region":
        """The pixels that a box (4,) touches inside the image; empty when it has no area, lies outside or is not finite."""
        if not (np.isfinite(box).all() and area(box) > 0):
            return cls(0, 0, 0, 0)
        box = np.clip(np.asarray(box, np.float64), 0, [width, height, width, height])
        x0, y0, x1, y1 = (int(edge) for edge in (*np.floor(box[:2]), *np.ceil(box[2:])))
        return cls(x0, y0, x1, y1) if x1 > x0 and y1 > y0 else cls(0, 0, 0, 0)

    @property
    def empty(self) -> bool:
        return self.x1 <= self.x0 or self.y1 <= self.y0

    @property
    def box(self) -> NDArray[np.float64]:
        """x0 y0 x1 y1."""
        return np.array([self.x0, self.y0, self.x1, self.y1], np.float64)

    @property
    def shape(self) -> tuple[int, int]:
        return self.y1 - self.y0, self.x1 - self.x0

    @property
    def rows_cols(self) -> tuple[slice, slice]:
        return slice(self.y0, self.y1), slice(self.x0, self.x1)

    def within(self, outer: "Region") -> "Region":
        """The same rectangle counted from the corner of `outer`."""
        return Region(self.x0 - outer.x0, self.y0 - outer.y0, self.x1 - outer.x0, self.y1 - outer.y0)

    def grown(self, share: float, width: int, height: int) -> "Region":
        """Grown about its centre by `share` of its lengths in all, inside the image."""
        return Region.of_box(grown(self.box, share), width, height)


def around(regions: list[Region]) -> Region:
    """The smallest region that holds all of `regions` (at least one)."""
    boxes = np.array([region.box for region in regions])
    x0, y0, x1, y1 = (int(edge) for edge in (*boxes[:, :2].min(axis=0), *boxes[:, 2:].max(axis=0)))
    return Region(x0, y0, x1, y1)
