"""Qwen3-VL with a mask decoder: one class for the tiny embedded model and for the published sizes.

Nothing of the language model is changed: with the decoder left out, logits equal transformers' own Qwen3VL.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import Qwen3VLForConditionalGeneration
from transformers.models.qwen3_vl.modeling_qwen3_vl import Qwen3VLVisionPatchEmbed

from qwen_seg_ros.model.configuration import Qwen3VLSegConfig
from qwen_seg_ros.model.mask_decoder import ImageFeatures, MaskDecoder


class LinearPatchEmbed(Qwen3VLVisionPatchEmbed):
    """The same weights as a matrix product: the 3-D convolution of non-overlapping patches takes 80 times as long on a CPU."""

    def forward(self, hidden_states: Tensor) -> Tensor:
        weight = self.proj.weight
        return F.linear(hidden_states.to(weight.dtype), weight.flatten(1), self.proj.bias)


class Qwen3VLSegForConditionalGeneration(Qwen3VLForConditionalGeneration):
    """`mask_decoder` is None for a checkpoint without one (a plain Qwen3-VL folder)."""

    config_class = Qwen3VLSegConfig
    config: Qwen3VLSegConfig

    def __init__(self, config: Qwen3VLSegConfig) -> None:
        super().__init__(config)
        self.model.visual.patch_embed.__class__ = LinearPatchEmbed
        self.mask_decoder = build_decoder(config) if config.mask_decoder is not None else None
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        """The decoder's modules keep torch's own initialisation, made when they were built."""
        if getattr(module, "_own_init", False):
            return
        super()._init_weights(module)

    def add_decoder(self, sizes: dict) -> None:
        """Put a new mask decoder (a dict of MaskDecoderConfig) on a model that has none."""
        self.config.mask_decoder = sizes
        self.mask_decoder = build_decoder(self.config).to(self.device, self.dtype)

    def encode_image(self, pixel_values: Tensor, grid_thw: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Patches (all, patch dim) of images of one size -> merged tokens (B, M, V) and DeepStack levels L x (B, M, V)."""
        output = self.model.visual(pixel_values.to(self.model.visual.dtype), grid_thw=grid_thw, return_dict=True)
        images = len(grid_thw)
        top = output.pooler_output.view(images, -1, output.pooler_output.shape[-1])
        return top, [level.view_as(top) for level in output.deepstack_features]

    def image_features(
        self, top_BMV: Tensor, levels: list[Tensor], text_BMT: Tensor, image_B3HW: Tensor, rows: int, cols: int
    ) -> ImageFeatures:
        """Token sequences as maps for the decoder; rows x cols merged tokens."""

        def as_map(tokens: Tensor) -> Tensor:
            return tokens.transpose(1, 2).unflatten(2, (rows, cols))

        return ImageFeatures(
            [as_map(level) for level in levels], as_map(top_BMV), text_BMT.unflatten(1, (rows, cols)), image_B3HW
        )


def build_decoder(config: Qwen3VLSegConfig) -> MaskDecoder:
    """The decoder that fits a base configuration: widths and DeepStack levels are read off it."""
    vision = config.vision_config
    decoder = MaskDecoder(
        config.mask_decoder_sizes,
        visual_size=vision.out_hidden_size,
        text_size=config.text_config.hidden_size,
        levels=len(vision.deepstack_visual_indexes),
        token_px=vision.patch_size * vision.spatial_merge_size,
    )
    for module in decoder.modules():
        module._own_init = True  # type: ignore[assignment]
    return decoder


def decoder_parameters(config: Qwen3VLSegConfig) -> int:
    """Parameter count of the decoder without allocating it."""
    with torch.device("meta"):
        return sum(p.numel() for p in build_decoder(config).parameters())
