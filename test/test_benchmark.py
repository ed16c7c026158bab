"""The benchmark: figures worked out by hand, intervals of known distributions, words, kept answers, a whole run with its report.

Pictures are drawn, not rendered. Who answers is a class that knows the truth, so that every figure is known beforehand.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from shards import write_shard
from typer.testing import CliRunner

from qwen_seg_ros.cli.main import app
from qwen_seg_ros.errors import InvalidInputError
from qwen_seg_ros.frame import Frame
from qwen_seg_ros.geometry.mask import CroppedMask
from qwen_seg_ros.offline.data.expressions import Expression
from qwen_seg_ros.offline.evaluation import bootstrap
from qwen_seg_ros.offline.evaluation.benchmark import run_benchmark
from qwen_seg_ros.offline.evaluation.figures_out import BEGIN, END
from qwen_seg_ros.offline.evaluation.highlights import truth_of
from qwen_seg_ros.offline.evaluation.measures import KEYS, measure
from qwen_seg_ros.offline.evaluation.plan import Plan
from qwen_seg_ros.offline.evaluation.predictions import Prediction, by_words, from_depth, of_objects
from qwen_seg_ros.offline.evaluation.questions import SplitViews, View
from qwen_seg_ros.offline.evaluation.replies import digest_of
from qwen_seg_ros.offline.evaluation.splits import FIRST_TEST_SEED, SPLITS, chosen
from qwen_seg_ros.offline.evaluation.tabletop_ors import run_split
from qwen_seg_ros.offline.evaluation.word_match import named_by_words
from qwen_seg_ros.offline.sim.profiles import PROFILES
from qwen_seg_ros.offline.sim.scene import ObjectRecord
from qwen_seg_ros.segmentation.instruction import Instruction
from qwen_seg_ros.segmentation.result import Outcome, SegmentationResult

ROOT = Path(__file__).resolve().parents[1]
CARD = ROOT / "docs" / "tabletop_ors.md"


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


def test_masks_from_true_boxes_have_these_boxes(drawn: SplitViews) -> None:
    picture = drawn[0]
    question = asks("all", *(o.id for o in picture.objects))
    sums = measure(from_depth(picture, question)[0], picture, question)
    assert sums[KEYS.index("box")][0] == 1 and sums[KEYS.index("miou")][0] > 0.5
    assert from_depth(picture, asks(*NONE))[0].rejected


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


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_shard(tmp_path_factory.mktemp("drawn"), views=6)


@pytest.fixture(scope="module")
def drawn(folder: Path) -> SplitViews:
    return SplitViews(folder, SPLITS["id"], questions=5)


def test_views_are_the_same_on_every_read_and_differ_in_words_only(folder: Path, drawn: SplitViews) -> None:
    again, reworded = (SplitViews(folder, SPLITS[name], questions=5)[2] for name in ("id", "ood_wording"))
    assert again.questions == drawn[2].questions and np.array_equal(again.rgb, drawn[2].rgb)
    assert np.array_equal(reworded.rgb, again.rgb) and reworded.questions != again.questions


def test_a_model_is_given_colour_depth_and_camera(drawn: SplitViews) -> None:
    frame = drawn[0].frame()
    assert frame.depth_m is not None and frame.camera is not None


# --- whole runs ------------------------------------------------------------------------------------------------------------


class KnowsTheTruth:
    """Answers rightly; `patience`: how many pictures it looks at before it gives up."""

    def __init__(self, views: Sequence[View], patience: int = 10**6, remark: str = "") -> None:
        self.known = {view.rgb.tobytes(): view for view in views}
        self.patience, self.remark, self.seen = patience, remark, 0

    def encode(self, frame: Frame) -> View:
        if self.seen == self.patience:
            raise KeyboardInterrupt
        self.seen += 1
        return self.known[frame.rgb.tobytes()]

    def segment(self, encoded: View, instruction: Instruction) -> SegmentationResult:
        question = next(q for q in encoded.questions if q.text == instruction.text)
        right = truth_of(encoded, question)
        return SegmentationResult(question.text, right.outcome, right.instances, answer=self.remark)


class FindsNothing:
    """Rejects whatever it is asked."""

    def encode(self, frame: Frame) -> None:
        return None

    def segment(self, encoded: None, instruction: Instruction) -> SegmentationResult:
        return SegmentationResult(instruction.text, Outcome.NOT_FOUND)


def plan_of(folder: Path, tmp_path: Path, *splits: str) -> Plan:
    return Plan("a <b>model</b>", splits=chosen(splits), questions=5, cache=tmp_path, data=folder)


def test_who_knows_the_truth_scores_one_and_who_rejects_zero(folder: Path, drawn: SplitViews, tmp_path: Path) -> None:
    plan = plan_of(folder, tmp_path, "id")
    quiet = Console(quiet=True)
    best = run_benchmark(KnowsTheTruth(drawn), plan, tmp_path / "a", console=quiet)["id"]
    assert [best.of(key).value for key in KEYS] == pytest.approx([1.0] * len(KEYS), abs=1e-5)
    empty = Plan("nothing", digest="other", splits=plan.splits, questions=5, cache=tmp_path, data=folder)
    worst = run_benchmark(FindsNothing(), empty, tmp_path / "b", console=quiet)["id"]
    assert (worst.of("miou").value, worst.of("n_acc").value, worst.of("t_acc").value) == (0, 1, 0)


def test_an_interrupted_run_goes_on_and_ends_with_the_same_figures(drawn: SplitViews, tmp_path: Path) -> None:
    whole = run_split("id", drawn, KnowsTheTruth(drawn), tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        run_split("id", drawn, KnowsTheTruth(drawn, patience=4), tmp_path / "parts")
    rest = KnowsTheTruth(drawn)
    parts = run_split("id", drawn, rest, tmp_path / "parts")
    assert rest.seen == 2
    for first, second in zip(whole.rows, parts.rows, strict=True):
        assert first.text == second.text
        assert all(np.array_equal(first.sums[who], second.sums[who]) for who in first.sums)


def test_a_line_that_was_cut_off_is_asked_again(drawn: SplitViews, tmp_path: Path) -> None:
    run_split("id", drawn, KnowsTheTruth(drawn), tmp_path)
    file = tmp_path / "id.jsonl"
    file.write_bytes(file.read_bytes()[:-40])
    model = KnowsTheTruth(drawn)
    run_split("id", drawn, model, tmp_path)
    assert model.seen == 1
    assert len([json.loads(line) for line in file.read_text().splitlines()]) == len(drawn)


def test_other_questions_are_not_answered_from_the_store(folder: Path, drawn: SplitViews, tmp_path: Path) -> None:
    run_split("id", drawn, KnowsTheTruth(drawn), tmp_path)
    fewer = SplitViews(folder, SPLITS["id"], questions=2)
    model = KnowsTheTruth(fewer)
    run_split("id", fewer, model, tmp_path)
    assert model.seen == len(fewer)


def test_digests_tell_models_apart(tmp_path: Path) -> None:
    (tmp_path / "weights").write_bytes(b"1")
    first = digest_of("0.5", folder=tmp_path)
    assert first == digest_of("0.5", folder=tmp_path) != digest_of("0.6", folder=tmp_path)
    (tmp_path / "weights").write_bytes(b"2")
    assert first != digest_of("0.5", folder=tmp_path)


@pytest.fixture(scope="module")
def report(folder: Path, drawn: SplitViews, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a model that writes markup into its answers, on two splits; card.md beside it."""
    out = tmp_path_factory.mktemp("report")
    (out / "card.md").write_text(f"# before\n{BEGIN}\nold\n{END}\nafter\n")
    reworded = SplitViews(folder, SPLITS["ood_wording"], questions=5)
    views = [replace(v, questions=(*v.questions, *w.questions)) for v, w in zip(drawn, reworded, strict=True)]
    model = KnowsTheTruth(views, remark="</script><img src=http://far.away/x.png onerror=alert(1)>")
    plan = plan_of(folder, out, "id", "ood_wording")
    run_benchmark(model, plan, out, card=out / "card.md", console=Console(quiet=True))
    return out


def test_the_page_needs_no_network_and_shows_answers_as_text(report: Path) -> None:
    page = (report / "report.html").read_text()
    assert page.count("data:image/jpeg;base64,") >= 8
    assert "&lt;/script&gt;&lt;img src=http://far.away" in page and "a &lt;b&gt;model&lt;/b&gt;" in page
    assert page.count("</script>") == 2 and "<b>model" not in page
    sources = re.findall(r'(?:src|href)="([^"]{0,20})', page)
    assert sources and all(source.startswith("data:image/jpeg") for source in sources)
    assert "@import" not in page and "url(" not in page


def test_the_json_holds_every_figure(report: Path) -> None:
    values = json.loads((report / "results.json").read_text())
    assert set(values["splits"]) == {"id", "ood_wording"}
    split = values["splits"]["id"]
    assert split["first_seed"] == FIRST_TEST_SEED and split["pictures"] == 6
    assert split["figures"]["model"]["all kinds"]["miou"]["value"] == pytest.approx(1, abs=1e-4)
    assert set(split["figures"]) == {"model", "random object", "largest object", "true words", "true box + depth"}
    lines = [json.loads(line) for line in (report / "questions.jsonl").read_text().splitlines()]
    assert len(lines) == sum(s["counts"]["all kinds"] for s in values["splits"].values())


def test_the_card_gets_new_figures_and_keeps_its_words(report: Path, tmp_path: Path) -> None:
    text = (report / "card.md").read_text()
    assert text.startswith(f"# before\n{BEGIN}\n") and text.endswith(f"{END}\nafter\n") and "old" not in text
    assert re.search(r"^\| id \| 6 \| \d+ \| 1\.00 ±\.00", text, re.M)
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert len(rows) > 10 and all(line.endswith("|") for line in rows)


def test_a_page_without_the_marks_is_not_touched(folder: Path, drawn: SplitViews, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("words")
    with pytest.raises(InvalidInputError, match=r"must hold the lines .*begin"):
        run_benchmark(
            KnowsTheTruth(drawn), plan_of(folder, tmp_path, "id"), tmp_path / "out", card=page, console=Console(quiet=True)
        )
    assert page.read_text() == "words"


def test_several_splits_are_also_shown_together(folder: Path, tmp_path: Path) -> None:
    figures = run_benchmark(
        FindsNothing(), plan_of(folder, tmp_path, "ood_scale", "ood_sensor"), tmp_path / "out", console=Console(quiet=True)
    )
    assert list(figures) == ["ood_scale", "ood_sensor", "ood"]
    assert figures["ood"].pictures == 12 and figures["ood"].counts["all kinds"] == 2 * figures["ood_scale"].counts["all kinds"]


def test_the_command_names_the_splits_there_are() -> None:
    result = CliRunner().invoke(app, ["evaluate", "tabletop-ors", "--split", "easy"])
    assert result.exit_code == 2 and "ood_lighting" in " ".join(result.output.split())


def test_the_card_in_the_documentation_has_the_marks_and_every_split() -> None:
    text = CARD.read_text()
    assert text.count(BEGIN) == text.count(END) == 1
    for split in SPLITS.values():
        assert re.search(rf"^\| {split.name} \| {split.first_seed:,} \|", text, re.M), split.name


def test_of_objects_without_ids_is_a_rejection(view: View) -> None:
    assert of_objects(view, ()).rejected and not of_objects(view, (1,)).rejected


def test_the_model_in_the_card_can_be_asked(drawn: SplitViews, tmp_path: Path) -> None:
    code = re.search(r"```python\n(.*?)\nrun_benchmark\(", CARD.read_text(), re.S)[1]
    names: dict = {}
    exec(code.replace("found = ...", "found = ()"), names)  # noqa: S102 - our own page
    result = run_split("id", drawn, names["Mine"](), tmp_path)
    assert {row.outcome for row in result.rows} == {Outcome.NOT_FOUND.value}
