"""The package as a whole: one version, dependencies, commented interfaces, imports that flow one way, the launch file."""

import ast
import importlib.util
import os
import re
import subprocess
import sys
from functools import cache
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import pytest

import qwen_seg_ros

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "qwen_seg_ros"
MANIFEST = ElementTree.parse(ROOT / "package.xml").getroot()
INTERFACES = sorted(file for kind in ("msg", "srv", "action") for file in (ROOT / kind).iterdir())
LAUNCH_FILE = ROOT / "launch" / "segmentation.launch.py"

# A layer may import itself and the layers above it in this list; parts of one row do not know each other's order.
LAYERS = [
    ["errors", "setting"],
    ["geometry"],
    ["frame"],
    ["model"],
    ["segmentation"],
    ["tracking"],
    ["lifting"],
    ["grasping"],
    ["settings", "pipeline", "status", "drawing"],
    ["offline"],
    ["ros", "cli"],
]
ROS = re.compile(r"(rclpy|tf2_ros|cv_bridge|launch|launch_ros|\w+_msgs|\w+_srvs|\w+_interfaces)(\.|$)")
GENERATED = re.compile(r"qwen_seg_ros\.(msg|srv|action)(\.|$)")


def imports(file: Path) -> set[str]:
    """Dotted names of the modules a file imports, wherever in the file the statement stands."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(), str(file))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}:{node.lineno} imports relatively; this package imports by full names"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


@cache
def modules() -> dict[Path, set[str]]:
    return {file: imports(file) for file in sorted(SOURCE.rglob("*.py")) if file.parent != SOURCE or file.name != "__init__.py"}


def part_of(file: Path) -> str:
    return file.relative_to(SOURCE).parts[0].removesuffix(".py")


def layer(part: str) -> int:
    rows = [number for number, row in enumerate(LAYERS) if part in row]
    assert rows, f"qwen_seg_ros.{part} has no place in LAYERS; give it one here and in docs/architecture.md"
    return rows[0]


def test_one_version() -> None:
    assert MANIFEST.findtext("version") == qwen_seg_ros.__version__


def test_manifest_is_an_ament_package() -> None:
    assert MANIFEST.tag == "package" and MANIFEST.get("format") == "3"
    assert MANIFEST.findtext("name") == "qwen_seg_ros" and MANIFEST.findtext("license") == "Apache-2.0"
    assert MANIFEST.findtext("export/build_type") == "ament_cmake"
    assert MANIFEST.findtext("member_of_group") == "rosidl_interface_packages"
    address = MANIFEST.find("maintainer").get("email")
    assert re.fullmatch(r"[^@\s]+@[\w-]+(\.[\w-]{2,})+", address), "colcon takes a package with a bad address for plain Python"


def test_manifest_names_every_ros_package_that_is_imported() -> None:
    declared = {element.text for element in MANIFEST if element.tag.endswith("depend")}
    imported = set.union(imports(LAUNCH_FILE), *modules().values())
    ros = {match[1] for match in map(ROS.match, imported) if match}
    assert ros <= declared, f"package.xml lacks {sorted(ros - declared)}"


def test_cmake_builds_every_interface() -> None:
    text = (ROOT / "CMakeLists.txt").read_text()
    listed = set(re.findall(r'"((?:msg|srv|action)/\w+\.\w+)"', text))
    assert listed == {str(file.relative_to(ROOT)) for file in INTERFACES}


def test_cmake_asks_only_for_what_the_interfaces_need() -> None:
    """tf2_ros, cv_bridge, vision_msgs and launch are not on PyPI: asking for them would break the build there."""
    found = set(re.findall(r"find_package\((\w+)", (ROOT / "CMakeLists.txt").read_text()))
    used = {"builtin_interfaces", "geometry_msgs", "sensor_msgs", "std_msgs"}
    assert found == used | {"ament_cmake", "rosidl_default_generators", "ament_cmake_pytest"}


@pytest.mark.parametrize("file", INTERFACES, ids=lambda file: file.name)
def test_every_field_of_an_interface_is_commented(file: Path) -> None:
    lines = file.read_text().splitlines()
    assert lines[0].startswith("# "), f"{file.name} must begin with a comment that says what it is"
    for above, line in pairwise(lines):
        if line and line != "---" and not line.startswith("#"):
            assert "#" in line or above.startswith("# "), f"{file.name}: '{line}' has no comment, at its end or on the line above"


def test_imports_flow_one_way() -> None:
    for file, names in modules().items():
        for part in {name.split(".")[1] for name in names if name.startswith("qwen_seg_ros.")} - {"msg", "srv", "action"}:
            assert layer(part) <= layer(part_of(file)), f"{file.relative_to(ROOT)} must not import qwen_seg_ros.{part}"


def test_only_ros_knows_messages() -> None:
    for file, names in modules().items():
        messages = sorted(name for name in names if ROS.match(name) or GENERATED.match(name))
        assert part_of(file) == "ros" or not messages, f"{file.relative_to(ROOT)} must not import {messages}"


def test_only_the_network_and_its_training_know_torch() -> None:
    for file, names in modules().items():
        if {"torch", "transformers"} & {name.partition(".")[0] for name in names}:
            place = file.relative_to(SOURCE).as_posix()
            assert place.startswith(("model/", "offline/")) or place == "segmentation/qwen.py", f"{place} must not import torch"


def test_nobody_imports_the_ends() -> None:
    """cli is the end; only there ROS (`qwen-seg play`) and what is never on the robot come together."""
    for file, names in modules().items():
        for end, allowed in {"ros": {"ros", "cli"}, "cli": {"cli"}, "offline": {"offline", "cli"}}.items():
            if any(name.startswith(f"qwen_seg_ros.{end}.") for name in names):
                assert part_of(file) in allowed, f"{file.relative_to(ROOT)} must not import qwen_seg_ros.{end}"


def test_the_pipeline_loads_neither_ros_nor_torch() -> None:
    code = "import sys, qwen_seg_ros.pipeline; print(*({'rclpy', 'torch', 'transformers', 'sensor_msgs'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=os.environ, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "", f"import qwen_seg_ros.pipeline loads {done.stdout.strip()}"


def test_node_is_executable() -> None:
    script = ROOT / "scripts" / "segmentation_node"
    assert os.access(script, os.X_OK)
    assert script.read_text().startswith("#!/usr/bin/env python3\n"), "this first line survives virtual environments"


def launch_arguments() -> set[str]:
    """Names the launch file offers, read from its text: `launch` is not needed."""
    tree = ast.parse(LAUNCH_FILE.read_text())
    tables = [node.value for node in tree.body if isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict)]
    keys = {key.value for table in tables for key in table.keys if isinstance(key, ast.Constant)}
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    declared = [call.args[0] for call in calls if getattr(call.func, "id", "") == "DeclareLaunchArgument"]
    return keys | {name.value for name in declared if isinstance(name, ast.Constant)}


def test_launch_file_offers_what_the_readme_promises() -> None:
    topics = {"image", "depth", "camera_info", "instruction"}
    knobs = {"params_file", "namespace", "checkpoint", "target_frame", "autostart", "use_sim_time", "log_level"}
    assert topics | knobs <= launch_arguments()


def test_launch_file_loads() -> None:
    pytest.importorskip("launch_ros", reason="launch and launch_ros are not on PyPI: runs in a ROS 2 workspace only")
    spec = importlib.util.spec_from_file_location("segmentation_launch", LAUNCH_FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    description = module.generate_launch_description()
    assert launch_arguments() <= {argument.name for argument in description.get_launch_arguments()}
