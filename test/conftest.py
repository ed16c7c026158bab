"""Tests talk to nobody but themselves: this machine only, and a ROS domain of their own for each run of pytest."""

import importlib.util
import os

from hypothesis import settings

settings.register_profile("busy machine", deadline=None)  # no test may fail because the machine was slow
settings.load_profile("busy machine")
os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
os.environ["ROS_DOMAIN_ID"] = str(1 + os.getpid() % 100)  # beyond 101 the ports could be taken by other programs


def pytest_report_header() -> str:
    if importlib.util.find_spec("qwen_seg_ros.msg"):
        return f"message types: built; ROS domain {os.environ['ROS_DOMAIN_ID']}"
    return "message types: not built, the tests of the node are skipped (`make test` builds them)"
