"""The command `qwen-seg`: the library without ROS, on files and recordings."""
