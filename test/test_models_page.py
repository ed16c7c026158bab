"""docs/models.md says what the code does: shapes, files, names, commands and numbers."""

import ast
import re
import shlex
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import pytest
import test_sizes
import torch
import typer
import yaml
from typer.testing import CliRunner

from qwen_seg_ros.cli.main import app
from qwen_seg_ros.cli.options import assignments, settings_from
from qwen_seg_ros.model.configuration import Qwen3VLSegConfig
from qwen_seg_ros.model.modeling import Qwen3VLSegForConditionalGeneration
from qwen_seg_ros.offline.training.recipe import load_recipe
from qwen_seg_ros.offline.training.student import LORA_TARGETS
from qwen_seg_ros.settings import Settings, merged, updated
from tools import draw_model_page, model_shapes

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "models.md").read_text()
LINKS = re.findall(r"\]\(([^)\s]+)\)", PAGE)
NAMED = re.findall(r"\[[\w.]+\]\(\.\./([\w/]+\.py)\): ((?:`[\w.]+`(?:, )?)+)", PAGE)
COMMANDS = [line for block in re.findall(r"```bash\n(.*?)```", PAGE, re.S) for line in block.splitlines()]
FOLDERS = ("model", "offline/training")


@cache
def names(path: Path) -> set[str]:
    """Functions, classes, `Class.member` and constants of a file."""
    found = set()
    for node in ast.parse(path.read_text()).body:
        found |= defined(node)
        if isinstance(node, ast.ClassDef):
            found |= {f"{node.name}.{name}" for item in ast.walk(node) for name in defined(item)}
    return found


def defined(node: ast.AST) -> set[str]:
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return {node.name}
    targets = node.targets if isinstance(node, ast.Assign) else []
    return {t.id if isinstance(t, ast.Name) else t.attr for t in targets if isinstance(t, ast.Name | ast.Attribute)}


@pytest.fixture(scope="module")
def run() -> model_shapes.Run:
    return model_shapes.run_embedded()


def test_the_shapes_are_those_of_the_running_network(run: model_shapes.Run) -> None:
    assert model_shapes.page_with(PAGE, run) == PAGE, "run python tools/draw_model_page.py"


def test_the_answer_shown_is_the_model_s(run: model_shapes.Run) -> None:
    assert f"```\n{run.answer.text}\n```" in PAGE


def test_the_figure_shows_this_run(run: model_shapes.Run) -> None:
    """Up to what JPEG and another processor's rounding change."""
    assert model_shapes.FIGURE.stat().st_size < 400_000
    stored, drawn = (
        cv2.imread(str(model_shapes.FIGURE))[..., ::-1].astype(float),
        np.asarray(draw_model_page.draw(run)).astype(float),
    )
    assert stored.shape == drawn.shape and np.abs(stored - drawn).mean() < 2, "run python tools/draw_model_page.py"


@pytest.mark.parametrize("name", model_shapes.SIZES)
def test_sizes_are_the_published_ones(name: str) -> None:
    text, vision = model_shapes.SIZES[name]
    assert (text, vision) == test_sizes.SIZES[name][:2]
    config = model_shapes.published_config(name)
    assert config.text_config.hidden_size == text[1] and config.vision_config.out_hidden_size == text[1]


def test_links_lead_somewhere() -> None:
    assert len(LINKS) > 30
    for link in LINKS:
        path, _, part = link.partition("#")
        if path.startswith("https://"):
            continue
        target = (ROOT / "docs" / path).resolve()
        assert target.exists(), link
        if part:
            heads = re.findall(r"^#+ (.+)$", target.read_text(), re.M)
            assert part in {head.lower().replace(" ", "-") for head in heads}, link


def test_functions_and_classes_named_exist() -> None:
    assert len(NAMED) > 20
    for path, listed in NAMED:
        for name in re.findall(r"`([\w.]+)`", listed):
            assert name in names(ROOT / path), f"{name} in {path}"


def test_functions_and_classes_in_tables_exist() -> None:
    known = set().union(*(names(p) for folder in FOLDERS for p in (ROOT / "qwen_seg_ros" / folder).glob("*.py")))
    choices = PAGE.split("## What the paper leaves open", 1)[1].split("## How to use it")[0]
    listed = [
        *re.findall(r"\| `([\w.]+)` \|$", choices, re.M),
        *(c for row in model_shapes.ROWS for c in re.findall(r"`([\w.]+)`", row[2])),
    ]
    assert len(listed) > 25
    for name in listed:
        assert name in known or any(k.endswith("." + name.removeprefix(".")) for k in known), name


@pytest.mark.parametrize("line", COMMANDS)
def test_commands_parse(line: str) -> None:
    words = shlex.split(line)
    if words == ["accelerate", "config"]:
        return
    if words[0] == "accelerate":
        assert words[:4] == ["accelerate", "launch", "-m", "qwen_seg_ros.cli"]
        words = words[3:]
    group = typer.main.get_command(app)
    command, given = group.commands[words[1]], words[2:]
    context = command.make_context(words[1], given)  # raises for an unknown option or a missing one
    values = context.params.get("values")
    if words[1] == "train":
        updated(load_recipe(context.params["recipe"]), assignments(values or []))
    elif words[1] in ("segment", "perceive"):
        settings_from(context.params["checkpoint"], None, values)


def test_there_are_commands_for_every_use() -> None:
    used = {word for line in COMMANDS for word in shlex.split(line)[:5]}
    assert {"segment", "perceive", "simulate", "train", "evaluate"} <= used


def test_the_recipe_can_be_shown() -> None:
    shown = CliRunner().invoke(app, ["train", "--show", "--recipe", "stage1", "--out", "x"])
    assert shown.exit_code == 0 and "lora_rank: 32" in shown.output


def test_settings_named_exist() -> None:
    block = re.search(r"```yaml\n(.*?)```", PAGE, re.S)[1]
    assert merged(Settings(), yaml.safe_load(block)).segmentation.checkpoint == ".train/stage2/model"
    for values in re.findall(r"`--set (segmentation\.[^`]+)`", PAGE):
        settings_from("", None, [values])
    for values in re.findall(r"`--set ((?!segmentation)[^`]+)`", PAGE):
        updated(load_recipe("stage1"), assignments([values]))


@pytest.mark.parametrize("name", test_sizes.SIZES)
def test_estimates_follow_from_the_sizes(name: str) -> None:
    """Parameters, bytes of the weights, and of weights, gradients and AdamW's moments in both stages."""
    config = Qwen3VLSegConfig(**test_sizes.values(name), mask_decoder={})
    with torch.device("meta"):
        model = Qwen3VLSegForConditionalGeneration(config)
    whole, tower, decoder = (sum(p.numel() for p in m.parameters()) for m in (model, model.model.visual, model.mask_decoder))
    rank = load_recipe("stage1").lora_rank
    linear = [m for key, m in model.named_modules() if re.fullmatch(LORA_TARGETS, key)]
    lora = sum(rank * (m.in_features + m.out_features) for m in linear)
    first, second = lora + tower + decoder, whole - tower
    expected = {
        "parameters without decoder": f"{(whole - decoder) / 1e9:.2f} G",
        "weights in bfloat16": f"{2 * (whole - decoder) / 1e9:.1f} GB",
        "trained in stage 1": f"{first / 1e9:.2f} G",
        "state in stage 1": f"{(4 * (whole + lora) + 12 * first) / 1e9:.0f} GB",
        "trained in stage 2": f"{second / 1e9:.2f} G",
        "state in stage 2": f"{(4 * whole + 12 * second) / 1e9:.0f} GB",
    }
    column = list(test_sizes.SIZES).index(name)
    for row, value in expected.items():
        cells = re.search(rf"^\| {row} \| (.+) \|$", PAGE, re.M)
        assert cells and cells[1].split(" | ")[column] == value, (row, value)
