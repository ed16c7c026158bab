"""What things are for and what parts they have, as something to ask for: "something to drink from", "the thing with a handle".

The tables hold categories and whole names; what stands in neither and is of a known category surely does not fit. With a thing
that people would argue about in view, nothing is said.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from qwen_seg_ros.offline.data.affordances import serves
from qwen_seg_ros.offline.data.scene_words import SceneWords
from qwen_seg_ros.offline.data.templates import Wording
from qwen_seg_ros.offline.sim.more_objects import all_objects
from qwen_seg_ros.offline.sim.scene import ObjectRecord


@dataclass(frozen=True)
class Use:
    """wording: phrases with their article; fits, unsure: categories or names, a name goes before its category."""

    wording: Wording
    fits: frozenset[str]
    unsure: frozenset[str] = frozenset()

    def holds(self, item: ObjectRecord) -> bool | None:
        return serves(item, self.fits, self.unsure, known_categories())


@lru_cache(maxsize=1)
def known_categories() -> frozenset[str]:
    return frozenset(entry.category for entry in all_objects())


def _words(text: str) -> frozenset[str]:
    return frozenset(w.strip() for w in text.split(",")) - {""}


# fmt: off
USES = (
    Use(Wording(("something to drink from", "the thing to drink from", "the thing I can drink out of"),
                ("a vessel for drinking", "something I could sip from")),
        _words("mug, cup"), _words("bowl, pitcher, bottle, can, carton, pot, ramekin, tube")),
    Use(Wording(("something to cut with", "the thing to cut with", "the cutting tool"),
                ("an implement for cutting", "what one cuts with")),
        _words("scissors, knife"), _words("spatula, fork")),
    Use(Wording(("something to eat from", "the thing to eat from", "something I can eat my meal from"),
                ("a piece of crockery for a meal", "what I could eat off")),
        _words("plate, bowl"), _words("pan, cup, mug, pot, tray, box, carton, can, ramekin, basket, crate, disc")),
    Use(Wording(("something to hit a nail with", "the thing to hammer with", "the tool for nails"),
                ("an implement for driving nails", "what one pounds nails with")),
        _words("hammer"), _words("block, brick, wrench, clamp, power drill, cylinder")),
    Use(Wording(("something to turn screws with", "the thing to turn screws with", "the tool for screws"),
                ("an implement for driving screws", "what one turns screws with")),
        _words("screwdriver, power drill"), _words("scissors, knife, wrench, spatula, clamp")),
    Use(Wording(("something to wash the dishes with", "the thing to wipe with", "something to scrub with"),
                ("a thing for scrubbing", "what one wipes the sink with")),
        _words("sponge"), _words("brick, block, bleach bottle, bottle")),
    Use(Wording(("something to read", "the thing to read", "the thing with pages"),
                ("a thing for reading", "what one reads")),
        _words("book"), _words("box")),
    Use(Wording(("something to fry with", "the thing to fry eggs in", "something to fry an egg in"),
                ("a vessel for frying", "what one fries in")),
        _words("pan"), _words("spatula")),
    Use(Wording(("something to play ball with", "the thing to throw and catch", "something to play catch with"),
                ("a thing for throwing and catching", "what a dog would chase")),
        _words("ball"), _words("fruit, toy, ring, disc")),
    Use(Wording(("some fruit", "a piece of fruit", "something fresh to eat"),
                ("a healthy snack", "something that grows on trees")),
        _words("fruit"), _words("bread, carton")),
    Use(Wording(("something to make coffee with", "the thing to make coffee with", "the thing for making espresso"),
                ("an implement for brewing coffee", "what one brews coffee in")),
        _words("moka pot"), _words("pitcher, mug, cup")),
    Use(Wording(("something to pour water from", "the thing to pour water from", "the thing for serving water"),
                ("a vessel for pouring water", "what one fills the glasses from")),
        _words("pitcher"), _words("bottle, carton, mug, cup, pot, can, bowl, ramekin")),
    Use(Wording(("something to put flowers in", "the thing to put flowers in"), ("a vessel for flowers",)),
        _words("vase"), _words("pitcher, mug, cup, bottle, pot, can, bowl, carton, basket, ramekin, crate, tube, cylinder, box")),
    Use(Wording(("the thing with a handle", "something with a handle", "the object that has a handle"),
                ("an object one can hold by its handle", "the handled object")),
        _words("mug, pan, hammer, screwdriver, power drill, pitcher, moka pot, knife, spatula"),
        _words("cup, pot, tool, bottle, basket, crate, tray, fork, spoon, lock, box, arch")),
    Use(Wording(("the thing with a cap", "something with a cap", "the thing with a screw cap"),
                ("an object that has a cap", "a thing closed by a cap")),
        _words("ketchup bottle, green ketchup bottle, mustard bottle, bbq sauce bottle, green sauce bottle, bleach bottle"),
        _words("bottle, carton, pen, pot")),
    Use(Wording(("something to write with", "the thing to write with", "something to draw a line with"),
                ("a writing implement", "what one writes with")),
        _words("pen")),
    Use(Wording(("something to eat soup with", "the thing to eat soup with", "something to stir tea with"),
                ("an implement for stirring", "what one eats porridge with")),
        _words("spoon"), _words("fork, knife, spatula, pen, screwdriver")),
    Use(Wording(("something to flip pancakes with", "the thing to flip pancakes with"),
                ("an implement for turning pancakes", "what one turns a fried egg with")),
        _words("spatula"), _words("fork, knife, spoon, pan")),
    Use(Wording(("something to lock a gate with", "the thing to lock a gate with"),
                ("a thing for locking a door", "what keeps a gate shut")),
        _words("lock"), _words("chain, clamp")),
    Use(Wording(("the thing with blades", "something with blades", "the thing with two blades"),
                ("an object that has blades", "a thing whose blades cut")),
        _words("scissors"), _words("knife, toy")),
)
# fmt: on


def asked_uses(words: SceneWords, wording: str) -> Iterator[tuple[tuple[str, ...], list[ObjectRecord]]]:
    """(phrases to draw from, objects that fit, perhaps none) of every use that can be decided in this picture."""
    for use in USES:
        meaning = words.verdicts([use.holds(item) for item in words.objects])
        if meaning.proven:
            yield use.wording.of(wording), words.items(meaning)


def use_phrases(wording: str) -> tuple[str, ...]:
    """Everything that is asked for by its use or its parts."""
    return tuple(text for use in USES for text in use.wording.of(wording))
