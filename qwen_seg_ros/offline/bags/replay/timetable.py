"""What is asked at which time of the recording.

- {at: 0.0, say: the red mug}                  # every frame from the start of the recording on
- {at: 4.5, say: [the bowl, both boxes]}       # from 4.5 s on these two instead
- {at: 9.0, say: []}                           # and nothing any more
"""

from bisect import bisect_right
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import yaml

from qwen_seg_ros.errors import InvalidInputError
from qwen_seg_ros.segmentation.instruction import Instruction

MAX_BYTES, MAX_ENTRIES = 1_000_000, 10_000
EXAMPLE = "a list of entries such as {at: 4.5, say: the bowl}, seconds from the recording's start and words (or a list of words)"


@dataclass(frozen=True)
class Timetable:
    """starts_s: ascending, seconds from the recording's start; asked: for each the instructions that hold until the next."""

    starts_s: tuple[float, ...]
    asked: tuple[tuple[str, ...], ...]

    @classmethod
    def always(cls, instructions: list[str]) -> "Timetable":
        """These instructions on every frame."""
        return cls((0.0,), (tuple(Instruction(words).text for words in instructions),))

    def at(self, time_s: float) -> tuple[str, ...]:
        """What is asked of a frame of this time; () = nothing."""
        place = bisect_right(self.starts_s, time_s)
        return self.asked[place - 1] if place else ()


def load_timetable(path: Path) -> Timetable:
    """Raises InvalidInputError that names the entry which is wrong and what it should be."""
    entries = [_entry(path, number, item) for number, item in enumerate(_items(path), start=1)]
    starts = [start for start, _ in entries]
    for before, after in pairwise(starts):
        if after <= before:
            raise InvalidInputError(f"{path}: the times must ascend, but {after:g} follows {before:g}")
    if not any(words for _, words in entries):
        raise InvalidInputError(f"{path} asks nothing; it must be {EXAMPLE}")
    return Timetable(tuple(starts), tuple(words for _, words in entries))


def _items(path: Path) -> list[Any]:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise InvalidInputError(f"{path} is larger than {MAX_BYTES} bytes; it must be {EXAMPLE}")
        items = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InvalidInputError(f"{path} cannot be read: {error}; it must be {EXAMPLE}") from error
    if not isinstance(items, list) or len(items) > MAX_ENTRIES:
        raise InvalidInputError(f"{path} must be {EXAMPLE}, at most {MAX_ENTRIES} of them")
    return items


def _entry(path: Path, number: int, item: Any) -> tuple[float, tuple[str, ...]]:
    if not isinstance(item, dict) or set(item) != {"at", "say"}:
        raise InvalidInputError(f"{path}, entry {number} must have `at` and `say`, got {item!r}; the file is {EXAMPLE}")
    start, said = item["at"], item["say"]
    if isinstance(start, bool) or not isinstance(start, (int, float)) or not 0 <= start < 1e9:
        raise InvalidInputError(f"{path}, entry {number}: `at` must be seconds from the recording's start, got {start!r}")
    words = said if isinstance(said, list) else [said]
    if not all(isinstance(one, str) for one in words):
        wanted = "`say` must be words or a list of words; quote yes, no and numbers"
        raise InvalidInputError(f"{path}, entry {number}: {wanted}, got {said!r}")
    try:
        return float(start), tuple(Instruction(one).text for one in words)
    except InvalidInputError as error:
        raise InvalidInputError(f"{path}, entry {number}: {error}") from error
