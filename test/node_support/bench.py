"""A worker without a node around it: cameras to publish to, requests to make, answers in their order."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from queue import Empty, Queue
from typing import Any

import rclpy
from rclpy.context import Context
from rclpy.node import Node
from rclpy.parameter import Parameter

from node_support.process import DOMAIN
from node_support.robot import Shot, camera_info, image, stamped
from qwen_seg_ros.pipeline import Pipeline
from qwen_seg_ros.ros.camera import Camera
from qwen_seg_ros.ros.frame_source import FrameSource
from qwen_seg_ros.ros.parameters import Parameters
from qwen_seg_ros.ros.requests import Answer, Request
from qwen_seg_ros.ros.transforms import TransformBuffer
from qwen_seg_ros.ros.worker import Worker
from qwen_seg_ros.segmentation.segmenter import Segmenter


@contextmanager
def node_with(values: dict[str, Any]) -> Iterator[Node]:
    """A node that was started with these parameters."""
    context = Context()
    rclpy.init(context=context, domain_id=DOMAIN)
    overrides = [Parameter(name, value=value) for name, value in values.items()]
    node = rclpy.create_node("bench", context=context, parameter_overrides=overrides)
    try:
        yield node
    finally:
        node.destroy_node()
        rclpy.try_shutdown(context=context)


class Bench:
    """segmenter: None = the one that the parameters name. answered: every answer with its request, in order.

    then_do: called after every answer, by the thread that gave it.
    """

    def __init__(self, node: Node, shot: Shot, segmenter: Segmenter | None = None) -> None:
        self.parameters = parameters = Parameters(node)
        names = parameters.node_settings.cameras or ("",)
        self.cameras = {name: Camera(name, self._mailbox(name), lambda: parameters.node_settings) for name in names}
        self.answered: Queue[tuple[Request, Answer]] = Queue()
        self.then_do: Callable[[], None] = lambda: None
        self._shot, self._stamp_ns = shot, 10**9
        pipeline, transforms = Pipeline(parameters.pipeline, segmenter), TransformBuffer(0.1)
        self.worker = Worker(
            pipeline, parameters, self.cameras.values(), lambda: transforms, self._deliver, lambda: 0, node.get_logger()
        )

    def _mailbox(self, name: str) -> FrameSource:
        topics = {topic: f"/{name}/{topic}" for topic in ("image", "depth", "camera_info", "depth_camera_info")}
        return FrameSource(topics, lambda: self.parameters.node_settings, name)

    def set(self, name: str, value: Any) -> None:
        assert self.parameters._on_set([Parameter(name, value=value)]).successful

    def see(self) -> None:
        """Every camera publishes a new image, with depth."""
        self._stamp_ns += 10**8
        shot = self._shot
        for name, camera in self.cameras.items():
            frame_id = f"{name}_optical"
            camera.frames.on_info(stamped(camera_info(shot.camera), frame_id, self._stamp_ns))
            camera.frames.on_depth(image(shot.depth, shot.depth_encoding, frame_id, self._stamp_ns))
            camera.frames.on_image(image(shot.rgb, shot.encoding, frame_id, self._stamp_ns))

    def ask(self, instruction: str = "the box", **request: Any) -> Request:
        asked = Request(instruction, **({"plan_grasps": False} | request))
        self.worker.submit(asked)
        return asked

    def _deliver(self, request: Request, answer: Answer) -> None:
        self.answered.put((request, answer))
        self.then_do()

    def next(self) -> tuple[Request, Answer]:
        """The next answer; fails when none comes."""
        return self.answered.get(timeout=60)

    def quiet(self, requests: Sequence[Request] = ()) -> bool:
        """There is no further answer, after all these requests were answered."""
        assert all(request.answered() for request in requests)
        try:
            self.answered.get(timeout=0.3)
        except Empty:
            return True
        return False

    def close(self) -> None:
        self.then_do = lambda: None
        assert self.worker.stop()
