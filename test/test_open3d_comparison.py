"""The comparison with plain Open3D: both really do the work, and the figures add up."""

import subprocess
import sys
from collections import defaultdict
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
import typer
from rich.console import Console

from benchmarks.open3d_comparison import (
    LIFTING_STEPS,
    OBJECTS,
    OURS,
    GraspSearch,
    cleaned,
    ours,
    plain,
    ray_cast,
    report,
    whole_cloud,
)
from qwen_seg_ros.cli.offline_commands import run_benchmark
from qwen_seg_ros.errors import MissingExtraError
from qwen_seg_ros.geometry.cloud import as_open3d
from qwen_seg_ros.grasping.gripper import load_gripper
from qwen_seg_ros.grasping.settings import GraspSettings

HAND, SETTINGS = load_gripper("panda"), GraspSettings()
SCRIPT = Path(__file__).resolve().parent.parent / "benchmarks" / "open3d_comparison.py"


@pytest.fixture(scope="module")
def case():
    return next(ray_cast(1))


def test_every_step_of_both_is_timed(case):
    times = defaultdict(list)
    candidates = ours(case, HAND, SETTINGS, times)
    assert len(candidates) == OBJECTS and min(candidates) > 100
    assert plain(case, HAND, SETTINGS, [200] * OBJECTS, times) > 0
    assert set(times) == {*OURS, *LIFTING_STEPS, "grasps"}
    shared = {"lifting", "cloud", "table"}
    assert {name: len(values) for name, values in times.items()} == {k: 1 if k in shared else OBJECTS for k in times}


def test_the_whole_cloud_keeps_the_order_of_the_pixels(case):
    cloud, seen = whole_cloud(case.frame)
    rows, cols = np.nonzero(seen)
    depth = case.frame.depth_m[rows, cols]
    expected = case.frame.camera.deproject(np.stack([cols, rows], axis=1), depth)
    np.testing.assert_allclose(np.asarray(cloud.points), expected, atol=1e-4)


def test_plain_grasps_hold_the_object_above_the_table(case):
    """With the table raised above the object nothing is left, and an obstacle all over it leaves nothing either."""
    cloud, seen = whole_cloud(case.frame)
    target = cleaned(cloud.select_by_index(np.flatnonzero(case.masks[1][seen])), defaultdict(list)).voxel_down_sample(0.004)
    up, rng, count = case.frame.base_from_camera[2], np.random.default_rng(1), len(target.points)
    nothing = as_open3d(np.zeros((0, 3)))

    def found(others, plane) -> int:
        return GraspSearch(target, others, plane, HAND, SETTINGS).grasps(150, np.random.default_rng(0))

    assert found(nothing, up) > 0
    assert found(nothing, up - [0, 0, 0, 0.3]) == 0
    assert found(as_open3d(np.repeat(np.asarray(target.points), 20, 0) + rng.normal(0, 0.03, (20 * count, 3))), up) == 0


def test_the_table_of_figures_adds_up():
    times = {name: [1.0, 3.0] for name in (*LIFTING_STEPS, "grasps")} | {"lifting": [1.0], "planning": [15.0]}
    console = Console(file=StringIO(), width=100)
    report(times, console)
    text = console.file.getvalue()
    assert "lifting 14.0, grasps 0.1, both 1.0" in text
    assert (
        "planning, p50 per object: 15.0, goal <= 40: met" in text and "both beside plain Open3D: 1.0, goal >= 5: missed" in text
    )


def test_the_script_runs_and_teaches():
    def run(*options: str) -> subprocess.CompletedProcess:
        return subprocess.run([sys.executable, str(SCRIPT), *options], capture_output=True, text=True, cwd=SCRIPT.parent.parent)

    small = run("--synthetic", "--scenes", "1", "--repeats", "1")
    assert small.returncode == 0, small.stderr
    assert "1 ray-cast scenes, 5 objects each, 640x480, 1 rounds" in " ".join(small.stdout.split())
    assert all(step in small.stdout for step in (*OURS, *LIFTING_STEPS, "grasps", "goal >= 5"))
    assert "segment_plane (RANSAC, 1000 planes) on that full cloud" in run("--help").stdout
    assert "--scenes and --repeats must be 1 or more" in run("--scenes", "0").stderr


def test_bench_runs_both_and_passes_options_on():
    done = subprocess.run(
        [sys.executable, "-m", "qwen_seg_ros.cli", "bench", "--help"], capture_output=True, text=True, cwd=SCRIPT.parent.parent
    )
    assert done.returncode == 0 and "--network-threads" in done.stdout and "--repeats" not in done.stdout
    with pytest.raises(typer.Exit) as ended:
        run_benchmark("open3d_comparison", ["--scenes", "0"])
    assert ended.value.exit_code == 2
    with pytest.raises(MissingExtraError, match="in a clone of the repository"):
        run_benchmark("nothing", [])
