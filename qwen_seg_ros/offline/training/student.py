"""The model that a recipe trains: new and small, or a base with a mask decoder, new tokens and LoRA put on it."""

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from peft import LoraConfig, inject_adapter_in_model
from tokenizers import AddedToken
from torch import nn
from transformers import PreTrainedTokenizerBase

from qwen_seg_ros.model import checkpoint, prompts
from qwen_seg_ros.model.configuration import Qwen3VLSegConfig, decoder_dict
from qwen_seg_ros.model.difference import Difference, fingerprint
from qwen_seg_ros.model.modeling import Qwen3VLSegForConditionalGeneration
from qwen_seg_ros.model.processing import ImageProcessor
from qwen_seg_ros.offline.training.recipe import NEW, Recipe
from qwen_seg_ros.offline.training.tiny import tiny_config, tiny_processor
from qwen_seg_ros.offline.training.tokenizer import change_tokenizer, tokenizer_of_run

LORA_TARGETS = r".*language_model\.layers\.\d+\..*\.(q|k|v|o|gate|up|down)_proj"
HEADS = ("embed_tokens", "lm_head")


@dataclass
class Student:
    """model: parameters that are not trained need no gradient. inherited: names of what already differs from the base."""

    model: Qwen3VLSegForConditionalGeneration
    tokenizer: PreTrainedTokenizerBase
    processor: ImageProcessor
    inherited: frozenset[str] = frozenset()

    @property
    def new_tokens(self) -> list[int]:
        """Ids of the mask and rejection tokens, ascending."""
        known = self.tokenizer.get_vocab()
        return sorted(known[token] for token in prompts.SEGMENTATION_TOKENS if token in known)


def make_student(recipe: Recipe, out: Path) -> Student:
    """Weights of a new model depend on the recipe's seed alone; `out` keeps a tokenizer that is made for the run."""
    torch.manual_seed(recipe.seed)
    if recipe.base == NEW:
        tokenizer = tokenizer_of_run(out / "tokenizer")
        student = Student(Qwen3VLSegForConditionalGeneration(tiny_config(tokenizer)), tokenizer, tiny_processor())
    else:
        student = _on_base(recipe, out)
    if recipe.image_pixels:
        limits = {"min_pixels": recipe.image_pixels * 3 // 4, "max_pixels": recipe.image_pixels}
        student.processor = replace(student.processor, **limits, fixed_size=None)
    if recipe.one_size:
        student.processor = replace(student.processor, fixed_size=student.processor.size_for(480, 640))
    student.model.config.answer_format, student.model.config.box_step = recipe.answers, recipe.box_step
    _choose_trained(student, recipe)
    if recipe.checkpointing:
        student.model.gradient_checkpointing_enable({"use_reentrant": False})
    return student


def _on_base(recipe: Recipe, out: Path) -> Student:
    model, tokenizer, processor = checkpoint.load(recipe.base, torch.float32)
    if recipe.tokenizer == "corpus":
        tokenizer, old = tokenizer_of_run(out / "tokenizer"), tokenizer
        change_tokenizer(model, old, tokenizer)
    if recipe.answers != "boxes":
        add_segmentation_tokens(model, tokenizer)
    if recipe.answers == "mask_token" and model.mask_decoder is None:
        model.add_decoder(decoder_dict(recipe.decoder))
    inherited: frozenset[str] = frozenset()
    if recipe.store == "difference":
        inherited = _remember_base(model.config, recipe.base)
    else:
        model.config.base_checkpoint = model.config.base_fingerprint = None
    return Student(model, tokenizer, processor, inherited)


def _remember_base(config: Qwen3VLSegConfig, base: str) -> frozenset[str]:
    """A base that is itself a difference keeps its own base, so that a chain never forms; -> names it changed."""
    source = checkpoint.resolve(base)
    if config.base_checkpoint:
        return frozenset(Difference.load(Path(source)).names())
    config.base_checkpoint = str(Path(source).resolve()) if Path(source).is_dir() and base == source else base
    config.base_fingerprint = fingerprint(checkpoint.weights_folder(source))
    return frozenset()


def add_segmentation_tokens(model: Qwen3VLSegForConditionalGeneration, tokenizer: PreTrainedTokenizerBase) -> None:
    """Give the tokenizer the mask and rejection tokens; their rows start as the mean of all others.

    Published vocabularies have spare rows, so that the matrix rarely grows.
    """
    known = tokenizer.get_vocab()
    new = [token for token in prompts.SEGMENTATION_TOKENS if token not in known]
    if new:
        tokens_before = len(tokenizer)
        tokenizer.add_tokens([AddedToken(token, special=True, normalized=False) for token in new])
        if len(tokenizer) > model.config.text_config.vocab_size:
            model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
        with torch.no_grad():
            for weight in {id(p): p for p in (model.get_input_embeddings().weight, model.lm_head.weight)}.values():
                weight[tokenizer.convert_tokens_to_ids(new)] = weight[:tokens_before].mean(0)
    known = tokenizer.get_vocab()
    model.config.mask_token_id, model.config.reject_token_id = known[prompts.MASK_TOKEN], known[prompts.REJECT_TOKEN]


def _choose_trained(student: Student, recipe: Recipe) -> None:
    """requires_grad of every parameter, and LoRA with the new tokens' rows."""
    model, tokens = student.model, student.new_tokens
    model.requires_grad_(recipe.language_rate > 0)
    if recipe.lora_rank:
        heads = HEADS[:1] if model.config.tie_word_embeddings else HEADS
        config = LoraConfig(
            r=recipe.lora_rank,
            lora_alpha=recipe.lora_alpha,
            target_modules=LORA_TARGETS,
            trainable_token_indices=dict.fromkeys(heads, tokens) if tokens else None,
        )
        inject_adapter_in_model(config, model)
    model.model.visual.requires_grad_(recipe.vision_rate > 0)
    if model.mask_decoder is not None:
        model.mask_decoder.requires_grad_(recipe.answers == "mask_token")


def parameter_groups(student: nn.Module, recipe: Recipe) -> list[dict]:
    """Trained parameters with their share of the rate: the vision tower its own, LoRA, decoder and new rows the full one."""
    groups: dict[float, list[nn.Parameter]] = {}
    for name, parameter in student.named_parameters():
        if parameter.requires_grad:
            groups.setdefault(_share(name, recipe), []).append(parameter)
    rates = {share: recipe.rate * share for share in groups}
    return [{"params": parameters, "lr": rates[share], "full_lr": rates[share]} for share, parameters in groups.items()]


def _share(name: str, recipe: Recipe) -> float:
    if ".visual." in name:
        return recipe.vision_rate
    if ".language_model." in name or name.startswith(("lm_head", "model.lm_head")):
        return recipe.language_rate if not ("lora_" in name or "trainable_tokens" in name) else 1.0
    return 1.0


def difference_from(state: dict[str, torch.Tensor], trained: set[str], student: Student, scale: float) -> Difference:
    """What a run changed, from the model's state (peft's names) and the names of its trained parameters.

    scale: lora_alpha / lora_rank. What an earlier run had changed is stored whole, for its base is no longer in memory.
    """
    whole, rows, low_rank = {}, {}, {}
    at = torch.tensor(student.new_tokens)
    tied = student.model.config.tie_word_embeddings
    for name, value in state.items():
        if ".lora_B." in name or (tied and name.startswith("lm_head.")):
            continue  # goes with lora_A; is the same matrix as the embedding
        if name.endswith(".lora_A.default.weight"):
            stem = name.removesuffix(".lora_A.default.weight")
            b = state[f"{stem}.lora_B.default.weight"] * scale
            if f"{stem}.weight" in student.inherited:
                whole[f"{stem}.weight"] = state[f"{stem}.base_layer.weight"] + b @ value
            else:
                low_rank[f"{stem}.weight"] = (value, b)
        elif name.endswith(".token_adapter.trainable_tokens_delta.default"):
            rows[name.removesuffix(".token_adapter.trainable_tokens_delta.default") + ".weight"] = (at, value)
        elif name in trained or name in student.inherited:
            whole[name] = value
    return Difference(whole, rows, low_rank)
