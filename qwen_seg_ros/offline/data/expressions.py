"""Referring expressions that are unambiguous in their scene, proven from its truth: everything that can be asked for at once.

Every phrase has a strict and a loose reading (see meaning). It is used only where both give the same objects, and as absent only
where not even the loose one finds any. How it is proven: lexicon and scene_words for nouns, relations and rankings for geometry.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from qwen_seg_ros.offline.data.absent import absent_phrases
from qwen_seg_ros.offline.data.grammar import Expression, Phrase, Speaker
from qwen_seg_ros.offline.data.groups import group_phrases
from qwen_seg_ros.offline.data.lexicon import PLURALS, WITHOUT_PLURAL, colour_phrase
from qwen_seg_ros.offline.data.phrases import (
    Scene,
    attribute_phrases,
    described_phrases,
    rank_phrases,
    relation_phrases,
    single_phrases,
)
from qwen_seg_ros.offline.data.relations import DISTANCE_MARGIN_M, SIDE_MARGIN, Layout
from qwen_seg_ros.offline.data.scene_words import SceneWords
from qwen_seg_ros.offline.data.templates import SEVERAL
from qwen_seg_ros.offline.data.uses import asked_uses
from qwen_seg_ros.offline.sim.scene import ObjectRecord

# fmt: off
__all__ = [
    "DISTANCE_MARGIN_M", "KINDS", "PLURALS", "SIDE_MARGIN", "WITHOUT_PLURAL",
    "Expression", "SceneWords", "colour_phrase", "expressions",
]
# fmt: on
KINDS = (
    *("category", "colour_category", "name", "attribute", "relation", "superlative", "descriptive", "part"),
    *("all", "several", "absent"),
)
SHARE_BARE = 0.15  # of names in training: without article and carrier
MOST_ABSENT_USES, INSTRUCTIONS_OF_SEVERAL = 2, 4


def expressions(
    objects: Sequence[ObjectRecord],
    width: int,
    rng: np.random.Generator,
    wording: str = "train",
    doubtful: Sequence[ObjectRecord] = (),
) -> Iterator[Expression]:
    """What can be said about these objects in an image of `width` pixels; a picture with many has more than is said.

    wording: "train", or "test" for templates that training never uses. doubtful: things of which only a sliver or a copy may be
    seen; no phrase that could mean one of them is used. Objects of few pixels and those that are mostly hidden are doubtful.
    Deterministic for the state of `rng`.

    Raises:
        InvalidInputError: for another wording.
    """
    words = SceneWords(objects, width, doubtful)
    scene = Scene(words, Layout(words), Speaker(rng, wording))
    names, absent = list(single_phrases(scene)), list(absent_phrases(scene))
    pointed = [p for source in (attribute_phrases, relation_phrases, rank_phrases) for p in source(scene)]
    whole = [*pointed, *described_phrases(scene), *_uses(scene), *group_phrases(scene)]
    for phrase in (*names, *absent):
        yield _named(scene, phrase)
    for phrase in (*whole, *_several(scene, names, pointed, absent)):
        yield scene.speaker.say(phrase)


def _named(scene: Scene, phrase: Phrase) -> Expression:
    if scene.speaker.wording == "train" and scene.speaker.chance(SHARE_BARE):
        return Expression(phrase.text.removeprefix("the "), phrase.kind, phrase.targets)
    return scene.speaker.say(phrase)


def _uses(scene: Scene) -> Iterator[Phrase]:
    """What things are for; a use that nothing here has is absent."""
    decided = list(asked_uses(scene.words, scene.speaker.wording))
    for ways, items in decided:
        if items:
            fitting = [way for way in ways if len(items) == 1 or not way.startswith("the ")]
            yield Phrase("part", scene.speaker.one_of(fitting), _by_category(items))
    missing = [ways for ways, items in decided if not items]
    for ways in scene.speaker.some_of(missing, MOST_ABSENT_USES if scene.words.objects else 0):
        text = scene.speaker.one_of(ways)
        yield Phrase("absent", text, ((text.removeprefix("the "), ()),))


def _by_category(items: list[ObjectRecord]) -> tuple[tuple[str, tuple[int, ...]], ...]:
    found: dict[str, tuple[int, ...]] = {}
    for item in items:
        found[item.category] = (*found.get(item.category, ()), item.id)
    return tuple(found.items())


def _several(scene: Scene, names: list[Phrase], pointed: list[Phrase], absent: list[Phrase]) -> Iterator[Phrase]:
    """Two or three phrases in one instruction, sometimes one of them without a target."""
    by_item: dict[int, list[Phrase]] = {}
    for phrase in (*names, *pointed):
        by_item.setdefault(phrase.targets[0][1][0], []).append(phrase)
    for _ in range(INSTRUCTIONS_OF_SEVERAL if len(by_item) > 1 else 0):
        picks = [scene.speaker.one_of(by_item[i]) for i in scene.speaker.some_of(list(by_item), 2 + scene.speaker.chance(0.3))]
        if absent and scene.speaker.chance(0.3):
            picks[int(scene.speaker.rng.integers(len(picks)))] = scene.speaker.one_of(absent)
        *first, last = [p.text for p in picks]
        text = scene.speaker.way(SEVERAL).format(h=", ".join(first), l=last)
        yield Phrase("several", text, tuple(target for p in picks for target in p.targets))
