"""Start the segmentation node. `ros2 launch qwen_seg_ros segmentation.launch.py --show-args` lists what can be set.

With a RealSense camera, for example:
    ros2 launch qwen_seg_ros segmentation.launch.py image:=/camera/camera/color/image_raw \
        depth:=/camera/camera/aligned_depth_to_color/image_raw camera_info:=/camera/camera/color/camera_info

Over a slow network, compressed by image_transport (append to either):
        image_transport:=compressed depth_image_transport:=compressedDepth

Depth as the depth camera sees it works too, with its calibration and TF (docs/unregistered_depth.md):
        depth:=/camera/camera/depth/image_rect_raw depth_camera_info:=/camera/camera/depth/camera_info
"""

from pathlib import Path

from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

PARAMS_FILE = Path(__file__).resolve().parents[1] / "config" / "tabletop.yaml"

TOPICS = {
    "image": "Colour images (sensor_msgs/Image)",
    "depth": "Depth, best registered to the colour images (sensor_msgs/Image, 16UC1 millimetres or 32FC1 metres)",
    "camera_info": "Calibration of the colour camera (sensor_msgs/CameraInfo)",
    "depth_camera_info": "Calibration of the depth camera, only for depth that is not registered (sensor_msgs/CameraInfo)",
    "instruction": "What to find, in plain words (std_msgs/String)",
}
PARAMETERS = {  # argument -> parameter, description, type; the params_file holds where the argument is left empty
    "checkpoint": ("segmentation.checkpoint", "Model: an embedded name, a folder, or owner/name on the model hub", str),
    "device": ("segmentation.device", "Where the network runs: auto, cpu or cuda", str),
    "mode": ("mode", "on_instruction or continuous", str),
    "target_frame": ("target_frame", "Frame of the 3-D results, for example base_link", str),
    "image_transport": ("image_transport", "raw, or compressed: sensor_msgs/CompressedImage on <image>/compressed", str),
    "depth_image_transport": (
        "depth_image_transport", "raw, compressedDepth or compressed: sensor_msgs/CompressedImage on <depth>/<transport>", str),
    "use_depth": ("use_depth", "false: a colour camera alone, masks without 3-D and grasps", bool),
    "depth_registration": ("depth_registration", "auto, or never: depth is registered, whatever its frame is called", str),
    "autostart": ("autostart", "true: configure and activate at start; false: wait for a lifecycle manager", bool),
    "use_sim_time": ("use_sim_time", "true: take the time from /clock, for simulation and bags", bool),
}


def generate_launch_description() -> LaunchDescription:
    own = [
        DeclareLaunchArgument("params_file", default_value=str(PARAMS_FILE), description="YAML file with the node's parameters"),
        DeclareLaunchArgument("namespace", default_value="", description="Namespace of the node"),
        DeclareLaunchArgument("log_level", default_value="info", description="debug, info, warn, error or fatal"),
    ]
    topics = [DeclareLaunchArgument(name, default_value=name, description=text) for name, text in TOPICS.items()]
    parameters = [
        DeclareLaunchArgument(name, default_value="", description=f"{text} (empty: as in params_file)", choices=choices(kind))
        for name, (_, text, kind) in PARAMETERS.items()
    ]
    return LaunchDescription([*own, *topics, *parameters, OpaqueFunction(function=start_node)])


def choices(kind: type) -> list[str] | None:
    return ["", "true", "false"] if kind is bool else None


def start_node(context: LaunchContext) -> list[Node]:
    node = Node(
        package="qwen_seg_ros",
        executable="segmentation_node",
        name="segmentation_node",
        namespace=LaunchConfiguration("namespace"),
        parameters=[LaunchConfiguration("params_file"), given_parameters(context)],
        remappings=[(name, LaunchConfiguration(name)) for name in TOPICS],
        ros_arguments=["--log-level", LaunchConfiguration("log_level")],
        output="screen",
        emulate_tty=True,
    )
    return [node]


def given_parameters(context: LaunchContext) -> dict[str, str | bool]:
    """The parameters whose argument was given; the others stay as the params_file has them."""
    texts = {name: LaunchConfiguration(name).perform(context) for name in PARAMETERS}
    return {PARAMETERS[name][0]: text == "true" if PARAMETERS[name][2] is bool else text for name, text in texts.items() if text}
