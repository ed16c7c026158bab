"""State of the node for /diagnostics: what arrives, what is answered, and what is wrong, in words."""

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.node import Node

from qwen_seg_ros.ros.frame_source import FrameSource
from qwen_seg_ros.ros.worker import Worker

_SILENT_S = 2.0


def diagnostic_array(node: Node, state: str, frames: FrameSource | None, worker: Worker | None) -> DiagnosticArray:
    level, message = _verdict(state, frames, worker)
    status = DiagnosticStatus(level=level, name=f"{node.get_fully_qualified_name().lstrip('/')}: segmentation", message=message)
    status.values = [KeyValue(key=key, value=str(value)) for key, value in _values(frames, worker).items()]
    array = DiagnosticArray(status=[status])
    array.header.stamp = node.get_clock().now().to_msg()
    return array


def _verdict(state: str, frames: FrameSource | None, worker: Worker | None) -> tuple[bytes, str]:
    if state != "active" or frames is None:
        return DiagnosticStatus.WARN, f"the node is {state}"
    silent_s = frames.seconds_since_image()
    if silent_s is None:
        return DiagnosticStatus.WARN, frames.missing()
    if silent_s > _SILENT_S:
        return DiagnosticStatus.WARN, f"no image for {silent_s:.0f} s"
    if not frames.wants_depth():
        return DiagnosticStatus.OK, "running, in the image only: use_depth is false"
    if not frames.counters.pairs:
        return DiagnosticStatus.WARN, f"no 3-D results: {frames.missing()}"
    if worker is not None and worker.depth_note:
        return DiagnosticStatus.WARN, worker.depth_note
    return DiagnosticStatus.OK, "running"


def _values(frames: FrameSource | None, worker: Worker | None) -> dict[str, object]:
    values: dict[str, object] = {}
    if frames is not None:
        values |= vars(frames.counters)
    if worker is not None:
        values |= {"waiting": worker.waiting(), "enabled": worker.enabled, "depth": worker.depth_how}
        values |= {f"answered {code.name}": count for code, count in worker.answered.items() if count}
        values |= {f"last {stage} ms": f"{spent:.0f}" for stage, spent in worker.last_ms.items()}
    return values
