"""The published recipe end to end on eight drawn scenes: a tiny stock Qwen3-VL, stage 1, stage 2, evaluation, loading."""

import json
import os
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from shards import write_shard
from stock import write_stock

from qwen_seg_ros.frame import Frame
from qwen_seg_ros.model import checkpoint
from qwen_seg_ros.model.difference import FILE, Difference
from qwen_seg_ros.model.engine import Engine
from qwen_seg_ros.offline.data.store import StoredViews
from qwen_seg_ros.offline.evaluation.evaluate import Evaluation, evaluate
from qwen_seg_ros.offline.evaluation.questions import SINGLE_TARGET, views
from qwen_seg_ros.offline.training.loop import Places, Trainer, export_checkpoint
from qwen_seg_ros.offline.training.recipe import Recipe, load_recipe
from qwen_seg_ros.segmentation.qwen import QwenSegmenter
from qwen_seg_ros.segmentation.settings import SegmentationSettings
from qwen_seg_ros.settings import updated

TOY = {"steps": 20, "batch": 2, "questions": 3, "rate": 4e-3, "warmup": 1, "workers": 0, "save_every": 1000}
TOY |= {"picture_height": 0, "picture_width": 0, "checkpointing": False}
TOY |= {"decoder.hidden_size": 64, "decoder.num_heads": 4, "decoder.ffn_size": 128, "decoder.pixel_channels": 16}
TOY |= {"decoder.stem_channels": 16, "decoder.position_grid": 8, "decoder.fourier_frequencies": 8}
PICTURE = 7


class Toy:
    """The folders of one toy run and what was measured on the way."""

    def __init__(self, folder: Path) -> None:
        self.data = write_shard(folder / "data", views=8)
        self.held_out = write_shard(folder / "held_out", views=4, seed=1)
        self.base = a_base_that_writes_boxes(folder, self.data)
        self.out = folder / "stage1"
        self.recipe = updated(load_recipe("stage1"), {**TOY, "base": str(self.base), "lora_rank": 4, "lora_alpha": 8.0})
        self.trainer = Trainer(self.recipe, Places(self.out, self.data, held_out=self.held_out))
        self.trainer.save()
        self.before = measured(self.out / "model", self.data)
        self.terms = [self.trainer._update(batch) for phase in self.trainer._phases() for batch in phase]
        self.trainer.save()
        self.after = measured(self.out / "model", self.data)


def a_base_that_writes_boxes(folder: Path, data: Path) -> Path:
    """What Qwen3-VL is before our training: it writes boxes as JSON and knows nothing of masks."""
    stock = write_stock(folder / "stock", pixels=(4096, 90_000))
    values = {**TOY, "base": str(stock), "answers": "boxes", "store": "whole", "language_rate": 1.0, "vision_rate": 1.0}
    recipe = updated(Recipe(), {**values, "steps": 150, "rate": 3e-3})
    Trainer(recipe, Places(folder / "boxes", data)).train()
    return folder / "boxes" / "model"


def measured(folder: Path, data: Path) -> Evaluation:
    """Free-running answers and the masks of true boxes on the eight scenes."""
    segmenter = QwenSegmenter(SegmentationSettings(checkpoint=str(folder), max_new_tokens=40))
    return evaluate(segmenter, views(data, questions=1))


def mean_loss(terms: list[dict], name: str) -> float:
    return float(np.mean([float(t[name]) for t in terms]))


@pytest.fixture(scope="module")
def toy(tmp_path_factory) -> Toy:
    return Toy(tmp_path_factory.mktemp("toy"))


def test_losses_fall_and_masks_improve(toy) -> None:
    for name in ("text", "bce", "dice"):
        assert mean_loss(toy.terms[-3:], name) < 0.9 * mean_loss(toy.terms[:3], name), name
    before, after = (e.score(SINGLE_TARGET, "true boxes").mask_iou for e in (toy.before, toy.after))
    assert after > before + 0.1


def test_what_was_trained_and_what_was_not(toy) -> None:
    difference = Difference.load(toy.out / "model")
    assert set(difference.rows) == {"model.language_model.embed_tokens.weight"}
    assert all(".language_model.layers." in name and "_proj" in name for name in difference.low_rank)
    assert len(difference.low_rank) == 3 * 7 and {a.shape[0] for a, _ in difference.low_rank.values()} == {4}
    assert {name.split(".")[0] for name in difference.whole} == {"model", "mask_decoder"}
    assert all("model.visual." in name for name in difference.whole if name.startswith("model."))
    base, trained = checkpoint.load(str(toy.base))[0], checkpoint.load(str(toy.out / "model"))[0]
    frozen = "model.language_model.layers.0.self_attn.q_norm.weight"
    assert torch.equal(base.get_parameter(frozen), trained.get_parameter(frozen))
    moved = trained.model.language_model.embed_tokens.weight != base.model.language_model.embed_tokens.weight
    assert set(moved.any(1).nonzero()[:, 0].tolist()) == set(toy.trainer.student.new_tokens)


def test_the_tower_moves_a_hundredth_as_fast(toy) -> None:
    rates = {group["full_lr"] for optimiser in toy.trainer.optimisers for group in optimiser.param_groups}
    assert sorted(rates) == pytest.approx([TOY["rate"] / 100, TOY["rate"]])


def test_saved_loaded_and_exported_models_make_the_same_masks(toy, tmp_path) -> None:
    """Masks of the trained model in memory, with LoRA beside its weights, and of the checkpoint, with LoRA in them."""
    student = toy.trainer.student
    boxes, states = torch.tensor([[0.1, 0.2, 0.5, 0.7]]), torch.randn(1, 64, generator=torch.Generator().manual_seed(1))
    rgb = StoredViews(toy.data)[0].rgb
    student.model.eval()
    engines = [Engine(student.model, student.tokenizer, student.processor), Engine(*checkpoint.load(str(toy.out / "model")))]
    one, other = (engine.masks(engine.encode(rgb), boxes, states)[0] for engine in engines)
    torch.testing.assert_close(one, other, atol=1e-3, rtol=1e-3)
    assert ((one > 0) == (other > 0)).float().mean() > 0.999
    export_checkpoint(toy.out / "model", tmp_path / "half")
    half = Engine(*checkpoint.load(str(tmp_path / "half")))
    assert ((half.masks(half.encode(rgb), boxes, states)[0] > 0) == (one > 0)).float().mean() > 0.98
    assert (tmp_path / "half" / FILE).stat().st_size < 0.6 * (toy.out / "model" / FILE).stat().st_size


def test_the_trained_model_answers_in_the_predictor(toy) -> None:
    segmenter = QwenSegmenter(SegmentationSettings(checkpoint=str(toy.out / "model"), max_new_tokens=16))
    assert segmenter.info()["masks"] == "from mask tokens" and "M (" in segmenter.info()["mask decoder"]
    encoded = segmenter.encode(Frame(StoredViews(toy.data)[0].rgb))
    assert encoded.image.pixels is not None


def test_stage_2_starts_from_stage_1_and_stores_its_difference_to_the_same_base(toy, tmp_path) -> None:
    values = {**TOY, "base": str(toy.out / "model"), "steps": 6, "rate": 1e-3}
    recipe = updated(load_recipe("stage2"), {k: v for k, v in values.items() if not k.startswith("decoder.")})
    trainer = Trainer(recipe, Places(tmp_path, toy.data, held_out=toy.held_out))
    visual = {n: p.clone() for n, p in trainer.student.model.model.visual.named_parameters()}
    trainer.train()
    assert all(torch.equal(p, visual[n]) for n, p in trainer.student.model.model.visual.named_parameters())
    assert np.isfinite(trainer.plain_before) and trainer.plain_answers() < trainer.plain_before  # plain answers are in the mix
    values = json.loads((tmp_path / "model" / "config.json").read_text())
    assert values["base_checkpoint"] == str(toy.base)
    loaded, _, _ = checkpoint.load(str(tmp_path / "model"))
    mine = dict(trainer.student.model.named_parameters())
    assert [n for n, p in loaded.named_parameters() if not torch.equal(p, mine[n])] == []


def test_a_stage_1_run_that_stopped_ends_bit_for_bit_as_one_that_did_not(toy, tmp_path) -> None:
    recipe = replace(toy.recipe, steps=4)
    straight = Trainer(recipe, Places(tmp_path / "straight", toy.data))
    straight.train()
    broken = Trainer(recipe, Places(tmp_path / "broken", toy.data))
    for batch in next(broken._phases()):
        broken._update(batch)
        if broken.step == 2:
            break
    broken.save()
    resumed = Trainer(recipe, Places(tmp_path / "broken", toy.data))
    resumed.train()
    mine, theirs = (t.objective.state_dict() for t in (straight, resumed))
    assert [name for name in mine if not torch.equal(mine[name], theirs[name])] == []


@pytest.mark.parametrize("answers", ["text4seg++", "text4seg", "boxes"])
def test_masks_as_text_are_learnt_by_heart(answers, toy, tmp_path) -> None:
    """One picture, one question: after some steps the model writes the taught answer, and it is read back as the true mask."""
    one = tmp_path / "one"
    one.mkdir()
    recipe = Recipe(
        base=str(toy.base), answers=answers, steps=250, batch=1, questions=1, rate=3e-3, warmup=5, language_rate=1.0, workers=0
    )
    trainer = Trainer(recipe, Places(tmp_path / "run", toy.data))
    batch = next(iter(next(trainer._phases())))
    for _ in range(recipe.steps):
        if trainer._update(batch)["text"] < 0.01:
            break
    trainer.save()
    taught = trainer.student.tokenizer.decode(batch.labels[0][batch.labels[0] >= 0].tolist()).removesuffix("<|im_end|>")
    asked = trainer.student.tokenizer.decode(batch.input_ids[0].tolist()).split('instruction "')[1].split('" asks')[0]
    engine = Engine(*checkpoint.load(str(tmp_path / "run" / "model")))
    image = engine.processor.resize((batch.image[0].permute(1, 2, 0).numpy() * 127.5 + 127.5).round().astype(np.uint8))
    assert engine.answer(engine.encode(image), asked, max_new_tokens=600).text == taught


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_two_processes_train_one_model(toy, tmp_path) -> None:
    """Two CPU processes: gradients are shared, one of them writes the checkpoint, each its own part of the state."""
    values = {**{k: v for k, v in TOY.items() if k != "steps"}, "base": str(toy.base), "lora_rank": 4, "steps": 2}
    options = [part for name, value in values.items() for part in ("--set", f"{name}={value}")]
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "--master_port", str(free_port()), "-m"]
    command = [*launch, "qwen_seg_ros.cli", "train", "--recipe", "stage1", "--data", str(toy.data), "--out", str(tmp_path)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}
    done = subprocess.run([*command, *options], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    assert json.loads((tmp_path / "state" / "run.json").read_text())["step"] == 2
    assert len(list((tmp_path / "state").glob("random_states_*"))) == 2  # `accelerate launch --cpu` starts one process only
    checkpoint.load(str(tmp_path / "model"))
