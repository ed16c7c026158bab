"""Stock weights: a plain Qwen3-VL folder answers with boxes, and depth makes masks of them."""

import json
import shutil
from itertools import pairwise

import numpy as np
import pytest
import torch
from stock import qwen_tokenizer, write_stock
from synthetic import synthetic_scene

from qwen_seg_ros.errors import CheckpointError
from qwen_seg_ros.frame import Frame
from qwen_seg_ros.geometry.mask import CroppedMask, mask_iou
from qwen_seg_ros.model import checkpoint, prompts
from qwen_seg_ros.model.decisions import decision_tokens
from qwen_seg_ros.model.difference import Difference, fingerprint
from qwen_seg_ros.model.engine import Engine
from qwen_seg_ros.segmentation.instruction import Instruction
from qwen_seg_ros.segmentation.qwen import QwenSegmenter
from qwen_seg_ros.segmentation.result import Outcome
from qwen_seg_ros.segmentation.settings import SegmentationSettings


@pytest.fixture(scope="module", params=[True, False], ids=["tied head", "own head"])
def stock(request, tmp_path_factory):
    return write_stock(tmp_path_factory.mktemp("stock"), tied=request.param)


def picture(seed, height=96, width=128):
    return np.random.default_rng(seed).integers(0, 255, (height, width, 3), dtype=np.uint8)


def conversation(engine, rgb, instruction):
    """Inputs as transformers' own chat template and image order make them."""
    content = [{"type": "image"}, {"type": "text", "text": prompts.question(instruction, "boxes")}]
    text = engine.tokenizer.apply_chat_template(
        [{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True
    )
    patches, grid = engine.processor.patches(engine.processor.normalise([engine.processor.resize(rgb)]))
    text = text.replace("<|image_pad|>", "<|image_pad|>" * (int(grid.prod()) // 4))
    ids = engine.tokenizer(text, return_tensors="pt").input_ids
    kinds = (ids == engine.model.config.image_token_id).int()
    return {"input_ids": ids, "pixel_values": patches, "image_grid_thw": grid, "mm_token_type_ids": kinds}


def test_stock_weights_load_without_a_decoder_and_write_what_transformers_writes(stock):
    model, tokenizer, processor = checkpoint.load(str(stock))
    assert model.mask_decoder is None and model.config.answers == "boxes"
    engine, rgb = Engine(model, tokenizer, processor), picture(1)
    inputs = conversation(engine, rgb, "the red mug")
    with torch.inference_mode():
        plain = model.generate(**inputs, max_new_tokens=24, do_sample=False)[0, inputs["input_ids"].shape[1] :]
    answer = engine.answer(engine.encode(rgb), "the red mug", max_new_tokens=24)
    assert answer.text == tokenizer.decode(plain)
    assert len(answer.starts) == len(answer.log_likelihood) == 24 and not answer.present and answer.mask_states.shape[0] == 0


def taught(folder, target, frame, instruction, answer):
    """Stock weights that know one answer by heart: a real network that writes real JSON."""
    model, tokenizer, processor = checkpoint.load(str(folder))
    engine = Engine(model, tokenizer, processor)
    inputs = conversation(engine, frame.rgb, instruction)
    asked = inputs["input_ids"]
    wanted = torch.tensor([[*tokenizer(answer).input_ids, tokenizer.eos_token_id]])
    inputs["input_ids"] = torch.cat([asked, wanted], dim=1)
    inputs["mm_token_type_ids"] = (inputs["input_ids"] == model.config.image_token_id).int()
    labels = torch.cat([torch.full_like(asked, -100), wanted], dim=1)
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(60):
        loss = model(**inputs, labels=labels).loss
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()
        if loss < 0.01:
            break
    model.save_pretrained(target)
    for name in ("tokenizer.json", "tokenizer_config.json", "preprocessor_config.json"):
        shutil.copy(folder / name, target / name)
    values = json.loads((target / "config.json").read_text())
    known = {k: v for k, v in values.items() if k not in ("mask_decoder", "mask_token_id", "reject_token_id")}
    (target / "config.json").write_text(json.dumps(known | {"model_type": "qwen3_vl"}))
    return target


@pytest.fixture(scope="module")
def scene():
    frame, masks, _ = synthetic_scene(3, ["box", "can", "bottle"])
    return frame, [CroppedMask.from_full(mask) for mask in masks]


@pytest.fixture(scope="module")
def grounder(scene, tmp_path_factory):
    frame, masks = scene
    stock = write_stock(tmp_path_factory.mktemp("plain"), pixels=(4096, 20_000))
    grid = [
        [round(float(v) / size * 1000) for v, size in zip(m.box_px, [frame.width, frame.height] * 2, strict=True)] for m in masks
    ]
    entries = ",\n".join(f'\t{{"bbox_2d": {box}, "label": "thing {n}"}}' for n, box in enumerate(grid))
    answer = f"```json\n[\n{entries}\n]\n```"
    folder = taught(stock, tmp_path_factory.mktemp("taught"), frame, "all things", answer)
    return QwenSegmenter(SegmentationSettings(checkpoint=str(folder), max_new_tokens=256, look_closer=False))


def test_json_boxes_become_masks_by_depth(grounder, scene):
    frame, masks = scene
    result = grounder.segment(grounder.encode(frame), Instruction("all things"))
    assert result.outcome is Outcome.FOUND and "masks made from depth" in result.message
    found = {i.phrase: i for i in result.instances}
    assert [mask_iou(found[f"thing {n}"].mask.full(), mask.full()) > 0.9 for n, mask in enumerate(masks)] == [True] * len(masks)
    assert all(0.5 < i.score <= 1 and 0.5 < i.mask_score <= 1 for i in result.instances)


def test_without_depth_colour_makes_the_masks_and_the_result_says_so(grounder, scene):
    result = grounder.segment(grounder.encode(Frame(scene[0].rgb)), Instruction("all things"))
    assert result.outcome is Outcome.FOUND and "colour alone, for want of depth" in result.message
    assert len(result.instances) == len(scene[1]) and max(i.mask_score for i in result.instances) < 0.7


def test_info_says_that_there_is_no_decoder(grounder):
    assert grounder.info()["mask decoder"] == "none"
    assert grounder.info()["masks"] == "from boxes and depth"


def test_present_and_absent_entries_part_at_one_token_of_qwens_tokenizer():
    tokenizer = qwen_tokenizer()
    decision = decision_tokens(tokenizer)
    assert tokenizer.convert_ids_to_tokens([decision.box, decision.label]) == ["bbox", "label"]
    for entry in (prompts.Entry("x", (1, 2, 3, 4)), prompts.Entry("x", None)):
        written = tokenizer(prompts.write_answer([prompts.Entry("y", None), entry])).input_ids
        decided = [b for a, b in pairwise(written) if a in decision.openers]
        assert decided == [decision.label, decision.label if entry.box_grid is None else decision.box]


def test_a_folder_that_lacks_weights_is_refused(stock, tmp_path):
    shutil.copytree(stock, tmp_path / "copy")
    first = sorted((tmp_path / "copy").glob("*.safetensors"))[0]
    index = json.loads((tmp_path / "copy" / "model.safetensors.index.json").read_text())
    index["weight_map"] = {k: v for k, v in index["weight_map"].items() if v != first.name}
    (tmp_path / "copy" / "model.safetensors.index.json").write_text(json.dumps(index))
    first.unlink()
    with pytest.raises(CheckpointError, match=r"lacks .* of the model's weights"):
        checkpoint.load(str(tmp_path / "copy"))


def test_another_kind_of_model_is_refused(stock, tmp_path):
    shutil.copytree(stock, tmp_path / "copy")
    values = json.loads((stock / "config.json").read_text())
    (tmp_path / "copy" / "config.json").write_text(json.dumps(values | {"model_type": "llama"}))
    with pytest.raises(CheckpointError, match="type 'llama'; qwen3_vl and qwen3_vl_seg can be read"):
        checkpoint.load(str(tmp_path / "copy"))


@pytest.fixture
def on_base(stock, tmp_path):
    """A checkpoint that changes two rows, one matrix wholly and one by a low-rank product."""
    model, tokenizer, processor = checkpoint.load(str(stock))
    torch.manual_seed(5)
    layer = "model.language_model.layers.0.self_attn."
    names = {"rows": "model.language_model.embed_tokens.weight", "low": layer + "q_proj.weight", "whole": layer + "k_norm.weight"}
    difference = Difference(
        {names["whole"]: torch.randn(16)},
        {names["rows"]: (torch.tensor([3, 370]), torch.randn(2, 64))},
        {names["low"]: (torch.randn(4, 64), torch.randn(64, 4))},
    )
    model.config.base_checkpoint, model.config.base_fingerprint = str(stock), fingerprint(stock)
    folder = tmp_path / "changed"
    checkpoint.save_difference(folder, difference, model.config, tokenizer, processor)
    return folder, names, difference, model


def test_a_difference_loads_onto_its_base(on_base, stock):
    folder, names, difference, base = on_base
    loaded, _, _ = checkpoint.load(str(folder))
    old, new = dict(base.named_parameters()), dict(loaded.named_parameters())
    assert {n for n in old if not torch.equal(old[n], new[n])} == set(names.values())
    assert torch.equal(new[names["whole"]], difference.whole[names["whole"]])
    a, b = difference.low_rank[names["low"]]
    torch.testing.assert_close(new[names["low"]], old[names["low"]] + b @ a)
    rows = difference.rows[names["rows"]][1]
    assert torch.equal(new[names["rows"]][[3, 370]], rows) and torch.equal(new[names["rows"]][4:370], old[names["rows"]][4:370])
    assert torch.equal(loaded.lm_head.weight[3], rows[0]) == base.config.tie_word_embeddings
    size = sum(f.stat().st_size for f in folder.glob("*.safetensors"))
    assert size < 0.1 * sum(f.stat().st_size for f in stock.glob("*.safetensors"))


def test_a_difference_for_another_base_is_refused(on_base, tmp_path):
    other = write_stock(tmp_path / "other", seed=9)
    values = json.loads((on_base[0] / "config.json").read_text())
    (on_base[0] / "config.json").write_text(json.dumps(values | {"base_checkpoint": str(other)}))
    with pytest.raises(CheckpointError, match=r"fingerprint .* fetch the same version of the base"):
        checkpoint.load(str(on_base[0]))


def test_a_difference_that_does_not_fit_names_the_parameter(stock):
    model, _, _ = checkpoint.load(str(stock))
    with pytest.raises(CheckpointError, match=r"changes nothing\.weight, which the base model does not have"):
        Difference({"nothing.weight": torch.zeros(2)}).apply(model)
    with pytest.raises(CheckpointError, match="must be of shape"):
        Difference({"model.language_model.norm.weight": torch.zeros(2)}).apply(model)
