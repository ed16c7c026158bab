"""What was asked and what came of it: instructions from topic, service and action in one bounded queue."""

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from qwen_seg_ros.frame import Frame
from qwen_seg_ros.msg import GraspPreferences
from qwen_seg_ros.pipeline import PipelineResult
from qwen_seg_ros.status import StatusCode


@dataclass(frozen=True, eq=False)
class Answer:
    """One answer set. frame, result: None where it did not come to that. gripper: name of the gripper planned for."""

    instruction: str
    code: StatusCode
    message: str
    stamp_ns: int
    camera_frame: str
    frame: Frame | None = None
    result: PipelineResult | None = None
    result_frame: str = ""
    gripper: str = ""


@dataclass(eq=False)
class Request:
    """One instruction on its way.

    `done` gets the answer set exactly once, from any thread; `on_stage` and `cancelled` run in the worker.
    standing: continuous mode shall apply it to every frame from now on. repeated: it is continuous mode that asks, for one more
    frame. deadline_s: 0 = none.
    seen: stamp and frame of the image it is answered on, once that is known.
    """

    instruction: str
    plan_grasps: bool
    done: Callable[[Any], None] = lambda answer: None
    on_stage: Callable[[str], None] = lambda stage: None
    cancelled: Callable[[], bool] = lambda: False
    deadline_s: float = 0.0
    standing: bool = False
    repeated: bool = False
    seen: tuple[int, str] | None = None
    preferences: GraspPreferences | None = None
    received: float = field(default_factory=time.monotonic)

    def late(self) -> bool:
        return self.deadline_s > 0 and self.age_s() > self.deadline_s

    def age_s(self) -> float:
        return time.monotonic() - self.received


class RequestQueue:
    """First in, first out, between the executor (put) and the worker (take)."""

    def __init__(self) -> None:
        self._waiting: deque[Request] = deque()
        self._changed = threading.Condition()

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, request: Request, limit: int) -> bool:
        """False when `limit` requests wait already."""
        with self._changed:
            if len(self._waiting) >= limit:
                return False
            self._waiting.append(request)
            self._changed.notify()
            return True

    def take(self, timeout_s: float) -> Request | None:
        with self._changed:
            if not self._waiting:
                self._changed.wait(timeout_s)
            return self._waiting.popleft() if self._waiting else None

    def drain(self) -> list[Request]:
        with self._changed:
            left = list(self._waiting)
            self._waiting.clear()
            return left
