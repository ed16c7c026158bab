"""Which parameter learns by which rule, and how fast."""

import torch
from torch import nn

from qwen_seg_ros.model.mask_decoder import MaskDecoder
from qwen_seg_ros.offline.training.recipe import Recipe
from qwen_seg_ros.offline.training.student import parameter_groups


def make_optimisers(objective: nn.Module, recipe: Recipe) -> list[torch.optim.Optimizer]:
    """Every group carries its full rate as `full_lr`; the schedule scales it."""
    if recipe.optimiser == "adamw":
        return [torch.optim.AdamW(parameter_groups(objective, recipe), betas=(0.9, 0.98), weight_decay=recipe.weight_decay)]
    return _muon(objective, recipe)


def _muon(objective: nn.Module, recipe: Recipe) -> list[torch.optim.Optimizer]:
    """Muon for the matrices of the transformers, AdamW at half the rate for embeddings, norms, convolutions and the decoder."""
    modules = list(objective.modules())
    decoder = {id(p) for m in modules if isinstance(m, MaskDecoder) for p in m.parameters()}
    embedding = {id(p) for m in modules if isinstance(m, nn.Embedding) for p in m.parameters()}
    parameters = [p for p in dict.fromkeys(objective.parameters()) if p.requires_grad]
    matrices = [p for p in parameters if p.ndim == 2 and id(p) not in decoder | embedding]
    chosen = {id(p) for p in matrices}
    rest = [p for p in parameters if id(p) not in chosen]
    decay = recipe.weight_decay
    out = [
        torch.optim.Muon(matrices, lr=recipe.rate, weight_decay=decay, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(rest, lr=recipe.rate / 2, betas=(0.9, 0.98), weight_decay=decay),
    ]
    for optimiser in out:
        for group in optimiser.param_groups:
            group["full_lr"] = group["lr"]
    return out
