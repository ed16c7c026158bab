"""The example policy for SROS2 names what the node really offers and uses, and little else. Enforcement itself is not run here:
Fast DDS of the wheels is built without it."""

from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest

pytest.importorskip("qwen_seg_ros.msg", reason="needs the built interfaces: make test, or source .ws/env.sh")
from node_support.fixtures import Scene
from node_support.process import NodeProcess
from node_support.robot import Robot
from rclpy.action import get_action_server_names_and_types_by_node

pytest_plugins = ("node_support.fixtures",)
POLICY = Path(__file__).resolve().parents[1] / "config" / "security" / "policy.xml"
NODE, CLIENT = "segmentation_node", "segmentation_client"
ELSEWHERE = {  # what the node uses only with other settings, or in a whole ROS 2 workspace
    "subscribe": {"/image/compressed", "/depth/compressed", "/depth/compressedDepth", "/tf", "/tf_static", "/clock"},
    "publish": {f"/{NODE}/{topic}" for topic in ("detections_2d", "detections_3d", "label_info")},
    "reply": {f"/{NODE}/get_type_description", "/tf2_frames"},
    "execute": set(),
}
Rules = dict[str, set[str]]  # what may be done -> absolute names


def allowed(name: str) -> Rules:
    """What the policy allows to the node `name` in the enclave of its name, expanded as sros2 does."""
    profile = ElementTree.parse(POLICY).getroot().find(f"enclaves/enclave[@path='/{name}']/profiles/profile")
    assert profile is not None and profile.attrib == {"ns": "/", "node": name}
    rules: Rules = {}
    for group in profile:
        ((what, verdict),) = group.attrib.items()
        assert verdict == "ALLOW"
        rules.setdefault(what, set()).update(absolute(entry.text or "", name) for entry in group)
    return rules


def absolute(name: str, node: str) -> str:
    if name.startswith("~"):
        return f"/{node}{name[1:]}"
    return name if name.startswith("/") else f"/{name}"


@pytest.fixture(scope="module")
def robot(scene: Scene, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Robot]:
    """Beside the node under its default name, which asks for transforms."""
    settings = {"segmentation.segmenter": "replay", "segmentation.checkpoint": scene.answers, "target_frame": "base"}
    process = NodeProcess(NODE, tmp_path_factory.mktemp("log") / "node.log", settings)
    robot = Robot(NODE)
    try:
        robot.spin_until(lambda: robot.connected() or not process.alive(), timeout_s=60)
        assert process.alive(), process.log
        yield robot
    finally:
        robot.close()
        process.stop()


def in_use(robot: Robot) -> Rules:
    """What the node does, by the graph."""
    node = robot.node
    graph = {
        "subscribe": node.get_subscriber_names_and_types_by_node(NODE, "/"),
        "publish": node.get_publisher_names_and_types_by_node(NODE, "/"),
        "reply": node.get_service_names_and_types_by_node(NODE, "/"),
        "execute": get_action_server_names_and_types_by_node(node, NODE, "/"),
    }
    return {what: {name for name, _ in entries if "/_action/" not in name} for what, entries in graph.items()}


def test_the_policy_allows_what_the_node_does_and_no_more(robot: Robot) -> None:
    rules = allowed(NODE)
    known = robot.node.get_node_names
    robot.spin_until(lambda: NODE in known() and in_use(robot)["execute"] and "/instruction" in in_use(robot)["subscribe"])
    used = in_use(robot)
    assert set(rules) == set(used)
    for what, names in used.items():
        assert names <= rules[what], f"the policy does not let the node {what}: {sorted(names - rules[what])}"
        assert rules[what] - names <= ELSEWHERE[what], (
            f"the node does not {what}: {sorted(rules[what] - names - ELSEWHERE[what])}"
        )


def test_the_client_hears_everything_and_may_only_ask() -> None:
    client, node = allowed(CLIENT), allowed(NODE)
    own = {name for name in node["publish"] if name.startswith(f"/{NODE}/")} - {f"/{NODE}/transition_event"}
    assert own <= client["subscribe"] and client["call"] == node["execute"]
    assert client["request"] <= node["reply"] and not {n for n in client["request"] if "parameters" in n or "change" in n}
    assert client["publish"] & node["subscribe"] == {"/instruction"}


def test_sros2_takes_the_policy(tmp_path: Path) -> None:
    api = pytest.importorskip("sros2.keystore", reason="sros2 comes with a ROS 2 workspace only")
    policy = pytest.importorskip("sros2.policy").load_policy(POLICY)
    assert [enclave.get("path") for enclave in policy.iterfind("enclaves/enclave")] == [f"/{NODE}", f"/{CLIENT}"]
    keys = tmp_path / "keys"
    api.create_keystore(keys)
    for name in (NODE, CLIENT):
        api.create_enclave(keys, f"/{name}")
        api.create_permission(keys, f"/{name}", POLICY)
        permissions = (keys / "enclaves" / name / "permissions.xml").read_text()
        assert f"rr/{NODE}/segmentReply" in permissions and "rq/segmentation_node/_action" not in permissions
        assert (keys / "enclaves" / name / "permissions.p7s").stat().st_size > 1000
