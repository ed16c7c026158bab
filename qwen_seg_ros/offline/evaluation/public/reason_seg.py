"""ReasonSeg: a picture beside a LabelMe file of polygons with what is asked; FOLDER/val/NAME.jpg and NAME.json."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from qwen_seg_ros.errors import InvalidInputError
from qwen_seg_ros.offline.evaluation.public.reading import entry, inside, number, read_json
from qwen_seg_ros.offline.evaluation.public.split import IGNORED, Labels, LeftOut, Picture, PublicSplit, Question

DATASET = "reasonseg"
MAX_BYTES = 2**25
MOST_SHAPES, MOST_POINTS = 2000, 100_000
ENCODINGS = ("utf-8-sig", "cp1252")  # some of the published files are not UTF-8
NO_SHAPE = "flag"  # label of marks that mean nothing


@dataclass(frozen=True, eq=False)
class Shape:
    """points: int32 (N, 2), x and y; label: 1 or 255."""

    points: NDArray[np.int32]
    label: int

    def paint(self, labels: Labels) -> None:
        """Filled with its outline, on whole pixels: the published truth, half a pixel wider than the polygon."""
        cv2.fillPoly(labels, [self.points], self.label)
        cv2.polylines(labels, [self.points], True, self.label)


@dataclass(frozen=True, eq=False)
class Shapes:
    """Painted by descending area, so that a small shape lies on top of a large one."""

    shapes: tuple[Shape, ...]

    def paint(self, height: int, width: int) -> Labels:
        out = np.zeros((height, width), np.uint8)
        for shape in sorted(self.shapes, key=lambda s: -_area(s, height, width)):
            shape.paint(out)
        if not (out == 1).any():
            raise InvalidInputError("no shape of the target has a pixel inside the picture")
        return out


def _area(shape: Shape, height: int, width: int) -> int:
    alone = np.zeros((height, width), np.uint8)
    shape.paint(alone)
    return int(np.count_nonzero(alone))


def load_reason_seg(folder: Path, split: str) -> PublicSplit[Question]:
    """One question a picture, the first of its texts, as in the published evaluation.

    Raises:
        InvalidInputError: when there is no such split, or more than 5 % of it is unusable.
    """
    files = sorted((folder / split).glob("*.json"))
    if not files:
        there = ", ".join(sorted(p.name for p in folder.iterdir() if p.is_dir())) if folder.is_dir() else "no such folder"
        raise InvalidInputError(f"no *.json in {folder / split} (there: {there or 'none'}); --data is the folder that holds val/")
    left_out, pictures = LeftOut(len(files)), list[Picture[Question]]()
    for file in files:
        try:
            pictures.append(_picture(file))
        except InvalidInputError as problem:
            left_out.add(file, "text and shapes", problem)
    left_out.check()
    return PublicSplit(DATASET, split, tuple(pictures), left_out)


def _picture(file: Path) -> Picture[Question]:
    values = read_json(file, MAX_BYTES, ENCODINGS)
    texts = entry(values, "text", list)
    if not texts or not isinstance(texts[0], str):
        raise InvalidInputError("text must be a list that begins with the question")
    entry(values, "is_sentence", bool)
    shapes = [_shape(shape) for shape in entry(values, "shapes", list)[:MOST_SHAPES] if not _means_nothing(shape)]
    question = Question("text 0", texts[0], Shapes(tuple(shapes)))
    return Picture(inside(file.parent, f"{file.stem}.jpg"), file, (question,), upright=True)


def _means_nothing(shape: Any) -> bool:
    return entry(shape, "label", str).lower() == NO_SHAPE


def _shape(values: Any) -> Shape:
    points = entry(values, "points", list)
    if not 0 < len(points) <= MOST_POINTS or not all(isinstance(p, list) and len(p) == 2 for p in points):
        raise InvalidInputError(f"points must be 1 to {MOST_POINTS} pairs [x, y]")
    corners = np.array([[number(v, "points") for v in point] for point in points]).astype(np.int32)
    return Shape(corners, IGNORED if "ignore" in values["label"].lower() else 1)
