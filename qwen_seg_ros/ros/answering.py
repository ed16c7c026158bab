"""A request and the view of its camera -> its answer: every way to fail becomes a status. Runs in the worker's thread."""

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, Protocol

from qwen_seg_ros.errors import InvalidInputError, OutOfMemoryError
from qwen_seg_ros.frame import Frame
from qwen_seg_ros.grasping.preferences import NONE, Preferences
from qwen_seg_ros.pipeline import Pipeline, PipelineResult
from qwen_seg_ros.ros.camera import Station
from qwen_seg_ros.ros.depth_reader import NOT_USED, ReadDepth
from qwen_seg_ros.ros.frame_source import View
from qwen_seg_ros.ros.messages_out import printable
from qwen_seg_ros.ros.parameters import NodeSettings, Parameters
from qwen_seg_ros.ros.preferences_in import Wishes, wishes_from_message
from qwen_seg_ros.ros.requests import Answer, Request
from qwen_seg_ros.ros.transforms import TransformSource
from qwen_seg_ros.segmentation.instruction import Instruction
from qwen_seg_ros.status import Status, StatusCode

_IN_3D = (StatusCode.OK, StatusCode.NO_TRANSFORM, StatusCode.NO_DEPTH)  # depth mattered for the answer
_IMAGE_ONLY = "in the image only, without 3-D and grasps: use_depth is false"


class Log(Protocol):
    def debug(self, message: str) -> Any: ...
    def info(self, message: str) -> Any: ...
    def warning(self, message: str) -> Any: ...
    def error(self, message: str) -> Any: ...


class Refused(Exception):
    """A request that ends before the pipeline runs, with the status to answer."""

    def __init__(self, status: Status) -> None:
        super().__init__(status.message)
        self.status = status


class Answering:
    """Owns the model; one for all cameras. stopping: the node is being deactivated."""

    def __init__(
        self, pipeline: Pipeline, parameters: Parameters, transforms: Callable[[], TransformSource], now_ns: Callable[[], int],
        stopping: Callable[[], bool], log: Log,
    ) -> None:
        self._pipeline, self._parameters, self._transforms = pipeline, parameters, transforms
        self._now_ns, self._stopping, self._log = now_ns, stopping, log
        self._encoded: tuple[View, str, Any] | None = None  # of which view and depth, and what the segmenter made of it

    def on_newest(self, station: Station, request: Request) -> Answer | None:
        """On the camera's newest image; None = it has to wait for one still."""
        return self._guarded(request, lambda: self._when_there_is_one(station, request))

    def on_view(self, station: Station, request: Request, view: View) -> Answer:
        return self._guarded(request, lambda: self._answer(station, request, view))

    def model(self) -> dict[str, str]:
        """What the segmenter says of itself."""
        return self._pipeline.segmenter.info()

    def refusal(self, request: Request, status: Status) -> Answer:
        stamp_ns, frame_id = request.seen or (self._now_ns(), "")
        return Answer(request.instruction, status.code, status.message, stamp_ns, frame_id)

    def _guarded(self, request: Request, work: Callable[[], Any]) -> Any:
        """Every way to fail, as an answer."""
        try:
            return work()
        except Refused as refused:
            return self.refusal(request, refused.status)
        except InvalidInputError as error:
            return self.refusal(request, Status(StatusCode.INVALID_INPUT, str(error)))
        except (OutOfMemoryError, MemoryError) as error:
            self._encoded = None
            return self.refusal(request, Status(StatusCode.OUT_OF_MEMORY, str(error) or "out of memory"))
        except Exception as error:  # a fault of ours must not end the node
            self._log.error(f"{type(error).__name__} while answering {printable(request.instruction, 80)!r}: {error}")
            return self.refusal(request, Status(StatusCode.INTERNAL_ERROR, f"{type(error).__name__}: {error}"))

    def _when_there_is_one(self, station: Station, request: Request) -> Answer | None:
        if request.began_s is None:
            self._begin(station, request)
        self._raise_given_up(request)
        view = station.camera.frames.take()
        if view is not None:
            return self._answer(station, request, view)
        assert request.began_s is not None
        if time.monotonic() - request.began_s < station.settings.frame_timeout_s:
            return None
        raise Refused(Status(StatusCode.NO_FRAME, station.camera.frames.missing()))

    def _begin(self, station: Station, request: Request) -> None:
        """Its turn has come: what cannot be used is refused before it waits."""
        request.began_s = time.monotonic()
        Instruction(request.instruction), wishes_from_message(request.preferences)
        if request.standing:
            station.standing = request

    def _answer(self, station: Station, request: Request, view: View) -> Answer:
        instruction, wishes = Instruction(request.instruction), wishes_from_message(request.preferences)
        settings = station.settings
        request.seen = (view.stamp, view.image.header.frame_id)
        request.enter("depth")
        depth = self._read_depth(station, view)
        frame, problem = self._located(view.frame(depth.depth_m, settings.image_is_rectified), settings)
        preferences = self._in_result_frame(wishes, frame, settings)
        run = partial(self._run_pipeline, station, view, depth, frame, instruction, request, preferences)
        result = self._followed(station, frame, instruction, depth, request, preferences, run) if station.follows() else run()
        status = self._explained(request, result.status, depth, problem)
        return Answer(
            instruction.text, status.code, status.message, frame.stamp_ns, frame.frame_id, frame, result,
            result_frame=settings.target_frame if result.in_base else frame.frame_id, gripper=self._pipeline.gripper.name,
        )

    def _read_depth(self, station: Station, view: View) -> ReadDepth:
        """Depth in the colour image's pixels; when the way to it changes, the log says so."""
        depth = station.depth.read(view, station.settings)
        known = (station.depth_how, station.depth_note)
        if (view.depth is not None or depth.how == NOT_USED) and (depth.how, depth.note) != known:
            station.depth_how, station.depth_note = depth.how, depth.note
            what = f"depth of camera {station.camera.name}" if station.camera.name else "depth"
            if depth.note:
                self._log.warning(f"{what} {depth.how}: {depth.note}")
            else:
                self._log.info(f"{what} {depth.how}")
        return depth

    def _located(self, frame: Frame, settings: NodeSettings) -> tuple[Frame, str]:
        """The frame with the camera's pose at the image's stamp; a missing transform is told, not fatal."""
        if frame.depth_m is None or settings.target_frame in ("", frame.frame_id):
            return frame, ""
        try:
            pose = self._transforms().lookup(settings.target_frame, frame.frame_id, frame.stamp_ns, settings.transform_timeout_s)
        except LookupError as error:
            return frame, f"no transform {settings.target_frame} <- {frame.frame_id}: {error}; results are in the camera frame"
        return replace(frame, base_from_camera=pose), ""

    def _in_result_frame(self, wishes: Wishes, frame: Frame, settings: NodeSettings) -> Preferences:
        """A frame that is not named is the target frame, even where the results must stay in the camera's."""
        if frame.depth_m is None:
            return NONE  # there will be no grasps
        target = settings.target_frame or frame.frame_id
        result = frame.frame_id if frame.base_from_camera is None else target
        find = self._transforms().lookup
        return wishes.in_frame(result, target, lambda to, of: find(to, of, frame.stamp_ns, settings.transform_timeout_s))

    def _followed(
        self, station: Station, frame: Frame, instruction: Instruction, depth: ReadDepth, request: Request,
        preferences: Preferences, run: Callable[[], PipelineResult],
    ) -> PipelineResult:
        """With ids that stay. Masks are carried into frames that the model need not look at; a new request is its own."""
        camera, settings = station.camera, station.settings
        if settings.target_frame != camera.tracked_in:
            camera.tracker.forget()  # places were in another frame
        camera.tracker.settings, camera.tracked_in = settings.tracking, settings.target_frame
        if not request.repeated or camera.tracker.due(frame, instruction.text):
            result = run()
            if result.segmentation is None:
                return result
            return replace(result, track_ids=camera.tracker.update(frame, result.segmentation).track_ids)
        request.enter("track")
        started = time.perf_counter()
        tracked = camera.tracker.propagate(frame)
        spent_ms = depth.spent_ms | {"track": (time.perf_counter() - started) * 1e3}
        result = self._tuned_pipeline().run_segmented(
            frame, tracked.segmentation, request.plan_grasps, request.enter, partial(self._given_up, request), preferences
        )
        station.last_ms = spent_ms | result.stage_ms
        return replace(result, track_ids=tracked.track_ids)

    def _run_pipeline(
        self, station: Station, view: View, depth: ReadDepth, frame: Frame, instruction: Instruction, request: Request,
        preferences: Preferences,
    ) -> PipelineResult:
        """Looking at an image is the dear part: instructions on the same image share it."""
        pipeline, spent_ms = self._tuned_pipeline(), dict(depth.spent_ms)
        if self._encoded is None or not self._encoded[0].shows_the_same(view) or self._encoded[1] != depth.how:
            self._raise_given_up(request)
            request.enter("encode")
            started = time.perf_counter()
            self._encoded = None  # free the last one before making the next
            self._encoded = (view, depth.how, pipeline.encode(frame))
            spent_ms["encode"] = (time.perf_counter() - started) * 1e3
        stop = partial(self._given_up, request)
        result = pipeline.run_encoded(
            frame, self._encoded[2], instruction, request.plan_grasps, request.enter, stop, preferences
        )
        station.last_ms = spent_ms | result.stage_ms
        if result.status.code == StatusCode.OUT_OF_MEMORY:
            self._encoded = None  # it may be what is in the way
        return result

    def _tuned_pipeline(self) -> Pipeline:
        """With the settings of this moment; the model stays loaded."""
        settings = self._parameters.pipeline
        if self._pipeline.settings != settings:
            self._encoded = None  # it may look at images in another way
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
            raise Refused(status)

    def _why_given_up(self, request: Request) -> Status | None:
        if self._stopping():
            return Status(StatusCode.BUSY, "the node was deactivated while it worked on this instruction")
        return request.given_up or request.lateness()
