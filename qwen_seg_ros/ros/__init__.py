"""The ROS 2 node around the pipeline: the only part that knows rclpy and messages."""
