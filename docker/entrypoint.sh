#!/bin/bash
# ROS 2 and this package, then what was asked for.
set -e
source "/opt/ros/$ROS_DISTRO/setup.bash"
source /opt/qwen_seg_ros/local_setup.bash
exec "$@"
