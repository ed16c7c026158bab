"""The published sizes of Qwen3-VL: decoder size, shapes and logits, without their weights."""

import pytest
import torch
from transformers import Qwen3VLConfig, Qwen3VLForConditionalGeneration

from qwen_seg_ros.model.configuration import Qwen3VLSegConfig
from qwen_seg_ros.model.modeling import Qwen3VLSegForConditionalGeneration, decoder_parameters

# text: layers, hidden, feed-forward, heads, key-value heads; vision: depth, hidden, feed-forward, heads, taps; tied head
SIZES = {
    "2B": ((28, 2048, 6144, 16, 8), (24, 1024, 4096, 16, (5, 11, 17)), True),
    "4B": ((36, 2560, 9728, 32, 8), (24, 1024, 4096, 16, (5, 11, 17)), True),
    "8B": ((36, 4096, 12288, 32, 8), (27, 1152, 4304, 16, (8, 16, 24)), False),
}
PARAMETERS = {"2B": 2.128e9, "4B": 4.438e9, "8B": 8.767e9}


def values(name: str, **changes) -> dict:
    """Constructor arguments of either configuration class."""
    (layers, hidden, ffn, heads, kv), (depth, width, mlp, vision_heads, taps), tied = SIZES[name]
    rope = {"rope_type": "default", "rope_theta": 5e6, "mrope_section": [24, 20, 20], "mrope_interleaved": True}
    text = {"num_hidden_layers": layers, "hidden_size": hidden, "intermediate_size": ffn, "num_attention_heads": heads}
    text |= {"num_key_value_heads": kv, "head_dim": 128, "vocab_size": 151_936, "rope_parameters": rope}
    vision = {"depth": depth, "hidden_size": width, "intermediate_size": mlp, "num_heads": vision_heads}
    vision |= {"out_hidden_size": hidden, "deepstack_visual_indexes": list(taps)}
    text |= {"tie_word_embeddings": tied} | changes.get("text", {})
    vision |= changes.get("vision", {})
    ids = {k: changes[k] for k in ("image_token_id", "video_token_id") if k in changes}
    return {"text_config": text, "vision_config": vision, "tie_word_embeddings": tied, **ids}


def on_meta(kind, config):
    with torch.device("meta"):
        return kind(config)


def inputs(config, tokens: int = 6) -> dict:
    """Some words, an image of 2 x 3 merged tokens, more words."""
    image = [config.image_token_id] * 6
    ids = torch.tensor([[3, 5, *image, *range(7, 7 + tokens)]])
    kinds = (ids == config.image_token_id).int()
    patches = torch.randn(24, 3 * 2 * 16 * 16, generator=torch.Generator().manual_seed(0))
    grid = torch.tensor([[1, 4, 6]])
    return {"input_ids": ids, "mm_token_type_ids": kinds, "pixel_values": patches, "image_grid_thw": grid}


@pytest.mark.parametrize("name", SIZES)
def test_a_plain_checkpoint_of_this_size_loads_name_for_name(name):
    plain = on_meta(Qwen3VLForConditionalGeneration, Qwen3VLConfig(**values(name)))
    ours = on_meta(Qwen3VLSegForConditionalGeneration, Qwen3VLSegConfig(**values(name), mask_decoder={}))
    theirs = {k: v.shape for k, v in plain.state_dict().items()}
    assert {k: v.shape for k, v in ours.state_dict().items() if not k.startswith("mask_decoder.")} == theirs
    assert sum(p.numel() for p in plain.parameters()) == pytest.approx(PARAMETERS[name], rel=0.001)


def test_decoder_has_17_million_parameters_on_the_4b_base():
    config = Qwen3VLSegConfig(**values("4B"), mask_decoder={})
    assert decoder_parameters(config) == pytest.approx(17e6, rel=0.05)
    assert decoder_parameters(config) / PARAMETERS["4B"] == pytest.approx(0.004, abs=5e-4)


@pytest.mark.parametrize("name", SIZES)
def test_text_logits_equal_transformers_own_at_these_widths(name):
    """Full width, two text layers and three of the tower, a small vocabulary: the numbers, not only the shapes."""
    small = {"text": {"num_hidden_layers": 2, "vocab_size": 512}, "vision": {"depth": 3, "deepstack_visual_indexes": [0, 1]}}
    small |= {"image_token_id": 500, "video_token_id": 501}
    torch.manual_seed(0)
    ours = Qwen3VLSegForConditionalGeneration(Qwen3VLSegConfig(**values(name, **small), mask_decoder={})).eval()
    plain = on_meta(Qwen3VLForConditionalGeneration, Qwen3VLConfig(**values(name, **small))).eval()
    weights = {k: v for k, v in ours.state_dict().items() if not k.startswith("mask_decoder.")}
    plain.load_state_dict(weights, assign=True)
    buffers = dict(ours.named_buffers())
    for key, buffer in plain.named_buffers():  # frequencies of the rotary positions are not part of a checkpoint
        module, _, leaf = key.rpartition(".")
        plain.get_submodule(module)._buffers[leaf] = buffers[key] if buffer.is_meta else buffer
    with torch.inference_mode():
        torch.testing.assert_close(ours(**inputs(ours.config)).logits, plain(**inputs(ours.config)).logits, atol=1e-3, rtol=1e-3)
