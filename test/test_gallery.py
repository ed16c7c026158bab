"""The gallery is what its command makes of the answers that are expected: the same questions, objects and pictures."""

import json
import re
from pathlib import Path

import cv2
import pytest

pytest.importorskip("rosbags")

from qwen_seg_ros.offline.bags.reader import read_bag
from qwen_seg_ros.offline.bags.replay.report.pictures import found_in
from qwen_seg_ros.pipeline import Pipeline
from qwen_seg_ros.segmentation.replay import ReplaySegmenter
from qwen_seg_ros.settings import Settings
from tools import draw_gallery

ROOT = Path(__file__).resolve().parents[1]
MOST_BYTES = 600_000


def expected_answers() -> Pipeline:
    """The masks of demo/expected.jsonl in place of the network; test_replay_demo.py holds the network to them."""
    frames = {frame.stamp_ns: frame for frame in read_bag(ROOT / "demo" / "bag")}
    lines = [json.loads(line) for line in (ROOT / "demo" / "expected.jsonl").read_text().splitlines()]
    found = {line["instruction"]: found_in(line, frames[line["stamp_ns"]]).segmentation for line in lines}
    return Pipeline(Settings(), ReplaySegmenter(found))


def sections(page: Path) -> list[tuple[str, list[str]]]:
    """The words of every question, and what was found for it: names of objects, or the status."""
    parts = re.split(r'^## "(.*)"$', page.read_text().split("## The same answers")[0], flags=re.M)[1:]
    found = [re.findall(r"^- ([^:]+): at|^([A-Z_]+):", body, re.M) for body in parts[1::2]]
    return [(words, [name or status for name, status in item]) for words, item in zip(parts[::2], found, strict=True)]


def test_the_page_and_its_pictures_can_be_made_again(tmp_path: Path) -> None:
    draw_gallery.main(tmp_path, expected_answers())
    assert sections(tmp_path / "gallery.md") == sections(ROOT / "docs" / "gallery.md")
    assert len(sections(tmp_path / "gallery.md")) == len(list((tmp_path / "gallery").iterdir())) == 8
    for made in (tmp_path / "gallery").iterdir():
        kept = cv2.imread(str(ROOT / "docs" / "gallery" / made.name))
        assert kept is not None and kept.shape == cv2.imread(str(made)).shape, made.name


def test_every_picture_is_shown_and_all_are_small() -> None:
    named = set(re.findall(r"\]\((gallery/[\w.]+)\)", (ROOT / "docs" / "gallery.md").read_text()))
    there = {f"gallery/{file.name}" for file in (ROOT / "docs" / "gallery").iterdir()}
    assert named == there
    assert sum(file.stat().st_size for file in (ROOT / "docs" / "gallery").iterdir()) < MOST_BYTES
