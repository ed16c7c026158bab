"""Recordings without ROS: every kind read and replayed, rosbag2 (mcap) written; the truth of simulated scenes beside theirs."""
