"""What was asked and what came of it: instructions from topic, service and action in one bounded queue."""

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from qwen_seg_ros.frame import Frame
from qwen_seg_ros.msg import GraspPreferences
from qwen_seg_ros.pipeline import PipelineResult
from qwen_seg_ros.status import Status, StatusCode


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
    """One instruction on its way. Many threads may try to answer it; `claim` lets one of them.

    `done` gets the answer set exactly once, from any thread; `on_stage` runs in the worker.
    camera: name of the one that is asked. standing: continuous mode shall apply it to every frame from now on. repeated: it is
    continuous mode that asks, for one more frame. deadline_s: 0 = none.
    given_up: why nobody waits for the answer any more; whoever works on it stops at the next step.
    seen: stamp and frame of the image it is answered on, once that is known. stage: what is done with it now, and since when
    (monotonic clock). began_s: when its turn came.
    """

    instruction: str
    plan_grasps: bool
    done: Callable[[Any], None] = lambda answer: None
    on_stage: Callable[[str], None] = lambda stage: None
    deadline_s: float = 0.0
    standing: bool = False
    repeated: bool = False
    seen: tuple[int, str] | None = None
    preferences: GraspPreferences | None = None
    camera: str = ""
    given_up: Status | None = None
    received: float = field(default_factory=time.monotonic)
    began_s: float | None = None
    stage: tuple[str, float] = field(default_factory=lambda: ("waiting", time.monotonic()))
    _claimed: threading.Lock = field(default_factory=threading.Lock, init=False)

    def once_more(self) -> "Request":
        """The same for another frame, in continuous mode."""
        return replace(self, received=time.monotonic(), began_s=time.monotonic(), repeated=True, given_up=None, seen=None)

    def claim(self) -> bool:
        """True for the first who asks, who then has to answer."""
        return self._claimed.acquire(blocking=False)

    def answered(self) -> bool:
        return self._claimed.locked()

    def enter(self, stage: str) -> None:
        self.stage = (stage, time.monotonic())
        if not self.answered():
            self.on_stage(stage)

    def lateness(self) -> Status | None:
        """The status that it ends with, once its deadline has passed."""
        if not self.deadline_s or self.age_s() <= self.deadline_s:
            return None
        limit = f"no answer within deadline_s = {self.deadline_s:g} s, which ended in the stage {self.stage[0]!r}"
        return Status(StatusCode.DEADLINE, f"{limit}; raise it or use a faster device")

    def age_s(self) -> float:
        return time.monotonic() - self.received


class RequestQueue:
    """First in, first out: the executor puts, the worker takes."""

    def __init__(self) -> None:
        self._waiting: deque[Request] = deque()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, request: Request, limit: int) -> bool:
        """False when `limit` requests wait already."""
        with self._lock:
            if len(self._waiting) >= limit:
                return False
            self._waiting.append(request)
            return True

    def take(self) -> Request | None:
        with self._lock:
            return self._waiting.popleft() if self._waiting else None

    def remove(self, request: Request) -> None:
        """One that need not be answered any more; nothing happens when it does not wait here."""
        with self._lock:
            if request in self._waiting:
                self._waiting.remove(request)

    def waiting(self) -> list[Request]:
        with self._lock:
            return list(self._waiting)
