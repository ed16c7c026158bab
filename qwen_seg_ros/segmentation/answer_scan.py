"""Answer text -> what stands in it, in one pass over its marks: braces, brackets, strings, numbers and words.

Not a JSON parser on purpose: models forget quotes and brackets, repeat keys, and are cut off in the middle of a number. Every
character is read once and nothing recurses, so a degenerate answer costs no more than a good one of its length.
"""

import json
import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field

BOX, LABEL, MASK, OTHER = "box", "label", "mask", "other"
KINDS = {
    **dict.fromkeys(("bbox_2d", "bbox", "box_2d", "box", "bbox2d", "boxes", "bboxes", "bounding_box", "boundingbox"), BOX),
    **dict.fromkeys(("label", "phrase", "name", "object", "object_name", "category", "class", "description"), LABEL),
    **dict.fromkeys(("mask", "segmentation", "seg"), MASK),
}
EMPTY_WORDS = {"null", "none"}
NUMBER_WORDS = {"nan": math.nan, "infinity": math.inf, "inf": math.inf}
MAX_DEPTH = 32  # braces inside braces

# A string ends at its quote, and where the quote is missing before a line or an object that goes on with JSON. All
# alternatives are disjoint and the closing quote is optional, so matching never steps back.
BODY = r'(?:[^"\\\n{]|\\[\s\S]|\n(?![ \t]{0,40}["{}\[\]`])|\{(?!\s{0,8}"\w{1,24}"\s{0,2}:))*'
QUOTED = r"(?:[^'\\\n]|\\.|'(?!\s{0,4}[,:}\]])){0,120}"  # Python's quotes; an apostrophe inside a word does not end them
TOKEN = re.compile(
    rf"""(?P<seg><seg>[^<]*(?:</seg>)?)|"(?P<string>{BODY})"?|(?<=[{{,:\[\s])'(?P<quoted>{QUOTED})'(?=\s{{0,4}}[,:}}\]])"""
    r"""|(?P<number>[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)|(?P<word>[^\W\d]\w*)|(?P<mark>[\[\]{}])"""
)
COLON = re.compile(r"\s{0,8}:")
NUMBERS_ONLY = re.compile(r"[-+\d.eE,;\s()\[\]]{1,200}")
NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")


@dataclass
class RawEntry:
    """What one object of the answer holds. boxes: as written; own_end: where its own text ends and a nested object begins."""

    start: int
    end: int = 0
    label: str | None = None
    boxes: list[list[float]] = field(default_factory=list)
    box_text: str | None = None  # a box that is no box, for the note
    empty_box: bool = False  # the box is written as null or []
    mask_start: int | None = None
    mask_value: str = ""
    seen: set[str] = field(default_factory=set)
    own_end: int | None = None
    outer_label: str | None = None  # label of the object around it
    inner: bool = False  # it stands inside an object that has its own box: an attribute unless it has a box too

    @property
    def has_box(self) -> bool:
        """A box is written, be it empty or unreadable."""
        return bool(self.boxes) or self.empty_box or self.box_text is not None

    @property
    def own_span(self) -> tuple[int, int]:
        return self.start, self.end if self.own_end is None else self.own_end


@dataclass(frozen=True)
class BareBox:
    """Four numbers in a list under no known key; label: the unknown key they stand under, or empty."""

    span: tuple[int, int]
    label: str
    box: list[float]


@dataclass(frozen=True)
class Scan:
    """entries in the order in which they begin; segs: spans of `<seg>` blocks outside of every entry; notes: what was cut."""

    entries: list[RawEntry]
    bare: list[BareBox]
    segs: list[tuple[int, int]]
    cut: int  # entries that were not closed


def scan(text: str, start: int = 0) -> Scan:
    """Read the marks of `text` once, from `start` to its end."""
    return _Scanner(text).run(start)


@dataclass
class _Numbers:
    """A list of numbers, or of lists of them, that is being read."""

    start: int
    kind: str
    name: str
    depth: int = 1
    group: list[float] = field(default_factory=list)
    groups: list[list[float]] = field(default_factory=list)  # the closed lists

    def close(self) -> None:
        self.depth -= 1
        if self.group:
            self.groups.append(self.group)
            self.group = []

    def boxes(self) -> list[list[float]]:
        """[a, b, c, d], a list of such, or two corners [[a, b], [c, d]]; anything else gives none."""
        if self.groups and all(len(group) == 4 for group in self.groups):
            return self.groups
        corners = len(self.groups) == 2 and all(len(group) == 2 for group in self.groups)
        return [self.groups[0] + self.groups[1]] if corners and self.kind == BOX else []


class _Scanner:
    def __init__(self, text: str) -> None:
        self.text = text
        self.open: list[RawEntry] = []
        self.done: list[RawEntry] = []
        self.bare: list[BareBox] = []
        self.segs: list[tuple[int, int]] = []
        self.cut = 0
        self.kind, self.name = "", ""  # the key whose value comes next
        self.numbers: _Numbers | None = None

    def run(self, start: int) -> Scan:
        read: dict[str, Callable[[re.Match[str]], None]] = {
            "seg": self._seg,
            "string": self._string,
            "quoted": self._string,
            "number": self._number,
            "word": self._word,
            "mark": self._mark,
        }
        for match in TOKEN.finditer(self.text, start):
            read[str(match.lastgroup)](match)
        self._break_numbers(len(self.text))
        while self.open:
            self._finish(len(self.text), whole=False)
        return Scan(sorted(self.done, key=lambda entry: entry.start), self.bare, self.segs, self.cut)

    def _seg(self, match: re.Match[str]) -> None:
        if self.open:
            self._value(match[0])
        else:
            self.segs.append(match.span())

    def _string(self, match: re.Match[str]) -> None:
        body = match[str(match.lastgroup)]
        if COLON.match(self.text, match.end()):
            self._key(_unescaped(body[:80]), match.start())
        elif self.numbers is not None and NUMBER.fullmatch(body.strip()):
            self.numbers.group.append(float(body))
        else:
            self._break_numbers(match.start())
            closed = match.end() > match.end(str(match.lastgroup))
            self._value(_unescaped(body if closed else body.rstrip(" ,}]")))

    def _number(self, match: re.Match[str]) -> None:
        if self.numbers is not None:
            self.numbers.group.append(float(match[0]))
        else:
            self._value(match[0])

    def _word(self, match: re.Match[str]) -> None:
        word = match[0].lower()
        if self.numbers is not None and word in NUMBER_WORDS:
            self.numbers.group.append(NUMBER_WORDS[word])
        elif self.open and COLON.match(self.text, match.end()):
            self._key(match[0][:80], match.start())
        else:
            self._break_numbers(match.start())
            if self.kind == BOX:
                self.open[-1].empty_box = word in EMPTY_WORDS
            self.kind = ""

    def _mark(self, match: re.Match[str]) -> None:
        position = match.start()
        if match[0] == "[":
            self._open_list(position)
        elif match[0] == "]":
            self._close_list(match.end())
        elif match[0] == "{":
            self._break_numbers(position)
            self._open_entry(position)
        else:
            self._break_numbers(position)
            if self.open:
                self._finish(match.end(), whole=True)

    def _open_list(self, position: int) -> None:
        if self.numbers is None:
            self.numbers = _Numbers(position, self.kind, self.name)
        else:
            self.numbers.depth += 1
            if self.numbers.group:  # a list after numbers in the same list: no box is written so
                self.numbers.groups.append(self.numbers.group)
                self.numbers.group = []

    def _close_list(self, end: int) -> None:
        if self.numbers is None:
            return
        self.numbers.close()
        if self.numbers.depth == 0:
            self._take(self.numbers, end)
            self.numbers, self.kind = None, ""

    def _break_numbers(self, position: int) -> None:
        """Something else stands where the list should go on: keep the lists in it that are whole."""
        if self.numbers is None:
            return
        if position < len(self.text):  # only the last number of the whole text may have been cut in two
            self.numbers.groups += [self.numbers.group] if self.numbers.group else []
        self._take(self.numbers, position)
        self.numbers = None

    def _take(self, numbers: _Numbers, end: int) -> None:
        boxes = numbers.boxes()
        if numbers.kind in ("", OTHER):
            label = numbers.name if numbers.kind == OTHER else ""
            self.bare += [BareBox((numbers.start, end), label, box) for box in boxes]
        elif numbers.kind == BOX:
            self._take_boxes(self.open[-1], numbers, boxes, end)

    def _take_boxes(self, entry: RawEntry, numbers: _Numbers, boxes: list[list[float]], end: int) -> None:
        entry.boxes += boxes
        if numbers.depth == 0 and not numbers.groups:
            entry.empty_box = True
        elif not boxes:
            entry.box_text = self.text[numbers.start : min(end, numbers.start + 60)]

    def _key(self, name: str, position: int) -> None:
        self._break_numbers(position)
        name = name.strip()
        kind = KINDS.get(name.lower().replace(" ", "_"), OTHER)
        if kind != OTHER:
            self._begin_or_continue(name, position)
            self.open[-1].seen.add(name)
        if kind == MASK:
            self.open[-1].mask_start = position
        self.kind, self.name = kind, name

    def _begin_or_continue(self, name: str, position: int) -> None:
        """The same key again begins another entry: braces were forgotten."""
        if self.open and name in self.open[-1].seen:
            self._finish(position, whole=True)
            self._open_entry(position)
        elif not self.open:
            self._open_entry(position)

    def _open_entry(self, position: int) -> None:
        if len(self.open) >= MAX_DEPTH:
            self._finish(position, whole=False)
        outer = self.open[-1] if self.open else None
        if outer is not None and outer.own_end is None:
            outer.own_end = position
        entry = RawEntry(position)
        if outer is not None:
            entry.outer_label, entry.inner = outer.label or outer.outer_label, bool(outer.boxes)
        self.open.append(entry)
        self.kind = ""

    def _finish(self, end: int, whole: bool) -> None:
        entry = self.open.pop()
        entry.end = end
        self.kind = ""
        if entry.seen:
            self.done.append(entry)
            self.cut += not whole

    def _value(self, value: str) -> None:
        entry = self.open[-1] if self.open else None
        if entry is not None and self.kind == LABEL and (entry.label is None or self.name.lower() == "label"):
            entry.label = value
        elif entry is not None and self.kind == MASK and not entry.mask_value:
            entry.mask_value = value
        elif entry is not None and self.kind == BOX:
            self._box_in_string(entry, value)
        self.kind = ""

    def _box_in_string(self, entry: RawEntry, value: str) -> None:
        numbers = [float(n) for n in NUMBER.findall(value)] if NUMBERS_ONLY.fullmatch(value) else []
        if len(numbers) == 4:
            entry.boxes.append(numbers)
        elif value.strip().lower() in EMPTY_WORDS or value.strip() in ("", "[]"):
            entry.empty_box = True
        else:
            entry.box_text = value[:60]


def _unescaped(body: str) -> str:
    """The body of a JSON string as it is meant; a damaged one with its quotes and backslashes put right."""
    if "\\" not in body:
        return body
    try:
        return json.loads(f'"{body}"', strict=False)
    except ValueError:
        return body.replace('\\"', '"').replace("\\\\", "\\")
