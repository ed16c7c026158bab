"""Expressions against an independent reading of the scene: what is asked for is there once, what is absent is not."""

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from math import hypot
from pathlib import Path

import numpy as np
import pytest

from qwen_seg_ros.errors import InvalidInputError
from qwen_seg_ros.offline.data import samples
from qwen_seg_ros.offline.data.absent import absent_phrases
from qwen_seg_ros.offline.data.expressions import KINDS, Expression, expressions
from qwen_seg_ros.offline.data.grammar import Phrase, Speaker, slipped
from qwen_seg_ros.offline.data.groups import group_phrases
from qwen_seg_ros.offline.data.lexicon import MATERIALS
from qwen_seg_ros.offline.data.meaning import Meaning
from qwen_seg_ros.offline.data.phrases import Scene, attribute_phrases, described_phrases, rank_phrases, relation_phrases
from qwen_seg_ros.offline.data.relations import Layout
from qwen_seg_ros.offline.data.scene_words import MIN_PIXELS, SceneWords
from qwen_seg_ros.offline.data.templates import CARRIERS, RELATIONS, templates, wordings
from qwen_seg_ros.offline.data.uses import USES, use_phrases
from qwen_seg_ros.offline.sim.catalogue import CatalogueEntry, catalogue
from qwen_seg_ros.offline.sim.more_objects import pool_objects
from qwen_seg_ros.offline.sim.scene import ObjectRecord

WIDTH = 320
ENTRIES = {entry.key: entry for entry in catalogue()}
MUG, CUP, CAN, BLUE_CAN = "ycb/025_mug/red", "ycb/065-f_cups/blue", "robosuite/can", "ycb/007_tuna_fish_can/blue"
WHITE_CAN, BALL, PLATE, BOWL = (
    "ycb/005_tomato_soup_can/white",
    "ycb/057_racquetball/blue",
    "ycb/029_plate/blue",
    "libero/white_bowl",
)
APPLE, HAMMER = "ycb/013_apple", "ycb/048_hammer"


def thing(number: int, key: str, x: int = 0, distance_m: float = 0.7) -> ObjectRecord:
    entry = ENTRIES[key]
    words = (entry.key, entry.name, entry.colour, entry.category, entry.aliases)
    return ObjectRecord(number, *words, (x, 50, x + 20, 90), 700, (0.0, 0.0, 0.05), (0.1, 0.1, 0.1), distance_m)


def said(*objects: ObjectRecord, seed: int = 0, wording: str = "train") -> list[Expression]:
    return list(expressions(objects, WIDTH, np.random.default_rng(seed), wording))


def labels(found: list[Expression], kind: str) -> dict[str, tuple[int, ...]]:
    return {label: ids for e in found if e.kind == kind for label, ids in e.phrases}


def standing(
    number: int, key: str, x_m: float, y_m: float, size_m: tuple[float, float, float] = (0.08, 0.06, 0.1)
) -> ObjectRecord:
    """On the table as a camera 1 m before its middle and 0.6 m above it sees it; x_m towards the camera, y_m to the right."""
    at = (x_m, y_m, size_m[2] / 2)
    depth, scale = 1.0 - x_m, 300 / (1.0 - x_m)
    u, lower = 160 + scale * y_m, 60 + scale * 0.4
    box = tuple(round(v) for v in (u - scale * size_m[0] / 2, lower - scale * size_m[2], u + scale * size_m[0] / 2, lower))
    return replace(thing(number, key), box_px=box, centre_m=at, size_m=size_m, distance_m=hypot(depth, y_m, 0.6 - at[2]))


def random_scene(seed: int) -> tuple[ObjectRecord, ...]:
    rng = np.random.default_rng(seed)
    keys = rng.choice(list(ENTRIES), int(rng.integers(2, 7)), replace=False)
    return tuple(thing(n + 1, str(k), int(rng.integers(0, 300)), float(rng.uniform(0.5, 1))) for n, k in enumerate(keys))


def table_scene(seed: int, least: int, most: int) -> tuple[ObjectRecord, ...]:
    """Some things stand on others, lie, are half hidden, or have no known material."""
    rng = np.random.default_rng(seed)
    keys = rng.choice(list(ENTRIES), int(rng.integers(least, most)), replace=False)
    return tuple(_random_thing(n, str(key), rng) for n, key in enumerate(keys, 1))


def _random_thing(number: int, key: str, rng: np.random.Generator) -> ObjectRecord:
    long, wide, high = rng.uniform(0.04, 0.25), rng.uniform(0.03, 0.04), rng.uniform(0.04, 0.25)
    item = standing(number, key, rng.uniform(-0.3, 0.3), rng.uniform(-0.35, 0.35), (long, wide, high))
    return replace(
        item,
        material=str(rng.choice(["wood", "metal", "plastic", "ceramic", "cardboard", ""])),
        shape=str(rng.choice(["cylinder", "box", "curved", ""])),
        lying=bool(rng.random() < 0.2),
        support=int(rng.integers(1, number)) if number > 1 and rng.random() < 0.2 else 0,
        visible=0.2 if rng.random() < 0.05 else 1.0,
    )


def described_by(item: ObjectRecord | CatalogueEntry, phrase: str) -> bool:
    text = " ".join((item.name, item.colour, item.category, *item.aliases)).replace(",", "").split()
    return set(phrase.split()) <= {*text, "object", "thing", "item", "one"}


SCENES = [random_scene(seed) for seed in range(120)]
SAID = [(objects, said(*objects)) for objects in SCENES]
BIG = [table_scene(seed, 4, 9) for seed in range(150)]


def scene_of(objects: tuple[ObjectRecord, ...], seed: int = 0, wording: str = "train") -> Scene:
    words = SceneWords(objects, WIDTH)
    return Scene(words, Layout(words), Speaker(np.random.default_rng(seed), wording))


def phrases_of(source: Callable[[Scene], Iterator[Phrase]]) -> list[tuple[tuple[ObjectRecord, ...], Phrase]]:
    """Before they become sentences, so that they can be read back."""
    return [(objects, phrase) for n, objects in enumerate(BIG) for phrase in source(scene_of(objects, n))]


# Nouns


@pytest.mark.parametrize("kind", ["category", "colour_category", "name"])
def test_a_single_phrase_describes_its_object_and_no_other(kind: str) -> None:
    checked = 0
    for objects, found in SAID:
        for label, ids in labels(found, kind).items():
            assert tuple(o.id for o in objects if described_by(o, label)) == ids
            checked += 1
    assert checked > 100


@pytest.mark.parametrize(("first", "second", "phrase"), [
    ("ycb/025_mug/red", "ycb/065-f_cups/blue", "mug"),  # somebody may call the cup a mug
    ("libero/cookies", "robosuite/cereal", "red box"),  # red and white is red too
    ("libero/alphabet_soup", "libero/red_alphabet_soup", "soup can"),  # both
    ("libero/black_book", "libero/red_yellow_book", "notebook"),  # nothing tells a notebook from a book
    ("ycb/007_tuna_fish_can/blue", "robosuite/can", "tin can"),  # so may be the other
    ("ycb/056_tennis_ball", "ycb/057_racquetball/green", "green ball"),  # yellow-green
])  # fmt: skip
def test_phrases_with_two_readings_are_not_used(first: str, second: str, phrase: str) -> None:
    found = said(thing(1, first, 20), thing(2, second, 200))
    assert phrase not in {label for kind in ("category", "colour_category", "name", "absent") for label in labels(found, kind)}


def test_meanings_keep_both_readings() -> None:
    mug, red = Meaning(0b001, 0b011), Meaning(0b101, 0b101)
    assert mug.both(red) == (0b001, 0b001) and mug.both(red).single
    assert red.without(mug) == (0b100, 0b100)  # the second thing is not red, so it does not matter that it may be a mug
    assert mug.without(red) == (0, 0b010) and not mug.without(red).proven and not mug.without(red).nothing


def test_what_is_hardly_seen_is_neither_spoken_of_nor_absent() -> None:
    hammer, mug = thing(1, HAMMER, 20), thing(2, MUG, 200)
    for unclear in (replace(mug, visible=0.2), replace(mug, pixels=MIN_PIXELS - 1)):
        for seed in range(20):
            found = said(hammer, unclear, seed=seed)
            assert not [e for e in found if 2 in e.target_ids]
            spoken = [e.text for e in found if e.kind not in ("part", "absent")]
            assert not [text for text in spoken if re.search(r"\b(mug|cup|everything|objects)\b", text)]
            assert not {"relation", "superlative"} & {e.kind for e in found}  # "object" could mean it
            assert not {"mug", "red mug", "cup"} & set(labels(found, "absent"))
    as_argument = list(expressions((hammer,), WIDTH, np.random.default_rng(0), doubtful=(mug,)))
    assert as_argument == list(expressions((hammer, replace(mug, visible=0.2)), WIDTH, np.random.default_rng(0)))
    assert samples.MIN_PIXELS == MIN_PIXELS


def test_what_is_half_hidden_blocks_the_phrases_that_could_mean_it() -> None:
    cans = (standing(1, CAN, 0, -0.3), standing(2, BLUE_CAN, 0, 0.3), replace(standing(3, WHITE_CAN, 0, 0), visible=0.2))
    assert not list(rank_phrases(scene_of(cans)))
    assert list(rank_phrases(scene_of(cans[:2])))


# Absent


def test_an_absent_phrase_describes_no_object() -> None:
    nouns = [
        (objects, label)
        for objects, found in SAID
        for label in labels(found, "absent")
        if not label.startswith(("some", "a ", "the ", "thing ", "tool for", "cutting tool"))
    ]
    plain = [
        (objects, label) for objects, label in nouns if " the " not in label and not set(MATERIALS.values()) & set(label.split())
    ]
    assert len(plain) > 200
    assert not [label for objects, label in plain if any(described_by(o, label) for o in objects)]


def test_absent_phrases_are_near_misses_too() -> None:
    """Half of them at least name a category or a colour that is on the table."""

    def near(objects: tuple[ObjectRecord, ...], label: str) -> bool:
        return any(o.category in label.split() or o.colour.split()[0] in label.split() for o in objects)

    hits = [near(o, p.targets[0][0]) for o, p in phrases_of(absent_phrases)]
    assert np.mean(hits) > 0.5


def test_what_is_there_under_another_word_is_not_absent() -> None:
    for seed in range(100):
        absent = labels(said(thing(1, "libero/milk"), thing(2, "ycb/065-f_cups/red", 200), seed=seed), "absent")
        assert not {"carton", "small milk carton", "milk box", "cup", "mug", "red mug", "coffee mug", "red box"} & set(absent)


def test_nothing_is_absent_under_a_name_that_training_never_sees() -> None:
    unseen, known = ({entry.name for entry in pool_objects(pool)} for pool in ("unseen", "train"))
    absent = {label for _, found in SAID for label in labels(found, "absent")}
    assert not [label for label in absent for name in unseen - known if label == name or label.endswith(f" {name}")]


def test_absent_in_another_place_or_material() -> None:
    mug, plate = replace(standing(1, MUG, 0, -0.2), material="ceramic"), standing(2, PLATE, 0, 0.2)
    found = {p.text for seed in range(200) for p in absent_phrases(scene_of((mug, plate), seed))}
    assert any(re.match("the mug (on|on top of|standing on) the (blue )?(plate|dish)$", text) for text in found)
    assert any(re.match("the mug (right of|to the right of|on the right of) the", text) for text in found)
    assert not any("mug left" in text or "mug to the left" in text or "mug on the left" in text for text in found)
    assert "the wooden mug" in found and not {"the ceramic mug", "the glass mug"} & found  # glazed: who can tell
    upon = replace(mug, support=2)
    assert not any(
        re.match("the mug (on|on top of|standing on) the (blue )?(plate|dish)$", p.text)
        for s in range(100)
        for p in absent_phrases(scene_of((upon, plate), s))
    )


# Relations, read back from the words


def x_of(o: ObjectRecord) -> float:
    return (o.box_px[0] + o.box_px[2]) / 2


def gap(one: ObjectRecord, other: ObjectRecord) -> float:
    sizes = (*one.size_m[:2], *other.size_m[:2])
    return hypot(one.centre_m[0] - other.centre_m[0], one.centre_m[1] - other.centre_m[1]) - sum(sizes) / 4


def overlap(one: ObjectRecord, other: ObjectRecord) -> bool:
    return min(one.box_px[2], other.box_px[2]) > max(one.box_px[0], other.box_px[0])


def volume(o: ObjectRecord) -> float:
    return float(np.prod(o.size_m))


READ: dict[str, Callable[[ObjectRecord, ObjectRecord], bool]] = {  # training words, most special first
    "(?:to the |on the )?left of": lambda o, a: x_of(o) < x_of(a),
    "(?:to the |on the )?right of": lambda o, a: x_of(o) > x_of(a),
    "closer to the camera than|nearer to us than": lambda o, a: o.distance_m < a.distance_m,
    "farther from the camera than|farther away than": lambda o, a: o.distance_m > a.distance_m,
    "(?:right )?in front of": lambda o, a: o.distance_m < a.distance_m and overlap(o, a),
    "(?:right )?behind": lambda o, a: o.distance_m > a.distance_m and overlap(o, a),
    "next to|beside|close to|near": lambda o, a: gap(o, a) < 0.085,
    "on top of|standing on|on": lambda o, a: o.support == a.id,
    "underneath|under": lambda o, a: a.support == o.id,
    "inside|in": lambda o, a: o.support == a.id,
    "taller than": lambda o, a: o.size_m[2] > a.size_m[2],
    "shorter than|not as tall as": lambda o, a: o.size_m[2] < a.size_m[2],
    "bigger than|larger than": lambda o, a: volume(o) > volume(a),
    "smaller than|not as big as": lambda o, a: volume(o) < volume(a),
}
WORDS = "|".join(READ)
PART = re.compile(rf"({WORDS}) the (.+?)(?=$| and (?:also )?(?:{WORDS}) the)")


def fits(item: ObjectRecord, text: str, objects: tuple[ObjectRecord, ...]) -> bool:
    """Whether all that "can to the left of the mug and behind the plate" says is true of an object."""
    head = re.sub(r",? (?:that|which) is$", "", re.split(rf"\b(?:{WORDS}) the ", text)[0].strip())
    made_of = {w for w in head.split() if w in set(MATERIALS.values()) and not described_by(item, w)}
    shaped = {"cylindrical": "cylinder", "box-shaped": "box", "curved": "curved"}
    looks = {w for w in head.split() if w in shaped}
    plain = " ".join(w for w in head.split() if w not in made_of | looks)
    if not described_by(item, plain) or {MATERIALS.get(item.material)} | made_of != {MATERIALS.get(item.material)}:
        return False
    if any(item.shape != shaped[w] for w in looks):
        return False
    for words, anchor in PART.findall(text):
        (other,) = (o for o in objects if described_by(o, anchor))
        holds = next(check for pattern, check in READ.items() if re.fullmatch(pattern, words))
        if other is item or not holds(item, other):
            return False
    return True


def seen(objects: tuple[ObjectRecord, ...]) -> tuple[ObjectRecord, ...]:
    return tuple(o for o in objects if o.visible >= 0.3)


def closest(objects: tuple[ObjectRecord, ...], label: str, anchor: str) -> int:
    (other,) = (o for o in objects if described_by(o, anchor))
    group = [o for o in objects if described_by(o, label) and o is not other]
    return min(group, key=lambda o: float(np.linalg.norm(np.subtract(o.centre_m, other.centre_m)))).id


def test_relations_hold_for_their_object_and_no_other() -> None:
    checked = set()
    for objects, phrase in phrases_of(relation_phrases):
        ((label, ids),) = phrase.targets
        if re.search("(closest|nearest) to the ", phrase.text):
            assert ids == (closest(objects, label, re.split("(?:closest|nearest) to the ", phrase.text)[1]),), phrase
        if re.search(r"\bwith the|between|closest|nearest", phrase.text):
            continue
        assert tuple(o.id for o in seen(objects) if fits(o, phrase.text.removeprefix("the "), objects)) == ids, phrase
        checked.add(next(p for p in READ if re.search(rf" (?:{p}) the ", phrase.text)))
    assert checked == set(READ)


def test_descriptions_hold_for_their_object_and_no_other() -> None:
    found = phrases_of(described_phrases)
    assert len(found) > 150
    for objects, phrase in found:
        ((_, ids),) = phrase.targets
        assert len(PART.findall(phrase.text)) >= 1
        assert tuple(o.id for o in seen(objects) if fits(o, phrase.text.removeprefix("the "), objects)) == ids, phrase


def mirrored(item: ObjectRecord) -> ObjectRecord:
    left, top, right, lower = item.box_px
    return replace(item, box_px=(WIDTH - right, top, WIDTH - left, lower))


def test_a_mirrored_picture_swaps_the_sides_and_nothing_else() -> None:
    """Augmentation mirrors the picture but not the truth in metres."""
    swapped = {"left": "right", "right": "left"}
    for objects in BIG[:60]:
        here, there = (Layout(SceneWords(o, WIDTH)) for o in (objects, tuple(map(mirrored, objects))))
        for relation in RELATIONS:
            for o in objects:
                assert here.related(relation, o.id) == there.related(swapped.get(relation, relation), o.id)
        assert all(here.between(a.id, b.id) == there.between(a.id, b.id) for a in objects for b in objects if a is not b)


def only(source: Callable[[Scene], Iterator[Phrase]], *objects: ObjectRecord, seeds: int = 60) -> dict[str, tuple[int, ...]]:
    return {p.text: p.targets[0][1] for seed in range(seeds) for p in source(scene_of(objects, seed))}


def ids_of(texts: dict[str, tuple[int, ...]], pattern: str) -> set[tuple[int, ...]]:
    return {ids for text, ids in texts.items() if re.fullmatch(pattern, text)}


def test_beside_needs_exactly_one_candidate_on_that_side() -> None:
    texts = only(relation_phrases, thing(1, BALL, 150), thing(2, CAN, 20), thing(3, BLUE_CAN, 280))
    assert ids_of(texts, "the can (to the |on the )?left of the (blue )?ball") == {(2,)}
    assert ids_of(texts, "the can (to the |on the )?right of the (blue )?ball") == {(3,)}
    close = only(relation_phrases, thing(1, BALL, 150), thing(2, CAN, 20), thing(3, BLUE_CAN, 155))
    assert not [text for text in close if re.search(r"can .*(left|right) of the (blue )?ball", text)]  # 5 pixels beside it


def test_before_and_behind_are_in_one_column() -> None:
    mug, front, aside = standing(1, MUG, -0.1, 0), standing(2, CAN, 0.15, 0.0), standing(3, BLUE_CAN, 0.15, 0.3)
    texts = only(relation_phrases, mug, front, aside)
    assert ids_of(texts, "the can( which is)? (right )?in front of the (red |coffee )*(mug|cup)") == {(2,)}
    assert not ids_of(texts, ".*behind.*")  # the mug is needed for no group


def test_on_under_in_and_holding_follow_what_carries_what() -> None:
    plate = standing(1, PLATE, 0, -0.2, (0.2, 0.2, 0.02))
    bowl = standing(2, BOWL, 0, 0.2, (0.15, 0.15, 0.07))
    upon = replace(standing(3, CAN, 0, -0.2), support=1, centre_m=(0, -0.2, 0.07))
    within = replace(standing(4, BLUE_CAN, 0, 0.2), support=2, centre_m=(0, 0.2, 0.06))
    texts = only(relation_phrases, plate, bowl, upon, within)
    assert ids_of(texts, "the can( which is)? (on|on top of|standing on) the (blue )?(plate|dish)") == {(3,)}
    assert ids_of(texts, "the can( which is)? (in|inside) the (white )?bowl") == {(4,)}
    assert ids_of(texts, "the (plate|blue plate|one|object|thing|item) with the .* on it") == {(1,)}
    assert ids_of(texts, "the (bowl|white bowl|one|object|thing|item) with the .* (in it|inside)") == {(2,)}
    assert not ids_of(texts, "the can.* (on|on top of|standing on) the (white )?bowl")


def test_between_is_on_the_way() -> None:
    ends = standing(1, MUG, 0, -0.3), standing(2, BALL, 0, 0.3)
    middle, far = standing(3, CAN, 0.02, 0.05), standing(4, BLUE_CAN, -0.3, 0.3)
    texts = only(relation_phrases, *ends, middle, far)
    assert ids_of(texts, "the can.*between the .*(mug|cup).* and the .*ball|the can.*between the .*ball and the .*(mug|cup)") == {
        (3,)
    }
    halfway = replace(far, centre_m=(-0.18, 0.0, 0.05), box_px=(140, 100, 180, 140))
    assert not ids_of(only(relation_phrases, *ends, middle, halfway), "the can.*between the .*(mug|cup|ball).*")


def test_sizes_need_whole_objects_and_a_margin() -> None:
    small, large = standing(1, CAN, 0, -0.2, (0.06, 0.06, 0.08)), standing(2, BLUE_CAN, 0, 0.2, (0.12, 0.12, 0.2))
    texts = only(rank_phrases, small, large)
    assert ids_of(texts, "the (taller|bigger|larger|big|tallest|biggest|largest) can") == {(2,)}
    assert ids_of(texts, "the (shorter|smaller|small|shortest|smallest) can") == {(1,)}
    similar, cut = replace(large, size_m=(0.06, 0.06, 0.085)), replace(large, cut=True)
    for other in (similar, cut):
        assert not [text for text in only(rank_phrases, small, other) if re.search("tall|big|larg|short|small|long|wide", text)]
    low = [replace(can, size_m=(0.06, 0.06, height)) for can, height in ((small, 0.035), (large, 0.045))]
    assert not [text for text in only(rank_phrases, *low) if re.search("tall|short", text)]  # 1 cm, though more than 15 %


# Ranks


RANKED: dict[str, Callable[[ObjectRecord], float]] = {
    "leftmost|left$|to the left|^left|from the left": x_of,
    "rightmost|right$|to the right|^right|from the right": lambda o: -x_of(o),
    "nearest|closest|nearer|closer|^front": lambda o: o.distance_m,
    "farthest|most distant|farther|^back": lambda o: -o.distance_m,
    "tallest|taller": lambda o: -o.size_m[2],
    "shortest|shorter": lambda o: o.size_m[2],
    "biggest|largest|bigger|larger|^big": lambda o: -volume(o),
    "smallest|smaller|^small": volume,
    "longest|longer": lambda o: -max(o.size_m),
    "widest|wider": lambda o: -o.size_m[0],
}


def test_superlatives_and_ordinals_follow_their_order() -> None:
    checked = set()
    for objects, phrase in phrases_of(rank_phrases):
        ((label, ids),) = phrase.targets
        group, text = [o for o in objects if described_by(o, label)], phrase.text.removeprefix("the ")
        ordinal = re.search("second|third|fourth", text)
        if re.search("middle", text):
            assert len(group) == 3 and sorted(group, key=x_of)[1].id == ids[0]
            continue
        pattern = next(p for p in RANKED if re.search(p, text))
        place = ("first", "second", "third", "fourth").index(ordinal[0]) if ordinal else 0
        assert (sorted(group, key=RANKED[pattern])[place].id,) == ids, phrase
        assert len(group) > (place + 1 if place else 1)
        checked.add((pattern, bool(ordinal)))
    assert {p for p, _ in checked} == set(RANKED) and sum(ordinal for _, ordinal in checked) >= 6


def test_superlatives_keep_their_margin() -> None:
    cans = [
        thing(n, *place)
        for n, place in enumerate(zip((BLUE_CAN, CAN, WHITE_CAN), (40, 150, 155), (0.9, 0.6, 0.75), strict=True), 1)
    ]
    texts = only(rank_phrases, *cans)
    assert ids_of(texts, "the (leftmost can|can on the far left)") == {(1,)}
    assert ids_of(texts, "the (nearest can|can closest to the camera)") == {(2,)}
    assert ids_of(texts, "the (farthest can|can farthest from the camera)") == {(1,)}
    assert not ids_of(
        texts, "the (rightmost can|can on the far right|second can from the (left|right)|middle can)"
    )  # 5 pixels apart


def test_ordinals_count_from_their_end() -> None:
    cans = [
        thing(n, key, x)
        for n, (key, x) in enumerate(((CAN, 40), (BLUE_CAN, 100), (WHITE_CAN, 160), ("ycb/007_tuna_fish_can/green", 220)), 1)
    ]
    texts = only(rank_phrases, *cans, seeds=200)
    assert ids_of(texts, "the second can (counting )?from the left") == {(2,)}
    assert ids_of(texts, "the third can (counting )?from the left") == {(3,)}
    assert ids_of(texts, "the second can (counting )?from the right") == {(3,)}
    assert not ids_of(texts, "the (fourth can .*|middle can)")


# Attributes, groups, uses


def test_attributes() -> None:
    wood = replace(thing(1, "ycb/061_foam_brick/red", 40), material="foam")
    metal, paper = replace(thing(2, CAN, 120), material="metal"), replace(thing(3, BLUE_CAN, 200), material="paper", lying=True)
    texts = only(attribute_phrases, wood, metal, paper)
    assert ids_of(texts, "the (blue (object|thing|one|item)|thing that is blue)") == {(3,)}
    assert not ids_of(texts, "the red (object|thing|one|item)")  # two
    assert ids_of(texts, "the (metal can|can made of metal)") == {(2,)}
    assert ids_of(texts, "the (can lying on its side|can that has fallen over|toppled can)") == {(3,)}
    assert ids_of(texts, "the (upright can|standing can|can that stands upright)") == {(2,)}
    assert ids_of(texts, "the can (that|which) is not red") == {(3,)}
    fruit = only(attribute_phrases, metal, thing(4, APPLE, 200))
    assert ids_of(fruit, "the metal (object|thing|item|one)") == {(2,)}  # an apple is of no metal
    unknown = only(attribute_phrases, metal, replace(paper, material=""))
    assert not [text for text in unknown if "metal" in text]  # the other may be of metal too


def test_groups_are_complete() -> None:
    counted = 0
    for objects, phrase in phrases_of(group_phrases):
        ((label, ids),) = phrase.targets
        rest = re.search(r"(?:except|but) the (.+)$", phrase.text)
        where = PART.search(phrase.text)
        left_out = {o.id for o in objects if rest and described_by(o, rest[1])}
        head = f"{label} {where[0]}" if where and not rest else label
        assert ids == tuple(o.id for o in objects if fits(o, head, objects) and o.id not in left_out), phrase
        counted += bool(rest) + bool(where)
    assert counted > 100


def test_all_everything_and_all_but() -> None:
    cans = thing(1, CAN, 20), thing(2, BLUE_CAN, 150), thing(3, WHITE_CAN, 280)
    texts = only(group_phrases, *cans)
    assert ids_of(texts, "(all cans|every can|the three cans|all of the cans)") == {(1, 2, 3)}
    assert ids_of(texts, "(all cans except|all the cans but|everything but|everything except) the red .*can") == {(2, 3)}
    mug = only(group_phrases, *cans[:2], thing(4, MUG, 280))
    assert ids_of(mug, "(everything|all objects|all things|all cans) left of the red (coffee )?(mug|cup)") == {(1, 2)}
    pair = only(group_phrases, *cans[:2], thing(4, HAMMER, 280))
    assert ids_of(pair, "(both cans|the two cans|both of the cans)") == {(1, 2)}


def test_uses_are_exact_or_not_said() -> None:
    def parts(*objects: ObjectRecord) -> dict[str, tuple]:
        return {e.text: e.phrases for seed in range(60) for e in said(*objects, seed=seed) if e.kind == "part"}

    drink = {
        phrases for text, phrases in parts(thing(1, MUG), thing(2, CUP, 200), thing(3, HAMMER, 100)).items() if "drink" in text
    }
    assert drink == {(("mug", (1,)), ("cup", (2,)))}
    assert not [t for t in parts(thing(1, MUG), thing(2, BOWL, 200)) if "drink" in t]  # some drink from bowls
    absent = {e.phrases for s in range(60) for e in said(thing(1, MUG), seed=s) if e.kind == "absent" and "cut" in e.text}
    assert absent and all(ids == () for phrases in absent for _, ids in phrases)
    new = replace(thing(1, MUG), key="new", name="gadget", category="gadget", aliases=())
    assert not [e for e in said(new) if e.kind == "part"] and not [e for e in said(new) if "something to" in e.text]


def test_several_phrases_stay_apart() -> None:
    found = [e for _, all_said in SAID for e in all_said if e.kind == "several"]
    assert len(found) > 200 and {len(e.phrases) for e in found} == {2, 3}
    for e in found:
        assert len(set(e.target_ids)) == len(e.target_ids)


# Wording


def test_every_kind_occurs_and_the_same_seed_says_the_same() -> None:
    assert {e.kind for _, found in SAID for e in found} == set(KINDS)
    assert said(*SCENES[3], seed=5) == said(*SCENES[3], seed=5)
    assert said(*SCENES[3], seed=5) != said(*SCENES[3], seed=6)


def test_an_empty_table_says_nothing() -> None:
    assert said() == []


def test_records_of_old_pictures_can_be_spoken_of() -> None:
    old = [ObjectRecord.from_dict({k: v for k, v in o.to_dict().items() if k not in NEW_FIELDS}) for o in table_scene(3, 5, 6)]
    assert {"category", "relation", "superlative", "absent"} <= {e.kind for e in said(*old)}


NEW_FIELDS = ("shape", "material", "support", "visible", "cut", "lying")


def test_there_are_many_templates_and_a_quarter_is_for_tests() -> None:
    train, test = ({*templates(w), *use_phrases(w)} for w in ("train", "test"))
    assert len(train | test) >= 300 and len(templates("train")) >= 150
    assert not train & test
    assert 0.2 < len(test) / len(train | test) < 0.35
    assert all(isinstance(way, tuple) for w in wordings() for way in (w.train, w.test))
    assert all(w.train and w.test and not set(w.train) & set(w.test) for w in (*wordings(), *(u.wording for u in USES)))


def test_the_page_about_words_counts_them_right() -> None:
    page = (Path(__file__).parents[1] / "docs" / "tabletop_ors_words.md").read_text()
    train, test = ((len(set(templates(w))), len(use_phrases(w))) for w in ("train", "test"))
    assert f"| templates | {train[0]} | {test[0]} |" in page
    assert f"| phrases for uses and parts | {train[1]} | {test[1]} |" in page
    assert all(f"| {kind} |" in page for kind in KINDS)


@pytest.mark.parametrize("wording", ["train", "test"])
def test_every_template_is_used(wording: str) -> None:
    scenes = [table_scene(seed, 2, 10) for seed in range(600)]
    texts = "\n".join(e.text for n, objects in enumerate(scenes) for e in said(*objects, seed=n, wording=wording)).lower()
    for template in (*templates(wording), *use_phrases(wording)):
        pattern = re.sub(r"\\{\w*\\}", "[^\n]+", re.escape(template.removesuffix("?").lower()))
        assert re.search(pattern, texts), template


def test_test_wording_uses_no_carrier_of_training() -> None:
    texts = {e.text for n, objects in enumerate(SCENES) for e in said(*objects, seed=n, wording="test")}
    known = [re.escape(c.removesuffix("?")).replace(r"\{\}", "the .+") for c in CARRIERS.train if c != "{}"]
    assert not [text for text in texts if any(re.fullmatch(pattern, text, re.IGNORECASE) for pattern in known)]
    assert not texts & {e.text for _, found in SAID for e in found}


def test_another_wording_is_an_error() -> None:
    with pytest.raises(InvalidInputError, match="train, test, got 'validation'"):
        said(thing(1, MUG), wording="validation")


@pytest.mark.parametrize("wording", ["train", "test"])
def test_slips_are_few_and_keep_short_words(wording: str) -> None:
    text = "could you please pick up the yellow bottle on the left of the scissors"
    for seed in range(50):
        words = slipped(text, np.random.default_rng(seed), wording).split()
        changed = [(a, b) for a, b in zip(text.split(), words, strict=True) if a != b]
        assert len(changed) <= 3
        assert all(len(a) >= 5 and a[0] == b[0] and a[-1] == b[-1] for a, b in changed)
        assert all(sorted(a) == sorted(b) if wording == "test" else abs(len(a) - len(b)) == 1 for a, b in changed)
