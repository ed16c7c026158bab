"""A plain Qwen3-VL checkpoint as it is published: sharded weights, Qwen's tokenizer rules and tokens; tiny and untrained."""

import json
from pathlib import Path

import torch
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast, Qwen3VLConfig, Qwen3VLForConditionalGeneration

from qwen_seg_ros.model.prompts import CHAT_TEMPLATE

SPECIAL = ("endoftext", "im_start", "im_end", "object_ref_start", "object_ref_end", "box_start", "box_end", "quad_start")
SPECIAL += ("quad_end", "vision_start", "vision_end", "vision_pad", "image_pad", "video_pad")
QWEN_SPLIT = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
TEXT = ["Locate every object that the instruction asks for, report bbox coordinates in JSON format", "the red mug, blue cans"]
TEXT += ['```json\n[\n\t{"bbox_2d": [12, 34, 567, 890], "label": "red mug"},\n\t{"bbox_2d":[1,2,3,4],"label":"x","mask":"<']
SPARE_ROWS = 8  # the published vocabularies have more rows than tokens, too


def qwen_tokenizer() -> PreTrainedTokenizerFast:
    """Byte-level BPE with Qwen's way of splitting: digits one by one, punctuation with what stands beside it."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(QWEN_SPLIT), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator(
        TEXT * 4, trainers.BpeTrainer(vocab_size=420, initial_alphabet=alphabet, show_progress=False, min_frequency=1)
    )
    tokenizer.add_special_tokens([AddedToken(f"<|{name}|>", special=True, normalized=False) for name in SPECIAL])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        chat_template=CHAT_TEMPLATE,
        clean_up_tokenization_spaces=False,
    )


def stock_config(tokenizer: PreTrainedTokenizerFast, tied: bool = True) -> Qwen3VLConfig:
    ids = tokenizer.convert_tokens_to_ids
    rope = {"rope_type": "default", "rope_theta": 5e6, "mrope_section": [4, 2, 2], "mrope_interleaved": True}
    text = {"vocab_size": len(tokenizer) + SPARE_ROWS, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 3}
    text |= {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16, "rope_parameters": rope}
    vision = {"depth": 4, "hidden_size": 32, "intermediate_size": 64, "num_heads": 2, "out_hidden_size": 64}
    vision |= {"patch_size": 16, "num_position_embeddings": 64, "deepstack_visual_indexes": [0, 1, 2]}
    return Qwen3VLConfig(
        text_config={**text, "tie_word_embeddings": tied},
        vision_config=vision,
        image_token_id=ids("<|image_pad|>"),
        video_token_id=ids("<|video_pad|>"),
        vision_start_token_id=ids("<|vision_start|>"),
        vision_end_token_id=ids("<|vision_end|>"),
        tie_word_embeddings=tied,
    )


def write_stock(folder: Path, tied: bool = True, seed: int = 0, pixels: tuple[int, int] = (4096, 65_536)) -> Path:
    """config.json of type qwen3_vl, sharded model, tokenizer and preprocessor_config.json."""
    torch.manual_seed(seed)
    tokenizer = qwen_tokenizer()
    Qwen3VLForConditionalGeneration(stock_config(tokenizer, tied)).save_pretrained(folder, max_shard_size="200KB")
    tokenizer.save_pretrained(folder)
    size = {"shortest_edge": pixels[0], "longest_edge": pixels[1]}
    processor = {"size": size, "patch_size": 16, "temporal_patch_size": 2, "merge_size": 2, "image_mean": [0.5] * 3}
    processor |= {"image_std": [0.5] * 3, "image_processor_type": "Qwen2VLImageProcessorFast"}
    (folder / "preprocessor_config.json").write_text(json.dumps(processor))
    settings = folder / "tokenizer_config.json"
    settings.write_text(json.dumps(json.loads(settings.read_text()) | {"tokenizer_class": "Qwen2Tokenizer"}))
    return folder
