"""SIGTERM in every state of the node and in the middle of work: exit code 0, and no traceback."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("qwen_seg_ros.msg", reason="needs the built interfaces: make test, or source .ws/env.sh")
from lifecycle_msgs.msg import Transition
from node_support.fixtures import Scene
from node_support.process import NodeProcess
from node_support.robot import Robot

from qwen_seg_ros.msg import Status
from qwen_seg_ros.srv import Segment

pytest_plugins = ("node_support.fixtures",)


def waits_for_an_image(robot: Robot, scene: Scene) -> None:
    robot.begin(Segment, "segment", Segment.Request(instruction="the box"))


def works_on_every_image(robot: Robot, scene: Scene) -> None:
    """Until it has answered on three of them."""
    assert robot.set_parameter("mode", "continuous")[0]
    robot.spin_until(robot.connected)
    said = 0.0

    def told() -> bool:
        nonlocal said
        if time.monotonic() > said + 3:  # again: DDS may lose what a node that is new to it says
            robot.say("things")
            said = time.monotonic()
        return len(robot.heard["segments"]) > 2

    robot.spin_until(told, scene.shot())


def does_nothing_by_halves(robot: Robot, scene: Scene) -> None:
    """An activation that failed leaves nothing behind that answers."""
    assert not robot.change_state(Transition.TRANSITION_ACTIVATE) and robot.state() == "inactive"
    status = robot.segment("the box", shot=scene.shot()).segments.status
    assert status.code == Status.BUSY and "not active" in status.message


MANUAL: dict[str, Any] = {"autostart": False}
CANNOT_ACTIVATE = {"qos_overrides./image.subscription.reliability": "no_such_policy"}
STATES: dict[str, tuple[dict[str, Any], str, Callable[[Robot, Scene], Any]]] = {  # parameters, begins as, what is done then
    "unconfigured": (MANUAL, "unconfigured", lambda robot, scene: None),
    "inactive": (MANUAL, "unconfigured", lambda robot, scene: robot.change_state(Transition.TRANSITION_CONFIGURE)),
    "finalized": (MANUAL, "unconfigured", lambda robot, scene: robot.change_state(Transition.TRANSITION_UNCONFIGURED_SHUTDOWN)),
    "failed": (CANNOT_ACTIVATE, "inactive", does_nothing_by_halves),
    "waiting": ({}, "active", waits_for_an_image),
    "working": ({}, "active", works_on_every_image),
}


@pytest.fixture(scope="module")
def ending(scene: Scene, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, NodeProcess]]:
    """A process for each state, all at once: most of their time is Python's imports."""
    own = {"segmentation.segmenter": "replay", "segmentation.checkpoint": scene.answers, "frame_timeout_s": 60.0}
    log = tmp_path_factory.mktemp("log")
    processes = {name: NodeProcess(f"ends_{name}", log / name, own | parameters) for name, (parameters, *_) in STATES.items()}
    yield processes
    for process in processes.values():
        process.stop()


@pytest.mark.parametrize("state", STATES)
def test_sigterm_ends_it_with_exit_code_0_in_every_state(ending: dict[str, NodeProcess], scene: Scene, state: str) -> None:
    process, (_, begins, prepare) = ending[state], STATES[state]
    other = Robot(process.name)
    try:
        other.spin_until(lambda: other.state() == begins)
        prepare(other, scene)
        other.spin_until(lambda: True, scene.shot() if state == "working" else None)
        process.terminate()
        assert process.exit_code() == 0 and "Traceback" not in process.log, process.log
    finally:
        other.close()


def test_sigterm_while_the_model_loads_and_while_it_looks(scene: Scene, tmp_path: Path) -> None:
    """With the embedded model: neither is waited for longer than a step of it, and none of its threads crashes the end."""
    loading = NodeProcess("ends_loading", tmp_path / "loading", {})
    looking = NodeProcess("ends_looking", tmp_path / "looking", {"tracking.refresh_s": 0.0})
    other = Robot(looking.name)
    try:
        loading.wait_for("Loading weights")
        loading.terminate()
        works_on_every_image(other, scene)
        looking.terminate()
        for process in (loading, looking):
            assert process.exit_code() == 0 and "Traceback" not in process.log, process.log
    finally:
        other.close()
        loading.stop()
        looking.stop()
