"""Answer text of the model -> labelled boxes. Pure: no model, no evaluation of text, bounded output, linear time.

docs/answers.md shows the format and what becomes of every kind of damage. A phrase is found (entries), rejected (absent), or
not spoken about; an answer that says nothing that can be read is UNREADABLE_ANSWER, never an empty list.
"""

import math
import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from qwen_seg_ros.geometry.box import GRID
from qwen_seg_ros.model.prompts import MASK_TOKEN, REJECT_TOKEN, SEGMENTATION_TOKENS
from qwen_seg_ros.model.text_masks import MAX_TEXT_CHARACTERS, regions
from qwen_seg_ros.segmentation.answer_scan import BareBox, RawEntry, Scan, scan
from qwen_seg_ros.segmentation.refusal import says_absent
from qwen_seg_ros.segmentation.result import Outcome

MAX_ANSWER_CHARACTERS = 200_000
MAX_PHRASE_CHARACTERS = 200
MAX_ABSENT = 100
MAX_NOTES = 20
MAX_MASK_TEXTS = 20  # `<seg>` texts outside of entries
THINK_START, THINK_END = "<think>", "</think>"  # of reasoning models
MASK_TEXT = re.compile(rf"<seg>[^<]{{0,{MAX_TEXT_CHARACTERS}}}(?:</seg>|$)")
NO_BOX = (0.0, 0.0, 0.0, 0.0)  # how some models write "not there"

GridBox = tuple[float, float, float, float]


@dataclass(frozen=True)
class AnswerEntry:
    """One instance.

    box_grid: x0 y0 x1 y1 on the 0..1000 grid, ordered, clipped, with area. mask_index: which mask token of the answer is its
    own, None = none. place: number of the entry in the answer, rejections included. span: the characters of the text it was
    read from. mask_text: its mask as text (model/text_masks.py), None = none.
    """

    phrase: str
    box_grid: GridBox
    mask_index: int | None
    place: int
    span: tuple[int, int]
    mask_text: str | None = None


@dataclass(frozen=True)
class ParsedAnswer:
    """outcome says what `entries` and `absent` mean; notes: what had to be repaired or dropped, in words."""

    outcome: Outcome
    entries: tuple[AnswerEntry, ...] = ()
    absent: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def parse_answer(text: str, instruction: str = "", max_entries: int = 100) -> ParsedAnswer:
    """Read an answer of at most `max_entries` instances.

    `instruction` is the phrase of boxes without a label, and what is absent when the model says only that nothing is there.
    """
    reader = _Reader(text[:MAX_ANSWER_CHARACTERS], instruction, max_entries)
    if len(text) > MAX_ANSWER_CHARACTERS:
        reader.note(f"only the first {MAX_ANSWER_CHARACTERS} characters were read")
    return reader.read()


def clean_phrase(label: str) -> str:
    """A label as one line of printable text: special tokens, control characters and lone surrogates would break messages."""
    for token in SEGMENTATION_TOKENS:
        label = label.replace(token, " ")
    return " ".join(_printable(label[: 4 * MAX_PHRASE_CHARACTERS]).split())[:MAX_PHRASE_CHARACTERS].strip()


@dataclass
class _Reader:
    """Turns what the scan found into entries, keeping count of what was dropped and why."""

    text: str
    instruction: str
    limit: int
    found: dict[tuple[str, GridBox], AnswerEntry] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)  # by phrase in lower case, as are those that follow
    unread: dict[str, str] = field(default_factory=dict)
    notes: Counter[str] = field(default_factory=Counter)
    taken: set[int] = field(default_factory=set)  # numbers of the mask tokens that have an entry
    over: int = 0

    def read(self) -> ParsedAnswer:
        start = _answer_start(self.text)
        found = scan(self.text, start)
        self._read_all(found)
        self._note_left_overs(found)
        entries, absent = tuple(self.found.values()), tuple(self.absent.values())
        if entries:
            return ParsedAnswer(Outcome.FOUND, entries, absent, self._notes())
        if not absent and not self.over and not found.entries and says_absent(self.text[start:]):
            absent = (self.instruction,)
        if absent:
            return ParsedAnswer(Outcome.NOT_FOUND, (), absent, self._notes())
        self.note(f"no entry with a box in {self.text[:60]!r}")
        return ParsedAnswer(Outcome.UNREADABLE_ANSWER, notes=self._notes())

    def note(self, words: str) -> None:
        self.notes[_printable(words)] += 1

    def _notes(self) -> tuple[str, ...]:
        said = [words if count == 1 else f"{words} ({count} times)" for words, count in self.notes.items()]
        more = [f"and {len(said) - MAX_NOTES + 1} more notes"] if len(said) > MAX_NOTES else []
        return tuple(said[: MAX_NOTES - len(more)] + more)

    def _read_all(self, found: Scan) -> None:
        tokens = list(_positions(self.text, MASK_TOKEN))
        starts = [entry.start for entry in found.entries] + [len(self.text)]
        place = 0
        for entry, following in zip(found.entries, starts[1:], strict=True):
            if entry.has_box or (entry.label is not None and not entry.inner) or REJECT_TOKEN in entry.mask_value:
                own = [n for n in _own_tokens(entry, tokens, following) if n not in self.taken]
                self.taken.update(own)
                self._read_entry(entry, place, own)
                place += 1
        self._count_tokens(len(tokens))
        self._read_mask_texts(found.segs, place)
        if not found.entries and not found.segs:
            for number, bare in enumerate(found.bare):
                self._read_bare(bare, number)

    def _count_tokens(self, written: int) -> None:
        used = sum(entry.mask_index is not None for entry in self.found.values())
        if written > used and not self.over:
            self.note(f"{written - used} of {written} mask tokens belong to no instance")
        if written and used < len(self.found):
            self.note(f"{len(self.found) - used} of {len(self.found)} instances have no mask token")

    def _read_entry(self, entry: RawEntry, place: int, tokens: list[int]) -> None:
        phrase = clean_phrase(entry.label or entry.outer_label or "") or self.instruction
        mask_text = self._mask_text(entry)
        if self._is_rejected(entry, bool(tokens) or mask_text is not None):
            self._reject(phrase)
        elif entry.boxes:
            for number, box in enumerate(entry.boxes):
                index = tokens[number] if number < len(tokens) else None
                self._add(phrase, box, index, place, entry.own_span, mask_text if number == 0 else None)
        elif entry.box_text is not None or entry.own_end is None:
            self.note(f"entry without a box of four numbers dropped: {entry.box_text or phrase[:60]}")

    def _is_rejected(self, entry: RawEntry, has_mask: bool) -> bool:
        if entry.boxes and all(tuple(box) == NO_BOX for box in entry.boxes):
            return True
        if not entry.boxes and entry.empty_box:
            return True
        said = REJECT_TOKEN in self.text[slice(*entry.own_span)]
        if said and entry.boxes and not has_mask:
            self.note("box of a rejected phrase ignored")
        return said and not (entry.boxes and has_mask)

    def _reject(self, phrase: str) -> None:
        if len(self.absent) < MAX_ABSENT:
            self.absent.setdefault(phrase.casefold(), phrase)
        else:
            self.note(f"only the first {MAX_ABSENT} rejected phrases were read")

    def _mask_text(self, entry: RawEntry) -> str | None:
        match = MASK_TEXT.search(entry.mask_value)
        return match[0] if match else None

    def _read_mask_texts(self, spans: list[tuple[int, int]], place: int) -> None:
        """Masks of the whole image as text, with no list around them: one entry per label."""
        described = [(span, regions(self.text[slice(*span)])) for span in spans[:MAX_MASK_TEXTS]]
        readable = [(span, found) for span, found in described if found is not None]
        for number, (span, region) in enumerate((span, region) for span, found in readable for region in found):
            phrase = clean_phrase(region.label) or self.instruction
            self._add(phrase, list(region.box_grid), None, place + number, span, region.text)
        if readable and not any(found for _, found in readable):
            self._reject(self.instruction)
        if len(readable) < len(described):
            self.note("mask text that cannot be read dropped")
        if len(spans) > MAX_MASK_TEXTS:
            self.note(f"only the first {MAX_MASK_TEXTS} of {len(spans)} mask texts were read")

    def _read_bare(self, bare: BareBox, place: int) -> None:
        if tuple(bare.box) == NO_BOX:
            self._reject(self.instruction)
            return
        self.note("list of numbers without keys read as a box")
        self._add(clean_phrase(bare.label) or self.instruction, bare.box, None, place, bare.span, None)

    def _add(
        self, phrase: str, raw: list[float], index: int | None, place: int, span: tuple[int, int], mask_text: str | None
    ) -> None:
        box = self._box(raw)
        if box is None:
            return
        if (phrase.casefold(), box) in self.found:
            self.note("repeated box dropped")
        elif len(self.found) >= self.limit:
            self.over += 1
            self.unread.setdefault(phrase.casefold(), phrase)
        else:
            self.found[phrase.casefold(), box] = AnswerEntry(phrase, box, index, place, span, mask_text)

    def _box(self, raw: list[float]) -> GridBox | None:
        if not all(math.isfinite(v) for v in raw):
            self.note("entry with a box that is not finite dropped")
            return None
        x0, y0, x1, y1 = raw
        left, top, right, bottom = (min(max(v, 0.0), float(GRID)) for v in (min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1)))
        if [left, top, right, bottom] != raw:
            self.note(f"box {_short(raw)} put in order and inside 0..{GRID}")
        if max(raw) > GRID:
            self.note(f"numbers over {GRID}: boxes must be on the 0..{GRID} grid, are these pixels?")
        elif 0 < max(raw) <= 1:
            self.note(f"numbers up to 1: boxes must be on the 0..{GRID} grid, are these shares of the image?")
        if left >= right or top >= bottom:
            self.note(f"box {_short(raw)} holds no area and was dropped")
            return None
        return left, top, right, bottom

    def _note_left_overs(self, found: Scan) -> None:
        phrases = {phrase for phrase, _ in self.found}
        for phrase in [p for p in self.absent if p in phrases or p in self.unread]:
            self.note(f"{self.absent.pop(phrase)!r} is both found and rejected: found counts")
        if found.cut:
            self.note("entry repaired that was cut off or damaged")
        if self.over:
            self.note(f"only the first {self.limit} of {len(self.found) + self.over} entries were read, and all rejections")
            lost = [p for key, p in self.unread.items() if key not in phrases]
            if lost:
                self.note("found but not read: " + ", ".join(repr(p) for p in lost[:3]) + (" ..." if len(lost) > 3 else ""))


def _answer_start(text: str) -> int:
    """Where the answer begins: boxes in what a model thinks aloud are no answer yet."""
    end = text.rfind(THINK_END)
    if end >= 0:
        return end + len(THINK_END)
    return len(text) if THINK_START in text else 0


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else " " for c in text)


def _positions(text: str, token: str) -> Iterator[int]:
    position = text.find(token)
    while position >= 0:
        yield position
        position = text.find(token, position + len(token))


def _own_tokens(entry: RawEntry, tokens: list[int], following: int) -> range:
    """Numbers of the mask tokens that are the entry's: of its mask value, else anywhere in it, else right behind it."""
    start, end = entry.own_span
    mask_start = start if entry.mask_start is None else entry.mask_start
    for low, high in ((mask_start, end if mask_start < end else entry.end), (start, end), (end, following)):
        own = range(bisect_left(tokens, low), bisect_left(tokens, high))
        if own:
            return own
    return range(0)


def _short(box: list[float]) -> str:
    return "[" + ", ".join(f"{v:g}" for v in box) + "]"
