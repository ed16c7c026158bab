"""Start the segmentation node. `ros2 launch qwen_seg_ros segmentation.launch.py --show-args` lists what can be set.

With a camera whose driver is known (config/cameras: realsense, orbbec, zed, oak, azure_kinect), or a YAML file like those:
    ros2 launch qwen_seg_ros segmentation.launch.py camera:=realsense

With any other camera:
    ros2 launch qwen_seg_ros segmentation.launch.py image:=/front/color/image_raw \
        depth:=/front/depth_registered/image_raw camera_info:=/front/color/camera_info

With several cameras on one model (docs/cameras.md), whose topics a YAML file names, or arguments:
    ros2 launch qwen_seg_ros segmentation.launch.py cameras:="[front, wrist]" front/image:=/front/color/image_raw ...

Every parameter of the node is an argument under its own name (mode:=continuous, grasping.max_grasps:=3), made from the
settings. An argument beats the camera's YAML file, that beats the params_file, that beats the default.
"""

from pathlib import Path
from typing import Any, List  # noqa: UP035  launch knows this spelling only

import yaml
from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

from qwen_seg_ros.errors import SettingsError
from qwen_seg_ros.ros.parameters import PER_CAMERA, NodeSettings
from qwen_seg_ros.settings import Knob, Settings, allowed, flatten, updated

CONFIG = Path(__file__).resolve().parents[1] / "config"
KNOBS = flatten(NodeSettings()) | flatten(Settings())
TOPICS = {
    "image": "Colour images (sensor_msgs/Image)",
    "depth": "Depth, best registered to the colour images (sensor_msgs/Image, 16UC1 millimetres or 32FC1 metres)",
    "camera_info": "Calibration of the colour camera (sensor_msgs/CameraInfo)",
    "depth_camera_info": "Calibration of the depth camera, only for depth that is not registered (sensor_msgs/CameraInfo)",
    "instruction": "What to find, in plain words (std_msgs/String)",
}
FIRST = {  # argument -> parameter: what is set most often stands first in --show-args, two of them under a shorter name
    "checkpoint": "segmentation.checkpoint",
    "device": "segmentation.device",
    "mode": "mode",
    "target_frame": "target_frame",
    "autostart": "autostart",
}
PARAMETERS = FIRST | {name: name for name in KNOBS if name not in FIRST}


def generate_launch_description() -> LaunchDescription:
    own = [
        DeclareLaunchArgument(
            "camera",
            default_value="",
            description=f"Topics and calibration of a known camera: {cameras()}, "
            "or the path of a YAML file like those in config/cameras",
        ),
        DeclareLaunchArgument(
            "params_file", default_value=str(CONFIG / "tabletop.yaml"), description="YAML file with the node's parameters"
        ),
        DeclareLaunchArgument("namespace", default_value="", description="Namespace of the node"),
        DeclareLaunchArgument("log_level", default_value="info", description="debug, info, warn, error or fatal"),
        DeclareLaunchArgument(
            "use_sim_time",
            default_value="",
            choices=["", "true", "false"],
            description="true: take the time from /clock, for simulation and bags (empty: as in params_file)",
        ),
    ]
    topics = [
        DeclareLaunchArgument(name, default_value="", description=f"{text} (empty: the camera's, else '{name}')")
        for name, text in TOPICS.items()
    ]
    parameters = [
        DeclareLaunchArgument(name, default_value="", description=described(KNOBS[parameter]))
        for name, parameter in PARAMETERS.items()
    ]
    return LaunchDescription([*own, *topics, *parameters, OpaqueFunction(function=start_node)])


def described(knob: Knob) -> str:
    return f"{knob.field.metadata['description']} [{allowed(knob.field)}] (empty: the camera's, else as in params_file)"


def start_node(context: LaunchContext) -> list[Node]:
    camera = read_camera(LaunchConfiguration("camera").perform(context))
    node = Node(
        package="qwen_seg_ros",
        executable="segmentation_node",
        name="segmentation_node",
        namespace=LaunchConfiguration("namespace"),
        parameters=[LaunchConfiguration("params_file"), chosen_parameters(context, camera)],
        remappings=list(chosen_topics(context, camera).items()),
        ros_arguments=["--log-level", LaunchConfiguration("log_level")],
        output="screen",
        emulate_tty=True,
    )
    return [node]


# --- Camera ------------------------------------------------------------------------------------------------------------------


def cameras() -> str:
    return ", ".join(sorted(file.stem for file in (CONFIG / "cameras").glob("*.yaml")))


def read_camera(name: str) -> dict[str, dict[str, Any]]:
    """`topics` and `parameters` of a known camera or of a YAML file; both empty for the empty name.

    Raises:
        SettingsError: the camera is unknown (the known ones are listed), or its file names something that does not exist.
    """
    if not name:
        return {"topics": {}, "parameters": {}}
    known = CONFIG / "cameras" / f"{name}.yaml"
    file = known if known.is_file() else Path(name)
    if not file.is_file():
        raise SettingsError(
            f"unknown camera '{name}'; known are {cameras()}, and the path of a YAML file like those in {known.parent}"
        )
    try:
        return checked(yaml.safe_load(file.read_text()), file)
    except yaml.YAMLError as error:
        raise SettingsError(f"{file} is not YAML: {error}") from error


def checked(camera: Any, file: Path) -> dict[str, dict[str, Any]]:
    tables = isinstance(camera, dict) and set(camera) == {"topics", "parameters"}
    if not tables or not all(isinstance(table or {}, dict) for table in camera.values()):
        raise SettingsError(f"{file} must hold two tables, topics and parameters, and nothing else")
    topics, parameters = camera["topics"] or {}, camera["parameters"] or {}
    several = names_of(parameters.get("cameras", []))
    known_topics = [*TOPICS, *(f"{name}/{topic}" for name in several for topic in TOPICS)]
    known_parameters = [*KNOBS, *(f"{name}.{parameter}" for name in several for parameter in PER_CAMERA)]
    for kind, given, known in (("topic", topics, known_topics), ("parameter", parameters, known_parameters)):
        for name in given:
            if name not in known:
                raise SettingsError(f"{file}: there is no {kind} {name}; known are {', '.join(known)}")
    for name, topic in topics.items():
        if not isinstance(topic, str):
            raise SettingsError(f"{file}: topic {name} must be a name like /camera/{name}, got {topic!r}")
    return {"topics": topics, "parameters": {name: valid(name, value) for name, value in parameters.items()}}


def names_of(cameras: Any) -> list[str]:
    """The names in the value of the parameter `cameras`; SettingsError where it is none."""
    return list(updated(NodeSettings(), {"cameras": cameras}).cameras)


# --- What was given ----------------------------------------------------------------------------------------------------------


def chosen_topics(context: LaunchContext, camera: dict[str, dict[str, Any]]) -> dict[str, str]:
    """Topics of the node, those of one of several cameras too (front/image), and what they are called here."""
    given = context.launch_configurations
    named = [name for name in given if "/" in name and name.rpartition("/")[2] in TOPICS]
    return {name: given.get(name) or camera["topics"].get(name, name) for name in [*TOPICS, *camera["topics"], *named]}


def chosen_parameters(context: LaunchContext, camera: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The camera's parameters and those whose argument was given; the others stay as the params_file has them."""
    texts = {parameter: LaunchConfiguration(name).perform(context) for name, parameter in PARAMETERS.items()}
    texts |= {name: text for name, text in context.launch_configurations.items() if name.partition(".")[2] in PER_CAMERA}
    given = {parameter: parsed(parameter, text) for parameter, text in texts.items() if text}
    sim_time = LaunchConfiguration("use_sim_time").perform(context)
    clock = {"use_sim_time": sim_time == "true"} if sim_time else {}
    return {name: as_written(value) for name, value in (camera["parameters"] | given | clock).items()}


def parsed(name: str, text: str) -> Any:
    """The value of an argument in its parameter's type; SettingsError where it is not allowed."""
    return valid(name, text if isinstance(knob(name).value, str) else yaml.safe_load(text))


def valid(name: str, value: Any) -> Any:
    """The value as the settings take it: 1 is a float where they have one; SettingsError where it is not allowed."""
    name = own_name(name)
    tree = NodeSettings() if name in flatten(NodeSettings()) else Settings()
    return flatten(updated(tree, {name: value}))[name].value


def knob(name: str) -> Knob:
    return KNOBS[own_name(name)]


def own_name(name: str) -> str:
    """Of a parameter for one camera (front.use_depth) that of the node."""
    return name if name in KNOBS else name.partition(".")[2]


def as_written(value: Any) -> Any:
    """launch reads strings as YAML: the frame '1' would become a number, the camera 'on' a truth."""
    if isinstance(value, tuple):
        return ParameterValue(list(value), value_type=List[str])  # noqa: UP006
    return ParameterValue(value, value_type=str) if isinstance(value, str) else value
