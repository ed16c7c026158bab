"""Ask every question of a public split and measure the answers by the rules of its set.

What is asked sees the picture and the words (or the box), nothing of the truth; all masks of an answer count as one.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from qwen_seg_ros.errors import InvalidInputError
from qwen_seg_ros.frame import Frame
from qwen_seg_ros.geometry.arrays import RgbImage
from qwen_seg_ros.geometry.mask import CroppedMask
from qwen_seg_ros.geometry.region import Region
from qwen_seg_ros.offline.evaluation.predictions import of_instances
from qwen_seg_ros.offline.evaluation.public.reading import read_picture
from qwen_seg_ros.offline.evaluation.public.scores import Pixels, Sums, pixels, scores
from qwen_seg_ros.offline.evaluation.public.split import BoxQuestion, Labels, LeftOut, Picture, PublicSplit, Question
from qwen_seg_ros.offline.evaluation.tabletop_ors import MODEL, Asked
from qwen_seg_ros.segmentation.box_masks import masks_in_boxes
from qwen_seg_ros.segmentation.instruction import Instruction
from qwen_seg_ros.segmentation.result import Outcome

COLOUR, FILLED_BOX = "true box + colour", "filled true box"
Advance = Callable[[], None]


@dataclass(frozen=True)
class Row:
    """One question and what became of it. picture: number within the split; outcome: for a box how its mask was made;
    seconds: for the answer, without looking at the picture."""

    picture: int
    file: str
    entry: str
    text: str
    outcome: str
    answer: str
    seconds: float
    counted: Pixels
    sums: Sums


@dataclass(frozen=True)
class Answers:
    """rows: by who answered; left_out: questions whose picture or annotation turned out unusable when they were asked."""

    rows: dict[str, list[Row]]
    left_out: LeftOut = field(default_factory=LeftOut)


def ask_words(model: Asked, split: PublicSplit[Question], advance: Advance = lambda: None) -> Answers:
    """Every expression; `advance` is called after each picture.

    Raises:
        InvalidInputError: when there is no question, or more than 5 % of them had to be left out.
    """
    out = Answers({MODEL: []}, LeftOut(split.questions))
    for number, picture in enumerate(split.pictures):
        rgb = _rgb(picture, out.left_out)
        if rgb is not None:
            encoded = model.encode(Frame(rgb))
            for question, labels in _painted(picture, rgb, out.left_out):
                out.rows[MODEL] += _said(model, encoded, question, labels, _At(split.dataset, number, picture), out.left_out)
        advance()
    out.left_out.check()
    return out


def ask_boxes(split: PublicSplit[BoxQuestion], advance: Advance = lambda: None) -> Answers:
    """Masks made from colour alone inside the true boxes, and beside them the filled boxes: no model is asked.

    Raises:
        InvalidInputError: as `ask_words`.
    """
    out = Answers({COLOUR: [], FILLED_BOX: []}, LeftOut(split.questions))
    for number, picture in enumerate(split.pictures):
        rgb = _rgb(picture, out.left_out)
        for question, labels in _painted(picture, rgb, out.left_out) if rgb is not None else ():
            for who, row in _of_box(question, rgb, labels, _At(split.dataset, number, picture)):
                out.rows[who].append(row)
        advance()
    out.left_out.check()
    return out


@dataclass(frozen=True, eq=False)
class _At:
    """Where a question stands."""

    dataset: str
    number: int
    picture: Picture

    def row(self, entry: str, text: str, outcome: str, answer: str, seconds: float, counted: Pixels, rejected: bool) -> Row:
        sums = scores(self.dataset, counted, rejected)
        return Row(self.number, self.picture.file.name, entry, text, outcome, answer, seconds, counted, sums)


def _said(model: Asked, encoded: Any, question: Question, labels: Labels, at: _At, left_out: LeftOut) -> Iterator[Row]:
    """The model's answer; nothing for words that no instruction may hold."""
    try:
        words = Instruction(question.text)
    except InvalidInputError as problem:
        left_out.add(at.picture.source, question.entry, problem)
        return
    began = time.perf_counter()
    result = model.segment(encoded, words)
    seconds = time.perf_counter() - began
    rejected = result.outcome is Outcome.NOT_FOUND
    counted = pixels(of_instances(result.instances, rejected).union(labels.shape), labels)
    yield at.row(question.entry, question.text, result.outcome.value, result.answer, seconds, counted, rejected)


def _of_box(question: BoxQuestion, rgb: RgbImage, labels: Labels, at: _At) -> Iterator[tuple[str, Row]]:
    began = time.perf_counter()
    made = masks_in_boxes(Frame(rgb), question.box_px[None])[0]
    seconds = time.perf_counter() - began
    for who, mask, how in ((COLOUR, made.mask, made.method), (FILLED_BOX, _filled(question, *labels.shape), "box")):
        yield who, at.row(question.entry, "", how, "", seconds, pixels(mask.full(), labels), rejected=False)


def _filled(question: BoxQuestion, height: int, width: int) -> CroppedMask:
    box = Region.of_box(question.box_px, width, height)
    return CroppedMask(np.ones(box.shape, bool), box.x0, box.y0, height, width)


def _painted(picture: Picture, rgb: RgbImage, left_out: LeftOut) -> Iterator[tuple[Any, Labels]]:
    """The picture's questions with their truth, but for those whose annotation does not fit."""
    for question in picture.questions:
        try:
            yield question, question.truth.paint(*rgb.shape[:2])
        except InvalidInputError as problem:
            left_out.add(picture.source, question.entry, problem)


def _rgb(picture: Picture, left_out: LeftOut) -> RgbImage | None:
    """None for a picture that cannot be used: all its questions are left out."""
    try:
        rgb = read_picture(picture.file, picture.upright)
        if picture.size not in (None, rgb.shape[:2]):
            given = f"{rgb.shape[1]}x{rgb.shape[0]} pixels, annotated as {picture.size[1]}x{picture.size[0]}"
            raise InvalidInputError(f"{picture.file}: {given}; give the original pictures, not resized ones")
        return rgb
    except InvalidInputError as problem:
        for question in picture.questions:
            left_out.add(picture.source, question.entry, problem)
        return None
