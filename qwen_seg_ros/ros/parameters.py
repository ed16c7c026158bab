"""Settings <-> ROS parameters: names, types, ranges and descriptions come from the settings dataclasses.

A stage's field is the parameter `<stage>.<field>`; the node's own have no prefix. Those of PER_CAMERA may be given once more for
one camera, as `<camera>.<field>`. Integers do for floats, as people write them.
"""

import re
from array import array
from collections.abc import Iterable
from dataclasses import Field, dataclass, field, fields, replace
from difflib import get_close_matches
from typing import Any

from rcl_interfaces.msg import (
    FloatingPointRange,
    IntegerRange,
    ParameterDescriptor,
    SetParametersResult,
)
from rclpy.node import Node
from rclpy.parameter import Parameter

from qwen_seg_ros.errors import SettingsError
from qwen_seg_ros.setting import check, check_value, setting
from qwen_seg_ros.settings import Knob, Settings, allowed, flatten, parameters_page, updated
from qwen_seg_ros.tracking.settings import TrackingSettings

PER_CAMERA = (
    "sync_tolerance_s", "depth_grace_s", "max_frame_age_s", "image_transport", "depth_image_transport", "use_depth",
    "image_is_rectified", "depth_registration", "depth_is_rectified",
)
MAX_CAMERAS = 16
_NAME = re.compile(r"[A-Za-z](_?[A-Za-z0-9])*")  # what a topic name may hold between two slashes
_FOREIGN = ("qos_overrides.", "use_sim_time", "start_type_description_service")


@dataclass(frozen=True)
class NodeSettings:
    """What belongs to the node and not to a stage of the pipeline."""

    autostart: bool = setting(True, "Configure and activate at start, without a lifecycle manager", read_only=True)
    cameras: tuple[str, ...] = setting(
        (), "Names of several cameras that share the model, such as [front, wrist], each with topics of its own (front/image, "
        "~/front/segments). Empty: one camera, topics without a name", read_only=True)
    mode: str = setting("on_instruction", "Answer each instruction once, or apply the last one to every frame",
                        choices=("on_instruction", "continuous"))
    plan_grasps: bool = setting(True, "Plan grasps for instructions that come by topic")
    target_frame: str = setting("", "Frame of the 3-D results; empty = the camera's optical frame")
    transform_timeout_s: float = setting(0.2, "How long to wait for the transform at the image's stamp", 0.0, 5.0)
    transform_tolerance_s: float = setting(0.1, "Largest difference of stamps of /tf without tf2_ros", 0.0, 10.0, read_only=True)
    sync_tolerance_s: float = setting(0.05, "Largest difference of stamps of a colour and a depth image", 0.0, 10.0)
    depth_grace_s: float = setting(0.5, "After this time without matching depth, colour images are used alone", 0.0, 60.0)
    frame_timeout_s: float = setting(2.0, "How long an instruction waits for a frame", 0.0, 60.0)
    max_frame_age_s: float = setting(5.0, "Images that arrived longer ago are not answered on; 0 = any age", 0.0, 86400.0)
    deadline_s: float = setting(30.0, "Longest time from instruction to answer; 0 = no limit", 0.0, 3600.0)
    stuck_after_s: float = setting(
        30.0, "Seconds beyond deadline_s after which a worker that does not come back is reported, and answered for; 0 = never",
        0.0, 3600.0)
    queue_size: int = setting(4, "Instructions that may wait at one camera; further ones are answered BUSY", 1, 100)
    image_transport: str = setting(
        "raw", "raw: sensor_msgs/Image on `image`; compressed: sensor_msgs/CompressedImage, jpeg or png, on `image/compressed`. "
        "Changes hold from the next activation on", choices=("raw", "compressed"))
    depth_image_transport: str = setting(
        "raw", "raw: sensor_msgs/Image on `depth`; others: sensor_msgs/CompressedImage, 16-bit png, on `depth/compressedDepth` "
        "or `depth/compressed`. Changes hold from the next activation on", choices=("raw", "compressedDepth", "compressed"))
    use_depth: bool = setting(True, "false: a colour camera alone; answers are masks without 3-D and grasps, and do not wait for "
                                    "depth. true again: depth is subscribed to at the next activation")
    image_is_rectified: bool = setting(False, "The images are rectified: use P of camera_info and no distortion")
    # No choice may be "off": YAML reads it as false.
    depth_registration: str = setting(
        "auto", "auto: depth of another frame than the colour image's is registered to it by depth_camera_info and TF; "
        "never: depth is registered already, whatever its frame is called", choices=("auto", "never"))
    depth_is_rectified: bool = setting(False, "Depth to register is rectified: use P of depth_camera_info and no distortion")
    tracking: TrackingSettings = field(default_factory=TrackingSettings)  # of continuous mode

    def __post_init__(self) -> None:
        check(self)
        _check_names(self.cameras)


def _check_names(cameras: tuple[str, ...]) -> None:
    for name in cameras:
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise SettingsError(f"cameras must be names of letters, digits and single underscores, such as front, got {name!r}")
    if len(set(cameras)) < len(cameras) or len(cameras) > MAX_CAMERAS:
        raise SettingsError(f"cameras must be at most {MAX_CAMERAS} different names, got {', '.join(cameras)}")


def descriptor(item: Field) -> ParameterDescriptor:
    meta = item.metadata
    low, high = meta.get("low"), meta.get("high")
    message = ParameterDescriptor(dynamic_typing=True, read_only=bool(meta.get("read_only")))
    message.description = meta.get("description", "")
    if low is None or high is None:
        message.additional_constraints = allowed(item)
    elif isinstance(item.default, float):
        message.floating_point_range = [FloatingPointRange(from_value=float(low), to_value=float(high))]
    else:
        message.integer_range = [IntegerRange(from_value=int(low), to_value=int(high), step=1)]
    return message


class Parameters:
    """The node's parameters as checked settings. `problems`: values given at the start that were refused, by name."""

    def __init__(self, node: Node) -> None:
        self.node_settings, self.pipeline = NodeSettings(), Settings()
        self.problems: dict[str, str] = {}
        self._node = node
        self._given: dict[str, Any] = getattr(node, "_parameter_overrides", {})  # rclpy has no public view of undeclared ones
        self._own = set(flatten(self.node_settings))
        self._one_camera: dict[str, Any] = {}  # <camera>.<field> -> value
        self._knobs = flatten(self.node_settings) | flatten(self.pipeline)
        self._accept({name: self._declare(name, knob) for name, knob in self._knobs.items()})
        for_one = self._knobs_of_one_camera()
        self._knobs |= for_one
        self._accept({name: self._declare(name, knob) for name, knob in for_one.items() if name in self._given})
        self._find_unknown()
        node.add_on_set_parameters_callback(self._on_set)

    def of(self, camera: str) -> NodeSettings:
        """The node's settings with what was given for this camera."""
        return self._of_cameras[camera]

    def _knobs_of_one_camera(self) -> dict[str, Knob]:
        """What may be given for one camera; declared only where it is, the others follow the node's."""
        items = [item for item in fields(NodeSettings) if item.name in PER_CAMERA]
        settings = self.node_settings
        return {f"{name}.{item.name}": Knob(getattr(settings, item.name), item) for name in settings.cameras for item in items}

    def _declare(self, name: str, knob: Knob) -> Any:
        """Declare freely first: rclpy would end the process for a bad start value, without saying what is allowed."""
        self._node.declare_parameter(name, to_ros(knob.value), ParameterDescriptor(dynamic_typing=True))
        value = from_ros(self._node.get_parameter(name).value, knob.value)
        try:
            self._check(name, value)
        except SettingsError as error:
            self.problems[name] = str(error)
            value = knob.value
        self._node.set_parameters([Parameter(name, _TYPES.get(type(value)), to_ros(value))])
        self._node.set_descriptor(name, descriptor(knob.field))
        return value

    def _check(self, name: str, value: Any) -> None:
        """Raises SettingsError for a value that is not allowed, whatever the others are."""
        check_value(name, value, self._knobs[name].field)
        if name in self._own:
            updated(NodeSettings(), {name: value})

    def _find_unknown(self) -> None:
        for name in self._given:
            if name not in self._knobs and not name.startswith(_FOREIGN):
                near = get_close_matches(name, self._knobs, 1)
                self.problems[name] = f"there is no parameter {name}" + (f"; did you mean {near[0]}?" if near else "")

    def _on_set(self, changed: Iterable[Parameter]) -> SetParametersResult:
        ours = {p.name: from_ros(p.value, self._knobs[p.name].value) for p in changed if p.name in self._knobs}
        try:
            for name, value in ours.items():
                self._check(name, value)
            self._accept(ours)
        except SettingsError as error:
            return SetParametersResult(successful=False, reason=str(error))
        for name in ours:
            self.problems.pop(name, None)
        return SetParametersResult(successful=True)

    def _accept(self, values: dict[str, Any]) -> None:
        """All trees or none; SettingsError where the values do not fit together."""
        node_settings = updated(self.node_settings, {name: value for name, value in values.items() if name in self._own})
        one_camera = self._one_camera | {name: value for name, value in values.items() if name.partition(".")[2] in PER_CAMERA}
        stages = {name: value for name, value in values.items() if name not in self._own and name not in one_camera}
        pipeline = updated(self.pipeline, stages)
        self._of_cameras = {camera: _narrowed(node_settings, camera, one_camera) for camera in node_settings.cameras or ("",)}
        self.node_settings, self.pipeline, self._one_camera = node_settings, pipeline, one_camera


def _narrowed(settings: NodeSettings, camera: str, one_camera: dict[str, Any]) -> NodeSettings:
    """With the values given for this camera."""
    prefix = f"{camera}."
    given = {name.removeprefix(prefix): value for name, value in one_camera.items() if name.startswith(prefix)}
    return replace(settings, **given) if given else settings


def page() -> str:
    """docs/parameters.md: `python -m qwen_seg_ros.ros.parameters > docs/parameters.md`."""
    node, stages = parameters_page(NodeSettings()), parameters_page(Settings())
    return node + stages[stages.index("\n## ") :]


_TYPES = {tuple: Parameter.Type.STRING_ARRAY}  # an empty list alone does not tell what it is a list of


def to_ros(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def from_ros(value: Any, default: Any) -> Any:
    """The type of `default` where nothing is lost: whole numbers for floats, arrays for tuples."""
    if isinstance(default, float) and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if isinstance(default, tuple) and isinstance(value, (list, tuple, array)):
        return tuple(value)
    return value


if __name__ == "__main__":
    print(page(), end="")
