"""Simulation, data, training and evaluation: needs the extras `sim` and `train`, never runs on the robot."""
