"""The one thread that owns the model: takes a request, waits for a frame, runs the pipeline, hands out exactly one answer.

Nothing that arrives from outside ends the thread: every failure becomes an answer with a status.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, Protocol

from qwen_seg_ros.errors import InvalidInputError, OutOfMemoryError
from qwen_seg_ros.frame import Frame
from qwen_seg_ros.grasping.preferences import NONE, Preferences
from qwen_seg_ros.pipeline import Pipeline, PipelineResult
from qwen_seg_ros.ros.depth_reader import AS_PUBLISHED, NOT_USED, DepthReader, ReadDepth
from qwen_seg_ros.ros.frame_source import FrameSource, View
from qwen_seg_ros.ros.messages_out import printable
from qwen_seg_ros.ros.parameters import Parameters
from qwen_seg_ros.ros.preferences_in import Wishes, wishes_from_message
from qwen_seg_ros.ros.requests import Answer, Request, RequestQueue
from qwen_seg_ros.ros.transforms import TransformSource
from qwen_seg_ros.segmentation.instruction import Instruction
from qwen_seg_ros.status import Status, StatusCode
from qwen_seg_ros.tracking.tracker import Tracker

_IN_3D = (StatusCode.OK, StatusCode.NO_TRANSFORM, StatusCode.NO_DEPTH)  # depth mattered for the answer
_IMAGE_ONLY = "in the image only, without 3-D and grasps: use_depth is false"
_POLL_S = 0.2  # how often an idle worker looks whether mode or settings changed


class Log(Protocol):
    def info(self, message: str) -> Any: ...
    def warning(self, message: str) -> Any: ...
    def error(self, message: str) -> Any: ...


class Refused(Exception):
    """A request that ends before the pipeline runs, with the status to answer."""

    def __init__(self, code: StatusCode, message: str) -> None:
        super().__init__(message)
        self.code, self.message = code, message


class Worker:
    """`deliver` gets every request with its answer, exactly once; mostly on the worker's thread."""

    def __init__(
        self, pipeline: Pipeline, parameters: Parameters, frames: FrameSource, transforms: Callable[[], TransformSource],
        tracker: Tracker, deliver: Callable[[Request, Answer], None], now_ns: Callable[[], int], log: Log,
    ) -> None:
        """tracker: used by the worker's thread alone while it runs."""
        self.answered = dict.fromkeys(StatusCode, 0)
        self.last_ms: dict[str, float] = {}
        self.depth_how, self.depth_note = AS_PUBLISHED, ""  # of the last depth image
        self.enabled = True
        self._pipeline, self._parameters, self._frames, self._transforms = pipeline, parameters, frames, transforms
        self._deliver, self._now_ns, self._log = deliver, now_ns, log
        self._queue = RequestQueue()
        self._standing: Request | None = None  # continuous mode: the instruction applied to every new frame
        self._last_code = StatusCode.OK
        self._depth = DepthReader(transforms)
        self._tracker, self._tracked_in = tracker, ""  # in which frame it remembers places
        self._encoded: tuple[View, str, Any] | None = None  # of which view and depth, and what the segmenter made of it
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="worker", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self, timeout_s: float = 10.0) -> bool:
        """Refuse what waits, cancel what runs; False when the thread did not end in time."""
        self._stopping.set()
        self._frames.wake()
        if self._thread.is_alive():
            self._thread.join(timeout_s)
        for request in self._queue.drain():
            reason = "the node was deactivated before this instruction's turn"
            self._finish(request, self._refusal(request, StatusCode.BUSY, reason))
        return not self._thread.is_alive()

    def waiting(self) -> int:
        return len(self._queue)

    def submit(self, request: Request) -> None:
        """From the executor's thread: queue the request, or answer BUSY at once."""
        limit = self._parameters.node_settings.queue_size
        if self._stopping.is_set() or not self.enabled:
            reason = "the node is switched off; call ~/enable with data: true"
        elif self._queue.put(request, limit):
            self._frames.wake()
            return
        else:
            reason = f"{limit} instructions wait already; send this one again later or raise queue_size"
        self._finish(request, self._refusal(request, StatusCode.BUSY, reason))

    def _run(self) -> None:
        while not self._stopping.is_set():
            continuous = self._continuous()
            request = self._queue.take(0.0 if continuous else _POLL_S)
            if request is not None:
                self._finish(request, self._guarded(request, self._await_frame))
            elif continuous:
                self._follow()

    def _continuous(self) -> bool:
        return self.enabled and self._standing is not None and self._parameters.node_settings.mode == "continuous"

    def _follow(self) -> None:
        """Continuous mode: one answer for a frame that was not answered on yet; a waiting request comes first."""
        view = self._frames.wait(_POLL_S, lambda: self._stopping.is_set() or len(self._queue) > 0, new=True)
        standing = self._standing
        if view is not None and standing is not None:
            request = replace(standing, received=time.monotonic(), repeated=True)
            self._finish(request, self._guarded(request, lambda _: view))

    def _guarded(self, request: Request, find_view: Callable[[Request], View]) -> Answer:
        """Every way to fail, as an answer."""
        try:
            return self._answer(request, find_view)
        except Refused as refused:
            return self._refusal(request, refused.code, refused.message)
        except InvalidInputError as error:
            return self._refusal(request, StatusCode.INVALID_INPUT, str(error))
        except (OutOfMemoryError, MemoryError) as error:
            return self._refusal(request, StatusCode.OUT_OF_MEMORY, str(error) or "out of memory")
        except Exception as error:  # a fault of ours must not end the node
            self._log.error(f"{type(error).__name__} while answering {printable(request.instruction, 80)!r}: {error}")
            return self._refusal(request, StatusCode.INTERNAL_ERROR, f"{type(error).__name__}: {error}")

    def _answer(self, request: Request, find_view: Callable[[Request], View]) -> Answer:
        instruction, wishes = Instruction(request.instruction), wishes_from_message(request.preferences)
        if request.standing:
            self._standing = request
        view = find_view(request)
        request.seen = (view.stamp, view.image.header.frame_id)
        depth = self._read_depth(view)
        frame, problem = self._located(view.frame(depth.depth_m, self._parameters.node_settings.image_is_rectified))
        preferences = self._in_result_frame(wishes, frame)
        run = partial(self._run_pipeline, view, depth, frame, instruction, request, preferences)
        result = self._followed(frame, instruction, depth, request, preferences, run) if self._continuous() else run()
        status = self._explained(request, result.status, depth, problem)
        return Answer(
            instruction.text, status.code, status.message, frame.stamp_ns, frame.frame_id, frame, result,
            result_frame=self._parameters.node_settings.target_frame if result.in_base else frame.frame_id,
            gripper=self._pipeline.gripper.name,
        )

    def _await_frame(self, request: Request) -> View:
        view = self._frames.wait(self._parameters.node_settings.frame_timeout_s, lambda: self._given_up(request))
        if view is None:
            self._raise_given_up(request)
            raise Refused(StatusCode.NO_FRAME, self._frames.missing())
        return view

    def _read_depth(self, view: View) -> ReadDepth:
        """Depth in the colour image's pixels; when the way to it changes, the log says so."""
        depth = self._depth.read(view, self._parameters.node_settings)
        if (view.depth is not None or depth.how == NOT_USED) and (depth.how, depth.note) != (self.depth_how, self.depth_note):
            self.depth_how, self.depth_note = depth.how, depth.note
            if depth.note:
                self._log.warning(f"depth {depth.how}: {depth.note}")
            else:
                self._log.info(f"depth {depth.how}")
        return depth

    def _located(self, frame: Frame) -> tuple[Frame, str]:
        """The frame with the camera's pose at the image's stamp; a missing transform is told, not fatal."""
        settings = self._parameters.node_settings
        if frame.depth_m is None or settings.target_frame in ("", frame.frame_id):
            return frame, ""
        try:
            pose = self._transforms().lookup(settings.target_frame, frame.frame_id, frame.stamp_ns, settings.transform_timeout_s)
        except LookupError as error:
            return frame, f"no transform {settings.target_frame} <- {frame.frame_id}: {error}; results are in the camera frame"
        return replace(frame, base_from_camera=pose), ""

    def _in_result_frame(self, wishes: Wishes, frame: Frame) -> Preferences:
        """A frame that is not named is the target frame, even where the results must stay in the camera's."""
        if frame.depth_m is None:
            return NONE  # there will be no grasps
        settings = self._parameters.node_settings
        target = settings.target_frame or frame.frame_id
        result = frame.frame_id if frame.base_from_camera is None else target
        find = self._transforms().lookup
        return wishes.in_frame(result, target, lambda to, of: find(to, of, frame.stamp_ns, settings.transform_timeout_s))

    def _followed(
        self, frame: Frame, instruction: Instruction, depth: ReadDepth, request: Request, preferences: Preferences,
        run: Callable[[], PipelineResult],
    ) -> PipelineResult:
        """With ids that stay. Masks are carried into frames that the model need not look at; a new request is its own."""
        settings = self._parameters.node_settings
        if settings.target_frame != self._tracked_in:
            self._tracker.forget()  # places were in another frame
        self._tracker.settings, self._tracked_in = settings.tracking, settings.target_frame
        if not request.repeated or self._tracker.due(frame, instruction.text):
            result = run()
            if result.segmentation is None:
                return result
            return replace(result, track_ids=self._tracker.update(frame, result.segmentation).track_ids)
        started = time.perf_counter()
        tracked = self._tracker.propagate(frame)
        spent_ms = depth.spent_ms | {"track": (time.perf_counter() - started) * 1e3}
        result = self._tuned_pipeline().run_segmented(
            frame, tracked.segmentation, request.plan_grasps, request.on_stage, partial(self._given_up, request), preferences
        )
        self.last_ms = spent_ms | result.stage_ms
        return replace(result, track_ids=tracked.track_ids)

    def _run_pipeline(
        self, view: View, depth: ReadDepth, frame: Frame, instruction: Instruction, request: Request, preferences: Preferences
    ) -> PipelineResult:
        """Looking at an image is the dear part: instructions on the same image share it."""
        pipeline, spent_ms = self._tuned_pipeline(), dict(depth.spent_ms)
        if self._encoded is None or not self._encoded[0].shows_the_same(view) or self._encoded[1] != depth.how:
            self._raise_given_up(request)
            request.on_stage("encode")
            started = time.perf_counter()
            self._encoded = None  # free the last one before making the next
            self._encoded = (view, depth.how, pipeline.encode(frame))
            spent_ms["encode"] = (time.perf_counter() - started) * 1e3
        stop = partial(self._given_up, request)
        result = pipeline.run_encoded(
            frame, self._encoded[2], instruction, request.plan_grasps, request.on_stage, stop, preferences
        )
        self.last_ms = spent_ms | result.stage_ms
        return result

    def _tuned_pipeline(self) -> Pipeline:
        """With the settings of this moment; the model stays loaded."""
        settings = self._parameters.pipeline
        if self._pipeline.settings is not settings:
            self._pipeline = Pipeline(settings, self._pipeline.segmenter.with_settings(settings.segmentation))
        return self._pipeline

    def _explained(self, request: Request, status: Status, depth: ReadDepth, problem: str) -> Status:
        """Add what the pipeline cannot know: who stopped it, what is wrong with depth, why there is no transform."""
        if status.code == StatusCode.DEADLINE:
            return self._why_given_up(request) or status
        if status.code == StatusCode.NO_DEPTH and depth.how == NOT_USED:
            return Status(StatusCode.OK, _IMAGE_ONLY)
        if status.code == StatusCode.OK and problem:
            status = Status(StatusCode.NO_TRANSFORM, problem)
        if status.code in _IN_3D and depth.note:
            return Status(status.code, "; ".join(filter(None, (status.message, depth.note))))
        return status

    def _given_up(self, request: Request) -> bool:
        return self._why_given_up(request) is not None

    def _raise_given_up(self, request: Request) -> None:
        status = self._why_given_up(request)
        if status is not None:
            raise Refused(status.code, status.message)

    def _why_given_up(self, request: Request) -> Status | None:
        if self._stopping.is_set():
            return Status(StatusCode.BUSY, "the node was deactivated while it worked on this instruction")
        if request.cancelled():
            return Status(StatusCode.DEADLINE, "cancelled by the client")
        if request.late():
            limit = f"no answer within deadline_s = {request.deadline_s:g} s"
            return Status(StatusCode.DEADLINE, f"{limit}; raise it or use a faster device")
        return None

    def _refusal(self, request: Request, code: StatusCode, message: str) -> Answer:
        stamp_ns, frame_id = request.seen or (self._now_ns(), "")
        return Answer(request.instruction, code, message, stamp_ns, frame_id)

    def _finish(self, request: Request, answer: Answer) -> None:
        """What continuous mode repeats is logged only when it changes."""
        self.answered[answer.code] += 1
        known, self._last_code = request.repeated and answer.code == self._last_code, answer.code
        if answer.code not in (StatusCode.OK, StatusCode.NOT_FOUND) and not known:
            self._log.warning(f"{printable(answer.instruction, 80)!r}: {answer.code.name}: {answer.message}")
        try:
            self._deliver(request, answer)
        except Exception as error:
            self._log.error(f"an answer could not be sent: {type(error).__name__}: {error}")
