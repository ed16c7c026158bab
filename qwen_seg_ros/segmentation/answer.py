"""Answer text of the model -> labelled boxes. Pure: no model, no evaluation of text, bounded output.

Tolerates what vision-language models do: code fences, prose around the list, a tail cut off in the middle of an entry, boxes
that are inverted, out of range or repeated, and entries without a mask token.
"""

import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from qwen_seg_ros.geometry.box import GRID
from qwen_seg_ros.model.prompts import MASK_TOKEN, REJECT_TOKEN
from qwen_seg_ros.segmentation.result import Outcome

BOX_KEYS = ("bbox_2d", "bbox", "box_2d", "box")
MAX_ANSWER_CHARACTERS = 200_000
CUT_ENTRY = re.compile(r'\{\s*"bbox(?:_2d)?"\s*:\s*\[([^\]]*)\](?:\s*,\s*"label"\s*:\s*"([^"]*)")?')


@dataclass(frozen=True)
class AnswerEntry:
    """box_grid: x0 y0 x1 y1 on the 0..1000 grid, ordered and clipped; mask_index: which mask token is its own, None = none."""

    phrase: str
    box_grid: tuple[float, float, float, float]
    mask_index: int | None
    place: int  # number of the entry in the answer, rejections included


@dataclass(frozen=True)
class ParsedAnswer:
    """outcome says what `entries` and `absent` mean; notes: what had to be repaired or dropped, in words."""

    outcome: Outcome
    entries: tuple[AnswerEntry, ...] = ()
    absent: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def parse_answer(text: str, instruction: str = "", max_entries: int = 100) -> ParsedAnswer:
    """Read an answer; `instruction` names what is absent when the model writes an empty list."""
    text = text[:MAX_ANSWER_CHARACTERS]
    found: list[AnswerEntry] = []
    absent: list[str] = []
    notes: list[str] = []
    objects = list(_objects(text, notes, max_entries))
    for place, (values, start) in enumerate(objects):
        phrase = _phrase(values)
        if str(values.get("mask", "")).strip() == REJECT_TOKEN or (_raw_box(values) is None and REJECT_TOKEN in str(values)):
            absent.append(phrase or instruction)
            continue
        box = _box(values, notes)
        if box is None:
            continue
        if any(box == other.box_grid for other in found):
            notes.append(f"repeated box {_short(box)} dropped")
            continue
        has_mask = MASK_TOKEN in str(values.get("mask", ""))
        found.append(AnswerEntry(phrase, box, text.count(MASK_TOKEN, 0, start) if has_mask else None, place))
    if found:
        return ParsedAnswer(Outcome.FOUND, tuple(found), tuple(dict.fromkeys(absent)), tuple(notes))
    if absent or _is_empty_list(text):
        return ParsedAnswer(Outcome.NOT_FOUND, (), tuple(dict.fromkeys(absent)) or (instruction,), tuple(notes))
    return ParsedAnswer(Outcome.UNREADABLE_ANSWER, notes=(*notes, f"no entry with a box in {text[:120]!r}"))


def _objects(text: str, notes: list[str], limit: int) -> Iterator[tuple[dict, int]]:
    """(dict, position) of every JSON object in the text, then of a last one that was cut off but already holds a box."""
    decoder, position, count = json.JSONDecoder(), text.find("{"), 0
    while position >= 0 and count < limit:
        try:
            values, end = decoder.raw_decode(text, position)
        except (ValueError, RecursionError):
            cut = CUT_ENTRY.match(text, position)
            if cut:
                notes.append("entry repaired that was cut off or damaged")
                mask = MASK_TOKEN if MASK_TOKEN in text[cut.end() : _next(text, cut.end())] else ""
                yield {"bbox_2d": cut[1].split(","), "label": cut[2] or "", "mask": mask}, position
                count += 1
            position = text.find("{", position + 1)
            continue
        if isinstance(values, dict):
            yield values, position
            count += 1
        position = text.find("{", end)
    if position >= 0:
        notes.append(f"only the first {limit} entries were read")


def _next(text: str, position: int) -> int:
    following = text.find("{", position)
    return following if following >= 0 else len(text)


def _raw_box(values: dict) -> Any:
    return next((values[key] for key in BOX_KEYS if key in values), None)


def _phrase(values: dict) -> str:
    label = values.get("label", values.get("phrase", ""))
    return " ".join(str(label).split())[:200] if isinstance(label, str | int | float) else ""


def _box(values: dict, notes: list[str]) -> tuple[float, float, float, float] | None:
    raw = _raw_box(values)
    try:
        x0, y0, x1, y1 = (float(v) for v in raw)
    except (TypeError, ValueError, OverflowError):
        notes.append(f"entry without a box of four numbers dropped: {str(raw)[:60]}")
        return None
    if not all(math.isfinite(v) for v in (x0, y0, x1, y1)):
        notes.append("entry with a box that is not finite dropped")
        return None
    ordered = (min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1))
    left, top, right, bottom = (min(max(v, 0.0), float(GRID)) for v in ordered)
    box = (left, top, right, bottom)
    if box != (x0, y0, x1, y1):
        notes.append(f"box {_short((x0, y0, x1, y1))} put in order and inside 0..{GRID}")
    if box[0] >= box[2] or box[1] >= box[3]:
        notes.append(f"box {_short(box)} holds no area and was dropped")
        return None
    return box


def _short(box: tuple) -> str:
    return "[" + ", ".join(f"{v:g}" for v in box) + "]"


def _is_empty_list(text: str) -> bool:
    return re.fullmatch(r"\s*(?:```(?:json)?)?\s*\[\s*\]\s*(?:```)?\s*", text) is not None
