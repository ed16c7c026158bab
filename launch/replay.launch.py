"""The segmentation node on a recording, with the recording's time: `ros2 bag play` and segmentation.launch.py in one.

    ros2 launch qwen_seg_ros replay.launch.py bag:=drive camera:=realsense mode:=continuous rate:=0.5
    ros2 launch qwen_seg_ros replay.launch.py bag:=demo/bag image:=/camera/color/image_raw \
        depth:=/camera/aligned_depth_to_color/image_raw camera_info:=/camera/color/camera_info rate:=0.2 loop:=true

Takes every argument of segmentation.launch.py, too. Ends when the recording ends. Results of the node that were recorded with the
images are played beside the new ones: choose with topics:="/camera/color/image_raw /tf_static ...".
"""

from pathlib import Path

from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, ExecuteProcess, IncludeLaunchDescription, OpaqueFunction, Shutdown, TimerAction
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration

SEGMENTATION = Path(__file__).with_name("segmentation.launch.py")


def generate_launch_description() -> LaunchDescription:
    arguments = [
        DeclareLaunchArgument("bag", description="Folder or file of the recording (rosbag2)"),
        DeclareLaunchArgument("rate", default_value="1.0", description="Speed; below 1 for a model slower than the camera"),
        DeclareLaunchArgument("delay", default_value="10.0", description="Seconds until the player starts: the model loads"),
        DeclareLaunchArgument("loop", default_value="false", choices=["true", "false"], description="Play again and again"),
        DeclareLaunchArgument("topics", default_value="", description="Topics to play, with spaces between (empty: all)"),
    ]
    node = IncludeLaunchDescription(
        PythonLaunchDescriptionSource(str(SEGMENTATION)), launch_arguments={"use_sim_time": "true"}.items()
    )
    return LaunchDescription([*arguments, node, OpaqueFunction(function=play)])


def play(context: LaunchContext) -> list[TimerAction]:
    """The player after `delay`, once: its own --delay would wait before every round of a loop."""
    player = ExecuteProcess(cmd=command(context), output="screen", on_exit=Shutdown(reason="the recording has ended"))
    return [TimerAction(period=float(LaunchConfiguration("delay").perform(context)), actions=[player])]


def command(context: LaunchContext) -> list[str]:
    """`ros2 bag play`: publishes /clock, because the node's time comes from there."""
    given = {name: LaunchConfiguration(name).perform(context) for name in ("bag", "rate", "loop", "topics")}
    options = ["--clock", "--rate", given["rate"]]
    options += ["--loop"] if given["loop"] == "true" else []
    options += ["--topics", *given["topics"].split()] if given["topics"] else []
    return ["ros2", "bag", "play", given["bag"], *options]
