"""Whole runs of the benchmark: views of a folder, kept answers, report and card.

Pictures are drawn, not rendered. Who answers is a class that knows the truth, so that every figure is known beforehand.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from rich.console import Console
from shards import write_shard
from typer.testing import CliRunner

from qwen_seg_ros.cli.main import app
from qwen_seg_ros.errors import InvalidInputError
from qwen_seg_ros.frame import Frame
from qwen_seg_ros.offline.data.expressions import Expression
from qwen_seg_ros.offline.evaluation.benchmark import run_benchmark
from qwen_seg_ros.offline.evaluation.figures_out import BEGIN, END
from qwen_seg_ros.offline.evaluation.highlights import truth_of
from qwen_seg_ros.offline.evaluation.measures import KEYS, measure
from qwen_seg_ros.offline.evaluation.plan import Plan
from qwen_seg_ros.offline.evaluation.predictions import from_depth
from qwen_seg_ros.offline.evaluation.questions import SplitViews, View
from qwen_seg_ros.offline.evaluation.replies import digest_of
from qwen_seg_ros.offline.evaluation.splits import FIRST_TEST_SEED, SPLITS, chosen
from qwen_seg_ros.offline.evaluation.tabletop_ors import run_split
from qwen_seg_ros.segmentation.instruction import Instruction
from qwen_seg_ros.segmentation.result import Outcome, SegmentationResult

ROOT = Path(__file__).resolve().parents[1]
CARD = ROOT / "docs" / "tabletop_ors.md"


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


def test_masks_from_true_boxes_have_these_boxes(drawn: SplitViews) -> None:
    picture = drawn[0]
    question = Expression("words", "all", (("thing", tuple(o.id for o in picture.objects)),))
    sums = measure(from_depth(picture, question)[0], picture, question)
    assert sums[KEYS.index("box")][0] == 1 and sums[KEYS.index("miou")][0] > 0.5
    assert from_depth(picture, Expression("words", "absent", (("thing", ()),)))[0].rejected


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
    (tmp_path / "README.md").write_text("figures of the model itself")
    assert first == digest_of("0.5", folder=tmp_path)
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


def test_pictures_are_put_beside_the_card(report: Path) -> None:
    sheets = {name: cv2.imread(str(report / f"card_{name}.jpg")) for name in ("splits", "best", "worst")}
    columns = {name: sheet.shape[1] // 400 for name, sheet in sheets.items()}
    assert columns == {"splits": 4, "best": 4, "worst": 4}  # two answers a row, truth and answer side by side
    assert all(sheet.std() > 5 for sheet in sheets.values())


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
    counts = figures["ood"].counts
    assert counts["one target"] + counts["several targets"] + counts["absent"] == counts["all kinds"]


def test_the_command_names_the_splits_there_are() -> None:
    result = CliRunner().invoke(app, ["evaluate", "tabletop-ors", "--split", "easy"])
    assert result.exit_code == 2 and "ood_lighting" in " ".join(result.output.split())


def test_options_of_the_short_report_do_not_get_lost() -> None:
    result = CliRunner().invoke(app, ["evaluate", "--checkpoint", "mine", "tabletop-ors"])
    assert result.exit_code == 2 and "checkpoint before it" in " ".join(result.output.split())


def test_what_was_answered_can_be_forgotten(folder: Path, drawn: SplitViews, tmp_path: Path) -> None:
    plan = plan_of(folder, tmp_path, "id")
    run_split("id", drawn, KnowsTheTruth(drawn), plan.store)
    plan.forget()
    again = KnowsTheTruth(drawn)
    run_split("id", drawn, again, plan.store)
    assert again.seen == len(drawn)


def test_the_card_in_the_documentation_has_the_marks_and_every_split() -> None:
    text = CARD.read_text()
    assert text.count(BEGIN) == text.count(END) == 1
    for split in SPLITS.values():
        assert re.search(rf"^\| {split.name} \| {split.first_seed:,} \|", text, re.M), split.name


def test_the_model_in_the_card_can_be_asked(drawn: SplitViews, tmp_path: Path) -> None:
    code = re.search(r"```python\n(.*?)\nrun_benchmark\(", CARD.read_text(), re.S)[1]
    names: dict = {}
    exec(code.replace("found = ...", "found = ()"), names)  # noqa: S102 - our own page
    result = run_split("id", drawn, names["Mine"](), tmp_path)
    assert {row.outcome for row in result.rows} == {Outcome.NOT_FOUND.value}
