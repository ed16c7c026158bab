"""One node process and one robot for all tests of a module, and the scene that they talk about."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest
from numpy.typing import NDArray
from synthetic import Truth, synthetic_scene

from node_support.process import NodeProcess
from node_support.robot import Robot, Shot
from qwen_seg_ros.frame import Frame
from qwen_seg_ros.geometry.mask import CroppedMask
from qwen_seg_ros.segmentation.replay import save_answers
from qwen_seg_ros.segmentation.result import Instance, Outcome, SegmentationResult

AnyRobot = TypeVar("AnyRobot", bound=Robot)
QUICK: dict[str, Any] = {"frame_timeout_s": 0.7, "depth_grace_s": 0.3, "queue_size": 2}


@dataclass(frozen=True)
class Scene:
    frame: Frame
    masks: list[NDArray]
    truths: list[Truth]
    answers: Path  # folder for the replay segmenter

    def shot(self, **changes: Any) -> Shot:
        return Shot.of(self.frame, **changes)


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    """A box and a ball on a table; "the box" finds the first, "things" both, everything else nothing."""
    frame, masks, truths = synthetic_scene(3, ["box", "ball"], width=320, height=240)
    crops = [CroppedMask.from_full(mask) for mask in masks]
    found = [Instance(*entry, 0.8) for entry in zip(("box", "ball"), [c.box_px for c in crops], crops, (0.9, 0.8), strict=True)]
    answers = {
        "the box": SegmentationResult("the box", Outcome.FOUND, (found[0],)),
        "things": SegmentationResult("things", Outcome.FOUND, tuple(found), ("fork",)),
        "gibberish": SegmentationResult("gibberish", Outcome.UNREADABLE_ANSWER, answer="[{", message="the model wrote '[{'"),
    }
    folder = tmp_path_factory.mktemp("answers")
    save_answers(folder, answers)
    return Scene(frame, masks, truths, folder)


def running(name: str, scene: Scene, folders: pytest.TempPathFactory, **own: Any) -> Iterator[NodeProcess]:
    """A node that answers what the scene's stored answers say, for the tests that a fixture is for. own: parameters."""
    stored = {"segmentation.segmenter": "replay", "segmentation.checkpoint": scene.answers}
    process = NodeProcess(name, folders.mktemp("log") / "node.log", stored | QUICK | own)
    yield process
    process.stop()


def ready(robot: AnyRobot, node: NodeProcess) -> Iterator[AnyRobot]:
    """The robot, connected with its node."""
    robot.spin_until(lambda: robot.connected() or not node.alive(), timeout_s=60)
    assert node.alive(), node.log
    yield robot
    robot.close()


@pytest.fixture(scope="module")
def node(scene: Scene, tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeProcess]:
    yield from running("segmentation_node", scene, tmp_path_factory)


@pytest.fixture(scope="module")
def robot(node: NodeProcess) -> Iterator[Robot]:
    yield from ready(Robot(node.name), node)


@pytest.fixture
def blind(robot: Robot) -> Robot:
    """The robot, and a node that has not seen an image since it was activated."""
    robot.restart()
    return robot
