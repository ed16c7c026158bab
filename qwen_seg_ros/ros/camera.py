"""One camera of the node, and what the worker keeps of it while the node is active."""

from collections.abc import Callable
from dataclasses import dataclass, field

from qwen_seg_ros.ros.depth_reader import AS_PUBLISHED, DepthReader
from qwen_seg_ros.ros.frame_source import FrameSource
from qwen_seg_ros.ros.measures import Latency
from qwen_seg_ros.ros.parameters import NodeSettings
from qwen_seg_ros.ros.requests import Request, RequestQueue
from qwen_seg_ros.status import StatusCode
from qwen_seg_ros.tracking.tracker import Tracker


@dataclass(eq=False)
class Camera:
    """What outlives an activation. name: "" for the only camera of a node without the parameter `cameras`.

    tracker: outlives the worker, so that no id is used twice; used by the worker's thread alone. tracked_in: the frame in which
    it remembers places.
    """

    name: str
    frames: FrameSource
    settings: Callable[[], NodeSettings]
    tracker: Tracker = field(default_factory=Tracker)
    tracked_in: str = ""


@dataclass(eq=False)
class Station:
    """One camera's requests and what became of them since the node was activated.

    current: the request whose turn it is; it may wait for an image. standing: the instruction that continuous mode applies to
    every new frame. latency: from a request to its answer. depth_how, depth_note: what was done with the last depth image.
    last_code: for the log, which does not repeat itself.
    """

    camera: Camera
    depth: DepthReader
    queue: RequestQueue = field(default_factory=RequestQueue)
    current: Request | None = None
    standing: Request | None = None
    depth_how: str = AS_PUBLISHED
    depth_note: str = ""
    last_code: StatusCode = StatusCode.OK
    last_ms: dict[str, float] = field(default_factory=dict)
    latency: Latency = field(default_factory=Latency)
    answered: dict[StatusCode, int] = field(default_factory=lambda: dict.fromkeys(StatusCode, 0))

    @property
    def settings(self) -> NodeSettings:
        """Of this moment."""
        return self.camera.settings()

    def turn(self) -> Request | None:
        """The request whose turn it is. Those that were answered without the worker are passed over."""
        while self.current is None or self.current.answered():
            self.current = self.queue.take()
            if self.current is None:
                return None
        return self.current

    def unanswered(self) -> list[Request]:
        return [*filter(None, [self.current]), *self.queue.waiting()]

    def wants_images(self) -> bool:
        """Somebody waits for one."""
        return self.current is not None or self.follows()

    def follows(self) -> bool:
        """Continuous mode has something to do here."""
        return self.standing is not None and self.settings.mode == "continuous"
