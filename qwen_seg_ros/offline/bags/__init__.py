"""Recorded camera data: rosbag2 folders (mcap) written and read in pure Python, with the truth of simulated scenes beside them."""
