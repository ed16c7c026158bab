"""The probe of the vision tower on drawn pictures: it reads what is plain to see, and nothing where there is nothing to read."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from shards import write_shard

from benchmarks.vision_probe import ASKED, Seen, answers, seen_objects
from qwen_seg_ros.model import checkpoint
from qwen_seg_ros.offline.data.store import StoredViews


@pytest.fixture(scope="module")
def objects(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Seen], list[Seen]]:
    """Red mugs, orange cans and black hammers; other pictures to learn from than to be asked about."""
    model, _, processor = checkpoint.load("tabletop", torch.float32)
    folders = [write_shard(tmp_path_factory.mktemp("drawn"), views=8, seed=seed) for seed in (1, 2)]
    fit, ask = (seen_objects(model.eval(), processor, StoredViews(folder)) for folder in folders)
    return fit, ask


@pytest.mark.parametrize("asked", list(ASKED))
def test_plain_colours_and_shapes_can_be_read_off_the_tokens(objects, asked) -> None:
    fit, ask = objects
    assert len(ask) == 24 and answers(fit, ask, ASKED[asked]).mean() > 0.9


def test_nothing_can_be_read_where_tokens_belong_to_other_objects(objects) -> None:
    fit, ask = objects
    order = np.random.default_rng(0).permutation(len(fit))
    mixed = [replace(seen, tokens=fit[k].tokens) for seen, k in zip(fit, order, strict=True)]
    assert answers(mixed, ask, ASKED["kind"]).mean() < 0.75


def test_a_folder_without_views_is_refused(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.vision_probe", "--fit", str(tmp_path), "--ask", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parent.parent)
    assert done.returncode == 2 and "qwen-seg simulate --data" in done.stderr
