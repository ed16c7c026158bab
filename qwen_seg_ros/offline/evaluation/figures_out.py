"""Figures of the benchmark as JSON, as tables for a terminal, and as the generated block of the card."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table as RichTable

from qwen_seg_ros.errors import InvalidInputError
from qwen_seg_ros.offline.evaluation.bootstrap import RESAMPLES, Figure
from qwen_seg_ros.offline.evaluation.measures import METRICS
from qwen_seg_ros.offline.evaluation.plan import Plan
from qwen_seg_ros.offline.evaluation.results import ALL_KINDS, GROUPS, OOD, Table, kinds_of
from qwen_seg_ros.offline.evaluation.splits import SPLITS
from qwen_seg_ros.offline.evaluation.tabletop_ors import ANSWERERS, MODEL, SplitResult
from qwen_seg_ros.segmentation.result import Outcome

VERSION = 1  # of scenes, questions and metrics: figures of different versions must not be compared
BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"
TITLES = {metric.key: metric.title for metric in METRICS}
CARD_COLUMNS = ("miou", "giou", "ciou", "p50", "p70", "p90", "box", "n_acc", "t_acc", "grec")
TARGET_COLUMNS = (("one target", "miou"), ("one target", "p50"), ("several targets", "giou"), ("relations and order", "p50"))
BASELINE_COLUMNS = ("miou", "giou", "box", "n_acc")


def to_json(plan: Plan, results: Sequence[SplitResult], tables: Mapping[str, Table]) -> dict:
    """NaN is written as null."""
    splits = {name: _table_json(table) for name, table in tables.items()}
    for result in results:
        splits[result.name] |= {**asdict(SPLITS[result.name]), **_pace(result)}
    metrics = {metric.key: {"title": metric.title, "meaning": metric.meaning} for metric in METRICS}
    about = {"benchmark": "tabletop-ors", "version": VERSION, "setup": _setup_json(plan)}
    return {**about, "metrics": metrics, "kinds": kinds_of(tables.values()), "splits": splits}


def _setup_json(plan: Plan) -> dict:
    known = {key: getattr(plan, key) for key in ("model", "scenes", "questions", "size", "facts")}
    return {**known, "digest": plan.store.name, "rendered": plan.data is None}


def _table_json(table: Table) -> dict:
    figures = {
        who: {kind: {key: _figure_json(figure) for key, figure in row.items()} for kind, row in rows.items()}
        for who, rows in table.figures.items()
    }
    return {"pictures": table.pictures, "counts": table.counts, "figures": figures}


def _figure_json(figure: Figure) -> dict[str, float | None]:
    return {key: None if math.isnan(value) else round(value, 5) for key, value in asdict(figure).items()}


def _pace(result: SplitResult) -> dict[str, float]:
    """Seconds as they were when the answers were given, and the share of answers nobody can read."""
    unreadable = [row.outcome == Outcome.UNREADABLE_ANSWER.value for row in result.rows]
    parts = {"encode_s": result.encode_s, "question_s": [row.seconds for row in result.rows], "unreadable": unreadable}
    return {name: round(float(np.mean(values)), 5) for name, values in parts.items() if len(values)}


def write_questions(file: Path, results: Sequence[SplitResult]) -> None:
    """Every question with the model's answer and its own figures, one JSON line each."""
    with file.open("w") as stream:
        for result in results:
            for row in result.rows:
                own = {m.key: [float(v) for v in row.sums[MODEL][n]] for n, m in enumerate(METRICS)}
                known = {key: getattr(row, key) for key in ("view", "question", "kind", "text", "outcome", "answer", "seconds")}
                stream.write(json.dumps({"split": result.name, **known, "sums": own}) + "\n")


def print_tables(console: Console, tables: Mapping[str, Table]) -> None:
    """The model on all splits, then mIoU beside the baselines."""
    head = [TITLES[key] for key in CARD_COLUMNS]
    _print(console, ["split", "n", *head], [_row(name, t, MODEL, CARD_COLUMNS) for name, t in tables.items()])
    whos = [who for who in ANSWERERS if any(who in table.figures for table in tables.values())]
    rows = [[name, str(t.counts[ALL_KINDS]), *(_plain(t.of("miou", who)) for who in whos)] for name, t in tables.items()]
    _print(console, ["mIoU", "n", *whos], rows)
    console.print(f"95 % intervals from {RESAMPLES} resamples of pictures; n = questions", highlight=False)


def _print(console: Console, head: list[str], rows: list[list[str]]) -> None:
    table = RichTable(box=None, padding=(0, 1, 0, 0), header_style="dim")
    for number, title in enumerate(head):
        table.add_column(title, justify="right" if number else "left")
    for row in rows:
        table.add_row(*row)
    console.print(table)


def _row(name: str, table: Table, who: str, keys: Sequence[str]) -> list[str]:
    return [name, str(table.counts[ALL_KINDS]), *(with_interval(table.of(key, who)) for key in keys)]


def with_interval(figure: Figure) -> str:
    """ "0.61 ±.03": half of the interval's width."""
    if math.isnan(figure.value):
        return "-"
    half = f"{(figure.high - figure.low) / 2:.2f}"
    return f"{figure.value:.2f} ±{half.removeprefix('0')}"


def _plain(figure: Figure) -> str:
    return "-" if math.isnan(figure.value) else f"{figure.value:.2f}"


def check_card(file: Path) -> None:
    """
    Raises:
        InvalidInputError: when the file has no block for figures.
    """
    text = file.read_text() if file.is_file() else ""
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        raise InvalidInputError(f"{file} must hold the lines {BEGIN} and {END} once each; the figures are put between them")


def update_card(file: Path, plan: Plan, tables: Mapping[str, Table]) -> None:
    """Rewrite the block of figures between its two marks and leave everything else. Raises as `check_card` does."""
    check_card(file)
    text = file.read_text()
    before, after = text[: text.index(BEGIN)], text[text.index(END) :]
    file.write_text(f"{before}{BEGIN}\n{card_block(plan, tables)}\n{after}")


def card_block(plan: Plan, tables: Mapping[str, Table]) -> str:
    """Markdown: the model by split, the baselines, box accuracy by kind of expression."""
    size = f"{plan.size[0]}x{plan.size[1]}"
    facts = "; ".join(f"{name} {value}" for name, value in plan.facts.items())
    about = f"`{plan.model}` (digest {plan.store.name}), version {VERSION}, {size}, up to {plan.questions} questions a picture"
    return "\n".join(
        [
            f"{about}; {facts}. ± is half of the 95 % interval.\n",
            _by_split(tables),
            "\nBy number of targets:\n",
            _by_targets(tables),
            "\nBeside what can be said without a model, and what true boxes give:\n",
            _by_answerer(tables),
            "\nMask P@0.5 of the model by kind of expression:\n",
            _by_kind(tables),
        ]
    )


def _by_split(tables: Mapping[str, Table]) -> str:
    head = ["split", "pictures", "questions", *(TITLES[key] for key in CARD_COLUMNS)]
    rows = [_row(name, table, MODEL, CARD_COLUMNS) for name, table in tables.items()]
    return _markdown(head, [[row[0], str(tables[row[0]].pictures), *row[1:]] for row in rows])


def _by_answerer(tables: Mapping[str, Table]) -> str:
    shown = {name: table for name, table in tables.items() if name in ("id", OOD)} or dict(tables)
    head = ["answers", *(f"{name}: {TITLES[key]}" for name in shown for key in BASELINE_COLUMNS)]
    whos = [who for who in ANSWERERS if any(who in table.figures for table in shown.values())]
    return _markdown(head, [[who, *(_plain(t.of(key, who)) for t in shown.values() for key in BASELINE_COLUMNS)] for who in whos])


def _by_targets(tables: Mapping[str, Table]) -> str:
    head = ["split", *(f"{kind}: {TITLES[key]}" for kind, key in TARGET_COLUMNS)]
    rows = [[name, *(with_interval(table.of(key, kind=kind)) for kind, key in TARGET_COLUMNS)] for name, table in tables.items()]
    return _markdown(head, rows)


def _by_kind(tables: Mapping[str, Table]) -> str:
    kinds = [kind for kind in kinds_of(tables.values()) if kind not in (*GROUPS, "absent")]
    rows = [[name, *(_plain(table.of("p50", kind=kind)) for kind in kinds)] for name, table in tables.items()]
    return _markdown(["split", *kinds], rows)


def _markdown(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] + ["---:"] * (len(head) - 1), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)
