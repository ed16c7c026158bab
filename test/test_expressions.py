"""Expressions against an independent reading of the scene: what is asked for is there once, what is absent is not."""

import numpy as np
import pytest

from qwen_seg_ros.offline.data.expressions import KINDS, Expression, expressions
from qwen_seg_ros.offline.sim.catalogue import CatalogueEntry, catalogue
from qwen_seg_ros.offline.sim.scene import ObjectRecord

WIDTH = 320
ENTRIES = {entry.key: entry for entry in catalogue()}


def thing(number: int, key: str, x: int = 0, distance_m: float = 0.7) -> ObjectRecord:
    entry = ENTRIES[key]
    words = (entry.key, entry.name, entry.colour, entry.category, entry.aliases)
    return ObjectRecord(number, *words, (x, 50, x + 20, 90), 700, (0.0, 0.0, 0.05), (0.1, 0.1, 0.1), distance_m)


def said(*objects: ObjectRecord, seed: int = 0) -> list[Expression]:
    return list(expressions(objects, WIDTH, np.random.default_rng(seed)))


def labels(found: list[Expression], kind: str) -> dict[str, tuple[int, ...]]:
    return {label: ids for e in found if e.kind == kind for label, ids in e.phrases}


def random_scene(seed: int) -> tuple[ObjectRecord, ...]:
    rng = np.random.default_rng(seed)
    keys = rng.choice(list(ENTRIES), int(rng.integers(2, 7)), replace=False)
    return tuple(thing(n + 1, str(k), int(rng.integers(0, 300)), float(rng.uniform(0.5, 1))) for n, k in enumerate(keys))


def described_by(item: ObjectRecord | CatalogueEntry, phrase: str) -> bool:
    text = " ".join((item.name, item.colour, item.category, *item.aliases)).replace(",", "").split()
    return set(phrase.split()) <= {*text, "object"}


SCENES = [random_scene(seed) for seed in range(120)]
SAID = [(objects, said(*objects)) for objects in SCENES]


@pytest.mark.parametrize("kind", ["category", "colour_category", "name"])
def test_a_single_phrase_describes_its_object_and_no_other(kind: str) -> None:
    checked = 0
    for objects, found in SAID:
        for label, ids in labels(found, kind).items():
            assert tuple(o.id for o in objects if described_by(o, label)) == ids
            checked += 1
    assert checked > 100


def test_an_absent_phrase_describes_no_object() -> None:
    absent = [(objects, label) for objects, found in SAID for label in labels(found, "absent")]
    assert len(absent) > 200
    assert not [label for objects, label in absent if any(described_by(o, label) for o in objects)]


def test_absent_phrases_are_near_misses_too() -> None:
    """Half of them at least name a category or a colour that is on the table."""
    def near(objects: tuple[ObjectRecord, ...], label: str) -> bool:
        return any(o.category in label.split() or o.colour.split()[0] in label.split() for o in objects)

    hits = [near(objects, label) for objects, found in SAID for label in labels(found, "absent")]
    assert np.mean(hits) > 0.5


def test_all_phrases_name_every_match() -> None:
    for objects, found in SAID:
        for label, ids in labels(found, "all").items():
            assert ids == tuple(o.id for o in objects if described_by(o, label))


def test_every_kind_occurs_and_the_same_seed_says_the_same() -> None:
    assert {e.kind for _, found in SAID for e in found} == set(KINDS)
    assert said(*SCENES[3], seed=5) == said(*SCENES[3], seed=5)
    assert said(*SCENES[3], seed=5) != said(*SCENES[3], seed=6)


def test_superlatives_follow_the_picture_and_keep_their_margin() -> None:
    keys = ("ycb/007_tuna_fish_can/blue", "robosuite/can", "ycb/005_tomato_soup_can/white")
    cans = [thing(n, *place) for n, place in enumerate(zip(keys, (40, 150, 155), (0.9, 0.6, 0.75), strict=True), 1)]
    texts = {e.text: e.target_ids for seed in range(30) for e in said(*cans, seed=seed) if e.kind == "relation"}
    assert {ids for text, ids in texts.items() if "leftmost can" in text or "can on the far left" in text} == {(1,)}
    assert {ids for text, ids in texts.items() if "nearest can" in text or "can closest" in text} == {(2,)}
    assert {ids for text, ids in texts.items() if "farthest can" in text or "can farthest" in text} == {(1,)}
    assert not [text for text in texts if "rightmost can" in text or "can on the far right" in text]  # 5 pixels apart


def test_beside_needs_exactly_one_candidate_on_that_side() -> None:
    ball = thing(1, "ycb/057_racquetball/blue", 150)
    left, right = thing(2, "robosuite/can", 20), thing(3, "ycb/007_tuna_fish_can/blue", 280)
    texts = {e.text: e.target_ids for seed in range(60) for e in said(ball, left, right, seed=seed) if e.kind == "relation"}
    assert {ids for text, ids in texts.items() if text.endswith("the can left of the ball")} == {(2,)}
    assert {ids for text, ids in texts.items() if text.endswith("the can right of the ball")} == {(3,)}


@pytest.mark.parametrize(("first", "second", "phrase"), [
    ("ycb/025_mug/red", "ycb/065-f_cups/blue", "mug"),  # somebody may call the cup a mug
    ("libero/cookies", "robosuite/cereal", "red box"),  # red and white is red too
    ("libero/alphabet_soup", "libero/red_alphabet_soup", "soup can"),  # both
    ("libero/black_book", "libero/red_yellow_book", "notebook"),  # nothing tells a notebook from a book
    ("ycb/007_tuna_fish_can/blue", "robosuite/can", "tin can"),  # so may be the other
    ("ycb/056_tennis_ball", "ycb/057_racquetball/green", "green ball"),  # yellow-green
])
def test_phrases_with_two_readings_are_not_used(first: str, second: str, phrase: str) -> None:
    found = said(thing(1, first, 20), thing(2, second, 200))
    assert phrase not in {label for kind in ("category", "colour_category", "name", "absent") for label in labels(found, kind)}


def test_what_is_there_under_another_word_is_not_absent() -> None:
    for seed in range(100):
        absent = labels(said(thing(1, "libero/milk"), thing(2, "ycb/065-f_cups/red", 200), seed=seed), "absent")
        assert not {"carton", "small milk carton", "milk box", "cup", "mug", "red mug", "coffee mug", "red box"} & set(absent)


def test_several_phrases_stay_apart() -> None:
    for _, found in SAID:
        for e in found:
            if e.kind == "several":
                assert 2 <= len(e.phrases) <= 3
                assert all(f"the {label}" in e.text for label, _ in e.phrases)
                assert len(set(e.target_ids)) == len(e.target_ids)


def test_an_empty_table_says_nothing() -> None:
    assert said() == []
