"""Helpers of the node's tests: the node in its own process, and a robot that talks to it over DDS."""
