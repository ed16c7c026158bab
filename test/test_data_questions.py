"""Plain questions and reasoning instructions against an independent reading of the scene."""

import re

import numpy as np
from test_expressions import SCENES, WIDTH, described_by, thing

from qwen_seg_ros.offline.data import plain_questions as plain
from qwen_seg_ros.offline.data.affordances import AFFORDANCES
from qwen_seg_ros.offline.data.expressions import Expression
from qwen_seg_ros.offline.data.plain_questions import PlainQuestion, plain_questions
from qwen_seg_ros.offline.data.reasoning import FRAMES, pick_reasoning, reasoning
from qwen_seg_ros.offline.sim.catalogue import catalogue
from qwen_seg_ros.offline.sim.scene import ObjectRecord


def asked(*objects: ObjectRecord, seed: int = 0, doubtful: tuple[ObjectRecord, ...] = ()) -> list[PlainQuestion]:
    return list(plain_questions(objects, WIDTH, np.random.default_rng(seed), doubtful))


ASKED = [(objects, asked(*objects, seed=n)) for n, objects in enumerate(SCENES)]


def of_kind(*kinds: str) -> list[tuple[tuple[ObjectRecord, ...], PlainQuestion]]:
    found = [(objects, q) for objects, questions in ASKED for q in questions if q.kind in kinds]
    assert len(found) > 100
    return found


def matching(objects: tuple[ObjectRecord, ...], phrase: str) -> list[ObjectRecord]:
    words = re.sub(r"^(a|an|one) |(pair|loaf) of ", "", phrase)
    return [o for o in objects if described_by(o, words)]


def singular(noun: str) -> str:
    known = {plain.plural(e.category): e.category for e in catalogue()}
    *before, head = noun.split()
    return " ".join([*before, known[head]])


def test_every_kind_of_plain_question_occurs_and_the_same_seed_asks_the_same() -> None:
    assert {q.kind for _, questions in ASKED for q in questions} == set(plain.KINDS)
    assert asked(*SCENES[0], seed=4) == asked(*SCENES[0], seed=4) != asked(*SCENES[0], seed=5)


def test_counts_are_those_of_the_scene() -> None:
    for objects, question in of_kind("count"):
        noun = re.search(r"(?:How many|Count the) (.+?)(?: are| can you|\.)", question.text)[1]
        number = len(matching(objects, singular(noun)))
        expected = plain.NUMBERS[number] if "number only" not in question.text else str(number)
        assert expected in question.answer.split(), (question, [o.name for o in objects])


def test_all_objects_are_counted_and_named() -> None:
    for objects, question in of_kind("count_all"):
        assert {plain.NUMBERS[len(objects)], str(len(objects))} & set(question.answer.split())
    for objects, question in of_kind("names", "description"):
        assert all(plain.a(plain.spoken(o.name)) in question.answer.lower() for o in objects), question


def test_yes_and_no_are_true() -> None:
    for objects, question in of_kind("present", "absent"):
        phrase = re.search(r"(?:there|see) (an? .+?)(?: on the table| in the picture| here)?\?", question.text)[1]
        assert question.answer.lower().startswith("yes" if matching(objects, phrase) else "no"), question
        assert bool(matching(objects, phrase)) == (question.kind == "present")


def test_colours_are_those_of_the_one_object_that_is_meant() -> None:
    for objects, question in of_kind("colour"):
        phrase = re.search(r"\bthe (?!colour)(.+?)(?: have)?[.?]", question.text)[1]
        (item,) = matching(objects, phrase)
        assert item.colour in question.answer.lower()


def test_yes_or_no_about_colours() -> None:
    for objects, question in of_kind("is_colour"):
        phrase, colour = re.match(r"Is the (.+) (\S+)\?", question.text).groups()
        (item,) = matching(objects, phrase)
        assert question.answer.lower().startswith("yes" if item.colour == colour else "no")


def test_sides_and_distances_are_those_of_the_scene() -> None:
    for objects, question in of_kind("side"):
        pattern = r"On which side of the (?P<b>.+) is the (?P<a>.+?)\?|.*is the (?P<c>.+) left or right of the (?P<d>.+?)\?"
        found = re.match(pattern, question.text, re.IGNORECASE).groupdict()
        (one,), (other,) = (matching(objects, found[k] or found[n]) for k, n in (("a", "c"), ("b", "d")))
        assert ("left" if one.box_px[0] < other.box_px[0] else "right") in question.answer.lower()
    for objects, question in of_kind("nearer"):
        pair = re.search(r", the (.+) or the (.+?)\?", question.text).groups()
        near = min((matching(objects, p)[0] for p in pair), key=lambda o: o.distance_m)
        said = re.match(r"The (.+?)(?: is closer to the camera)?\.", question.answer)[1]
        assert matching(objects, said) == [near]


def test_what_is_beside_a_thing_is_complete() -> None:
    objects = (thing(1, "ycb/025_mug/red", 20), thing(2, "robosuite/cereal", 120), thing(3, "ycb/048_hammer", 220))
    found = [q for seed in range(20) for q in asked(*objects, seed=seed) if q.kind == "beside" and "of the hammer" in q.text]
    left = [q.answer.lower() for q in found if " left of" in q.text]
    assert left and all(
        re.match("the (red )?(coffee )?(mug|cup) and the (red )?(cereal|box|cereal box|breakfast)", t) for t in left
    )
    assert {q.answer for q in found if " right of" in q.text} <= {"Nothing is right of the hammer.", "Nothing."}


def test_what_is_half_seen_is_not_spoken_of() -> None:
    clear, doubtful = thing(1, "ycb/048_hammer"), thing(2, "ycb/025_mug/red", 200)
    seen_twice = [q for seed in range(30) for q in asked(clear, seed=seed, doubtful=(doubtful,))]
    assert not {q.kind for q in seen_twice} & {"count_all", "names", "description", "leftmost", "beside"}
    assert not [q for q in seen_twice if ("mug" in q.text or "cup" in q.text) and q.kind != "absent"]
    assert not [q for q in seen_twice if re.search("(a|red|coffee) (mug|cup)", q.text)]
    assert [q for q in seen_twice if "hammer" in q.text]
    assert [q for q in asked(clear, doubtful) if "mug" in q.text]


def test_the_table_of_uses_speaks_of_things_in_the_catalogue() -> None:
    known = {word for e in catalogue() for word in (e.name, e.category)}
    assert len(AFFORDANCES) >= 15
    for use in AFFORDANCES:
        assert set(use.fits) | set(use.unsure) <= known, use.thing
        assert not set(use.fits) & set(use.unsure)
        assert len(set(use.sentences)) >= 3
    texts = [text for use in AFFORDANCES for text in (use.thing, *use.sentences)]
    assert len(set(texts)) == len(texts)


def uses_of(*objects: ObjectRecord, doubtful: tuple[ObjectRecord, ...] = (), seed: int = 0) -> dict[str, Expression]:
    """By what is looked for, whatever the wording."""
    texts = {t: u.thing for u in AFFORDANCES for t in (*u.sentences, *(f.format(u.thing) for f in FRAMES))}
    return {texts[e.text]: e for e in reasoning(objects, np.random.default_rng(seed), doubtful)}


def test_all_that_serves_is_asked_for_and_nothing_else() -> None:
    objects = (thing(1, "ycb/025_mug/red"), thing(2, "ycb/065-f_cups/blue"), thing(3, "ycb/043_phillips_screwdriver"))
    found = uses_of(*objects)
    assert found["something to drink coffee from"].phrases == (("mug", (1,)), ("cup", (2,)))
    assert found["something to tighten a screw with"].phrases == (("screwdriver", (3,)),)
    assert found["something to read"].phrases == (("something to read", ()),)
    assert all(e.kind == "reasoning" for e in found.values())


def test_what_people_would_argue_about_is_not_asked() -> None:
    mug, scissors, bowl = thing(1, "ycb/025_mug/red"), thing(2, "ycb/037_scissors"), thing(3, "libero/white_bowl")
    assert "something to slice an apple with" in uses_of(mug)
    assert "something to slice an apple with" not in uses_of(mug, scissors)
    assert "something to eat soup from" in uses_of(bowl)
    assert "something to eat soup from" not in uses_of(bowl, mug)
    assert "something to drink coffee from" not in uses_of(scissors, doubtful=(mug,))
    assert uses_of(ObjectRecord(1, "new", "gadget", "red", "gadget", (), (0, 0, 9, 9), 81, (0, 0, 0), (0, 0, 0), 1.0)) == {}


def test_a_reasoning_instruction_does_not_name_its_target() -> None:
    for objects in SCENES:
        for expression in reasoning(objects, np.random.default_rng(1)):
            text = re.sub(r"\bcan (?=I|you|be|hold)", "", expression.text)  # the verb
            named = [label for label, ids in expression.phrases if ids and re.search(rf"\b{label}s?\b", text)]
            assert not named, expression


def test_about_a_third_of_the_reasoning_has_no_target() -> None:
    picked = [e for n, objects in enumerate(SCENES) for e in pick_reasoning(objects, 6, np.random.default_rng(n))]
    assert 0.28 < np.mean([not e.target_ids for e in picked]) < 0.42
