"""A checkpoint on all questions, running freely: it sees the picture and the words, nothing of the truth."""

import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field

import numpy as np

from qwen_seg_ros.frame import Frame
from qwen_seg_ros.offline.data.expressions import KINDS, Expression
from qwen_seg_ros.offline.evaluation.decoder_bound import from_decoder
from qwen_seg_ros.offline.evaluation.metrics import GresTotals
from qwen_seg_ros.offline.evaluation.predictions import Prediction, any_object, largest, of_instances
from qwen_seg_ros.offline.evaluation.questions import SINGLE_TARGET, View
from qwen_seg_ros.offline.evaluation.scoring import Score, average, average_score
from qwen_seg_ros.segmentation.instruction import Instruction
from qwen_seg_ros.segmentation.qwen import EncodedFrame, QwenSegmenter
from qwen_seg_ros.segmentation.result import Outcome

ANSWERERS = ("model", "random", "largest", "true boxes")
NO_DECODER = Score(1.0, 0.0, 0.0)  # true boxes, no masks


@dataclass(frozen=True)
class Row:
    """One question and what became of it; scores are empty for a question whose right answer is a rejection."""

    view: int
    kind: str
    text: str
    outcome: str
    answer: str
    rejected: bool
    seconds: float
    scores: dict[str, Score]


@dataclass
class Evaluation:
    """Everything measured; `summary` and the report read it."""

    rows: list[Row] = field(default_factory=list)
    gres: GresTotals = field(default_factory=GresTotals)
    encode_s: list[float] = field(default_factory=list)

    def of(self, kinds: Iterable[str]) -> list[Row]:
        wanted = set(kinds)
        return [row for row in self.rows if row.kind in wanted]

    def score(self, kinds: Iterable[str], answerer: str = "model") -> Score:
        return average([row.scores[answerer] for row in self.of(kinds) if row.scores])

    def rejected(self, kinds: Iterable[str]) -> float:
        rows = self.of(kinds)
        return sum(row.rejected for row in rows) / len(rows) if rows else float("nan")

    def _group(self, kinds: tuple[str, ...]) -> dict:
        scores = {who: asdict(self.score(kinds, who)) for who in ANSWERERS}
        return {"n": len(self.of(kinds)), "rejected": self.rejected(kinds), **scores}

    def to_dict(self) -> dict:
        """For a JSON file: the table, the totals and every question."""
        groups = {**{kind: (kind,) for kind in KINDS if self.of((kind,))}, "single target": SINGLE_TARGET}
        table = {name: self._group(kinds) for name, kinds in groups.items()}
        totals = {
            "n_acc": self.gres.n_acc,
            "t_acc": self.gres.t_acc,
            "giou": self.gres.giou,
            "ciou": self.gres.ciou,
            "encode_s": float(np.mean(self.encode_s)),
            "question_s": float(np.mean([r.seconds for r in self.rows])),
        }
        return {"table": table, "totals": totals, "questions": [asdict(row) for row in self.rows]}


def evaluate(segmenter: QwenSegmenter, views: Iterable[View]) -> Evaluation:
    """Ask every question of every view."""
    out = Evaluation()
    for number, view in enumerate(views):
        began = time.perf_counter()
        encoded = segmenter.encode(Frame(view.rgb))
        out.encode_s.append(time.perf_counter() - began)
        for question in view.questions:
            began = time.perf_counter()
            result = segmenter.segment(encoded, Instruction(question.text))
            seconds = time.perf_counter() - began
            said = of_instances(result.instances, result.outcome is Outcome.NOT_FOUND)
            scores = _scores(segmenter, encoded, said, view, question)
            out.gres.add(said.union(view.ids.shape), said.rejected, view.union(question.target_ids))
            row = Row(number, question.kind, question.text, result.outcome.value, result.answer, said.rejected, seconds, scores)
            out.rows.append(row)
    return out


def _scores(
    segmenter: QwenSegmenter, encoded: EncodedFrame, said: Prediction, view: View, question: Expression
) -> dict[str, Score]:
    if not question.target_ids:
        return {}
    bound = from_decoder(segmenter.engine, encoded, view, question)
    answers = {"model": [said], "random": any_object(view, question), "largest": largest(view, question)}
    scores = {who: average_score(predictions, view, question) for who, predictions in answers.items()}
    return {**scores, "true boxes": NO_DECODER if bound is None else average_score([bound], view, question)}
