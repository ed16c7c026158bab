"""The benchmark Tabletop-ORS: a model on the splits, beside what can be said without one.

Any object with `encode(frame)` and `segment(encoded, instruction)` can be measured; it is given colour and depth as sensors
give them, and the words, and nothing of the truth.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from qwen_seg_ros.frame import Frame
from qwen_seg_ros.offline.data.expressions import Expression
from qwen_seg_ros.offline.evaluation.measures import Sums, measure
from qwen_seg_ros.offline.evaluation.predictions import Prediction, any_object, by_words, from_depth, largest
from qwen_seg_ros.offline.evaluation.questions import View
from qwen_seg_ros.offline.evaluation.replies import Reply, ReplyStore, ViewReplies
from qwen_seg_ros.segmentation.instruction import Instruction
from qwen_seg_ros.segmentation.result import SegmentationResult

MODEL, DECODER = "model", "true box + decoder"
BASELINES: dict[str, Callable[[View, Expression], list[Prediction]]] = {
    "random object": any_object,
    "largest object": largest,
    "true words": by_words,
    "true box + depth": from_depth,
}
ANSWERERS = (MODEL, *BASELINES, DECODER)


class Asked(Protocol):
    """What the benchmark needs of a model; every `Segmenter` has it."""

    def encode(self, frame: Frame) -> Any: ...

    def segment(self, encoded: Any, instruction: Instruction) -> SegmentationResult: ...


Bound = Callable[[Any, View, Expression], Prediction | None]  # (what `encode` gave, view, question) -> masks of the true boxes


@dataclass(frozen=True, eq=False)
class Row:
    """One question and what became of it. view: number within the split; sums: by answerer, see `measures.measure`."""

    view: int
    question: int
    kind: str
    text: str
    outcome: str
    answer: str
    seconds: float
    sums: dict[str, Sums]


@dataclass(frozen=True, eq=False)
class SplitResult:
    """All questions of a split; encode_s: seconds for each picture."""

    name: str
    pictures: int
    rows: tuple[Row, ...]
    encode_s: tuple[float, ...]


def run_split(
    name: str,
    views: Sequence[View],
    model: Asked,
    store: Path,
    bound: Bound | None = None,
    advance: Callable[[], None] = lambda: None,
) -> SplitResult:
    """Ask every question of every view, one view in memory at a time; `advance` is called after each.

    Replies are kept in store/<name>.jsonl, and those found there are not asked for again: `store` must belong to this model.
    """
    replies, rows, encode_s = ReplyStore(store / f"{name}.jsonl"), list[Row](), list[float]()
    for number in range(len(views)):
        view = views[number]
        if view.questions:
            said = _asked(model, view, replies, bound)
            encode_s.append(said.encode_s)
            rows += _rows(number, view, said)
        advance()
    return SplitResult(name, len(views), tuple(rows), tuple(encode_s))


def _asked(model: Asked, view: View, store: ReplyStore, bound: Bound | None) -> ViewReplies:
    """From the store or from the model."""
    said = store.get(view)
    if said is None:
        said = ask(model, view, bound)
        store.put(view, said)
    return said


def ask(model: Asked, view: View, bound: Bound | None = None) -> ViewReplies:
    """All questions of one view."""
    began = time.perf_counter()
    encoded = model.encode(view.frame())
    encode_s = time.perf_counter() - began
    return ViewReplies(encode_s, tuple(_reply(model, encoded, view, question, bound) for question in view.questions))


def _reply(model: Asked, encoded: Any, view: View, question: Expression, bound: Bound | None) -> Reply:
    began = time.perf_counter()
    result = model.segment(encoded, Instruction(question.text))
    seconds = time.perf_counter() - began
    known = bound(encoded, view, question) if bound else None
    return Reply(question.text, result.outcome, result.answer, seconds, result.instances, known)


def _rows(number: int, view: View, said: ViewReplies) -> Iterator[Row]:
    for n, (question, reply) in enumerate(zip(view.questions, said.replies, strict=True)):
        sums = measured(view, question, reply)
        yield Row(number, n, question.kind, question.text, reply.outcome.value, reply.answer, reply.seconds, sums)


def measured(view: View, question: Expression, reply: Reply) -> dict[str, Sums]:
    """By answerer; of several that could be said alike, the mean."""
    said = {MODEL: [reply.prediction], **{name: say(view, question) for name, say in BASELINES.items()}}
    if reply.bound is not None:
        said[DECODER] = [reply.bound]
    return {who: np.mean([measure(p, view, question) for p in options], axis=0) for who, options in said.items()}
