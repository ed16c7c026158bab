"""Recorded camera data: rosbag2 folders (mcap) read and written without ROS, and the truth of simulated scenes."""
