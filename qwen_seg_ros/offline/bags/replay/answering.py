"""One view, one instruction -> one answer, as the node's worker gives it: every failure is an answer with a status."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from qwen_seg_ros.errors import InvalidInputError, OutOfMemoryError
from qwen_seg_ros.frame import Frame
from qwen_seg_ros.offline.bags.view import View
from qwen_seg_ros.pipeline import Pipeline, PipelineResult
from qwen_seg_ros.status import Status, StatusCode

IN_3D = (StatusCode.OK, StatusCode.NO_TRANSFORM, StatusCode.NO_DEPTH)  # depth mattered for the answer


@dataclass(frozen=True, eq=False)
class Answer:
    """size: height and width of the colour image, (0, 0) where it could not be read."""

    view: View
    result: PipelineResult
    size: tuple[int, int]


class Answerer:
    """Looks at a frame once, however many instructions are about it."""

    def __init__(self, pipeline: Pipeline, plan_grasps: bool) -> None:
        self._pipeline, self._plan_grasps = pipeline, plan_grasps

    def answers(self, view: View, instructions: Sequence[str]) -> Iterator[Answer]:
        started = time.perf_counter()
        try:
            frame, note, problem = view.look()
            decoded = time.perf_counter()
            encoded = self._pipeline.encode(frame)
        except Exception as error:  # as in the node: whatever happens is told in the answer
            yield from (Answer(view, _refusal(view, words, error), (0, 0)) for words in instructions)
            return
        shared_ms = {"decode": 1e3 * (decoded - started), "encode": 1e3 * (time.perf_counter() - decoded)}
        for words in instructions:
            result = _explained(self._answer(view, frame, encoded, words), note, problem)
            yield Answer(view, replace(result, stage_ms=shared_ms | result.stage_ms), (frame.height, frame.width))
            shared_ms = {}

    def _answer(self, view: View, frame: Frame, encoded: Any, instruction: str) -> PipelineResult:
        try:
            return self._pipeline.run_encoded(frame, encoded, instruction, self._plan_grasps)
        except Exception as error:
            return _refusal(view, instruction, error)


def _refusal(view: View, instruction: str, error: Exception) -> PipelineResult:
    code, message = StatusCode.INTERNAL_ERROR, f"{type(error).__name__}: {error}"
    if isinstance(error, InvalidInputError):
        code, message = StatusCode.INVALID_INPUT, str(error)
    elif isinstance(error, (OutOfMemoryError, MemoryError)):
        code, message = StatusCode.OUT_OF_MEMORY, str(error) or "out of memory"
    return PipelineResult(instruction, Status(code, message), view.frame_id, view.stamp_ns)


def _explained(result: PipelineResult, note: str, problem: str) -> PipelineResult:
    """With what the pipeline cannot know: what was assumed about depth, and why results stay in the camera's frame."""
    status = result.status
    if status.code is StatusCode.OK and problem:
        status = Status(StatusCode.NO_TRANSFORM, problem)
    if status.code in IN_3D and note:
        status = Status(status.code, "; ".join(filter(None, (status.message, note))))
    return replace(result, status=status)
