"""The training loop with the embedded recipe on drawn pictures: what a batch holds, what is learnt, what resuming gives."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from shards import write_shard
from transformers.models.qwen3_vl.modeling_qwen3_vl import apply_rotary_pos_emb

from qwen_seg_ros.errors import SettingsError
from qwen_seg_ros.model import checkpoint, prompts
from qwen_seg_ros.offline.data.plain_questions import PlainQuestion
from qwen_seg_ros.offline.data.samples import Sample, augment, visible
from qwen_seg_ros.offline.data.store import StoredViews
from qwen_seg_ros.offline.training.answers import AnswerWriter, quantised
from qwen_seg_ros.offline.training.batch import IGNORE, Batch, padded
from qwen_seg_ros.offline.training.loop import Places, Trainer, rate_share
from qwen_seg_ros.offline.training.losses import pointing_loss
from qwen_seg_ros.offline.training.recipe import RECIPES, Recipe, load_recipe
from qwen_seg_ros.offline.training.student import make_student
from qwen_seg_ros.offline.training.tokenizer import build_tokenizer, change_tokenizer
from qwen_seg_ros.settings import updated

QUICK = {"steps": 6, "batch": 2, "questions": 2, "rate": 1e-3, "warmup": 1, "masks_from": 0, "workers": 0, "cooldown": 0}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_shard(tmp_path_factory.mktemp("data"), views=4)


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    return updated(load_recipe("embedded"), {**QUICK, "vision_steps": 0, "save_every": 100})


@pytest.fixture(scope="module")
def trained(recipe: Recipe, data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Trainer, Batch, list[dict]]:
    """After six steps on one batch, saved."""
    trainer = Trainer(recipe, Places(tmp_path_factory.mktemp("run"), data))
    batch = next(iter(next(trainer._phases())))
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


def test_a_saved_model_answers_as_the_one_in_memory(trained) -> None:
    trainer, batch, _ = trained
    model, tokenizer, processor = checkpoint.load(str(trainer.places.out / "model"))
    assert len(tokenizer) == len(trainer.student.tokenizer) and processor == trainer.student.processor
    mine = logits_of(trainer.student.model, batch.image, processor)
    assert torch.equal(logits_of(model, batch.image, processor), mine)
    assert model.config.box_step == 10


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
    ends = (batch.labels[0] == trainer.student.tokenizer.eos_token_id).nonzero()[:, 0]
    assert len(ends) == 2
    allowed = batch.attention[0, 0]
    first, second = int(ends[0]), int(ends[1])
    assert not allowed[second, first]
    image = batch.input_ids[0] == trainer.student.model.config.image_token_id
    assert allowed[second, image].all() and allowed[first, image].all()
    assert not torch.triu(allowed, 1).any()


def test_the_answer_is_learnt_to_its_last_token_and_nothing_of_the_question(trained) -> None:
    trainer, batch, _ = trained
    learnt = batch.labels[0][batch.labels[0] != IGNORE]
    text = trainer.student.tokenizer.decode(learnt.tolist())
    assert text.count("<|im_end|>") == 2
    assert prompts.QUESTION_HEAD not in text
    assert trainer.batcher.mask_token in batch.labels and (batch.weights[batch.labels != IGNORE] > 0).all()


def test_the_pointing_loss_is_the_whole_attention_read_at_the_chosen_tokens(trained) -> None:
    """Against every query of every token, of which the chosen ones are taken afterwards."""
    trainer, batch, _ = trained
    model, heads = trainer.student.model, 2
    layer = model.model.language_model.layers[2]
    inputs = torch.randn(*batch.input_ids.shape, model.config.text_config.hidden_size, generator=torch.Generator().manual_seed(0))
    rope = model.model.language_model.rotary_emb(inputs, batch.position_ids)
    token = model.config.image_token_id
    got = pointing_loss(layer, inputs, rope, batch, token, heads)

    attention, size = layer.self_attn, layer.self_attn.head_dim
    hidden = layer.input_layernorm(inputs)
    parts = [norm(linear(hidden).unflatten(-1, (-1, size))[:, :, :heads]).transpose(1, 2) for norm, linear in (
        (attention.q_norm, attention.q_proj), (attention.k_norm, attention.k_proj))]  # fmt: skip
    query, key = apply_rotary_pos_emb(*parts, *rope)
    logits = (query @ key.transpose(-1, -2) * attention.scaling).masked_fill(~batch.attention, float("-inf"))
    shares = logits.softmax(-1)[batch.point_at[:, 0], :, batch.point_at[:, 1]][..., batch.input_ids[0] == token]
    wanted = -(batch.point_target[:, None] * shares.log()).sum(-1).mean()
    assert len(batch.point_at) > 4
    torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-4)


def test_another_tokenizer_starts_from_the_rows_of_its_old_pieces(trained) -> None:
    trainer, _, _ = trained
    old = trainer.student.tokenizer
    new = build_tokenizer(["the zebra-striped mug", "a mug"], 400)
    model, _, _ = checkpoint.load(str(trainer.places.out / "model"))
    before = model.get_input_embeddings().weight.detach().clone()
    change_tokenizer(model, old, new)
    rows = model.get_input_embeddings().weight
    assert model.lm_head.weight is rows and len(rows) == -(-len(new) // 64) * 64
    for text in (" zebra", prompts.BOX_KEY, "7"):
        (token,), pieces = new(text, add_special_tokens=False).input_ids, old(text, add_special_tokens=False).input_ids
        torch.testing.assert_close(rows[token], before[pieces].mean(0))
    assert len(old(" zebra", add_special_tokens=False).input_ids) > 1
    assert model.config.mask_token_id == new.convert_tokens_to_ids(prompts.MASK_TOKEN)
    assert model.config.image_token_id == new.convert_tokens_to_ids("<|image_pad|>")
    assert model.config.eos_token_id == new.eos_token_id


def test_a_recipe_sets_how_many_pixels_the_model_sees(recipe, data, tmp_path) -> None:
    student = make_student(replace(recipe, image_pixels=172_800), tmp_path)
    assert [student.processor.size_for(*size) for size in ((480, 640), (360, 480))] == [(352, 480)] * 2


def state_of(trainer: Trainer) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in trainer.objective.state_dict().items()}


@pytest.mark.parametrize("vision_steps", [0, 3], ids=["all parts", "the tower first"])
def test_a_run_that_stopped_ends_bit_for_bit_as_one_that_did_not(recipe, data, tmp_path, vision_steps) -> None:
    steps = replace(recipe, steps=4, vision_steps=vision_steps, vision_batch=2, schedule="cosine", save_every=2)
    straight = Trainer(steps, Places(tmp_path / "straight", data))
    straight.train()
    broken = Trainer(steps, Places(tmp_path / "broken", data))
    for batch in next(broken._phases()):
        broken._update(batch)
        if broken.step == 2:
            break
    broken.save()
    broken._update(batch)  # lost: the run is killed before it saves again
    resumed = Trainer(steps, Places(tmp_path / "broken", data))
    resumed.train()
    assert resumed.step == straight.step == 4
    mine, theirs = state_of(straight), state_of(resumed)
    assert [name for name in mine if not torch.equal(mine[name], theirs[name])] == []


def test_plain_questions_are_asked_and_answered_without_masks(trained, data) -> None:
    trainer, _, _ = trained
    view = StoredViews(data)[0]
    batch = trainer.batcher(
        [Sample(view.rgb, view.ids, view.objects, (PlainQuestion("How many mugs are there?", "There is one mug."),))]
    )
    learnt = trainer.student.tokenizer.decode(batch.labels[0][batch.labels[0] != IGNORE].tolist())
    assert learnt == "there is one mug.<|im_end|>" and len(batch.mask_at) == 0
    terms = trainer.objective(batch)
    assert torch.isfinite(terms["total"]) and "bce" not in terms


def test_padding_moves_nothing() -> None:
    rng = np.random.default_rng(0)
    rgb, ids = rng.integers(0, 255, (300, 100, 3), dtype=np.uint8), np.zeros((300, 100), np.uint8)
    sample = padded(Sample(rgb, ids, (), ()), 320, 400)
    assert sample.rgb.shape == (320, 400, 3) and np.array_equal(sample.rgb[:300, :100], rgb)
    assert padded(Sample(rgb, ids, (), ()), 150, 400).rgb.shape == (150, 400, 3)


@pytest.mark.parametrize(("box", "grid"), [
    ((0, 0, 1, 1), (0, 0, 1000, 1000)),
    ((0.104, 0.2, 0.306, 0.5), (100, 200, 310, 500)),
    ((0.5, 0.5, 0.501, 0.5), (500, 500, 510, 510)),  # never without area
    ((1.0, 0.999, 1, 1), (990, 990, 1000, 1000)),  # never outside the grid
])  # fmt: skip
def test_boxes_are_written_in_steps_of_ten(box: tuple, grid: tuple) -> None:
    assert quantised(np.array(box, np.float32), 10) == grid


@pytest.mark.parametrize("answers", ["mask_token", "boxes", "text4seg", "text4seg++"])
def test_what_is_taught_is_read_as_the_truth(answers, data) -> None:
    from qwen_seg_ros.geometry.mask import mask_iou
    from qwen_seg_ros.model.text_masks import text_mask_in_image
    from qwen_seg_ros.offline.data.expressions import Expression
    from qwen_seg_ros.segmentation.answer import parse_answer

    view = StoredViews(data)[0]
    question = Expression("the mug, the can and the hammer", "several", (("mug", (1,)), ("can", (2,)), ("hammer", ())))
    sample = Sample(view.rgb, view.ids, view.objects, (question,))
    boxes = {o.id: np.array(o.box_px, np.float32) / np.array([320, 240] * 2, np.float32) for o in view.objects}
    written = AnswerWriter(answers)(question, sample, boxes)
    parsed = parse_answer(written.answer, question.text)
    entries = {e.phrase: e for e in parsed.entries}
    assert set(entries) == {"mug", "can"}
    if answers != "text4seg":  # an image-wise text has no way to say that a phrase is absent
        assert parsed.absent == ("hammer",)
    assert [e.mask_index is not None for e in parsed.entries] == [answers == "mask_token"] * 2
    if answers.startswith("text4seg"):
        for phrase, number in (("mug", 1), ("can", 2)):
            box = np.array(entries[phrase].box_grid, np.float32) / 1000 * np.array([320, 240] * 2, np.float32)
            mask = text_mask_in_image(entries[phrase].mask_text, box, 240, 320, phrase)
            assert mask_iou(mask, view.ids == number) > (0.65 if answers == "text4seg" else 0.9)


def test_augmented_truth_is_measured_anew(data: Path) -> None:
    for index, view in enumerate([*StoredViews(data)] * 3):
        _, moved = augment(view.rgb, view.ids, np.random.default_rng(index))
        seen = visible(view.objects, moved)
        assert visible(seen, moved) == seen and all(o.pixels == int((moved == o.id).sum()) for o in seen)


def test_schedules() -> None:
    cosine = Recipe(steps=100, warmup=10, schedule="cosine")
    assert [round(rate_share(cosine, s), 3) for s in (0, 9, 50, 99)] == [0.1, 0.98, 0.5, 0.0]
    constant = Recipe(steps=100, warmup=10, schedule="constant", cooldown=20)
    assert [rate_share(constant, s) for s in (50, 79, 90, 99)] == [1.0, 1.0, 0.5, 0.05]


@pytest.mark.parametrize("name", sorted(p.stem for p in RECIPES.glob("*.yaml")))
def test_recipes_of_the_package_are_valid_and_short(name) -> None:
    load_recipe(name)
    assert len((RECIPES / f"{name}.yaml").read_text().splitlines()) <= 25


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"base": "x", "lora_rank": 8}, "LoRA .* needs language_rate 0, no helper losses and store: difference"),
        ({"picture_height": 480}, "go together"),
        ({"store": "difference"}, "has nothing to differ from; set store: whole"),
        ({"vision_steps": 3}, "give these losses a weight"),
        ({"rate": "fast"}, "rate must be a float, got 'fast'"),
        ({"stepps": 3}, "stepps"),
    ],
)
def test_recipes_that_make_no_sense_are_refused(values, message) -> None:
    with pytest.raises(SettingsError, match=message):
        updated(Recipe(), values)


def test_a_recipe_that_is_not_there_says_which_are() -> None:
    with pytest.raises(SettingsError, match="neither one of embedded, stage1, stage2 nor a YAML file"):
        load_recipe("stage3")


def test_a_mix_without_its_pictures_says_which_option(recipe, tmp_path) -> None:
    with pytest.raises(SettingsError, match="asks for segmentation pictures: name their folder with --data"):
        Trainer(recipe, Places(tmp_path)).train()
