"""What starts the node: launch files, cameras, views, the image and the workflow. Run for real where launch is installed."""

import importlib.util
import json
import py_compile
import re
from pathlib import Path
from types import ModuleType

import pytest
import yaml

from qwen_seg_ros.errors import SettingsError

ROOT = Path(__file__).resolve().parents[1]
CAMERAS = sorted((ROOT / "config" / "cameras").glob("*.yaml"))
SEGMENTATION, REPLAY = (ROOT / "launch" / f"{name}.launch.py" for name in ("segmentation", "replay"))
DISTROS = ["humble", "jazzy", "kilted", "lyrical"]
LAUNCH_ABSENT = "launch and launch_ros are not on PyPI: runs in a ROS 2 workspace only"


def camera(file: Path) -> dict:
    return yaml.safe_load(file.read_text())


@pytest.fixture
def segmentation() -> ModuleType:
    return loaded(SEGMENTATION)


def loaded(file: Path) -> ModuleType:
    pytest.importorskip("launch_ros", reason=LAUNCH_ABSENT)
    spec = importlib.util.spec_from_file_location(file.name.replace(".", "_"), file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def context_of(description, **given: str):
    """A launch context in which the arguments of a description have been given or taken their defaults."""
    from launch import LaunchContext
    from launch.actions import DeclareLaunchArgument

    context = LaunchContext()
    context.launch_configurations.update({name.replace("__", "."): text for name, text in given.items()})
    for entity in description.entities:
        if isinstance(entity, DeclareLaunchArgument):
            entity.execute(context)
    return context


# --- Cameras -----------------------------------------------------------------------------------------------------------------


def test_the_promised_cameras_are_there() -> None:
    assert {file.stem for file in CAMERAS} == {"realsense", "orbbec", "zed", "oak", "azure_kinect"}


@pytest.mark.parametrize("file", CAMERAS, ids=lambda file: file.stem)
def test_a_camera_names_its_driver_its_launch_line_and_its_source(file: Path) -> None:
    head = file.read_text().split("topics:")[0]
    assert all(line.startswith("#") for line in head.splitlines())
    assert "driver" in head and re.search(r"ros2 launch \w+ \w+\.(launch\.)?py", head) and "Source: " in head


@pytest.mark.parametrize("file", CAMERAS, ids=lambda file: file.stem)
def test_a_camera_has_absolute_topics_that_the_launch_file_offers(file: Path) -> None:
    offered = re.findall(r'^    "(\w+)": "', SEGMENTATION.read_text().split("TOPICS = {")[1].split("}\n")[0], re.M)
    topics = camera(file)["topics"]
    assert {"image", "depth", "camera_info"} <= set(topics) <= set(offered)
    assert all(re.fullmatch(r"(/[a-z][a-z0-9_]*)+", topic) for topic in topics.values())


@pytest.mark.parametrize("file", CAMERAS, ids=lambda file: file.stem)
def test_a_camera_sets_parameters_of_the_node_to_values_they_take(file: Path) -> None:
    pytest.importorskip("rclpy", reason="ROS 2 is not installed")
    from qwen_seg_ros.ros.parameters import NodeSettings
    from qwen_seg_ros.settings import updated

    values = camera(file)["parameters"]
    assert {"image_transport", "depth_image_transport", "image_is_rectified", "depth_registration"} <= set(values)
    changed = updated(NodeSettings(), values)
    assert {name: getattr(changed, name) for name in values} == values


# --- Launch files ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("file", [SEGMENTATION, REPLAY], ids=lambda file: file.stem)
def test_a_launch_file_compiles(file: Path, tmp_path: Path) -> None:
    py_compile.compile(str(file), cfile=str(tmp_path / "compiled"), doraise=True)


def test_every_parameter_is_an_argument_with_its_description(segmentation: ModuleType) -> None:
    arguments = {
        argument.name: argument.description for argument in segmentation.generate_launch_description().get_launch_arguments()
    }
    short = {parameter: name for name, parameter in segmentation.FIRST.items()}
    for name, knob in segmentation.KNOBS.items():
        assert knob.field.metadata["description"] in arguments[short.get(name, name)]
    assert {"camera", "params_file", "namespace", "log_level", "use_sim_time", *segmentation.TOPICS} <= set(arguments)


def test_without_arguments_nothing_is_remapped_and_no_parameter_set(segmentation: ModuleType) -> None:
    context = context_of(segmentation.generate_launch_description())
    nothing = segmentation.read_camera("")
    assert segmentation.chosen_parameters(context, nothing) == {}
    assert all(name == topic for name, topic in segmentation.chosen_topics(context, nothing).items())


def test_an_argument_beats_the_camera(segmentation: ModuleType) -> None:
    context = context_of(segmentation.generate_launch_description(), depth="/mine", image_is_rectified="false")
    zed = segmentation.read_camera("zed")
    assert segmentation.chosen_topics(context, zed)["depth"] == "/mine"
    assert segmentation.chosen_topics(context, zed)["image"] == "/zed/zed_node/rgb/color/rect/image"
    assert segmentation.chosen_parameters(context, zed)["image_is_rectified"] is False


def test_arguments_have_the_types_of_their_parameters(segmentation: ModuleType) -> None:
    given = {
        "grasping__max_grasps": "3",
        "sync_tolerance_s": "1",
        "plan_grasps": "false",
        "target_frame": "[1",
        "use_sim_time": "true",
    }
    context = context_of(segmentation.generate_launch_description(), **given)
    chosen = segmentation.chosen_parameters(context, segmentation.read_camera(""))
    frame = chosen.pop("target_frame").evaluate(context)
    assert frame == "[1"
    assert chosen == {"grasping.max_grasps": 3, "sync_tolerance_s": 1.0, "plan_grasps": False, "use_sim_time": True}
    assert type(chosen["sync_tolerance_s"]) is float


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"grasping__max_grasps": "900"}, "between 1 and 200, got 900"),
        ({"plan_grasps": "perhaps"}, "plan_grasps must be a bool, got 'perhaps'"),
        ({"queue_size": "true"}, "queue_size must be an int, got True"),
        ({"mode": "always"}, "one of on_instruction, continuous, got 'always'"),
        ({"camera": "kinekt"}, "unknown camera 'kinekt'; known are azure_kinect, oak, orbbec, realsense, zed"),
    ],
)
def test_a_wrong_argument_is_an_error_before_the_node_starts(segmentation: ModuleType, given: dict[str, str], told: str) -> None:
    context = context_of(segmentation.generate_launch_description(), **given)
    with pytest.raises(SettingsError, match=re.escape(told)):
        segmentation.start_node(context)


def test_a_camera_of_ones_own_is_a_file(segmentation: ModuleType, tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("topics: {image: /mine/image}\nparameters: {use_depth: false}\n")
    assert segmentation.read_camera(str(file)) == {"topics": {"image": "/mine/image"}, "parameters": {"use_depth": False}}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("topics: {}", "two tables"),
        ("[image, depth]", "two tables"),
        ("topics: [image]\nparameters: {}", "two tables"),
        ("topics: {", "is not YAML"),
        ("topics: {image: 5}\nparameters: {}", "topic image must be a name like /camera/image, got 5"),
        ("topics: {imge: /a}\nparameters: {}", "no topic imge; known are image, depth"),
        ("topics: {frnt/image: /a}\nparameters: {cameras: [front]}", "no topic frnt/image; known are image, depth"),
        ("topics: {}\nparameters: {cameras: [front], front.mode: continuous}", "no parameter front.mode; known are"),
        ("topics: {}\nparameters: {cameras: [front, front]}", "different names, got front, front"),
        ("topics: {}\nparameters: {modes: continuous}", "no parameter modes; known are"),
        ("topics: {}\nparameters: {mode: always}", "must be one of on_instruction, continuous"),
    ],
)
def test_a_wrong_camera_file_is_an_error_that_tells_what_is_known(
    segmentation: ModuleType, tmp_path: Path, text: str, told: str
) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(text)
    with pytest.raises(SettingsError, match=re.escape(told)):
        segmentation.read_camera(str(file))


SEVERAL = """
topics: {front/image: /front/color/image_raw, instruction: /voice}
parameters: {cameras: [front, wrist], wrist.use_depth: false}
"""


def test_a_file_may_speak_of_several_cameras(segmentation: ModuleType, tmp_path: Path) -> None:
    file = tmp_path / "rig.yaml"
    file.write_text(SEVERAL)
    rig = segmentation.read_camera(str(file))
    context = context_of(segmentation.generate_launch_description(), **{"wrist/image": "/hand/image"})
    topics, parameters = segmentation.chosen_topics(context, rig), segmentation.chosen_parameters(context, rig)
    chosen = {"front/image": "/front/color/image_raw", "wrist/image": "/hand/image", "instruction": "/voice", "depth": "depth"}
    assert chosen.items() <= topics.items()
    assert parameters.pop("cameras").evaluate(context) == ["front", "wrist"] and parameters == {"wrist.use_depth": False}
    assert segmentation.start_node(context)


def test_cameras_are_an_argument_like_others(segmentation: ModuleType) -> None:
    given = {"cameras": "[front, wrist]", "front__sync_tolerance_s": "1"}
    context = context_of(segmentation.generate_launch_description(), **given)
    chosen = segmentation.chosen_parameters(context, segmentation.read_camera(""))
    assert chosen.pop("cameras").evaluate(context) == ["front", "wrist"] and chosen == {"front.sync_tolerance_s": 1.0}


def test_replay_plays_the_bag_with_its_time_and_takes_the_arguments_of_the_node() -> None:
    replay = loaded(REPLAY)
    description = replay.generate_launch_description()
    names = {argument.name for argument in description.get_launch_arguments()}
    assert {"bag", "rate", "delay", "loop", "topics", "camera", "mode", "grasping.max_grasps"} <= names
    context = context_of(description, bag="a folder", rate="0.5", loop="true", topics="/image /tf")
    played = ["ros2", "bag", "play", "a folder", "--clock", "--rate", "0.5", "--loop", "--topics", "/image", "/tf"]
    assert replay.command(context) == played


# --- Views -------------------------------------------------------------------------------------------------------------------


def published() -> set[str]:
    pytest.importorskip("rclpy", reason="ROS 2 is not installed")
    pytest.importorskip("qwen_seg_ros.msg", reason="the message types are not built")
    from qwen_seg_ros.ros.publishers import ALWAYS, ON_DEMAND

    return {f"/segmentation_node/{name}" for name in ALWAYS | ON_DEMAND}


def words(value: object) -> set[str]:
    """All strings in a tree of tables and lists, names too."""
    if isinstance(value, dict):
        return set.union(set(), *map(words, value), *map(words, value.values()))
    if isinstance(value, list):
        return set.union(set(), *map(words, value))
    return {value} if isinstance(value, str) else set()


def test_rviz_shows_what_the_node_publishes() -> None:
    shown = {
        word
        for word in words(yaml.safe_load((ROOT / "config" / "segmentation.rviz").read_text()))
        if "/segmentation_node" in word
    }
    assert {f"/segmentation_node/{name}" for name in ("overlay", "markers", "object_cloud", "grasp_pose")} == shown <= published()


def test_foxglove_shows_what_the_node_publishes() -> None:
    layout = json.loads((ROOT / "config" / "foxglove_layout.json").read_text())
    topics = {re.split(r"[.\[{]", word)[0] for word in words(layout["configById"]) if word.startswith("/segmentation_node/")}
    services = {"/segmentation_node/segment"}
    assert topics - services and topics - services <= published()
    assert {word for word in words(layout["layout"]) if "!" in word} == set(layout["configById"])


# --- Image and workflow ------------------------------------------------------------------------------------------------------


def test_the_image_installs_what_the_library_requires() -> None:
    def name(requirement: str) -> str:
        return re.match(r"[\w-]+", requirement)[0].lower().replace("opencv-python-headless", "opencv-python")

    required = re.findall(r'"([^"]+)"', (ROOT / "setup.py").read_text().split("install_requires=[")[1].split("]")[0])
    lines = (ROOT / "docker" / "requirements.txt").read_text().splitlines()
    installed = {name(line) for line in lines if line and not line.startswith("#")}
    assert {name(requirement) for requirement in required} == installed


@pytest.mark.parametrize(("python", "numpy"), [("3.10", "1.26.4"), ("3.12", "1.26.4"), ("3.14", "2.3.4")])
def test_numpy_of_the_image_is_that_of_the_distribution_s_cv_bridge(python: str, numpy: str) -> None:
    requirements = pytest.importorskip("packaging.requirements", reason="comes with torch")
    lines = (ROOT / "docker" / "requirements.txt").read_text().splitlines()
    read = [requirements.Requirement(line) for line in lines if line and not line.startswith("#")]
    used = [entry for entry in read if entry.marker is None or entry.marker.evaluate({"python_version": python})]
    assert len({entry.name for entry in used}) == len(used) == len({entry.name for entry in read})
    assert [entry.name for entry in used if entry.name == "numpy" and entry.specifier.contains(numpy)]


def test_the_image_runs_without_privileges_and_downloads() -> None:
    lines = [line for line in (ROOT / "docker" / "Dockerfile").read_text().splitlines() if line and not line.startswith("#")]
    final = lines[max(number for number, line in enumerate(lines) if line.startswith("FROM")) :]
    users = [line.split()[1] for line in final if line.startswith("USER")]
    assert users and users[-1] not in {"root", "0"}
    assert "HF_HUB_OFFLINE=1" in "\n".join(lines)


def test_the_workflow_covers_every_distribution_and_the_readme_command() -> None:
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())
    jobs = workflow["jobs"]
    for name in ("ros", "image"):
        assert jobs[name]["strategy"]["matrix"]["ros_distro"] == DISTROS
    assert any(step.get("run") == ".ci/run" for step in jobs["wheels"]["steps"])
    used = [step["uses"] for job in jobs.values() for step in job["steps"] if "uses" in step]
    assert used and all(re.fullmatch(r"[\w-]+/[\w-]+@v\d+", action) for action in used)
    assert all(job["timeout-minutes"] for job in jobs.values())
