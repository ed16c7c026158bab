"""The benchmark on real depth: what it lifts has plausible sizes, and its page needs nothing but itself."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from synthetic import synthetic_scene

from benchmarks.box_to_mask import Picture
from benchmarks.real_depth import SETS, depth_picture, measure
from qwen_seg_ros.frame import Frame
from qwen_seg_ros.geometry.camera import Camera
from qwen_seg_ros.grasping.settings import GraspSettings
from qwen_seg_ros.lifting.settings import LiftSettings

ROOT = Path(__file__).resolve().parents[1]
REAL = Path(os.environ.get("QWEN_SEG_REALDATA", "nowhere"))
real_pictures = pytest.mark.skipif(
    not any((REAL / name).is_dir() for name in SETS), reason=f"QWEN_SEG_REALDATA names no folder with any of {', '.join(SETS)}"
)


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks.real_depth", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("real_depth")
    done = run("--data", str(REAL), "--out", str(out), "--limit", "3")
    assert done.returncode == 0, done.stderr
    return out


@real_pictures
def test_real_objects_have_plausible_sizes_and_mostly_a_grasp(report: Path) -> None:
    results = json.loads((report / "results.json").read_text())
    lifted = [item for item in results["objects"] if not item["refused"]]
    assert len(lifted) >= 0.9 * len(results["objects"])
    assert all(10 <= max(item["size_mm"]) <= 500 for item in lifted)
    assert sum(item["grasps"] > 0 for item in lifted) >= 0.5 * len(lifted)
    assert results["sets"]["all"]["lifted"] == len(lifted)
    for item in lifted:
        assert (item["grasps"] == 0) == bool(item["no_grasp"])


@real_pictures
def test_the_page_needs_nothing_but_itself(report: Path) -> None:
    page = (report / "page.html").read_text()
    results = json.loads((report / "results.json").read_text())
    sources = re.findall(r'(?:src|href|srcset|data)="([^"]*)"', page)
    assert len(sources) == 2 * results["sets"]["all"]["pictures"]
    assert all(source.startswith("data:image/jpeg;base64,") for source in sources)
    assert not re.search(r"https?:|url\(|@import|<link|<script", page)
    assert cv2.imread(str(report / "sheet.jpg")) is not None


def test_a_folder_without_pictures_is_refused_with_what_was_expected(tmp_path: Path) -> None:
    done = run("--data", str(tmp_path), "--out", str(tmp_path / "out"))
    assert done.returncode == 2
    assert f"{tmp_path} holds no pictures" in done.stderr and all(name in done.stderr for name in SETS)
    assert not (tmp_path / "out").exists()


def test_sizes_of_a_known_scene_and_the_drawing() -> None:
    frame, masks, truths = synthetic_scene(3, ["box", "can"])
    blind = np.zeros_like(masks[0])
    blind[:8, :8] = True
    depth = frame.depth_m.copy()
    depth[blind] = np.nan
    picture = Picture("made", "scene", 0, Frame(frame.rgb, depth, frame.camera), [*masks, blind])
    shown = measure(picture, LiftSettings(), GraspSettings())
    for item, truth in zip(shown.items, truths, strict=False):
        assert item.size_mm[2] == pytest.approx(1000 * truth.size_m[2], rel=0.1)
        assert item.grasps > 0 and item.held > 0 and item.strategy and not item.no_grasp
    assert shown.items[2].refused.startswith("only 0% of the mask has depth")
    assert shown.has_table and (shown.drawn != frame.rgb).any()


def test_near_is_blue_far_is_red_and_nothing_is_black() -> None:
    depth = np.tile(np.linspace(0.5, 1.5, 64, dtype=np.float32), (48, 1))
    depth[:, 30] = np.nan
    colors, (near, far) = depth_picture(Frame(np.zeros((48, 64, 3), np.uint8), depth, Camera(64, 48, 60, 60, 32, 24)))
    assert 0.5 <= near < 0.55 and 1.45 < far <= 1.5
    assert colors[0, 8, 2] > colors[0, 8, 0] and colors[0, 56, 0] > colors[0, 56, 2]
    assert (colors[:, 30] == 0).all()
