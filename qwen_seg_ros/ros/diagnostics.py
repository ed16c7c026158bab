"""State of the node for /diagnostics: what arrives, what is answered, and what is wrong, in words; one status a camera."""

from collections.abc import Iterable

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.node import Node

from qwen_seg_ros.ros.camera import Camera, Station
from qwen_seg_ros.ros.worker import Worker

_SILENT_S = 2.0


def diagnostic_array(node: Node, state: str, cameras: Iterable[Camera], worker: Worker | None) -> DiagnosticArray:
    array = DiagnosticArray(status=[_status(node, state, camera, worker) for camera in cameras])
    array.header.stamp = node.get_clock().now().to_msg()
    return array


def _status(node: Node, state: str, camera: Camera, worker: Worker | None) -> DiagnosticStatus:
    """name: `segmentation_node: segmentation` for the only camera, `segmentation_node: front` for one of several."""
    station = worker.stations[camera.name] if worker is not None else None
    level, message = _verdict_on_worker(worker) or _verdict(state, camera, station)
    name = f"{node.get_fully_qualified_name().lstrip('/')}: {camera.name or 'segmentation'}"
    status = DiagnosticStatus(level=level, name=name, message=message)
    status.values = [KeyValue(key=key, value=str(value)) for key, value in _values(camera, station, worker).items()]
    return status


def _verdict_on_worker(worker: Worker | None) -> tuple[bytes, str] | None:
    """None = it works, as far as it is concerned."""
    if worker is None:
        return None
    if trouble := worker.trouble():
        return DiagnosticStatus.ERROR, trouble
    if worker.restarts:
        return DiagnosticStatus.WARN, f"running; the worker ended {worker.restarts} times, last by {worker.ended_by}"
    return None


def _verdict(state: str, camera: Camera, station: Station | None) -> tuple[bytes, str]:
    frames = camera.frames
    if state != "active":
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
    if station is not None and station.depth_note:
        return DiagnosticStatus.WARN, station.depth_note
    return DiagnosticStatus.OK, "running"


def _values(camera: Camera, station: Station | None, worker: Worker | None) -> dict[str, object]:
    frames = camera.frames
    values: dict[str, object] = dict(vars(frames.counters))
    values |= {"image rate Hz": f"{frames.image_rate.hz():.1f}", "depth rate Hz": f"{frames.depth_rate.hz():.1f}"}
    if (age_s := frames.seconds_since_image()) is not None:
        values["image age s"] = f"{age_s:.2f}"
    if worker is not None and station is not None:
        values |= {"waiting": len(station.queue), "enabled": worker.enabled, "depth": station.depth_how}
        values |= {"worker restarts": worker.restarts}
        values |= {f"answered {code.name}": count for code, count in station.answered.items() if count}
        values |= {f"answer {name} ms": f"{spent:.0f}" for name, spent in station.latency.percentiles().items()}
        values |= {f"model {name}": told for name, told in worker.model().items()}
        values |= {f"last {stage} ms": f"{spent:.0f}" for stage, spent in station.last_ms.items()}
    return values
