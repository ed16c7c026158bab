"""Questions that are answered in plain words, with true answers from the scene: they keep a model's general answers alive.

Nothing ambiguous is asked: a phrase must mean the same objects in the strict and in the loose reading (see expressions), and
no object of which only a sliver or a copy is seen may be among them.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise, permutations

import numpy as np

from qwen_seg_ros.offline.data.expressions import (
    DISTANCE_MARGIN_M,
    PLURALS,
    SIDE_MARGIN,
    WITHOUT_PLURAL,
    SceneWords,
    colour_phrase,
)
from qwen_seg_ros.offline.sim.catalogue import catalogue
from qwen_seg_ros.offline.sim.scene import ObjectRecord

KINDS = (
    *("count", "count_all", "colour", "is_colour", "present", "absent"),
    *("side", "beside", "nearer", "leftmost", "names", "description"),
)
NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
PARTITIVES = {"scissors": "pair", "bread": "loaf"}  # nouns without "a"
CATEGORIES = sorted({entry.category for entry in catalogue()})
COLOURS = sorted({word for entry in catalogue() for word in entry.colour.replace(",", "").split()} - {"and"})

HOW_MANY = ("How many {} are there?", "How many {} are on the table?", "How many {} can you see?", "Count the {}.")
JUST_A_NUMBER = "How many {} are there? Answer with a number only."
WHAT_COLOUR = (
    "What colour is the {}?",
    "What color is the {}?",
    "Which colour does the {} have?",
    "Tell me the colour of the {}.",
)
IS_THERE = ("Is there {} on the table?", "Is there {} in the picture?", "Can you see {}?", "Do you see {} here?")
WHICH_SIDE = (
    "Is the {} left or right of the {}?",
    "On which side of the {1} is the {0}?",
    "In the picture, is the {} left or right of the {}?",
)
WHAT_IS_BESIDE = ("What is {1} of the {0}?", "Which objects are {1} of the {0}?", "Name what is {1} of the {0}.")
WHICH_IS_NEARER = ("Which is closer to the camera, the {} or the {}?", "What is nearer, the {} or the {}?")
WHAT_IS_LEFTMOST = ("What is the {}most object?", "Which object is on the far {}?", "What stands on the far {}?")
NAME_ALL = (
    "Name the objects on the table.",
    "What is on the table?",
    "List everything on the table.",
    "Which objects do you see?",
)
DESCRIBE = ("Describe the picture.", "Describe the scene.", "What does the picture show?", "Tell me about the picture.")
SHARE_SHORT = 0.2


@dataclass(frozen=True)
class PlainQuestion:
    """text: what is asked; answer: in words, no masks; kind: one of KINDS, or "user"."""

    text: str
    answer: str
    kind: str = "user"


def plain_questions(
    objects: Sequence[ObjectRecord], width: int, rng: np.random.Generator, doubtful: Sequence[ObjectRecord] = ()
) -> Iterator[PlainQuestion]:
    """Everything that can be asked about these objects in an image of `width` pixels; wording drawn from `rng`.

    doubtful: things of which only a sliver or a copy may be seen.
    """
    scene = _Scene(objects, width, rng, doubtful)
    yield from scene.counts()
    yield from scene.colours()
    yield from scene.presence()
    yield from scene.pairs()
    if scene.clear and not doubtful:
        yield from scene.beside()
        yield from scene.wholes()


class _Scene:
    """One picture, asked about. clear: its objects without the doubtful ones, from left to right."""

    def __init__(
        self, objects: Sequence[ObjectRecord], width: int, rng: np.random.Generator, doubtful: Sequence[ObjectRecord]
    ) -> None:
        self.rng, self.width = rng, width
        unclear = {o.id for o in doubtful}
        self.clear = sorted((o for o in objects if o.id not in unclear), key=self._side)
        self.by_id = {o.id: o for o in self.clear}
        self.words = SceneWords([*self.clear, *doubtful], width)
        self.phrases: dict[int, list[str]] = {}  # that mean this object and no other
        for _, phrase, item in self.words.single():
            self.phrases.setdefault(item, []).append(phrase)

    def counts(self) -> Iterator[PlainQuestion]:
        here = {o.category for o in self.clear}
        for category in sorted(here | {self._one_of(CATEGORIES)}):
            for phrase in (category, *(f"{colour} {category}" for colour in self._colours_of(category))):
                found = self._meant(phrase)
                if found is not None and category not in WITHOUT_PLURAL and all(o.category == category for o in found):
                    yield self._count(phrase, len(found))

    def colours(self) -> Iterator[PlainQuestion]:
        for item in self.clear:
            phrases = [p for p in self.phrases.get(item.id, ()) if not set(COLOURS) & set(p.split())]
            if not phrases:
                continue
            phrase = self._one_of(phrases)
            full = f"the {spoken(phrase)} is {item.colour}"
            yield self._ask("colour", self._one_of(WHAT_COLOUR).format(spoken(phrase)), full, item.colour)
            if " " not in item.colour:
                yield self._ask("is_colour", f"Is the {spoken(phrase)} {item.colour}?", f"yes, {full}", "yes")
            other = self._one_of(COLOURS)
            if self.words.matches(f"{other} {item.category}") == ():
                yield self._ask("is_colour", f"Is the {spoken(phrase)} {other}?", f"no, {full}", "no")

    def presence(self) -> Iterator[PlainQuestion]:
        kinds = {p for o in self.clear for p in (o.category, f"{colour_phrase(o)} {o.category}")} - WITHOUT_PLURAL
        for phrase in sorted(kinds | {o.name for o in self.clear}):
            found = self._meant(phrase)
            if found and (len(found) == 1 or phrase in kinds):
                yield self._is_there("present", phrase, f"yes, {there_are(len(found), phrase)}", "yes")
        for phrase in self.words.absent(self.rng):
            yield self._is_there("absent", phrase, f"no, there is no {spoken(phrase)}", "no")

    def pairs(self) -> Iterator[PlainQuestion]:
        """Two objects by phrases that mean nothing else: which side, which is nearer."""
        for one, other in permutations((o for o in self.clear if o.id in self.phrases), 2):
            first, second = spoken(self._one_of(self.phrases[one.id])), spoken(self._one_of(self.phrases[other.id]))
            gap = self._side(one) - self._side(other)
            if abs(gap) >= SIDE_MARGIN:
                side = "left" if gap < 0 else "right"
                text = self._one_of(WHICH_SIDE).format(first, second)
                yield self._ask("side", text, f"the {first} is {side} of the {second}", side)
            if other.distance_m - one.distance_m >= DISTANCE_MARGIN_M:
                order = (first, second) if self.rng.random() < 0.5 else (second, first)
                text = self._one_of(WHICH_IS_NEARER).format(*order)
                yield self._ask("nearer", text, f"the {first} is closer to the camera", f"the {first}")

    def beside(self) -> Iterator[PlainQuestion]:
        """All that is left or right of one thing, when every other thing clearly is on one side."""
        if any(o.id not in self.phrases for o in self.clear):
            return
        for item in self.clear:
            gaps = [(o, self._side(o) - self._side(item)) for o in self.clear if o is not item]
            if not gaps or min(abs(gap) for _, gap in gaps) < SIDE_MARGIN:
                continue
            side, sign = (("left", -1), ("right", 1))[int(self.rng.integers(2))]
            there = [f"the {spoken(self._one_of(self.phrases[o.id]))}" for o, gap in gaps if gap * sign > 0]
            target = spoken(self._one_of(self.phrases[item.id]))
            found, verb = listed(there) or "nothing", "are" if len(there) > 1 else "is"
            text = self._one_of(WHAT_IS_BESIDE).format(target, side)
            yield self._ask("beside", text, f"{found} {verb} {side} of the {target}", found)

    def wholes(self) -> Iterator[PlainQuestion]:
        """About all that is in the picture."""
        yield self._count("object", len(self.clear), "count_all")
        names = [spoken(o.name) for o in self.clear]
        if len(set(names)) < len(names):
            return
        ends = [f"the {names[0]} is on the far left", f"the {names[-1]} is on the far right"] if self._clear_ends() else []
        for side, name in zip(("left", "right") if ends else (), (names[0], names[-1]), strict=False):
            text = self._one_of(WHAT_IS_LEFTMOST).format(side)
            yield self._ask("leftmost", text, f"the {side}most object is the {name}", f"the {name}")
        everything = listed([a(name) for name in names])
        yield self._ask("names", self._one_of(NAME_ALL), f"I see {everything}", everything)
        full = f"{everything} {'stand' if len(names) > 1 else 'stands'} on a table"
        described = ". ".join(sentence(text).rstrip(".") for text in [full, *([" and ".join(ends)] if ends else [])])
        yield PlainQuestion(self._one_of(DESCRIBE), f"{described}.", "description")

    def _clear_ends(self) -> bool:
        """The outermost objects stand clear of their neighbours."""
        gaps = [self._side(right) - self._side(left) for left, right in pairwise(self.clear)]
        return bool(gaps) and min(gaps[0], gaps[-1]) >= SIDE_MARGIN

    def _meant(self, phrase: str) -> list[ObjectRecord] | None:
        """The objects of a phrase, [] for surely none, None where it cannot be told."""
        ids = self.words.matches(phrase)
        return None if ids is None or not set(ids) <= self.by_id.keys() else [self.by_id[i] for i in ids]

    def _colours_of(self, category: str) -> list[str]:
        """Colours under which things of this category can be counted: all have one plain colour."""
        colours = {o.colour for o in self.clear if o.category == category}
        return sorted(colours) if all(" " not in colour for colour in colours) else []

    def _side(self, item: ObjectRecord) -> float:
        return (item.box_px[0] + item.box_px[2]) / 2 / self.width

    def _count(self, phrase: str, count: int, kind: str = "count") -> PlainQuestion:
        if self.rng.random() < SHARE_SHORT:
            return PlainQuestion(JUST_A_NUMBER.format(plural(phrase)), str(count), kind)
        return PlainQuestion(self._one_of(HOW_MANY).format(plural(phrase)), sentence(there_are(count, phrase)), kind)

    def _is_there(self, kind: str, phrase: str, full: str, short: str) -> PlainQuestion:
        return self._ask(kind, self._one_of(IS_THERE).format(a(spoken(phrase))), full, short)

    def _ask(self, kind: str, text: str, full: str, short: str) -> PlainQuestion:
        """Mostly answered by a sentence; where a short answer is wanted, the question says so."""
        if self.rng.random() < SHARE_SHORT:
            return PlainQuestion(f"{text} Answer briefly.", sentence(short), kind)
        return PlainQuestion(text, sentence(full), kind)

    def _one_of(self, options: Sequence[str]) -> str:
        return options[int(self.rng.integers(len(options)))]


def spoken(phrase: str) -> str:
    """A phrase that can follow an article: "scissors" -> "pair of scissors"."""
    part = PARTITIVES.get(phrase.split()[-1])
    return phrase if part is None or " of " in phrase else f"{part} of {phrase}"


def a(noun: str) -> str:
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def plural(noun: str) -> str:
    *before, head = noun.split()
    return " ".join([*before, PLURALS.get(head, f"{head}s")])


def there_are(count: int, phrase: str) -> str:
    number = NUMBERS[count] if count < len(NUMBERS) else str(count)
    return f"there is one {spoken(phrase)}" if count == 1 else f"there are {number} {plural(phrase)}"


def listed(parts: Sequence[str]) -> str:
    """ "a, b and c"; "" for none."""
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)


def sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."
