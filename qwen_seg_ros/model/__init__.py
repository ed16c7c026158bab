"""The network: torch and transformers only, no Frame and no ROS. `segmentation.qwen` is the predictor around it."""
