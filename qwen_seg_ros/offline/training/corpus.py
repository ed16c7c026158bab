"""Texts the small tokenizer is trained on: instructions about random scenes plus plain words for what may be asked later."""

import re
from collections.abc import Iterator

import numpy as np

from qwen_seg_ros.offline.data.expressions import expressions
from qwen_seg_ros.offline.data.lexicon import MATERIALS, SHAPES
from qwen_seg_ros.offline.data.scene_words import in_a_colour
from qwen_seg_ros.offline.data.templates import templates
from qwen_seg_ros.offline.data.uses import use_phrases
from qwen_seg_ros.offline.sim.catalogue import CatalogueEntry
from qwen_seg_ros.offline.sim.more_objects import all_objects
from qwen_seg_ros.offline.sim.scene import ObjectRecord

EVERYDAY_TEXT = """
something to drink from eat with cut open hold write sit on top under behind in front between next near above below beside
first second third last biggest smallest largest tallest shortest round square flat long small big large tall short empty full
wooden metal plastic glass ceramic paper soft hard shiny dark light left right middle center edge corner table cup glass knife
fork spoon spatula whisk ladle tongs pen pencil marker phone remote mouse keyboard toy car robot lego duck bear tape glue
stapler wrench pliers clamp drill nail screw bolt lock key wallet watch hat shoe sock towel cloth brush soap shampoo
toothbrush paste jar lid tray basket bag packet wrapper tin container pot kettle teapot vase candle lamp clock battery charger
cable headphones camera onion potato carrot tomato cucumber pepper lemon lime peach plum strawberry grape melon egg cheese
butter meat fish rice pasta flour sugar salt oil vinegar honey jam chocolate candy chips crackers cereal yoghurt water tea
coffee beer wine cola thing things object objects item items one ones both every each any other another not no none without
please could would you me my the a an and or of to for with that which is are it its there here this these those bring put
move place pick hand show point detect locate
"""


def corpus(scenes: int = 1500, seed: int = 0) -> Iterator[str]:
    """Deterministic. Scenes are made up from the catalogue; nothing is rendered. Of the wording of tests only words are in."""
    rng = np.random.default_rng(seed)
    entries = all_objects()
    for _ in range(scenes):
        picked = rng.choice(len(entries), int(rng.integers(2, 7)), replace=False)
        objects = [_anywhere(n + 1, in_a_colour(entries[i], rng), rng) for n, i in enumerate(picked)]
        for item in expressions(objects, 320, rng):
            yield item.text
            yield from (label for label, _ in item.phrases)
    for word in (*EVERYDAY_TEXT.split(), *_words_of_tests()):
        yield from (word, f" {word}") * 3
    yield from (*templates("train"), *use_phrases("train"))


def _words_of_tests() -> list[str]:
    """Each once, in a fixed order."""
    text = " ".join((*templates("test"), *use_phrases("test"), *MATERIALS.values(), *SHAPES.values()))
    return sorted(set(re.findall(r"[a-z]+", re.sub(r"{\w*}", " ", text.lower()))))


def _anywhere(number: int, entry: CatalogueEntry, rng: np.random.Generator) -> ObjectRecord:
    """Sizes, places and what it stands on are drawn freely: only the words count."""
    x, y = rng.integers(0, 280), rng.integers(0, 200)
    box = (int(x), int(y), int(x) + 40, int(y) + 40)
    at, size = rng.uniform((-0.3, -0.3, 0.02), (0.3, 0.3, 0.1)), rng.uniform(0.04, 0.3, 3)
    words = (entry.key, entry.name, entry.colour, entry.category, entry.aliases)
    return ObjectRecord(
        number,
        *words,
        box,
        900,
        tuple(at.tolist()),
        (float(size[:2].max()), float(size[:2].min()), float(size[2])),
        float(rng.uniform(0.5, 1)),
        shape=str(rng.choice(list(SHAPES))),
        material=str(rng.choice(list(MATERIALS))),
        support=int(rng.integers(0, number)) if rng.random() < 0.3 else 0,
        lying=bool(rng.random() < 0.2),
    )
