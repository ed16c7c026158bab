"""The embedded model's small tokenizer: byte-level BPE over the words of tabletop instructions.

Qwen3-VL's special tokens and chat template; every digit is one token, and so is every fixed piece of the prompt and of the
answer, which keeps sequences short on a CPU. Any UTF-8 text can be written (bytes are the base alphabet).
"""

from collections.abc import Iterable
from pathlib import Path

import torch
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from qwen_seg_ros.model import prompts
from qwen_seg_ros.model.modeling import Qwen3VLSegForConditionalGeneration

CHAT_TOKENS = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|image_pad|>",
    "<|video_pad|>",
)
FIXED_TEXT = (
    prompts.QUESTION_HEAD,
    prompts.QUESTION_TAIL,
    prompts.BOX_KEY,
    prompts.LABEL_KEY_AFTER_BOX,
    prompts.LABEL_KEY,
    prompts.MASK_KEY,
    prompts.ENTRY_END,
    "user\n",
    "assistant\n",
    "[",
    "]",
    ",",
    *"0123456789",
)


def build_tokenizer(corpus: Iterable[str], vocabulary: int = 3000) -> PreTrainedTokenizerFast:
    """Train on instruction texts; deterministic for the same corpus."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(r" ?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+|\s+"), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=vocabulary, initial_alphabet=alphabet, show_progress=False, min_frequency=1)
    tokenizer.train_from_iterator(corpus, trainer)
    fixed = [AddedToken(text, special=False, normalized=False) for text in FIXED_TEXT]
    special = [AddedToken(text, special=True, normalized=False) for text in (*CHAT_TOKENS, *prompts.SEGMENTATION_TOKENS)]
    tokenizer.add_tokens([*special, *fixed])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        chat_template=prompts.CHAT_TEMPLATE,
        clean_up_tokenization_spaces=False,
        model_max_length=4096,
    )


def tokenizer_of_run(folder: Path) -> PreTrainedTokenizerFast:
    """The run's own tokenizer, made from the corpus of instructions when the run has none yet."""
    if not (folder / "tokenizer.json").is_file():
        from qwen_seg_ros.offline.training.corpus import corpus

        build_tokenizer(corpus()).save_pretrained(folder)
    return PreTrainedTokenizerFast.from_pretrained(folder)


def change_tokenizer(
    model: Qwen3VLSegForConditionalGeneration, old: PreTrainedTokenizerBase, new: PreTrainedTokenizerBase
) -> None:
    """Give an embedded model (tied embeddings) another vocabulary: a token's row is the mean of the rows of its old pieces."""
    with torch.no_grad():
        before = model.get_input_embeddings().weight.clone()
        pieces = [_pieces(token, old, new) for token in range(len(new))]
        rows = torch.stack([before[ids].mean(0) for ids in pieces])
        model.resize_token_embeddings(-(-len(new) // 64) * 64, mean_resizing=False)
        model.get_input_embeddings().weight[: len(new)] = rows
    for config in (model.config, model.config.text_config):
        for name, value in config.to_dict().items():
            if name.endswith("token_id") and isinstance(value, int):
                setattr(config, name, new.convert_tokens_to_ids(old.convert_ids_to_tokens(value)))


def _pieces(token: int, old: PreTrainedTokenizerBase, new: PreTrainedTokenizerBase) -> list[int]:
    """The old ids of a new token's text; the byte tokens of half a character stand for themselves."""
    word = new.convert_ids_to_tokens(token)
    known = old.get_vocab()
    return [known[word]] if word in known else old(new.decode([token]), add_special_tokens=False).input_ids
