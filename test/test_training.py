"""The training loop on four drawn pictures in the format of a shard."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from qwen_seg_ros.model import checkpoint, prompts
from qwen_seg_ros.offline.sim.scene import ObjectRecord
from qwen_seg_ros.offline.training.batch import IGNORE, Batch, quantised
from qwen_seg_ros.offline.training.corpus import corpus
from qwen_seg_ros.offline.training.loop import Stream, Trainer, TrainSettings
from qwen_seg_ros.offline.training.samples import list_views, samples, visible
from qwen_seg_ros.offline.training.tokenizer import build_tokenizer

OBJECTS = (
    ("red mug", "red", "mug", (200, 30, 30)),
    ("blue can", "blue", "can", (30, 60, 200)),
    ("green box", "green", "box", (30, 170, 60)),
)
WIDTH, HEIGHT = 320, 240


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One shard: plain rectangles on a plain ground, four views."""
    folder = tmp_path_factory.mktemp("data")
    shard, rng = folder / "shard_00000", np.random.default_rng(0)
    shard.mkdir()
    lines = [_write_view(shard, f"{n:07d}", rng) for n in range(4)]
    (shard / "meta.jsonl").write_text("\n".join(lines) + "\n")
    (shard / "done").touch()
    return folder


def _write_view(shard: Path, name: str, rng: np.random.Generator) -> str:
    rgb, ids, records = np.full((HEIGHT, WIDTH, 3), 140, np.uint8), np.zeros((HEIGHT, WIDTH), np.uint8), []
    for number, (words, colour, category, paint) in enumerate(OBJECTS, 1):
        x, y = 100 * (number - 1) + int(rng.integers(10, 40)), int(rng.integers(40, 130))
        box = (x, y, x + 50, y + 60)
        rgb[y : y + 60, x : x + 50], ids[y : y + 60, x : x + 50] = paint, number
        sizes = ((0, 0, 0), (0.1, 0.1, 0.1), 0.7 + 0.1 * number)
        record = ObjectRecord(number, words, words, colour, category, (), box, 3000, *sizes)
        records.append(record.to_dict())
    cv2.imwrite(str(shard / f"{name}.jpg"), rgb[..., ::-1])
    cv2.imwrite(str(shard / f"{name}_ids.png"), ids)
    return json.dumps({"name": name, "objects": records})


@pytest.fixture(scope="module")
def tokenizer():
    return build_tokenizer(corpus(scenes=50))


@pytest.fixture(scope="module")
def settings(data: Path, tmp_path_factory: pytest.TempPathFactory) -> TrainSettings:
    return TrainSettings(data, tmp_path_factory.mktemp("run"), batch=2, questions=2, rate=1e-3, warmup=1, masks_from=0)


@pytest.fixture(scope="module")
def trained(settings: TrainSettings, tokenizer) -> tuple[Trainer, Batch, list[dict]]:
    """After six steps on one batch, saved."""
    trainer = Trainer(settings, tokenizer)
    batch = next(iter(Stream(settings, trainer.batcher, 0)))
    terms = [trainer._update(batch) for _ in range(6)]
    trainer.save()
    return trainer, batch, terms


def logits_of(model, image: torch.Tensor, processor) -> torch.Tensor:
    """Hidden state of the vision tower's tokens through the tied output: every part of the text path's weights counts."""
    patches, grid = processor.patches(image)
    with torch.no_grad():
        top, _ = model.eval().encode_image(patches, grid)
        return model.lm_head(model.model.language_model(inputs_embeds=top, use_cache=False).last_hidden_state)


def test_loss_falls_in_every_part_that_is_learnt_first(trained) -> None:
    _, _, terms = trained
    first, last = terms[0], terms[-1]
    assert float(last["total"]) < 0.9 * float(first["total"])
    for name in ("text", "words", "bce"):
        assert float(last[name]) < float(first[name]), name
    assert all(torch.isfinite(value).all() for term in terms for value in term.values())


def test_resuming_finds_the_same_step_weights_and_optimisers(trained, settings: TrainSettings, tokenizer) -> None:
    trainer, _, _ = trained
    resumed = Trainer(settings, tokenizer)
    resumed.resume()
    assert resumed.step == trainer.step == 6
    for modules in ((trainer.model, resumed.model), (trainer.helpers, resumed.helpers)):
        for (name, first), (_, second) in zip(*(m.state_dict().items() for m in modules), strict=True):
            assert torch.equal(first, second), name
    for first, second in zip(trainer.optimisers, resumed.optimisers, strict=True):
        mine, theirs = ([v for s in o.state_dict()["state"].values() for v in s.values()] for o in (first, second))
        assert all(torch.equal(torch.as_tensor(a), torch.as_tensor(b)) for a, b in zip(mine, theirs, strict=True))


def test_a_saved_model_answers_as_the_one_in_memory(trained, settings: TrainSettings) -> None:
    trainer, batch, _ = trained
    model, tokenizer, processor = checkpoint.load(str(settings.out / "model"))
    assert len(tokenizer) == len(trainer.tokenizer)
    assert processor == trainer.processor
    assert torch.equal(logits_of(model, batch.image, processor), logits_of(trainer.model, batch.image, processor))


def test_masks_and_boxes_of_a_batch_belong_to_the_mask_tokens(trained) -> None:
    trainer, batch, _ = trained
    picture, place = batch.mask_at.unbind(-1)
    assert (batch.input_ids[picture, place] == trainer.batcher.mask_token).all()
    assert len(batch.masks) == len(batch.boxes) == len(batch.mask_at) > 0
    assert (batch.masks.sum((1, 2)) > 0).all()
    rows, cols = batch.masks.shape[1:]
    for mask, box in zip(batch.masks, batch.boxes, strict=True):
        ys, xs = torch.nonzero(mask > 0.5, as_tuple=True)
        assert box[0] * cols - 1 <= xs.min() and xs.max() <= box[2] * cols
        assert box[1] * rows - 1 <= ys.min() and ys.max() <= box[3] * rows


def test_a_question_does_not_see_the_others(trained) -> None:
    """Two questions of one picture: no token of one may attend to a token of the other, all attend to the picture."""
    trainer, batch, _ = trained
    ends = (batch.labels[0] == trainer.tokenizer.eos_token_id).nonzero()[:, 0]
    assert len(ends) == 2
    allowed = batch.attention[0, 0]
    first, second = int(ends[0]), int(ends[1])
    assert not allowed[second, first]
    image = batch.input_ids[0] == trainer.model.config.image_token_id
    assert allowed[second, image].all() and allowed[first, image].all()
    assert not torch.triu(allowed, 1).any()


def test_the_answer_is_learnt_to_its_last_token_and_nothing_of_the_question(trained) -> None:
    trainer, batch, _ = trained
    learnt = batch.labels[0][batch.labels[0] != IGNORE].tolist()
    text = trainer.tokenizer.decode(learnt)
    assert text.count("<|im_end|>") == 2
    assert prompts.QUESTION_HEAD not in text


@pytest.mark.parametrize(("box", "grid"), [
    ((0, 0, 1, 1), (0, 0, 1000, 1000)),
    ((0.104, 0.2, 0.306, 0.5), (100, 200, 310, 500)),
    ((0.5, 0.5, 0.501, 0.5), (500, 500, 510, 510)),  # never without area
])
def test_boxes_are_written_in_steps_of_ten(box: tuple, grid: tuple) -> None:
    assert quantised(np.array(box, np.float32)) == grid


def test_one_pass_without_training_repeats(data: Path) -> None:
    passes = [list(samples(data, 3, seed=1, train=False)) for _ in range(2)]
    assert [s.questions for s in passes[0]] == [s.questions for s in passes[1]]
    assert len(passes[0]) == len(list_views(data)) == 4


def test_augmented_truth_is_measured_anew(data: Path) -> None:
    stream = samples(data, 3, seed=2)
    for sample in (next(stream) for _ in range(12)):
        assert visible(sample.objects, sample.ids) == sample.objects
