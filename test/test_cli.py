"""The command line on files: results, exit codes and what it says about bad input. Answers are stored ones: no network."""

import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import cv2
import numpy as np
import pytest
from synthetic import synthetic_scene
from typer.testing import CliRunner, Result

from qwen_seg_ros.cli.info import bfloat16
from qwen_seg_ros.cli.main import app
from qwen_seg_ros.geometry.mask import CroppedMask
from qwen_seg_ros.segmentation.replay import save_answers
from qwen_seg_ros.segmentation.result import Instance, Outcome, SegmentationResult

COMMANDS = ("segment", "perceive", "replay", "info", "simulate", "train", "evaluate", "bench")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with image.png, depth.png, depth.npy, camera.json and stored answers for "the box"."""
    folder = tmp_path_factory.mktemp("files")
    frame, masks, _ = synthetic_scene(3, ["box", "ball"], width=320, height=240)
    cv2.imwrite(str(folder / "image.png"), frame.rgb[..., ::-1])
    cv2.imwrite(str(folder / "depth.png"), np.rint(np.nan_to_num(frame.depth_m) * 1000).astype(np.uint16))
    np.save(folder / "depth.npy", frame.depth_m)
    (folder / "camera.json").write_text(json.dumps(asdict(frame.camera)))
    mask = CroppedMask.from_full(masks[0])
    found = SegmentationResult("the box", Outcome.FOUND, (Instance("box", mask.box_px, mask, 0.9, 0.8),))
    save_answers(folder, {"the box": found})
    return folder


def call(files: Path, *arguments: object) -> Result:
    stored = ("--checkpoint", files, "--set", "segmentation.segmenter=replay")
    return CliRunner().invoke(app, [str(a) for a in (*arguments, *stored)])


def rgbd(files: Path, depth: str = "depth.png") -> tuple[object, ...]:
    return "--depth", files / depth, "--camera", files / "camera.json"


def test_help_lists_every_command_and_teaches() -> None:
    listed = CliRunner().invoke(app, ["--help"]).output
    assert all(f" {name} " in listed for name in COMMANDS)
    for name in COMMANDS[:5]:
        shown = CliRunner().invoke(app, [name, "--help"])
        assert shown.exit_code == 0 and f"qwen-seg {name}" in shown.output  # an example to copy


def test_a_picture_without_depth_does_not_wait_for_open3d(files: Path) -> None:
    """Nor does the list of commands for anything heavy: both libraries take a second or more to load."""
    given = ["segment", str(files / "image.png"), "the box", "--checkpoint", str(files), "--set", "segmentation.segmenter=replay"]
    code = (
        "import sys; from typer.testing import CliRunner; from qwen_seg_ros.cli.main import app\n"
        f"for given in (['--help'], {given!r}):\n"
        "    print(CliRunner().invoke(app, given).exit_code, sorted({'open3d', 'torch'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["0 []", "0 []"]


def test_segment_needs_only_a_picture(files: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "overlay.png"
    result = call(files, "segment", files / "image.png", "the box", "--out", out)
    assert result.exit_code == 0 and "box" in result.output and "0.90" in result.output
    assert not np.array_equal(cv2.imread(str(out)), cv2.imread(str(files / "image.png")))


def test_absent_is_exit_code_1_and_says_so(files: Path) -> None:
    result = call(files, "segment", files / "image.png", "the fork")
    assert result.exit_code == 1 and "NOT_FOUND" in result.output


@pytest.mark.parametrize("depth", ["depth.png", "depth.npy"])
def test_perceive_gives_objects_and_grasps(files: Path, depth: str) -> None:
    result = call(files, "perceive", "the box", "--image", files / "image.png", *rgbd(files, depth), "--json")
    answer = json.loads(result.stdout)
    assert result.exit_code == 0 and answer["status"] == "OK"
    assert [o["phrase"] for o in answer["objects"]] == ["box"] and min(answer["objects"][0]["size_m"]) > 0.01
    assert answer["grasps"] and all(0 < g["width_m"] < 0.2 for g in answer["grasps"])
    assert sum(answer["instances"][0]["mask"]["counts"]) == 320 * 240


def test_perceive_without_grasps_and_with_files(files: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = call(files, "perceive", "the box", "--image", files / "image.png", *rgbd(files), "--no-grasps", "--out", out)
    assert result.exit_code == 0
    assert sorted(p.name for p in out.iterdir()) == ["cloud.png", "overlay.png", "result.json"]
    assert json.loads((out / "result.json").read_text())["grasps"] == []


def test_perceive_reads_a_bag(files: Path, tmp_path: Path) -> None:
    pytest.importorskip("rosbags")
    from qwen_seg_ros.cli.files import frame_from_files
    from qwen_seg_ros.offline.bags.writer import write_bag

    frame = frame_from_files(files / "image.png", files / "depth.png", files / "camera.json")
    bag = write_bag(tmp_path / "bag", [frame])
    assert json.loads(call(files, "perceive", "the box", "--bag", bag, "--json").stdout)["status"] == "OK"
    result = call(files, "perceive", "the box", "--bag", bag, "--frame", 4)
    assert result.exit_code == 2 and "between 0 and 0, got 4" in result.output


BAD = {
    "no picture": (["segment", "{}/nothing.png", "the box"], "there is no file"),
    "no image file": (["segment", "{}/camera.json", "the box"], "cannot be read as a picture"),
    "depth alone": (["segment", "{}/image.png", "the box", "--depth", "{}/depth.png"], "--depth was given without --camera"),
    "colour as depth": (["segment", "{}/image.png", "x", "--depth", "{}/image.png", "--camera", "{}/camera.json"], "16-bit PNG"),
    "no camera": (["segment", "{}/image.png", "x", "--depth", "{}/depth.png", "--camera", "{}/answers.json"], "is no camera"),
    "bad setting": (["segment", "{}/image.png", "the box", "--set", "grasping.frction=1"], "grasping.friction"),
    "no bag": (["perceive", "the box", "--bag", "{}/none"], "there is no bag"),
    "nothing to look at": (["perceive", "the box"], "give either --bag"),
    "nothing to make": (["simulate"], "say what to make"),
}


@pytest.mark.parametrize("arguments, words", BAD.values(), ids=BAD)
def test_bad_input_is_exit_code_2_with_a_reason(files: Path, arguments: list[str], words: str) -> None:
    arguments = [a.format(files) for a in arguments]
    result = CliRunner().invoke(app, arguments) if arguments == ["simulate"] else call(files, *arguments)
    assert result.exit_code == 2 and words in " ".join(result.output.replace("│", " ").split())


def test_info_names_model_and_parts(files: Path) -> None:
    result = call(files, "info")
    assert result.exit_code == 0
    assert all(word in result.output for word in ("python", "torch", "replay", "bfloat16", "ROS 2"))


def test_bfloat16_by_flags() -> None:
    assert "amx_bf16" in bfloat16({"sse", "amx_bf16"}) and "emulated" in bfloat16({"sse", "avx2"})
