"""Training of the embedded model; never on the robot."""
