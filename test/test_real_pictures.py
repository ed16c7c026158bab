"""The benchmark on real pictures and the tool that draws training curves."""

import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from benchmarks.real_pictures import WORDS, ask, montage
from qwen_seg_ros.segmentation.qwen import QwenSegmenter
from qwen_seg_ros.segmentation.settings import SegmentationSettings

ROOT = Path(__file__).resolve().parents[1]
REAL = Path(os.environ.get("QWEN_SEG_REALDATA", "nowhere")) / "6dof-graspnet"


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True)


def test_missing_pictures_are_named(tmp_path: Path) -> None:
    done = run("-m", "benchmarks.real_pictures", "--data", str(tmp_path))
    assert done.returncode == 2
    assert all(str(tmp_path / name) in done.stderr for name in WORDS)


@pytest.mark.skipif(not REAL.is_dir(), reason="QWEN_SEG_REALDATA names no folder with 6dof-graspnet/")
def test_plain_objects_on_a_real_table_are_found() -> None:
    segmenter = QwenSegmenter(SegmentationSettings())
    rows = [ask(segmenter, REAL / name) for name in WORDS]
    assert sum(row.iou >= 0.5 for row in rows) >= 3
    assert montage(rows).shape == (3 * 240, 4 * 320, 3)


def test_curves_are_drawn_from_what_training_printed(tmp_path: Path) -> None:
    lines = [f"step {n:6d} of 200      1 min left    4.0 pictures/s  text {1 / (n + 1):.3f}  bce 0.5" for n in range(0, 200, 50)]
    (tmp_path / "a.log").write_text("Loading weights\n" + "\n".join(lines))
    done = run("-m", "tools.draw_curves", str(tmp_path / "a.log"), "--out", str(tmp_path / "curves.png"))
    assert done.returncode == 0, done.stderr
    picture = cv2.imread(str(tmp_path / "curves.png"))
    assert picture.shape == (480, 1260, 3)
    blank = run("-m", "tools.draw_curves", str(tmp_path / "curves.png"), "--out", str(tmp_path / "no.png"))
    assert blank.returncode != 0 and not (tmp_path / "no.png").exists()
    assert len(np.unique(picture[:240, :420].reshape(-1, 3), axis=0)) > 3  # the curve of `text`
    assert len(np.unique(picture[:240, 420:840].reshape(-1, 3), axis=0)) == 1  # no `words` were printed
