"""SA-1B: sa_1.jpg beside sa_1.json with masks and boxes but no words, so that boxes are asked for their masks."""

from pathlib import Path
from typing import Any

import numpy as np

from qwen_seg_ros.errors import InvalidInputError
from qwen_seg_ros.geometry.arrays import BoxPx
from qwen_seg_ros.offline.evaluation.public.coco_masks import parse_segmentation
from qwen_seg_ros.offline.evaluation.public.reading import entry, inside, number, read_json
from qwen_seg_ros.offline.evaluation.public.split import BoxQuestion, LeftOut, Picture, PublicSplit, Regions

DATASET = "sa1b"
MAX_BYTES = 2**26
MOST_MASKS = 5000  # the fullest published picture has a few hundred


def load_sa1b(folder: Path, pictures: int | None = None) -> PublicSplit[BoxQuestion]:
    """The first `pictures` of the folder in the order of their numbers, None = all; every annotation is a question.

    Raises:
        InvalidInputError: when there is no sa_*.json, or more than 5 % of the pictures or annotations are unusable.
    """
    files = sorted(folder.glob("sa_*.json"), key=lambda p: (len(p.name), p.name))[:pictures]
    if not files:
        raise InvalidInputError(f"no sa_*.json in {folder}; --data is the folder of an unpacked archive of SA-1B")
    left_out, found = LeftOut(), list[Picture[BoxQuestion]]()
    for file in files:
        try:
            found.append(_picture(file, left_out))
        except InvalidInputError as problem:
            left_out.total += 1
            left_out.add(file, "image", problem)
    left_out.check()
    return PublicSplit(DATASET, folder.name, tuple(found), left_out)


def _picture(file: Path, left_out: LeftOut) -> Picture[BoxQuestion]:
    values = read_json(file, MAX_BYTES)
    image, annotations = entry(values, "image", dict), entry(values, "annotations", list)
    size = entry(image, "height", int), entry(image, "width", int)
    picture = inside(file.parent, entry(image, "file_name", str))
    questions = []
    for place, annotation in enumerate(annotations[:MOST_MASKS]):
        left_out.total += 1
        try:
            questions.append(_question(annotation, place))
        except InvalidInputError as problem:
            left_out.add(file, f"annotation {place}", problem)
    return Picture(picture, file, tuple(questions), size)


def _question(values: Any, place: int) -> BoxQuestion:
    truth = Regions((parse_segmentation(entry(values, "segmentation", (list, dict))),))
    return BoxQuestion(f"annotation {place}", _box(entry(values, "bbox", list)), truth)


def _box(xywh: list) -> BoxPx:
    if len(xywh) != 4:
        raise InvalidInputError(f"bbox must be [x, y, width, height], got {len(xywh)} numbers")
    x, y, width, height = (number(v, "bbox") for v in xywh)
    if width < 0 or height < 0:
        raise InvalidInputError(f"bbox must have a width and height of 0 or more, got {width:g} and {height:g}")
    return np.array([x, y, x + width, y + height], np.float32)
