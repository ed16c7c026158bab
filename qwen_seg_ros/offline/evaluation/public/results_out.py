"""Figures of a public split with their intervals: a table for people, results.json and questions.jsonl for programs."""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from qwen_seg_ros.offline.evaluation.bootstrap import Figure, figures
from qwen_seg_ros.offline.evaluation.public.run import Answers, Row
from qwen_seg_ros.offline.evaluation.public.scores import METRICS, Sums, table
from qwen_seg_ros.offline.evaluation.public.split import LeftOut, PublicSplit

TOLD = 20  # reasons in results.json
Figures = dict[str, dict[str, Figure]]  # by who answers and by key of the metric


@dataclass(frozen=True)
class About:
    """What was measured: where the data lies, the model, and facts to show with the figures."""

    data: str
    model: str
    facts: dict[str, str]


@dataclass(frozen=True, eq=False)
class Measured:
    """split: what was asked; pictures: of the whole split, of which the first ones may have been asked."""

    split: PublicSplit
    pictures: int
    answers: Answers

    @property
    def questions(self) -> int:
        return max(map(len, self.answers.rows.values()))

    @property
    def left_out(self) -> dict[str, LeftOut]:
        return {"when the files were opened": self.split.left_out, "when asked": self.answers.left_out}

    def figures(self) -> Figures:
        """The 95 % intervals draw whole pictures again."""
        return {who: self._figures(rows) for who, rows in self.answers.rows.items()}

    def _figures(self, rows: Sequence[Row]) -> dict[str, Figure]:
        by_picture: list[list[Sums]] = [[] for _ in self.split.pictures]
        for row in rows:
            by_picture[row.picture].append(row.sums)
        sums = np.stack([table(self.split.dataset, own) for own in by_picture if own])
        return dict(zip((metric.key for metric in METRICS[self.split.dataset]), figures(sums), strict=True))


def write_results(out: Path, measured: Measured, about: About, found: Figures) -> None:
    """out/results.json and out/questions.jsonl."""
    out.mkdir(parents=True, exist_ok=True)
    split = measured.split
    values = {
        "dataset": split.dataset,
        "split": split.split,
        **asdict(about),
        "pictures": {"asked": len(split.pictures), "in the split": measured.pictures},
        "questions": measured.questions,
        "left_out": {when: _left_out(entries) for when, entries in measured.left_out.items()},
        "metrics": {metric.key: metric.meaning for metric in METRICS[split.dataset]},
        "figures": {who: {key: _figure(value) for key, value in own.items()} for who, own in found.items()},
    }
    (out / "results.json").write_text(json.dumps(values, indent=1))
    with (out / "questions.jsonl").open("w") as stream:
        for who, rows in measured.answers.rows.items():
            stream.writelines(json.dumps({"who": who, **asdict(row)}) + "\n" for row in rows)


def print_results(console: Console, measured: Measured, found: Figures) -> None:
    """One line for each who answered, with the interval below; then what was left out."""
    split = measured.split
    asked = f"{split.dataset} {split.split}: {measured.questions} questions about {len(split.pictures)} pictures"
    console.print(escape(asked + _caution(measured)), highlight=False, soft_wrap=True)
    shown = Table(caption="in %; small: 95 % intervals over pictures", caption_justify="left", box=None, header_style="dim")
    for head in ("", *(metric.title for metric in METRICS[split.dataset])):
        shown.add_column(head, justify="right" if head else "left", no_wrap=True)
    for who, own in found.items():
        shown.add_row(who, *(_cell(value) for value in own.values()))
    console.print(shown)
    for when, entries in measured.left_out.items():
        if entries.reasons:
            said = f"{len(entries.reasons)} of {entries.total} entries were left out {when}; the first: {entries.reasons[0]}"
            console.print(escape(said), highlight=False, soft_wrap=True)


def _caution(measured: Measured) -> str:
    whole = len(measured.split.pictures) == measured.pictures
    return "" if whole else f", the first of {measured.pictures}: not to be compared with published figures"


def _cell(value: Figure) -> str:
    if math.isnan(value.value):
        return "-"
    return f"{value.value * 100:.1f}\n[dim]{value.low * 100:.1f}-{value.high * 100:.1f}[/dim]"


def _figure(value: Figure) -> dict[str, float | None]:
    """JSON knows no NaN."""
    return {key: None if math.isnan(v) else v for key, v in asdict(value).items()}


def _left_out(entries: LeftOut) -> dict[str, int | list[str]]:
    return {"count": len(entries.reasons), "of": entries.total, "first": entries.reasons[:TOLD]}
