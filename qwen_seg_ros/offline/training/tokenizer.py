"""The embedded model's small tokenizer: byte-level BPE over the words of tabletop instructions.

Qwen3-VL's special tokens and chat template; every digit is one token, and so is every fixed piece of the prompt and of the
answer, which keeps sequences short on a CPU. Any UTF-8 text can be written (bytes are the base alphabet).
"""

from collections.abc import Iterable
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from qwen_seg_ros.model import prompts

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


def build_tokenizer(corpus: Iterable[str], vocabulary: int = 2000) -> PreTrainedTokenizerFast:
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


def tokenizer_of_run(folder: Path, init: Path | None = None) -> PreTrainedTokenizerFast:
    """The run's own tokenizer; taken from `init`, or made from the corpus of instructions, when the run has none yet."""
    if not (folder / "tokenizer.json").is_file():
        from qwen_seg_ros.offline.training.corpus import corpus

        tokenizer = PreTrainedTokenizerFast.from_pretrained(init) if init else build_tokenizer(corpus())
        tokenizer.save_pretrained(folder)
    return PreTrainedTokenizerFast.from_pretrained(folder)
