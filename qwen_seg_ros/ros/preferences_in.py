"""GraspPreferences of a request -> `Preferences` of the planner: checked at once, moved when the frame of results is known."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from qwen_seg_ros.errors import InvalidInputError
from qwen_seg_ros.geometry.arrays import Matrix4, Vector3
from qwen_seg_ros.geometry.oriented_box import OrientedBox
from qwen_seg_ros.geometry.transform import move_points, rotation_from_quaternion, transform
from qwen_seg_ros.grasping.preferences import NONE, Preferences
from qwen_seg_ros.msg import GraspPreferences, KeepOutBox
from qwen_seg_ros.ros.messages_in import points_from_cloud

Lookup = Callable[[str, str], Matrix4]  # (target, source) -> target_from_source, or LookupError with the reason


@dataclass(frozen=True, eq=False)
class Wishes:
    """Preferences as they were given: every part in a frame of its own, "" = the target frame."""

    given: Preferences = NONE
    approach_frame: str = ""
    box_frames: tuple[str, ...] = ()  # one per keep-out box
    part_frame: str = ""

    def in_frame(self, result: str, target: str, lookup: Lookup) -> Preferences:
        """All of them in the frame `result`; `target`: what a frame that is not named stands for.

        Raises:
            InvalidInputError: where there is no transform from a frame that was named.
        """
        if self.given is NONE:
            return NONE
        given, boxes = self.given, zip(self.given.keep_out, self.box_frames, strict=True)

        def result_from(named: str) -> Matrix4:
            return _move(named or target, result, lookup)

        return replace(
            given,
            approach=None if given.approach is None else result_from(self.approach_frame)[:3, :3] @ given.approach,
            keep_out=tuple(OrientedBox(result_from(named) @ box.pose, box.size_m) for box, named in boxes),
            part=None if given.part is None else move_points(result_from(self.part_frame), given.part),
        )


def frames_named(message: GraspPreferences) -> set[str]:
    """Frames that the parts of a message name."""
    headers = [part.header for part in (*message.approach, message.part)] + [box.pose.header for box in message.keep_out]
    return {header.frame_id.lstrip("/") for header in headers} - {""}


def wishes_from_message(message: GraspPreferences | None) -> Wishes:
    """Read and check; None = nothing is asked for.

    Raises:
        InvalidInputError: for numbers that are no direction, box, weight or points. It names the field.
    """
    if message is None or not (message.approach or message.keep_out or message.part.data):
        return Wishes()
    approach, part = message.approach[0] if message.approach else None, message.part if message.part.data else None
    try:
        given = Preferences(
            approach=None if approach is None else _xyz(approach.vector), approach_weight=message.approach_weight,
            keep_out=tuple(_box(box, number) for number, box in enumerate(message.keep_out)),
            part=None if part is None else points_from_cloud(part), part_weight=message.part_weight,
        )
    except InvalidInputError as error:
        raise InvalidInputError(f"preferences cannot be used: {error}") from error
    return Wishes(given, _frame(approach), tuple(_frame(box.pose) for box in message.keep_out), _frame(part))


def _box(message: KeepOutBox, number: int) -> OrientedBox:
    name, pose, size = f"keep_out[{number}]", message.pose.pose, _xyz(message.size)
    centre, q = _xyz(pose.position), pose.orientation
    if not np.isfinite(centre).all():
        raise InvalidInputError(f"{name}.pose.pose.position must be three finite numbers in metres, got {centre.tolist()}")
    if not (np.isfinite(size) & (size > 0)).all():
        raise InvalidInputError(f"{name}.size must be three lengths greater than 0 in metres, got {size.tolist()}")
    try:
        return OrientedBox(transform(rotation_from_quaternion(np.array([q.x, q.y, q.z, q.w])), centre), size)
    except InvalidInputError as error:
        raise InvalidInputError(f"{name}.pose.pose.orientation: {error}") from error


def _move(source: str, target: str, lookup: Lookup) -> Matrix4:
    if source.lstrip("/") == target.lstrip("/"):
        return np.eye(4)
    try:
        return lookup(target, source)
    except LookupError as error:
        raise InvalidInputError(
            f"preferences are in the frame {source!r}, and there is no transform {target} <- {source}: {error}; give them in "
            f"{target}, or ask again once TF knows {source} (the node listens to TF from the first request that needs it on)"
        ) from error


def _frame(part: Any) -> str:
    return "" if part is None else part.header.frame_id.lstrip("/")


def _xyz(vector: Any) -> Vector3:
    return np.array([vector.x, vector.y, vector.z], np.float64)
