"""One run of Tabletop-ORS from scenes to report."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from qwen_seg_ros.errors import InvalidInputError
from qwen_seg_ros.offline.evaluation.card_pictures import write_pictures
from qwen_seg_ros.offline.evaluation.figures_out import check_card, print_tables, to_json, update_card, write_questions
from qwen_seg_ros.offline.evaluation.page import write_page
from qwen_seg_ros.offline.evaluation.plan import Plan
from qwen_seg_ros.offline.evaluation.questions import SplitViews
from qwen_seg_ros.offline.evaluation.results import Table, tables
from qwen_seg_ros.offline.evaluation.tabletop_ors import Asked, Bound, SplitResult, run_split

COLUMNS = (TextColumn("{task.description:>14}"), BarColumn(), MofNCompleteColumn(), TextColumn("pictures"))


def run_benchmark(
    model: Asked, plan: Plan, out: Path, bound: Bound | None = None, card: Path | None = None, console: Console | None = None
) -> Mapping[str, Table]:
    """Render, ask, and write out/report.html, results.json and questions.jsonl -> tables by split.

    bound: masks of the true boxes by the model's own decoder, for a model that has one; card: page whose block of figures is
    rewritten, and beside which pictures are put.
    """
    console = console or Console()
    if card:
        check_card(card)  # before hours of work
    views = {split.name: plan.views(split) for split in plan.splits}
    if empty := [name for name, found in views.items() if not len(found)]:
        raise InvalidInputError(f"no finished views for {', '.join(empty)}; remove their folder below {plan.cache} and try again")
    results = _answered(model, plan, views, bound, console)
    figures = tables(results)
    out.mkdir(parents=True, exist_ok=True)
    (out / "results.json").write_text(json.dumps(to_json(plan, results, figures), indent=1))
    write_questions(out / "questions.jsonl", results)
    write_page(out / "report.html", plan, views, results, figures)
    if card:
        update_card(card, plan, figures)
        write_pictures(card, plan, views, results)
    print_tables(console, figures)
    return figures


def _answered(
    model: Asked, plan: Plan, views: Mapping[str, SplitViews], bound: Bound | None, console: Console
) -> list[SplitResult]:
    results = []
    with _progress(console) as progress:
        tasks = {name: progress.add_task(name, total=len(found)) for name, found in views.items()}
        for name, found in views.items():
            task = tasks[name]
            results.append(run_split(name, found, model, plan.store, bound, lambda task=task: progress.advance(task)))
    return results


@contextmanager
def _progress(console: Console) -> Iterator[Progress]:
    with Progress(*COLUMNS, TimeElapsedColumn(), TimeRemainingColumn(), console=console) as progress:
        yield progress
