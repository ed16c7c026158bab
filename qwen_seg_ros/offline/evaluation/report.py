"""An evaluation as tables for people."""

import math

import numpy as np
from rich.console import Console
from rich.table import Table

from qwen_seg_ros.offline.data.expressions import KINDS
from qwen_seg_ros.offline.evaluation.evaluate import ANSWERERS, Evaluation
from qwen_seg_ros.offline.evaluation.questions import SINGLE_TARGET
from qwen_seg_ros.segmentation.result import Outcome

COLUMNS = (  # title, field of Score, who answers
    ("box\nAcc@.5", "box_hit", "model"),
    ("\nrand.", "box_hit", "random"),
    ("\nlarg.", "box_hit", "largest"),
    ("mask\nmIoU", "mask_iou", "model"),
    ("\nrand.", "mask_iou", "random"),
    ("\nlarg.", "mask_iou", "largest"),
    ("true\nbox", "mask_iou", "true boxes"),
    ("mask\nP@.5", "mask_hit", "model"),
)
CAPTION = (
    "rand., larg.: naming a random object (expected value) or the largest one; true box: the mask decoder given the true box;\n"
    "rej.: share of answers 'not in the image', right for 'absent' only"
)


def print_report(result: Evaluation, console: Console) -> None:
    """Per kind the model beside the baselines and the upper bound, then rejections and time."""
    table = Table(caption=CAPTION, caption_justify="left", padding=(0, 1, 0, 0), box=None, header_style="dim")
    for title in ("expression", "n", *(column[0] for column in COLUMNS), "\nrej."):
        table.add_column(title, justify="left" if title == "expression" else "right", no_wrap=True)
    for kind in KINDS:
        if result.of((kind,)):
            table.add_row(*_cells(kind, (kind,), result))
    table.add_section()
    table.add_row(*_cells("single target", SINGLE_TARGET, result), style="bold")
    console.print(table)
    _print_totals(result, console)


def _cells(name: str, kinds: tuple[str, ...], result: Evaluation) -> list[str]:
    scores = {who: result.score(kinds, who) for who in ANSWERERS}
    cells = [_number(getattr(scores[who], key)) for _, key, who in COLUMNS]
    return [name, str(len(result.of(kinds))), *cells, _number(result.rejected(kinds))]


def _print_totals(result: Evaluation, console: Console) -> None:
    gres, seconds = result.gres, np.array([row.seconds for row in result.rows])
    unreadable = sum(row.outcome == Outcome.UNREADABLE_ANSWER.value for row in result.rows)
    lines = (
        f"absent rejected (N-acc) {_number(gres.n_acc)} of {gres.absent}, "
        f"present kept (T-acc) {_number(gres.t_acc)} of {gres.present}, unreadable answers {unreadable}",
        f"all questions by the rules of GRES: gIoU {_number(gres.giou)}, cIoU {_number(gres.ciou)}",
        f"seconds a question: mean {seconds.mean():.2f}, p50 {np.median(seconds):.2f}, p95 {np.percentile(seconds, 95):.2f}; "
        f"a picture, once: {np.mean(result.encode_s):.2f}",
    )
    for line in lines:
        console.print(line, highlight=False, soft_wrap=True)


def _number(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.2f}"
