"""What every public set becomes: pictures with questions, the truth painted when it is needed, and what was left out."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from qwen_seg_ros.errors import InvalidInputError
from qwen_seg_ros.geometry.arrays import BoxPx
from qwen_seg_ros.offline.evaluation.public.coco_masks import Polygons, Runs

MOST_LEFT_OUT = 0.05  # share of entries; beyond it something is wrong with the folder, not with an entry
IGNORED = 255
Labels = NDArray[np.uint8]  # (H, W): 0 background, 1 target, 255 not counted


class Truth(Protocol):
    """What an expression means in its picture."""

    def paint(self, height: int, width: int) -> Labels:
        """Labels of a picture of this size, all 0 for an expression that means nothing in it.

        Raises:
            InvalidInputError: where the annotation does not fit the picture, or paints no pixel where it names a target.
        """


@dataclass(frozen=True, eq=False)
class Regions:
    """The union of COCO annotations; none of them = no target."""

    parts: tuple[Polygons | Runs, ...]

    def paint(self, height: int, width: int) -> Labels:
        out = np.zeros((height, width), bool)
        for part in self.parts:
            out |= part.mask(height, width)
        if self.parts and not out.any():
            raise InvalidInputError("the annotated mask has no pixel inside the picture")
        return out.astype(np.uint8)


@dataclass(frozen=True, eq=False)
class Question:
    """An expression. entry: names it within its file, for example "ref 12, sentence 34"."""

    entry: str
    text: str
    truth: Truth


@dataclass(frozen=True, eq=False)
class BoxQuestion:
    """A box for which a mask is wanted; box_px: x0 y0 x1 y1."""

    entry: str
    box_px: BoxPx
    truth: Truth


Asked = TypeVar("Asked", Question, BoxQuestion)


@dataclass(frozen=True, eq=False)
class Picture(Generic[Asked]):
    """source: file that holds the questions; size: height, width that the annotations were made for, None = not told;
    upright: annotations are of the picture turned as its EXIF entry says, not of the pixels as stored."""

    file: Path
    source: Path
    questions: tuple[Asked, ...]
    size: tuple[int, int] | None = None
    upright: bool = False


@dataclass
class LeftOut:
    """Entries that could not be used, each with the reason; `total` counts all entries."""

    total: int = 0
    reasons: list[str] = field(default_factory=list)

    def add(self, source: Path, entry: str, problem: Exception) -> None:
        self.reasons.append(f"{source}: {entry}: {problem}")

    def check(self) -> None:
        """
        Raises:
            InvalidInputError: when there are no entries, or more than 5 % of them had to be left out.
        """
        if not self.total:
            raise InvalidInputError("there is no question about any of the pictures; is it the published file?")
        if len(self.reasons) > MOST_LEFT_OUT * self.total:
            raise InvalidInputError(
                f"{len(self.reasons)} of {self.total} entries cannot be used, which is more than {MOST_LEFT_OUT:.0%}; "
                f"the first: {self.reasons[0]}"
            )


@dataclass(frozen=True, eq=False)
class PublicSplit(Generic[Asked]):
    """dataset: its name in `qwen-seg evaluate`; split: "val" and the like; left_out: when the files were opened."""

    dataset: str
    split: str
    pictures: tuple[Picture[Asked], ...]
    left_out: LeftOut

    @property
    def questions(self) -> int:
        return sum(len(picture.questions) for picture in self.pictures)

    def first(self, pictures: int | None) -> "PublicSplit[Asked]":
        """Only the first pictures; None = all."""
        return replace(self, pictures=self.pictures[:pictures])
