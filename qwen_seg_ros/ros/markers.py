"""What RViz shows: boxes with names, and the best grasps as little hands."""

import numpy as np
from geometry_msgs.msg import Point
from numpy.typing import NDArray
from std_msgs.msg import ColorRGBA, Header
from visualization_msgs.msg import Marker, MarkerArray

from qwen_seg_ros.drawing import color
from qwen_seg_ros.grasping.grasp import Grasp
from qwen_seg_ros.lifting.object_cloud import ObjectCloud
from qwen_seg_ros.pipeline import PipelineResult
from qwen_seg_ros.ros.messages_out import pose_message, vector_message

_FINGER_M = 0.04
_GRASPS_SHOWN = 5  # per object


def marker_array(head: Header, result: PipelineResult | None) -> MarkerArray:
    """Replaces everything shown before; an empty result clears the display."""
    markers = [Marker(header=head, action=Marker.DELETEALL)]
    if result is not None and result.lifted is not None:
        for item in result.lifted.objects:
            markers += [_box(head, item), _name(head, item)]
        for plan in result.plans:
            markers += [_hand(head, plan.object_id * 100 + n, grasp) for n, grasp in enumerate(plan.grasps[:_GRASPS_SHOWN])]
    return MarkerArray(markers=markers)


def _box(head: Header, item: ObjectCloud) -> Marker:
    red, green, blue = (value / 255 for value in color(item.id))
    return Marker(
        header=head, ns="objects", id=item.id, type=Marker.CUBE, pose=pose_message(item.box.pose),
        scale=vector_message(np.maximum(item.box.size_m, 1e-3)), color=ColorRGBA(r=red, g=green, b=blue, a=0.4),
    )


def _name(head: Header, item: ObjectCloud) -> Marker:
    marker = Marker(header=head, ns="names", id=item.id, type=Marker.TEXT_VIEW_FACING, pose=pose_message(item.box.pose))
    marker.scale.z = 0.02
    marker.color = ColorRGBA(r=1.0, g=1.0, b=1.0, a=1.0)
    marker.text = f"{item.id} {item.phrase} {item.score:.2f}"
    return marker


def _hand(head: Header, number: int, grasp: Grasp) -> Marker:
    """Approach line, palm and two fingers; green = good, red = poor."""
    score = min(max(float(grasp.score), 0.0), 1.0)
    marker = Marker(header=head, ns="grasps", id=number, type=Marker.LINE_LIST, pose=pose_message(grasp.pose))
    marker.scale.x = 0.003
    marker.color = ColorRGBA(r=1.0 - score, g=score, b=0.1, a=1.0)
    marker.points = [Point(x=x, y=y, z=z) for x, y, z in _hand_lines(grasp).tolist()]
    return marker


def _hand_lines(grasp: Grasp) -> NDArray:
    """Ends of lines in the hand frame, (8, 3): approach, palm, left and right finger."""
    half = grasp.width_m / 2
    approach = -float(np.linalg.norm(grasp.pregrasp[:3, 3] - grasp.pose[:3, 3]))
    return np.array([
        [0, 0, min(approach, -_FINGER_M)], [0, 0, -_FINGER_M], [0, -half, -_FINGER_M], [0, half, -_FINGER_M],
        [0, -half, -_FINGER_M], [0, -half, 0], [0, half, -_FINGER_M], [0, half, 0],
    ])
