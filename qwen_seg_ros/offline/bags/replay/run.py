"""A recording, a timetable and a pipeline -> a folder of answers."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rosbags.highlevel import AnyReader

import qwen_seg_ros
from qwen_seg_ros.errors import InvalidInputError
from qwen_seg_ros.offline.bags.discovery import Asked, find_topics
from qwen_seg_ros.offline.bags.opening import open_bag
from qwen_seg_ros.offline.bags.pairing import Counts
from qwen_seg_ros.offline.bags.replay.answering import Answerer
from qwen_seg_ros.offline.bags.replay.output import Output
from qwen_seg_ros.offline.bags.replay.timetable import Timetable
from qwen_seg_ros.offline.bags.result_messages import ResultMessages
from qwen_seg_ros.offline.bags.selection import Selection
from qwen_seg_ros.offline.bags.topics import BASE_FRAME, Topics
from qwen_seg_ros.offline.bags.views import Views
from qwen_seg_ros.pipeline import Pipeline
from qwen_seg_ros.settings import flatten


@dataclass(frozen=True)
class Question:
    """What is asked, of which topics and which part of the recording."""

    timetable: Timetable
    asked: Asked = field(default_factory=Asked)
    selection: Selection = field(default_factory=Selection)
    plan_grasps: bool = True


@dataclass(frozen=True)
class Progress:
    """time_s: place in the recording, seconds; share: of what is to be read, 0..1; answers: so far; status: of the last one."""

    time_s: float
    share: float
    answers: int
    status: str


@dataclass(frozen=True)
class Summary:
    """begun_with: answers of an earlier run that was interrupted; counts: None when nothing was left to do."""

    topics: Topics
    answers: int
    begun_with: int
    statuses: dict[str, int]
    counts: Counts | None


def topics_of(bag: Path, asked: Asked) -> Topics:
    """What `replay` will look at: tells what is wrong with a recording before a model is loaded. Raises as `replay` does."""
    with open_bag(bag) as reader:
        return find_topics(reader, asked)


def replay(
    bag: Path, question: Question, pipeline: Pipeline, out: Path, tell: Callable[[Progress], None] | None = None
) -> Summary:
    """Answer a recording into the folder `out`, or go on where an earlier run with the same settings was interrupted.

    The same recording, question and pipeline give the same bytes in results.jsonl and bag/. tell: called after every answer.

    Raises:
        InvalidInputError: the recording cannot be read or has not what is needed, or `out` holds something else.
    """
    with open_bag(bag) as reader:
        topics = find_topics(reader, question.asked)
        views = Views(reader, topics, question.selection)
        target_frame = question.selection.target_frame or BASE_FRAME
        run = _description(reader, topics, question, pipeline)
        output = Output(out, run, ResultMessages(target_frame, pipeline.gripper.name), target_frame)
        try:
            counts = None if output.complete else _answer_all(views, question, pipeline, output, tell)
        finally:
            output.close()
        return Summary(topics, len(output), output.begun_with, output.statuses(), counts)


def _answer_all(
    views: Views, question: Question, pipeline: Pipeline, output: Output, tell: Callable[[Progress], None] | None
) -> Counts:
    answerer, number = Answerer(pipeline, question.plan_grasps), 0
    for view in views:
        instructions = question.timetable.at(view.time_s)
        known = min(max(output.begun_with - number, 0), len(instructions))
        number += known
        for answer in answerer.answers(view, instructions[known:]) if known < len(instructions) else ():
            output.add(answer)
            number += 1
            if tell:
                tell(Progress(view.time_s, views.share(view.time_s), number, answer.result.status.code.name))
    if number == 0:
        raise InvalidInputError(_why_nothing(views, question))
    output.finish()
    return views.counts


def _why_nothing(views: Views, question: Question) -> str:
    count, tolerance = views.counts, question.selection.tolerance_s
    seen = f"{count.colours} colour and {count.depths} depth images were read"
    if count.pairs:
        return f"nothing was asked: {seen}, but no instruction holds at their time; look at the times in the file of instructions"
    if count.least_gap_ns is None:
        return f"no frame was found: {seen}; look at --start and --duration"
    gap = f"the nearest stamps differ by {count.least_gap_ns / 1e9:.3g} s, allowed are {tolerance:g} s"
    return f"colour and depth do not fit together: {seen}, but {gap}; raise --tolerance, or name other topics"


def _description(reader: AnyReader, topics: Topics, question: Question, pipeline: Pipeline) -> dict[str, Any]:
    """Everything that the answers depend on, by name, without paths of the recording: it may be moved."""
    table = zip(question.timetable.starts_s, question.timetable.asked, strict=True)
    return {
        "package": qwen_seg_ros.__version__,
        "bag": [reader.message_count, reader.start_time, reader.end_time],
        "topics": {name: topic for name, topic in asdict(topics).items() if name != "static_transforms"},
        "instructions": [[start, list(words)] for start, words in table],
        **{name: knob.value for name, knob in flatten(question.selection).items()},
        "plan_grasps": question.plan_grasps,
        **{name: _plain(knob.value) for name, knob in flatten(pipeline.settings).items()},
        **{f"segmenter {name}": value for name, value in pipeline.segmenter.info().items()},
    }


def _plain(value: Any) -> Any:
    """As JSON gives it back."""
    return list(value) if isinstance(value, tuple) else value
