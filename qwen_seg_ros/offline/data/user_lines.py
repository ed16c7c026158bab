"""One line of a user's JSONL file of real pictures; docs/training_data.md describes the format.

    {"image": "a.jpg", "instruction": "all dogs", "targets": [{"phrase": "dog", "masks": [RLE, ...]}]}
    {"image": "a.jpg", "instruction": "the cat", "targets": [{"phrase": "cat", "masks": []}]}
    {"image": "a.jpg", "question": "Is it raining?", "answer": "No, the sun is shining."}

RLE is COCO's: {"size": [height, width], "counts": [runs]} or the compressed string in "counts".
"""

import json
from dataclasses import dataclass
from typing import Any

from qwen_seg_ros.errors import InvalidInputError
from qwen_seg_ros.geometry.arrays import MaskImage
from qwen_seg_ros.geometry.mask import decode_rle
from qwen_seg_ros.model.prompts import SEGMENTATION_TOKENS

MAX_LINE_BYTES = 8 * 2**20
MAX_IMAGE_PIXELS = 50_000_000
MAX_TARGETS = 64
MAX_MASKS = 255  # ids of a picture are 8 bits
MAX_PHRASE, MAX_TEXT, MAX_ANSWER = 200, 2000, 8000  # characters
MAX_PATH = 1000
RESERVED = ("<|", *SEGMENTATION_TOKENS)  # what only the model's own format may hold
SEGMENTATION_KEYS = {"image", "instruction", "targets"}
QUESTION_KEYS = {"image", "question", "answer"}


@dataclass(frozen=True)
class Rle:
    """counts: runs in column-major order, the first of zeros, or COCO's compressed string of them."""

    height: int
    width: int
    counts: tuple[int, ...] | str

    def runs(self) -> list[int]:
        """The run lengths, checked.

        Raises:
            InvalidInputError: for runs that do not fit the size, and empty masks.
        """
        runs = runs_of_string(self.counts) if isinstance(self.counts, str) else list(self.counts)
        pixels = self.height * self.width
        if min(runs, default=0) < 0 or sum(runs) != pixels:
            raise InvalidInputError(f"the runs of a mask must be >= 0 and add up to height x width = {pixels}, got {sum(runs)}")
        if not any(runs[1::2]):
            raise InvalidInputError('a mask has no pixel; for something that is not in the picture write "masks": []')
        return runs

    def decode(self) -> MaskImage:
        """bool (height, width), at least one pixel set."""
        return decode_rle(self.runs(), self.height, self.width)


@dataclass(frozen=True)
class Target:
    """A phrase of the instruction and the masks of all that it means; none = not in the picture."""

    phrase: str
    masks: tuple[Rle, ...]


@dataclass(frozen=True)
class UserLine:
    """text: instruction or question; targets for an instruction, answer for a question, the other one None."""

    image: str
    text: str
    targets: tuple[Target, ...] | None
    answer: str | None


def parse_line(raw: bytes, where: str) -> UserLine:
    """`where` names file and line for the error.

    Raises:
        InvalidInputError: with `where`, what is wrong and what would do.
    """
    try:
        return _parse(raw)
    except InvalidInputError as problem:
        raise InvalidInputError(f"{where}: {problem}") from None


def _parse(raw: bytes) -> UserLine:
    if len(raw) > MAX_LINE_BYTES:
        raise InvalidInputError(f"the line is longer than {MAX_LINE_BYTES} bytes; split the instruction into several lines")
    try:
        values = json.loads(raw.decode("utf-8-sig"))
    except (ValueError, RecursionError) as problem:
        raise InvalidInputError(f"not a line of JSON in UTF-8 ({problem}); one object a line, no comma after it") from None
    keys = set(_typed(values, dict, "the line"))
    image = _text(values.get("image"), "image", MAX_PATH, reserved=())
    if keys == QUESTION_KEYS:
        question = _text(values["question"], "question", MAX_TEXT)
        return UserLine(image, question, None, _text(values["answer"], "answer", MAX_ANSWER))
    if keys != SEGMENTATION_KEYS:
        raise InvalidInputError(f"keys must be image, instruction, targets or image, question, answer, got {sorted(keys)}")
    targets = tuple(_target(t) for t in _list(values["targets"], "targets", MAX_TARGETS))
    if not targets or sum(len(t.masks) for t in targets) > MAX_MASKS:
        raise InvalidInputError(f"targets must name at least one phrase and hold at most {MAX_MASKS} masks together")
    return UserLine(image, _text(values["instruction"], "instruction", MAX_TEXT), targets, None)


def _target(values: Any) -> Target:
    if set(_typed(values, dict, "a target")) != {"phrase", "masks"}:
        raise InvalidInputError(f"a target must have the keys phrase and masks, got {sorted(values)}")
    phrase = _text(values["phrase"], "phrase", MAX_PHRASE, (*RESERVED, '"', "\\", "\n"))
    return Target(phrase, tuple(_rle(m) for m in _list(values["masks"], "masks", MAX_MASKS)))


def _rle(values: Any) -> Rle:
    if set(_typed(values, dict, "a mask")) != {"size", "counts"}:
        raise InvalidInputError(f"a mask must be COCO RLE with the keys size and counts, got {sorted(values)}")
    size = _list(values["size"], "size", 2)
    if len(size) != 2 or not all(_whole(n) and n > 0 for n in size) or size[0] * size[1] > MAX_IMAGE_PIXELS:
        raise InvalidInputError(f"size must be [height, width] with at most {MAX_IMAGE_PIXELS} pixels, got {size}")
    counts = values["counts"]
    if not isinstance(counts, str):
        counts = tuple(_list(counts, "counts", size[0] * size[1] + 1))
        if not all(_whole(n) and n >= 0 for n in counts):
            raise InvalidInputError("counts must be whole numbers >= 0, or COCO's compressed string")
    return Rle(size[0], size[1], counts)


def runs_of_string(text: str) -> list[int]:
    """COCO's compressed RLE -> runs: six bits a character, five of them payload, differences to the last run but one.

    Written out here because pycocotools does not check its input: a cut string decodes to whatever is in memory.
    """
    runs: list[int] = []
    value = shift = 0
    for character in text:
        bits = ord(character) - 48
        if not 0 <= bits < 64 or shift > 30:
            raise InvalidInputError(f"counts is not COCO's compressed RLE: unexpected {character!r}")
        value |= (bits & 0x1F) << shift
        shift += 5
        if bits & 0x20:  # goes on
            continue
        if bits & 0x10:  # negative
            value -= 1 << shift
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
        value = shift = 0
    if shift:
        raise InvalidInputError("counts is not COCO's compressed RLE: the string is cut off")
    return runs


def _typed(value: Any, kind: type, name: str) -> Any:
    if not isinstance(value, kind):
        raise InvalidInputError(f"{name} must be a JSON {'object' if kind is dict else 'list'}, got {type(value).__name__}")
    return value


def _list(value: Any, name: str, longest: int) -> list:
    if len(_typed(value, list, name)) > longest:
        raise InvalidInputError(f"{name} may hold {longest} entries at most, got {len(value)}")
    return value


def _text(value: Any, name: str, longest: int, reserved: tuple[str, ...] = RESERVED) -> str:
    if not isinstance(value, str) or not value.strip() or len(value) > longest:
        given = f"{len(value)} characters" if isinstance(value, str) else type(value).__name__
        raise InvalidInputError(f"{name} must be a text of 1 to {longest} characters, got {given}")
    found = [mark for mark in reserved if mark in value]
    if found or not value.replace("\n", " ").isprintable():
        raise InvalidInputError(f"{name} must not hold {' or '.join(map(repr, found)) or 'control characters'}")
    return value


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
