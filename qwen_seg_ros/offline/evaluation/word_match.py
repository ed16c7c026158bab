"""The objects whose true words hold the words of an instruction: how far names alone lead, without eyes and without sense.

An upper bound of naming: it knows the true name, colour and category of everything in view, but nothing of places, sizes,
purposes and order, and takes words it has never read on any object for no words at all.
"""

import re
from collections.abc import Sequence
from functools import lru_cache

from qwen_seg_ros.offline.sim.catalogue import catalogue
from qwen_seg_ros.offline.sim.scene import ObjectRecord

CARRIER = re.compile(r"\b(can|could|would|will|may|might) (you|i|we|one|somebody|someone)\b|\b(you|i|we|that) (can|will)\b")
PLACES = (
    *("left of", "right of", "next to", "in front of", "in back of", "on top of", "near", "beside", "alongside", "behind", "on"),
    *("under", "inside", "above", "below", "just", "located", "to be found", "you can see", "that you see", "that is", "than"),
    *("apart from", "other than", "except"),
)
ANCHOR = re.compile(rf"\b({'|'.join(PLACES)})\b.*|\bto the \S+( \S+)*'s (left|right)\b.*")  # what follows is said of others
EVERYTHING = re.compile(r"\b(everything|anything|whatever|objects|things|items)\b")
NO_WORDS = frozenset({"and", "of", "with", "a", "the", "object", "small", "tall", "flat", "large"})  # of sizes it knows nothing
PHRASES = re.compile(r",| and | or | plus | as well as |;")


def named_by_words(instruction: str, objects: Sequence[ObjectRecord]) -> list[ObjectRecord]:
    """In the order of `objects`; each phrase of the instruction adds the objects that hold all of its known words."""
    own = {item.id: true_words(item) for item in objects}
    known = vocabulary() | set().union(*own.values())
    colours = _split(*(item.colour for item in objects)) | colour_words()
    text = CARRIER.sub(" ", instruction.lower())
    groups = _phrases(text, known - NO_WORDS, colours)
    if not groups and EVERYTHING.search(text):
        return list(objects)
    return [item for item in objects if any(words <= own[item.id] for words in groups)]


def true_words(item: ObjectRecord) -> set[str]:
    return _split(item.name, item.category, item.colour, item.shape, item.material, *item.aliases) - NO_WORDS


def _split(*texts: str) -> set[str]:
    return {word for text in texts for word in text.lower().replace(",", " ").split()}


def _phrases(text: str, known: set[str], colours: set[str]) -> list[set[str]]:
    """Known words of each phrase; a phrase of colours only belongs to the one after it, as in "red and white box"."""
    groups, carried = [], set[str]()
    for part in PHRASES.split(text):
        words = _known_words(ANCHOR.sub("", part), known) | carried
        carried = set()
        if words and words <= colours - {"orange"}:
            carried = words
        elif words:
            groups.append(words)
    return [*groups, carried] if carried else groups


def _known_words(text: str, known: set[str]) -> set[str]:
    tokens = [part for word in re.findall(r"[\w-]+", text) for part in ([word] if word in known else word.split("-"))]
    forms = (next((form for form in _forms(token) if form in known), None) for token in tokens)
    return {form for form in forms if form}


def _forms(word: str) -> tuple[str, ...]:
    """The word itself and what it may be the plural of."""
    return (word, word.removesuffix("s"), word.removesuffix("es"), re.sub("ies$", "y", word))


@lru_cache(maxsize=1)
def vocabulary() -> frozenset[str]:
    """Every word of the catalogue."""
    return frozenset(_split(*(text for e in catalogue() for text in (e.name, e.category, e.colour, *e.aliases))))


@lru_cache(maxsize=1)
def colour_words() -> frozenset[str]:
    return frozenset(_split(*(entry.colour for entry in catalogue())) - {"and"})
