"""The benchmark: figures worked out by hand, intervals of known distributions, true words, splits."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qwen_seg_ros.errors import InvalidInputError
from qwen_seg_ros.geometry.mask import CroppedMask
from qwen_seg_ros.offline.data.expressions import Expression
from qwen_seg_ros.offline.evaluation import bootstrap
from qwen_seg_ros.offline.evaluation.measures import KEYS, measure
from qwen_seg_ros.offline.evaluation.predictions import Prediction, by_words, of_objects
from qwen_seg_ros.offline.evaluation.questions import View
from qwen_seg_ros.offline.evaluation.splits import FIRST_TEST_SEED, SPLITS, chosen
from qwen_seg_ros.offline.evaluation.word_match import named_by_words
from qwen_seg_ros.offline.sim.profiles import PROFILES
from qwen_seg_ros.offline.sim.scene import ObjectRecord


def record(number: int, name: str, colour: str, category: str, box: tuple[int, int, int, int], pixels: int) -> ObjectRecord:
    return ObjectRecord(number, f"k{number}", name, colour, category, (), box, pixels, (0, 0, 0), (0.1, 0.1, 0.1), 1.0)


@pytest.fixture
def view() -> View:
    """4 x 8 pixels: object 1 in columns 6..7, object 2 in columns 0..3."""
    ids = np.zeros((4, 8), np.uint8)
    ids[:, 6:8], ids[:, 0:4] = 1, 2
    objects = record(1, "red can", "red", "can", (6, 0, 8, 4), 8), record(2, "blue mug", "blue", "mug", (0, 0, 4, 4), 16)
    return View(np.zeros((4, 8, 3), np.uint8), ids, objects, ())


def asks(kind: str, *ids: int, text: str = "words") -> Expression:
    return Expression(text, kind, (("thing", ids),))


def answer(*columns: tuple[int, int], rejected: bool = False, score: float = 1.0) -> Prediction:
    """Whole columns first..last of the 4 x 8 picture, with tight boxes."""
    boxes = np.array([(first, 0, last + 1, 4) for first, last in columns], float).reshape(-1, 4)
    masks = [CroppedMask(np.ones((4, last + 1 - first), bool), first, 0, 4, 8) for first, last in columns]
    return Prediction(boxes, tuple(masks), np.full(len(columns), score), rejected)


def figures(**values: float | None) -> dict[str, float | None]:
    return values


RIGHT, WRONG, HALF = (6, 7), (4, 5), (0, 1)
ONE, BOTH, NONE = ("name", 1), ("all", 1, 2), ("absent",)
# question, answer -> figures of some metrics; None = the metric does not count this question
CASES = [
    (ONE, answer(RIGHT), figures(miou=1, giou=1, p50=1, p90=1, box=1, instance=1, t_acc=1, n_acc=None, grec=1)),
    (ONE, answer(WRONG), figures(miou=0, giou=0, ciou=0, p50=0, box=0, instance=0, t_acc=1, n_acc=None, grec=0)),
    (ONE, answer(RIGHT, WRONG), figures(miou=0.5, p50=0, box=1, instance=1, grec=0)),  # the first is taken, the union is judged
    (ONE, answer(WRONG, RIGHT), figures(miou=0.5, p50=0, box=0, instance=0, grec=0)),
    (ONE, answer(), figures(miou=0, giou=0, box=0, t_acc=1, grec=0)),  # unreadable: neither found nor rejected
    (ONE, answer(rejected=True), figures(miou=0, giou=0, box=0, t_acc=0, grec=0)),
    (ONE, answer(RIGHT, score=0.6), figures(miou=1, box=1, grec=0, grec_all=1)),
    (("name", 2), answer(HALF), figures(miou=0.5, p50=0, box=0, instance=0.5)),  # "more than", not "at least"
    (BOTH, answer(RIGHT, (0, 3)), figures(miou=1, p90=1, box=1, instance=1, grec=1)),
    (BOTH, answer((0, 3), RIGHT), figures(miou=1, p90=1, box=1, instance=1, grec=1)),
    (BOTH, answer((0, 3)), figures(miou=2 / 3, p50=1, p70=0, box=0.5, instance=0.5, grec=0)),
    (BOTH, answer(RIGHT, (0, 3), WRONG), figures(miou=0.75, p70=1, p90=0, box=2 / 3, instance=2 / 3, grec=0)),
    (NONE, answer(rejected=True), figures(miou=None, giou=1, ciou=None, p50=None, box=None, n_acc=1, t_acc=None, grec=1)),
    (NONE, answer(WRONG), figures(miou=None, giou=0, ciou=0, box=None, n_acc=0, t_acc=None, grec=0)),
    (NONE, answer(), figures(miou=None, giou=0, ciou=None, n_acc=0, grec=1)),  # GREC counts boxes only
    (NONE, answer(WRONG, rejected=True), figures(giou=1, ciou=None, n_acc=1, grec=0)),
]


@pytest.mark.parametrize(("question", "said", "expected"), CASES)
def test_figures_of_one_question(view: View, question: tuple, said: Prediction, expected: dict) -> None:
    sums = dict(zip(KEYS, measure(said, view, asks(*question)), strict=True))
    for key, value in expected.items():
        numerator, denominator = sums[key]
        if value is None:
            assert denominator == 0, key
        else:
            assert numerator / denominator == pytest.approx(value, abs=1e-5), key


def test_what_is_found_where_nothing_is_adds_to_the_union_of_ciou(view: View) -> None:
    asked = [(asks(*ONE), answer(RIGHT)), (asks(*NONE), answer(WRONG)), (asks(*NONE), answer(rejected=True))]
    intersection, union = sum(measure(said, view, question) for question, said in asked)[KEYS.index("ciou")]
    assert (intersection, union) == (8, 16)


@given(st.permutations([(6, 7), (0, 3), (4, 5)]))
def test_the_order_of_an_answer_does_not_matter_when_all_are_asked_for(order: list) -> None:
    ids = np.zeros((4, 8), np.uint8)
    ids[:, 6:8], ids[:, 0:4] = 1, 2
    objects = record(1, "", "", "", (6, 0, 8, 4), 8), record(2, "", "", "", (0, 0, 4, 4), 16)
    picture = View(np.zeros((4, 8, 3), np.uint8), ids, objects, ())
    first, other = (measure(answer(*columns), picture, asks(*BOTH)) for columns in (order, [(6, 7), (0, 3), (4, 5)]))
    assert first == pytest.approx(other)


# --- intervals -------------------------------------------------------------------------------------------------------------


def of_means(values: np.ndarray, weight: float = 1.0) -> np.ndarray:
    """(P, 1, 2): one metric, one question a picture."""
    return np.stack([values * weight, np.full(len(values), weight)], axis=-1)[:, None]


def test_the_interval_of_a_mean_is_that_of_the_normal_distribution() -> None:
    values = np.random.default_rng(3).normal(0.5, 0.1, 400)
    figure = bootstrap.figures(of_means(values))[0]
    expected = 1.96 * values.std() / np.sqrt(len(values))
    assert figure.value == pytest.approx(values.mean())
    assert (figure.high - figure.low) / 2 == pytest.approx(expected, rel=0.1)
    assert (figure.high + figure.low) / 2 == pytest.approx(values.mean(), abs=0.2 * expected)


def test_about_95_of_100_intervals_hold_the_true_share() -> None:
    rng, truth = np.random.default_rng(4), 0.3
    figures = [bootstrap.figures(of_means((rng.random(150) < truth).astype(float)))[0] for _ in range(200)]
    assert 0.90 <= np.mean([f.low <= truth <= f.high for f in figures]) <= 0.99


def test_more_questions_of_the_same_pictures_do_not_narrow_the_interval() -> None:
    values = np.random.default_rng(5).random(60)
    once, often = bootstrap.figures(of_means(values))[0], bootstrap.figures(of_means(values, weight=10))[0]
    assert (once.low, once.high) == pytest.approx((often.low, often.high))


def test_intervals_are_the_same_on_every_call_and_nothing_has_none() -> None:
    values = of_means(np.random.default_rng(6).random(30))
    assert bootstrap.figures(values) == bootstrap.figures(values.copy())
    constant, nothing = bootstrap.figures(of_means(np.full(9, 0.25)))[0], bootstrap.figures(np.zeros((5, 1, 2)))[0]
    assert (constant.low, constant.value, constant.high) == (0.25, 0.25, 0.25)
    assert np.isnan([nothing.low, nothing.value, nothing.high]).all()
    assert np.isnan(bootstrap.figures(np.zeros((0, 2, 2)))[1].value)


# --- what is said without a model ------------------------------------------------------------------------------------------

TABLE = [
    record(1, "red mug", "red", "mug", (0, 0, 1, 1), 1),
    record(2, "blue mug", "blue", "mug", (0, 0, 1, 1), 1),
    record(3, "cookie box", "red and white", "box", (0, 0, 1, 1), 1),
    record(4, "soda can", "red", "can", (0, 0, 1, 1), 1),
]
NAMED = {
    "can you pass me the red mug": [1],
    "all mugs": [1, 2],
    "the mug and the can": [1, 2, 4],
    "the red and white box": [3],
    "the red mug, the cookie box and the soda can": [1, 3, 4],
    "every red object": [1, 3, 4],
    "the mug left of the cookie box": [1, 2],
    "give me the banana": [],
    "the green mug": [],
    "something to sip from": [],
    "all objects": [1, 2, 3, 4],
    "everything other than the can": [1, 2, 3, 4],
    "the mug to the cookie box's right as well as the soda can": [1, 2, 4],
    "the blue-coloured mug you can see just before the can": [2],
    "the box of greater size than the mug": [3],
    "I WANT THE CAN": [4],
}


@pytest.mark.parametrize(("instruction", "expected"), NAMED.items(), ids=NAMED)
def test_objects_by_their_true_words(instruction: str, expected: list[int]) -> None:
    assert [item.id for item in named_by_words(instruction, TABLE)] == expected


def test_true_words_without_a_match_are_a_rejection(view: View) -> None:
    assert by_words(view, asks(*NONE, text="the green bottle"))[0].rejected
    assert measure(by_words(view, asks(*ONE, text="the red can"))[0], view, asks(*ONE))[KEYS.index("miou")][0] > 0.99


# --- splits and questions --------------------------------------------------------------------------------------------------


def test_splits_are_of_seeds_of_their_own_and_of_known_scenes() -> None:
    seeds = {name: split.first_seed for name, split in SPLITS.items()}
    assert seeds.pop("ood_wording") == seeds["id"] == FIRST_TEST_SEED
    assert len(set(seeds.values())) == len(seeds) and all(5_000_000 <= s < 9_000_000 for s in seeds.values())
    assert {split.profile for split in SPLITS.values()} <= set(PROFILES)
    assert [name for name, split in SPLITS.items() if split.wording == "test"] == ["ood_wording"]


def test_splits_are_chosen_by_name_in_their_own_order() -> None:
    assert [s.name for s in chosen(["ood_sensor", "id"])] == ["id", "ood_sensor"]
    assert len(chosen([])) == len(SPLITS)
    with pytest.raises(InvalidInputError, match=r"ood_objects.* got ood_things"):
        chosen(["ood_things"])


def test_of_objects_without_ids_is_a_rejection(view: View) -> None:
    assert of_objects(view, ()).rejected and not of_objects(view, (1,)).rejected
