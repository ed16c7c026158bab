"""The words of the objects in one picture and what they pick out.

A phrase is a bag of words. An object matches strictly when every word is among its own words, and loosely when every word is
among its own, confusable ("mug" and "cup") or too vague to tell ("coffee"). The words of a red and white box hold "red". What
can hardly be seen fits in no strict reading, so every phrase that could mean it is ambiguous.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property

import numpy as np

from qwen_seg_ros.offline.data.lexicon import (
    ALIKE_MATERIALS,
    ALIKE_SHAPES,
    COLOURS,
    FILLERS,
    MATERIALS_OF,
    NEVER_SAID,
    STUFF,
    VAGUE,
    WITHOUT_PLURAL,
    alike,
    colour_phrase,
    confusable,
    material_of,
    own_words,
    plural_of,
    shape_of,
)
from qwen_seg_ros.offline.data.meaning import Meaning, meaning_of
from qwen_seg_ros.offline.sim.catalogue import CatalogueEntry
from qwen_seg_ros.offline.sim.more_objects import pool_objects
from qwen_seg_ros.offline.sim.scene import ObjectRecord

MIN_PIXELS = 80
MIN_VISIBLE = 0.3
MOST_COLOURS = 2  # "red green and white can" is not said


class SceneWords:
    """objects: everything in the picture; doubtful: those of them that must neither be spoken of nor called absent. What has
    few pixels or is mostly hidden is doubtful anyhow."""

    def __init__(self, objects: Sequence[ObjectRecord], width: int, doubtful: Sequence[ObjectRecord] = ()) -> None:
        unclear = {o.id for o in doubtful}
        self.objects, self.width = [*(o for o in objects if o.id not in unclear), *doubtful], width
        self.own = {o.id: own_words(o) for o in self.objects}
        self.loose = {i: confusable(words) for i, words in self.own.items()}
        self.clear = [o.id not in unclear and clearly_seen(o) for o in self.objects]
        self.place = {o.id: n for n, o in enumerate(self.objects)}
        self._known: dict[str, Meaning] = {}

    def matches(self, phrase: str) -> tuple[int, ...] | None:
        """Ids the phrase means, () for surely none, None where readings differ."""
        meaning = self.meaning(phrase)
        return self.ids(meaning) if meaning.proven else None

    def meaning(self, phrase: str) -> Meaning:
        """Of a phrase of nouns and colours."""
        if phrase not in self._known:
            self._known[phrase] = self._read(set(phrase.replace(",", " ").split()) - FILLERS)
        return self._known[phrase]

    def _read(self, words: set[str]) -> Meaning:
        strict = (words <= own for own in self.own.values())
        loose = (words - VAGUE <= own for own in self.loose.values())
        return self.verdicts([True if s else None if m else False for s, m in zip(strict, loose, strict=True)])

    def verdicts(self, verdicts: Sequence[bool | None]) -> Meaning:
        """One an object; nothing is sure about what can hardly be seen."""
        return meaning_of(v if clear or v is False else None for v, clear in zip(verdicts, self.clear, strict=True))

    def ids(self, meaning: Meaning) -> tuple[int, ...]:
        return tuple(o.id for n, o in enumerate(self.objects) if meaning.sure >> n & 1)

    def items(self, meaning: Meaning) -> list[ObjectRecord]:
        return [o for n, o in enumerate(self.objects) if meaning.sure >> n & 1]

    @cached_property
    def spoken(self) -> list[ObjectRecord]:
        """What may be spoken of."""
        return [o for o, clear in zip(self.objects, self.clear, strict=True) if clear]

    @cached_property
    def nouns(self) -> list[str]:
        """What kinds of things are here: categories, also with a colour that is all of theirs, and "object"."""
        plain = {o.category for o in self.spoken}
        coloured = {f"{colour_phrase(o)} {o.category}": o.colour for o in self.spoken if sayable_colour(o)}
        fair = {noun for noun, colour in coloured.items() if all(o.colour == colour for o in self.items(self.meaning(noun)))}
        return [*sorted(plain | fair), "object"] if self.spoken else []

    @cached_property
    def singles(self) -> list[tuple[str, str, int]]:
        return list(self.single())

    @cached_property
    def names(self) -> dict[int, list[str]]:
        """By object the phrases that mean it and no other."""
        found: dict[int, list[str]] = {}
        for _, phrase, item in self.singles:
            found.setdefault(item, []).append(phrase)
        return found

    def single(self) -> Iterator[tuple[str, str, int]]:
        """(kind, phrase, id) of phrases that mean exactly one object."""
        for item in self.objects:
            for kind, phrase in dict.fromkeys(_ways_to_name(item)):
                if self.matches(phrase) == (item.id,):
                    yield kind, phrase, item.id

    def material(self, word: str) -> Meaning:
        """Of "wooden" and the like; nothing is known of records without a material."""
        said = [_says(material_of(o), word, self.own[o.id], ALIKE_MATERIALS) for o in self.objects]
        return self.verdicts(
            [None if s is None and may_be_of(o, word) else s or False for o, s in zip(self.objects, said, strict=True)]
        )

    def shape(self, word: str) -> Meaning:
        return self.verdicts([_says(shape_of(o), word, self.own[o.id], ALIKE_SHAPES) for o in self.objects])

    def colour(self, word: str) -> Meaning:
        return self.meaning(word)

    def lying(self) -> Meaning:
        return self.verdicts([o.lying for o in self.objects])

    def groups(self, rng: np.random.Generator) -> Iterator[tuple[str, str, tuple[int, ...]]]:
        """(plural words, label, ids) of several cans or red objects, now and then of one."""
        for category in sorted({o.category for o in self.spoken} - WITHOUT_PLURAL):
            ids = self.matches(category)
            if ids and (len(ids) > 1 or rng.random() < 0.25):
                yield plural_of(category), category, ids
        for colour in sorted({o.colour for o in self.spoken if " " not in o.colour}):
            ids = self.matches(colour)
            if ids and len(ids) > 1 and all(o.colour == colour for o in self.objects if o.id in ids):
                yield f"{colour} objects", f"{colour} object", ids

    def absent(self, rng: np.random.Generator, count: int = 6) -> list[str]:
        """Right colour with the wrong category, right category with the wrong colour, and things that are not there at all."""
        here, everything, phrases = self.objects, pool_objects("train"), []
        for _ in range(count if here else 0):
            one = in_a_colour(everything[int(rng.integers(len(everything)))], rng)
            other = here[int(rng.integers(len(here)))]
            options = (f"{colour_phrase(other)} {one.category}", f"{colour_phrase(one)} {other.category}", one.category, one.name)
            choice = int(np.searchsorted((0.3, 0.6, 0.8), rng.random()))
            if choice > 1 or sayable_colour((other, one)[choice]):
                phrases.append(options[choice])
        return [phrase for phrase in dict.fromkeys(phrases) if self.matches(phrase) == ()]


def in_a_colour(entry: CatalogueEntry, rng: np.random.Generator) -> CatalogueEntry:
    """The entry in one of the colours it comes in, with that before its name."""
    if not entry.colours:
        return entry
    colour = entry.colours[int(rng.integers(len(entry.colours)))]
    return replace(entry, colour=colour, name=f"{colour} {entry.name}")


def may_be_of(item: ObjectRecord, material: str) -> bool:
    """A known material is taken for one like it; an unknown one may be any that goes with the thing."""
    return bool(item.material) or material in MATERIALS_OF.get(item.category, (material,))


def clearly_seen(item: ObjectRecord) -> bool:
    return item.pixels >= MIN_PIXELS and item.visible >= MIN_VISIBLE


def sayable_colour(item: ObjectRecord | CatalogueEntry) -> bool:
    return len(set(colour_phrase(item).split()) - FILLERS) <= MOST_COLOURS


def plain_colour(item: ObjectRecord) -> bool:
    """One colour alone, and no other in its name, so that it is "the red one"."""
    return item.colour in COLOURS and set(item.name.split()) & COLOURS <= {item.colour}


def _ways_to_name(item: ObjectRecord) -> list[tuple[str, str]]:
    """(kind, phrase), the same phrase perhaps twice."""
    others = [text for text in (item.name, *item.aliases) if text != item.category and text not in NEVER_SAID]
    options = [("category", item.category), *(("name", text) for text in others)]
    if sayable_colour(item):
        things = [text for text in item.aliases if text.split()[-1] not in STUFF]
        options.append(("colour_category", f"{colour_phrase(item)} {item.category}"))
        options += [("name", f"{colour_phrase(item)} {text}") for text in things]
    return options


def _says(known: str, word: str, own: set[str], alike_groups: list[set[str]]) -> bool | None:
    if known == word or word in own:
        return True
    return None if not known or alike(known, word, alike_groups) else False
