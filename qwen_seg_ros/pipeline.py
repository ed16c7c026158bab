"""Words and a frame in; masks, objects, grasps and a status out. Neither ROS nor torch is needed to import this."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from qwen_seg_ros.errors import InvalidInputError, OutOfMemoryError, StoppedError
from qwen_seg_ros.frame import Frame
from qwen_seg_ros.grasping.grasp import GraspPlan
from qwen_seg_ros.grasping.gripper import load_gripper
from qwen_seg_ros.grasping.planner import plan_grasps
from qwen_seg_ros.grasping.preferences import NONE, Preferences
from qwen_seg_ros.lifting.lift import lift
from qwen_seg_ros.lifting.object_cloud import Lifted
from qwen_seg_ros.segmentation.instruction import Instruction
from qwen_seg_ros.segmentation.result import Outcome, SegmentationResult
from qwen_seg_ros.segmentation.segmenter import Segmenter, load_segmenter, never
from qwen_seg_ros.settings import Settings
from qwen_seg_ros.status import Status, StatusCode

STAGES = ("encode", "generate", "masks", "lift", "grasp")  # keys of `PipelineResult.stage_ms`; a segmenter may add its own
OnStage = Callable[[str], None]  # told "encode", "segment", "lift" or "grasp" as each begins
Cancelled = Callable[[], bool]  # asked before each stage and while an answer is written; True ends the request


@dataclass(frozen=True, eq=False)
class PipelineResult:
    """Everything about one instruction on one frame; what could not be made is None or empty, and `status` says why.

    lifted, plans: in the base frame when `in_base`, else in the camera's optical frame `frame_id`. plans: one per lifted object,
    in their order. stage_ms: milliseconds by stage. track_ids: names that stay over frames, one per instance of `segmentation`;
    () where nobody follows the objects (qwen_seg_ros.tracking).
    """

    instruction: str
    status: Status
    frame_id: str
    stamp_ns: int
    in_base: bool = False
    segmentation: SegmentationResult | None = None
    lifted: Lifted | None = None
    plans: tuple[GraspPlan, ...] = ()
    stage_ms: dict[str, float] = field(default_factory=dict)
    track_ids: tuple[str, ...] = ()


class Pipeline:
    """Holds the segmenter and the gripper, no state of a request: calls from several threads cannot mix.

    Raises:
        SettingsError: for an unknown gripper or segmenter. CheckpointError: when the model cannot be loaded.
    """

    def __init__(self, settings: Settings | None = None, segmenter: Segmenter | None = None) -> None:
        self.settings = settings or Settings()
        self.gripper = load_gripper(self.settings.grasping.gripper)
        self.segmenter = segmenter or load_segmenter(self.settings.segmentation)

    def encode(self, frame: Frame) -> Any:
        """What `run_encoded` wants for any number of instructions on this frame. Raises as `Segmenter.encode` does."""
        return self.segmenter.encode(frame)

    def run(self, frame: Frame, instruction: Instruction | str, plan_grasps: bool = True, on_stage: OnStage | None = None,
            cancelled: Cancelled | None = None, preferences: Preferences = NONE) -> PipelineResult:
        """One instruction on one frame. Bad input values, a full device and an unreadable answer come back as a status.

        preferences: hold for the grasps of every object found. Frame: that of the results, the base frame when the frame has
        `base_from_camera`, else the camera's optical frame.
        """
        return self._run(_Request(self, frame, plan_grasps, on_stage, cancelled, preferences), instruction, None)

    def run_encoded(self, frame: Frame, encoded: Any, instruction: Instruction | str, plan_grasps: bool = True,
                    on_stage: OnStage | None = None, cancelled: Cancelled | None = None,
                    preferences: Preferences = NONE) -> PipelineResult:
        """The same on a frame that `encode` has seen already."""
        return self._run(_Request(self, frame, plan_grasps, on_stage, cancelled, preferences), instruction, encoded)

    def run_segmented(self, frame: Frame, segmentation: SegmentationResult, plan_grasps: bool = True,
                      on_stage: OnStage | None = None, cancelled: Cancelled | None = None,
                      preferences: Preferences = NONE) -> PipelineResult:
        """The stages after the model, on masks that are known already, such as those a tracker carried into this frame."""
        request = _Request(self, frame, plan_grasps, on_stage, cancelled, preferences)
        return self._guarded(request, segmentation.instruction, lambda: request.go_on(segmentation))

    def _run(self, request: "_Request", instruction: Instruction | str, encoded: Any) -> PipelineResult:
        text = instruction if isinstance(instruction, str) else instruction.text
        return self._guarded(request, text, lambda: request.work(Instruction(text), encoded))

    def _guarded(self, request: "_Request", text: str, work: Callable[[], None]) -> PipelineResult:
        frame = request.frame
        request.result = PipelineResult(text, Status(), frame.frame_id, frame.stamp_ns)
        try:
            work()
        except InvalidInputError as error:
            request.ends(StatusCode.INVALID_INPUT, str(error))
        except OutOfMemoryError as error:
            request.ends(StatusCode.OUT_OF_MEMORY, str(error))
        except StoppedError as stop:
            request.ends(StatusCode.DEADLINE, f"stopped {stop}: cancelled or out of time; earlier stages are kept")
        return request.result


class _Request:
    """One run on its way through the stages; `result` grows as they end."""

    result: PipelineResult

    def __init__(self, pipeline: Pipeline, frame: Frame, plan: bool, on_stage: OnStage | None,
                 cancelled: Cancelled | None, preferences: Preferences) -> None:
        self.pipeline, self.frame, self.plan = pipeline, frame, plan
        self.on_stage, self.cancelled, self.preferences = on_stage, cancelled or never, preferences

    def ends(self, code: StatusCode, message: str) -> None:
        self.result = replace(self.result, status=Status(code, message))

    def work(self, instruction: Instruction, encoded: Any) -> None:
        if encoded is None:
            self._begin("encode")
            start = time.perf_counter()
            encoded = self.pipeline.encode(self.frame)
            self._took("encode", start)
        self.go_on(self._segment(encoded, instruction))

    def go_on(self, segmentation: SegmentationResult) -> None:
        """What comes after the masks."""
        self.result = replace(self.result, segmentation=segmentation)
        status = _status_2d(segmentation)
        self.ends(status.code, status.message)
        if status.code is not StatusCode.OK:
            return
        missing = _missing_for_3d(self.frame)
        if missing:
            self.ends(StatusCode.NO_DEPTH, f"found in the image, but not in 3-D: {missing}")
            return
        lifted = self._lift(segmentation)
        plans = self._grasp(lifted) if self.plan else ()
        status = _status_3d(segmentation, lifted, plans)
        self.ends(status.code, status.message)

    def _segment(self, encoded: Any, instruction: Instruction) -> SegmentationResult:
        self._begin("segment")
        start = time.perf_counter()
        segmentation = self.pipeline.segmenter.segment(encoded, instruction, self.cancelled)
        own = {name: ms for name, ms in segmentation.stage_ms.items() if name != "encode"}  # the frame's share is measured here
        if own:
            self.result.stage_ms.update(own)
        else:
            self._took("generate", start)
        return segmentation

    def _lift(self, segmentation: SegmentationResult) -> Lifted:
        self._begin("lift")
        start = time.perf_counter()
        lifted = lift(self.frame, segmentation, self.pipeline.settings.lifting)
        base_from_camera = self.frame.base_from_camera
        if base_from_camera is not None:
            lifted = lifted.moved(base_from_camera)
        self._took("lift", start)
        self.result = replace(self.result, lifted=lifted, in_base=base_from_camera is not None)
        return lifted

    def _grasp(self, lifted: Lifted) -> tuple[GraspPlan, ...]:
        self._begin("grasp")
        start = time.perf_counter()
        scene, gripper, settings = lifted.scene, self.pipeline.gripper, self.pipeline.settings.grasping
        plans = tuple(plan_grasps(item, scene, gripper, settings, self.preferences) for item in lifted.objects)
        self._took("grasp", start)
        self.result = replace(self.result, plans=plans)
        return plans

    def _begin(self, stage: str) -> None:
        if self.cancelled():
            raise StoppedError(f"before {stage}")
        if self.on_stage:
            self.on_stage(stage)

    def _took(self, stage: str, start: float) -> None:
        self.result.stage_ms[stage] = 1e3 * (time.perf_counter() - start)


def _status_2d(segmentation: SegmentationResult) -> Status:
    if segmentation.outcome is Outcome.NOT_FOUND:
        absent = ", ".join(segmentation.absent) or segmentation.instruction
        return Status(StatusCode.NOT_FOUND, segmentation.message or f"not in the image: {absent}")
    if segmentation.outcome is Outcome.UNREADABLE_ANSWER:
        reason = segmentation.message or f"the model wrote {segmentation.answer[:80]!r}"
        return Status(StatusCode.UNREADABLE_ANSWER, f"{reason}; put the instruction in other words")
    return Status(StatusCode.OK, _absent(segmentation))


def _missing_for_3d(frame: Frame) -> str:
    """What keeps a frame from being lifted, with the remedy; "" = nothing."""
    if frame.depth_m is None:
        return "the frame has no depth image; connect a depth topic registered to the colour image"
    if frame.camera is None:
        return "the frame has no camera calibration; connect the colour camera's camera_info"
    if not np.isfinite(frame.depth_m).any():
        return "the depth image holds no valid value; check range, lighting and encoding of the depth camera"
    return ""


def _status_3d(segmentation: SegmentationResult, lifted: Lifted, plans: tuple[GraspPlan, ...]) -> Status:
    refused = "; ".join(f"{item.phrase}: {item.reason}" for item in lifted.refused)
    if not lifted.objects:
        return Status(StatusCode.NO_DEPTH, f"found in the image, but not in 3-D: {refused}")
    without = "; ".join(f"{plan.phrase}: {plan.message}" for plan in plans if not plan.grasps)
    return Status(StatusCode.OK, "; ".join(filter(None, [_absent(segmentation), refused, without])))


def _absent(segmentation: SegmentationResult) -> str:
    return f"not in the image: {', '.join(segmentation.absent)}" if segmentation.absent else ""
