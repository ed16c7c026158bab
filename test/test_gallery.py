"""The gallery is what its command makes: the same questions, answers and pictures, small enough for a repository."""

import re
import subprocess
import sys
from pathlib import Path

import cv2
import pytest

pytest.importorskip("rosbags")

ROOT = Path(__file__).resolve().parents[1]
MOST_BYTES = 600_000


def sections(page: Path) -> list[tuple[str, list[str]]]:
    """The words of every question, and what was found for it: names of objects, or the status."""
    parts = re.split(r'^## "(.*)"$', page.read_text().split("## The same answers")[0], flags=re.M)[1:]
    found = [re.findall(r"^- ([^:]+): at|^([A-Z_]+):", body, re.M) for body in parts[1::2]]
    return [(words, [name or status for name, status in item]) for words, item in zip(parts[::2], found, strict=True)]


def test_the_command_makes_the_page_and_its_pictures_again(tmp_path: Path) -> None:
    command = [sys.executable, "tools/draw_gallery.py", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert sections(tmp_path / "gallery.md") == sections(ROOT / "docs" / "gallery.md")
    assert len(sections(tmp_path / "gallery.md")) == 8
    for made in sorted((tmp_path / "gallery").iterdir()):
        kept = cv2.imread(str(ROOT / "docs" / "gallery" / made.name))
        assert kept is not None and kept.shape == cv2.imread(str(made)).shape, made.name


def test_every_picture_is_shown_and_all_are_small() -> None:
    named = set(re.findall(r"\]\((gallery/[\w.]+)\)", (ROOT / "docs" / "gallery.md").read_text()))
    there = {f"gallery/{file.name}" for file in (ROOT / "docs" / "gallery").iterdir()}
    assert named == there
    assert sum(file.stat().st_size for file in (ROOT / "docs" / "gallery").iterdir()) < MOST_BYTES
