"""What the embedded model learns from: text, masks, and three dense helpers without which a small model does not learn to ground.

- words: every image token names the object that covers it (against the tied word embeddings);
- corners: every image token knows the box of its object, as distributions over the answer's grid steps;
- pointing: while the model writes a box, chosen attention heads look at the object's image tokens.

The helpers are used in training only; the checkpoint is a plain Qwen3-VL-Seg. docs/log.md says what each is worth.
Shapes as in batch.py; T text width.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from qwen_seg_ros.model.modeling import Qwen3VLSegForConditionalGeneration
from qwen_seg_ros.model.processing import ImageProcessor
from qwen_seg_ros.offline.training.batch import BINS, IGNORE, Batch
from qwen_seg_ros.offline.training.recipe import Recipe

INSTANCES = 32  # masks a step


class Helpers(nn.Module):
    """Training-only heads."""

    def __init__(self, width: int, point_layers: tuple[int, ...] = (2, 3, 4), point_heads: int = 2) -> None:
        super().__init__()
        self.words = nn.Linear(width, width)
        self.norm = nn.LayerNorm(width)
        self.corners = nn.Linear(width, 4 * BINS)
        self.point_layers, self.point_heads = point_layers, point_heads


class LayerInputs:
    """Keeps what chosen layers were given, so that the queries and keys of their attention can be supervised."""

    def __init__(self, model: Qwen3VLSegForConditionalGeneration, layers: tuple[int, ...]) -> None:
        self.layers = [model.model.language_model.layers[i] for i in layers]
        self.seen: dict[nn.Module, tuple[Tensor, tuple[Tensor, Tensor]]] = {}
        for layer in self.layers:
            layer.register_forward_pre_hook(self._keep, with_kwargs=True)

    def _keep(self, layer: nn.Module, args: tuple, kwargs: dict) -> None:
        self.seen[layer] = (kwargs["hidden_states"] if "hidden_states" in kwargs else args[0], kwargs["position_embeddings"])


def forward(
    model: Qwen3VLSegForConditionalGeneration, patches: Tensor, grid: Tensor, batch: Batch
) -> tuple[Tensor, Tensor, list[Tensor]]:
    """-> hidden states (B, L, T), merged image tokens (B, M, T), DeepStack levels."""
    top, levels = model.encode_image(patches, grid)
    embeds = model.get_input_embeddings()(batch.input_ids)
    is_image = batch.input_ids == model.config.image_token_id
    embeds = embeds.masked_scatter(is_image[..., None], top.to(embeds.dtype))
    output = model.model.language_model(
        inputs_embeds=embeds,
        attention_mask=batch.attention,
        position_ids=batch.position_ids,
        use_cache=False,
        visual_pos_masks=is_image,
        deepstack_visual_embeds=[level.flatten(0, 1) for level in levels],
    )
    return output.last_hidden_state, top, levels


class Objective(nn.Module):
    """Model and helper heads with the loss as their forward pass: one module to wrap for any number of devices."""

    def __init__(self, model: Qwen3VLSegForConditionalGeneration, processor: ImageProcessor, recipe: Recipe) -> None:
        super().__init__()
        self.model, self.processor, self.recipe = model, processor, recipe
        self.helpers = Helpers(model.config.text_config.hidden_size) if recipe.losses.helpers else None
        self.seen = LayerInputs(model, self.helpers.point_layers) if self.helpers else None

    def forward(self, batch: Batch, vision_only: bool = False, with_masks: bool = True) -> dict[str, Tensor]:
        """Every term and their weighted sum under "total"."""
        patches, grid = self.processor.patches(batch.image)
        terms = self._vision(patches, grid, batch) if vision_only else self._all(patches, grid, batch, with_masks)
        weights = self.recipe.losses
        terms["total"] = torch.stack([getattr(weights, name) * value for name, value in terms.items()]).sum()
        return terms

    def _vision(self, patches: Tensor, grid: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Words and corners of the image tokens alone."""
        top, _ = self.model.encode_image(patches, grid)
        words, corners = cell_losses(self.model, self.helpers, top, batch)
        return {"words": words, "corners": corners}

    def _all(self, patches: Tensor, grid: Tensor, batch: Batch, with_masks: bool) -> dict[str, Tensor]:
        hidden, top, levels = forward(self.model, patches, grid, batch)
        terms = {"text": text_loss(self.model, hidden, batch)}
        if self.helpers is not None:
            terms["words"], terms["corners"] = cell_losses(self.model, self.helpers, top, batch)
            terms["pointing"] = self._pointing(self.seen, self.helpers.point_heads, batch)
        if with_masks and self.model.mask_decoder is not None and len(batch.mask_at):
            terms |= mask_losses(self.model, hidden, top, levels, grid, batch, self.recipe.box_jitter)
        return terms

    def _pointing(self, inputs: LayerInputs, heads: int, batch: Batch) -> Tensor:
        token = self.model.config.image_token_id
        return torch.stack([pointing_loss(layer, *inputs.seen[layer], batch, token, heads) for layer in inputs.layers]).mean()


def text_loss(model: Qwen3VLSegForConditionalGeneration, hidden: Tensor, batch: Batch) -> Tensor:
    """Rows are filled up to a round number: on a CPU every new matrix shape costs the compilation of its kernels."""
    keep = (batch.labels != IGNORE).flatten().nonzero()[:, 0]
    filled = F.pad(keep, (0, -len(keep) % 256))
    weight = F.pad(batch.weights.flatten()[keep], (0, len(filled) - len(keep)))
    logits = model.lm_head(hidden.flatten(0, 1)[filled]).float()
    labels = batch.labels.flatten()[filled].clamp(min=0)
    return (F.cross_entropy(logits, labels, reduction="none") * weight).sum() / weight.sum()


def cell_losses(model: Qwen3VLSegForConditionalGeneration, helpers: Helpers, top: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
    owned = ~batch.cell_box[..., 0].isnan()
    tokens = helpers.norm(top.float())
    vocabulary = model.get_input_embeddings().weight
    log_words = F.log_softmax(F.linear(helpers.words(tokens), vocabulary).float(), dim=-1)
    valid = batch.cell_words != IGNORE
    named = log_words.gather(-1, batch.cell_words.clamp(min=0)).masked_fill(~valid, 0).sum(-1) / valid.sum(-1)
    importance = torch.where(owned, cell_importance(batch.cell_box), 0.1)
    words = -(named * importance).sum() / importance.sum()
    log_bins = F.log_softmax(helpers.corners(tokens)[owned].unflatten(-1, (4, BINS)).float(), dim=-1)
    corners = -(soft_bins(batch.cell_box[owned]) * log_bins).sum(-1).mean() if owned.any() else log_bins.sum()
    return words, corners


def cell_importance(boxes: Tensor) -> Tensor:
    """Boxes (B, M, 4) of the objects that cover image tokens -> (B, M): large objects have many tokens, small ones count too."""
    tokens = (boxes[..., 2:] - boxes[..., :2]).prod(-1) * boxes.shape[1]
    return tokens.clamp(min=1).rsqrt()


def soft_bins(values: Tensor, spread: float = 0.7) -> Tensor:
    """0..1 values -> Gaussian weights over the grid steps, (..., BINS)."""
    steps = torch.arange(BINS, device=values.device)
    return torch.softmax(-0.5 * ((values[..., None] * (BINS - 1) - steps) / spread) ** 2, dim=-1)


def pointing_loss(
    layer: nn.Module, inputs: Tensor, rope: tuple[Tensor, Tensor], batch: Batch, image_token: int, heads: int
) -> Tensor:
    """Cross entropy between where the first `heads` heads look while a box is written and where the object is."""
    attention, size = layer.self_attn, layer.self_attn.head_dim
    weight_q, weight_k = attention.q_proj.weight[: heads * size], attention.k_proj.weight[: heads * size]
    if not len(batch.point_at):
        return inputs.sum() * 0.0
    hidden = layer.input_layernorm(inputs)
    picture, slot, place = _slots(batch.point_at, len(hidden))
    rows = torch.arange(len(hidden), device=hidden.device)[:, None]
    cos, sin = (part[:, :, None] for part in rope)
    key = _rotate(attention.k_norm(F.linear(hidden, weight_k).unflatten(-1, (heads, size))), cos, sin)
    query = attention.q_norm(F.linear(hidden[rows, place], weight_q).unflatten(-1, (heads, size)))
    query = _rotate(query, cos[rows, place], sin[rows, place])
    logits = torch.einsum("bphd,bkhd->bphk", query.float(), key.float())[picture, slot] * attention.scaling
    logits = logits.masked_fill(~batch.attention[picture, 0, batch.point_at[:, 1]][:, None], float("-inf"))
    first = int((batch.input_ids[0] == image_token).nonzero()[0, 0])  # the image stands at the same place in every sequence
    at_image = (batch.point_target[:, None] * logits[..., first : first + batch.point_target.shape[1]]).sum(-1)
    return (logits.logsumexp(-1) - at_image).mean()


def _slots(point_at: Tensor, pictures: int) -> tuple[Tensor, Tensor, Tensor]:
    """Places (n, 2), sorted by picture, as a table: picture (n), column (n), and the place in each cell (pictures, most),
    filled up with place 0 to a round number: on a CPU every new matrix shape costs the compilation of its kernels."""
    picture, place = point_at.unbind(-1)
    counts = picture.bincount(minlength=pictures)
    slot = torch.arange(len(picture), device=picture.device) - (counts.cumsum(0) - counts)[picture]
    table = place.new_zeros(pictures, -(-int(counts.max()) // 64) * 64)
    table[picture, slot] = place
    return picture, slot, table


def _rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    first, second = x.chunk(2, dim=-1)
    return x * cos + torch.cat([-second, first], dim=-1) * sin


def mask_losses(
    model: Qwen3VLSegForConditionalGeneration,
    hidden: Tensor,
    top: Tensor,
    levels: list[Tensor],
    grid: Tensor,
    batch: Batch,
    jitter: float,
) -> dict[str, Tensor]:
    chosen = torch.randperm(len(batch.mask_at), device=hidden.device).repeat(-(-INSTANCES // len(batch.mask_at)))[:INSTANCES]
    picture, place = batch.mask_at[chosen].unbind(-1)
    boxes, masks = batch.boxes[chosen], batch.masks[chosen]
    rows, cols = (grid[0, 1:] // model.config.vision_config.spatial_merge_size).tolist()
    is_image = batch.input_ids == model.config.image_token_id
    text = hidden[is_image].view(*top.shape[:2], -1)
    features = model.image_features(top, levels, text, batch.image, rows, cols)
    pixels = model.mask_decoder.encode(features)
    first, final, iou = model.mask_decoder(pixels, jittered(boxes, jitter), hidden[picture, place], picture)
    bce = sum(boundary_bce(m, masks) for m in (first, final)) / 2
    dice = sum(dice_loss(m, masks) for m in (first, final)) / 2
    true_iou = soft_iou(final.detach(), masks)
    return {"bce": bce, "dice": dice, "iou": F.mse_loss(iou.float().sigmoid(), true_iou)}


def jittered(boxes: Tensor, spread: float) -> Tensor:
    """The decoder must live with the boxes the model writes: corners moved by a few per cent of the size."""
    size = (boxes[:, 2:] - boxes[:, :2]).repeat(1, 2)
    moved = boxes + torch.randn_like(boxes) * spread * size
    low, high = torch.minimum(moved[:, :2], moved[:, 2:] - 0.01), moved[:, 2:]
    return torch.cat([low, high], dim=-1).clamp(0, 1)


def boundary_bce(logits: Tensor, target: Tensor) -> Tensor:
    """Binary cross entropy; object and background count alike in each mask so that small objects are not drowned."""
    loss = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    inside = (loss * target).sum((1, 2)) / target.sum((1, 2)).clamp(min=1)
    return (loss.mean((1, 2)) * 4 + inside * 0.25).mean()


def dice_loss(logits: Tensor, target: Tensor) -> Tensor:
    p = logits.sigmoid()
    return (1 - (2 * (p * target).sum((1, 2)) + 1) / (p.sum((1, 2)) + target.sum((1, 2)) + 1)).mean()


def soft_iou(logits: Tensor, target: Tensor) -> Tensor:
    """IoU of the thresholded masks, (N,), on the mask grid."""
    p, t = logits > 0, target > 0.5
    return (p & t).sum((1, 2)) / (p | t).sum((1, 2)).clamp(min=1)
