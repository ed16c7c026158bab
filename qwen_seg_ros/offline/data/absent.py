"""Phrases for what is surely not in the picture, near misses most of all.

The colour of one thing with the kind of another, a thing in another material, and things that are here but stand elsewhere.
"""

from collections.abc import Iterator

from qwen_seg_ros.offline.data.grammar import Phrase
from qwen_seg_ros.offline.data.lexicon import CONTAINERS, MATERIALS
from qwen_seg_ros.offline.data.phrases import Scene, relation_text

MATERIAL_WORDS = tuple(dict.fromkeys(MATERIALS.values()))
ELSEWHERE = ("left", "right", "on", "in")
FITTING = {"on": {"plate", "tray", "book", "box", "block", "disc", "brick"}, "in": CONTAINERS}
TRIES = 6


def absent_phrases(scene: Scene) -> Iterator[Phrase]:
    for phrase in scene.words.absent(scene.speaker.rng):
        yield Phrase("absent", f"the {phrase}", ((phrase, ()),))
    yield from _other_material(scene)
    yield from _elsewhere(scene)


def _other_material(scene: Scene) -> Iterator[Phrase]:
    """ "the wooden mug" where every mug is of something else."""
    for item in scene.speaker.some_of(scene.words.spoken, 1):
        word = scene.speaker.one_of(MATERIAL_WORDS)
        if scene.words.meaning(item.category).both(scene.words.material(word)).nothing and item.material:
            yield Phrase("absent", f"the {word} {item.category}", ((f"{word} {item.category}", ()),))


def _elsewhere(scene: Scene) -> Iterator[Phrase]:
    """ "the mug on the plate" where both are here and the mug is surely not there. The label says where it is not."""
    named = scene.named()
    for _ in range(TRIES if len(named) > 1 else 0):
        item, anchor = (scene.words.objects[scene.words.place[i]] for i in scene.speaker.some_of(named, 2))
        relation = scene.speaker.one_of(ELSEWHERE)
        there = scene.words.meaning(item.category).both(scene.layout.related(relation, anchor.id))
        if there.nothing and anchor.category != item.category and anchor.category in FITTING.get(relation, {anchor.category}):
            text = f"{item.category} {relation_text(scene, relation, anchor.id)}"
            yield Phrase("absent", f"the {text}", ((text, ()),))
            return
