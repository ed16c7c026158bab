"""Referring expressions that are unambiguous in their scene, proven from its truth.

A phrase is a bag of words. An object matches strictly when every word is among its own words, and loosely when every word is
among its own, confusable ("mug" and "cup") or too vague to tell ("coffee"). The words of a red and white box hold "red". A
phrase is used only where both readings give the same objects, and as absent only where not even the loose one finds any.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from qwen_seg_ros.offline.sim.catalogue import CatalogueEntry, catalogue
from qwen_seg_ros.offline.sim.scene import ObjectRecord

KINDS = ("category", "colour_category", "name", "relation", "all", "several", "absent")
SIDE_MARGIN = 0.06  # share of the image's width by which box centres must differ
DISTANCE_MARGIN_M = 0.08

CONFUSABLE = [
    {"mug", "cup", "pitcher"}, {"pitcher", "jug"}, {"can", "cup"}, {"bowl", "cup", "ramekin", "dish"}, {"plate", "dish"},
    {"plate", "pan"}, {"pot", "pitcher", "pan", "maker"}, {"box", "carton", "package"}, {"block", "brick", "box"},
    {"book", "notebook", "novel"}, {"ketchup", "sauce"}, {"apple", "ball"}, {"orange", "ball"}, {"silver", "gray", "white"},
    {"black", "gray"}, {"orange", "yellow", "brown"}, {"orange", "red"}, {"brown", "red"}, {"pink", "red"}, {"purple", "blue"},
]
FILLERS = {"and", "of", "with", "a", "small", "tall", "flat", "object"}  # say nothing that tells one object from another
VAGUE = {"squeeze", "coffee", "plastic", "tin", "cleaning", "foam", "soda", "cola", "drink", "patterned"}  # may fit others
COLOUR_PARTS = {"yellow-green": ("yellow", "green")}
TEMPLATES = (
    "{}", "{}", "{}", "pick up {}", "grab {}", "grab {} please", "give me {}", "take {}", "find {}", "where is {}", "I need {}",
    "can you pass me {}", "please hand me {}", "get {}", "segment {}",
)
PLURALS = {"box": "boxes", "fruit": "fruits", "brick": "bricks"}
WITHOUT_PLURAL = {"bread"}
SUPERLATIVES = {
    "left": ("leftmost {}", "{} on the far left"), "right": ("rightmost {}", "{} on the far right"),
    "near": ("nearest {}", "{} closest to the camera"), "far": ("farthest {}", "{} farthest from the camera"),
}


@dataclass(frozen=True)
class Expression:
    """text: the instruction; kind: one of KINDS; phrases: each label with the ids it asks for, () = absent."""

    text: str
    kind: str
    phrases: tuple[tuple[str, tuple[int, ...]], ...]

    @property
    def target_ids(self) -> tuple[int, ...]:
        return tuple(i for _, ids in self.phrases for i in ids)


def expressions(objects: Sequence[ObjectRecord], width: int, rng: np.random.Generator) -> Iterator[Expression]:
    """Everything that can be said about these objects in an image of `width` pixels; wording drawn from `rng`."""
    scene = SceneWords(objects, width)
    single = list(scene.single())
    for kind, phrase, item in single:
        yield _say(kind, phrase, (item,), rng)
    for phrase, head, item in scene.relations([p for _, p, _ in single], rng):
        yield Expression(_word(phrase, rng), "relation", ((head, (item,)),))
    for words, phrase, ids in scene.groups(rng):
        yield Expression(_word(words, rng, article=False), "all", ((phrase, ids),))
    absent = scene.absent(rng)
    for phrase in absent:
        yield _say("absent", phrase, (), rng)
    yield from _several(single, absent, rng)


class SceneWords:
    """The words of the objects in one picture and what they pick out."""

    def __init__(self, objects: Sequence[ObjectRecord], width: int) -> None:
        self.objects, self.width = list(objects), width
        self.own = {o.id: own_words(o) for o in objects}
        self.loose = {i: confusable(words) for i, words in self.own.items()}

    def matches(self, phrase: str) -> tuple[int, ...] | None:
        """Ids the phrase means, () for surely none, None where readings differ."""
        words = set(phrase.split()) - FILLERS
        strict = tuple(i for i, own in self.own.items() if words <= own)
        loose = tuple(i for i, own in self.loose.items() if words - VAGUE <= own)
        return strict if strict == loose else None

    def single(self) -> Iterator[tuple[str, str, int]]:
        """(kind, phrase, id) of phrases that mean exactly one object."""
        for item in self.objects:
            options = [("category", item.category), ("colour_category", f"{colour_phrase(item)} {item.category}")]
            options += [("name", text) for text in (item.name, *item.aliases) if text != item.category]
            options += [("name", f"{colour_phrase(item)} {text}") for text in item.aliases]
            for kind, phrase in dict.fromkeys(options):
                if self.matches(phrase) == (item.id,):
                    yield kind, phrase, item.id

    def relations(self, anchors: list[str], rng: np.random.Generator) -> Iterator[tuple[str, str, int]]:
        """(phrase, label, id): the label leaves the relation out."""
        groups = {o.category for o in self.objects} | {f"{colour_phrase(o)} {o.category}" for o in self.objects} | {"object"}
        for phrase in sorted(groups):
            ids = self.matches(phrase)
            if ids and len(ids) > 1:
                yield from self._superlatives(phrase, ids, rng)
            if ids and anchors:
                yield from self._beside(phrase, ids, str(rng.choice(anchors)))

    def _superlatives(self, phrase: str, ids: tuple[int, ...], rng: np.random.Generator) -> Iterator[tuple[str, str, int]]:
        chosen = [o for o in self.objects if o.id in ids]
        for side, ways in SUPERLATIVES.items():
            key, margin = (self._side, SIDE_MARGIN) if side in ("left", "right") else (lambda o: o.distance_m, DISTANCE_MARGIN_M)
            order = sorted(chosen, key=key, reverse=side in ("right", "far"))
            if abs(key(order[0]) - key(order[1])) >= margin:
                of_two = [f"{{}} on the {side}"] if side in ("left", "right") and len(order) == 2 else []
                yield str(rng.choice([*ways, *of_two])).format(phrase), phrase, order[0].id

    def _beside(self, phrase: str, ids: tuple[int, ...], anchor: str) -> Iterator[tuple[str, str, int]]:
        """"the can left of the mug": one candidate clearly there, all others clearly not."""
        target = next(o for o in self.objects if (o.id,) == self.matches(anchor))
        others = [o for o in self.objects if o.id in ids and o.id != target.id]
        if phrase == "object" or not others or target.id in ids:
            return
        for word, sign in (("left", -1), ("right", 1)):
            gaps = {o.id: sign * (self._side(o) - self._side(target)) for o in others}
            there = [i for i, gap in gaps.items() if gap >= SIDE_MARGIN]
            if len(there) == 1 and all(abs(gap) >= SIDE_MARGIN for gap in gaps.values()):
                yield f"{phrase} {word} of the {anchor}", phrase, there[0]

    def _side(self, item: ObjectRecord) -> float:
        return (item.box_px[0] + item.box_px[2]) / 2 / self.width

    def groups(self, rng: np.random.Generator) -> Iterator[tuple[str, str, tuple[int, ...]]]:
        """(words, label, ids) of "all cans", "every red object"."""
        for category in sorted({o.category for o in self.objects} - WITHOUT_PLURAL):
            ids = self.matches(category)
            if ids and (len(ids) > 1 or rng.random() < 0.25):
                plural = PLURALS.get(category, category + "s")
                yield str(rng.choice([f"all {plural}", f"all the {plural}", f"every {category}"])), category, ids
        for colour in sorted({o.colour for o in self.objects if " " not in o.colour}):
            ids = self.matches(colour)
            if ids and len(ids) > 1 and all(o.colour == colour for o in self.objects if o.id in ids):
                yield str(rng.choice([f"all {colour} objects", f"every {colour} object"])), f"{colour} object", ids

    def absent(self, rng: np.random.Generator, count: int = 6) -> list[str]:
        """Right colour with the wrong category, right category with the wrong colour, and things that are not there at all."""
        here, everything, phrases = self.objects, catalogue(), []
        for _ in range(count if here else 0):
            one, other = everything[int(rng.integers(len(everything)))], here[int(rng.integers(len(here)))]
            options = (f"{colour_phrase(other)} {one.category}", f"{colour_phrase(one)} {other.category}", one.category, one.name)
            phrases.append(options[int(rng.choice(4, p=[0.3, 0.3, 0.2, 0.2]))])
        return [phrase for phrase in dict.fromkeys(phrases) if self.matches(phrase) == ()]


def own_words(item: ObjectRecord) -> set[str]:
    texts = (item.name, item.category, item.colour, *item.aliases)
    return {w for text in texts for w in text.replace(",", " ").split()} - FILLERS


def confusable(words: set[str]) -> set[str]:
    """The words themselves and all that somebody might call the same thing."""
    parts = {p for w in words for p in COLOUR_PARTS.get(w, ())}
    return words | parts | {other for group in CONFUSABLE if group & words for other in group}


def colour_phrase(item: ObjectRecord | CatalogueEntry) -> str:
    return item.colour.replace(",", "")


def _word(phrase: str, rng: np.random.Generator, article: bool = True) -> str:
    templates = TEMPLATES if article else [t for t in TEMPLATES if "where is" not in t]
    return str(rng.choice(templates)).format(f"the {phrase}" if article else phrase)


def _say(kind: str, phrase: str, ids: tuple[int, ...], rng: np.random.Generator) -> Expression:
    bare = rng.random() < 0.15
    return Expression(phrase if bare else _word(phrase, rng), kind, ((phrase, ids),))


def _several(single: list[tuple[str, str, int]], absent: list[str], rng: np.random.Generator) -> Iterator[Expression]:
    """Two or three phrases in one instruction, sometimes one of them without a target."""
    by_item: dict[int, list[str]] = {}
    for _, phrase, item in single:
        by_item.setdefault(item, []).append(phrase)
    for _ in range(3 if len(by_item) > 1 else 0):
        items = rng.permutation(list(by_item))[: 2 + (rng.random() < 0.3)]
        picks: list[tuple[str, tuple[int, ...]]] = [(str(rng.choice(by_item[item])), (int(item),)) for item in items]
        if absent and rng.random() < 0.3:
            picks[int(rng.integers(len(picks)))] = (str(rng.choice(absent)), ())
        texts = [f"the {phrase}" for phrase, _ in picks]
        joined = ", ".join(texts[:-1]) + (" and " if rng.random() < 0.7 else ", ") + texts[-1]
        yield Expression(_word(joined, rng, article=False), "several", tuple(picks))
