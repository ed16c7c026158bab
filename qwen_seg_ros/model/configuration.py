"""Configuration of Qwen3-VL-Seg: a Qwen3-VL configuration plus the mask decoder's and the new tokens' numbers."""

from dataclasses import asdict, dataclass, fields

from transformers import Qwen3VLConfig


@dataclass(frozen=True)
class MaskDecoderConfig:
    """Sizes of the box-guided mask decoder. Defaults give about 17 M parameters on the 4B base (arXiv 2605.07141 discloses
    only the total; hidden size, heads, layers and Fourier frequencies follow published reproductions)."""

    hidden_size: int = 256
    num_heads: int = 8
    num_layers: int = 2
    ffn_size: int = 1024
    fourier_frequencies: int = 32
    pixel_channels: int = 64  # channels of the up-sampled memory in F_pixel
    stem_channels: int = 64  # channels of the shallow CNN on the raw image
    stem_stride: int = 8  # pixels of the model's input image per mask cell
    position_grid: int = 32  # side of the learned 2-D position table, resampled to the image's grid
    box_growth: float = 0.15
    gate_sharpness: float = 20.0
    gate: str = "max"  # "max": one gate for all boxes of an answer (published); "own": one gate per box

    @classmethod
    def from_dict(cls, values: dict | None) -> "MaskDecoderConfig":
        """Unknown keys are ignored so that newer checkpoints load."""
        known = {f.name for f in fields(cls)}
        return cls(**{k: v for k, v in (values or {}).items() if k in known})


class Qwen3VLSegConfig(Qwen3VLConfig):
    """`mask_decoder`: dict of MaskDecoderConfig, None = plain Qwen3-VL without a decoder; token ids of the new tokens."""

    model_type = "qwen3_vl_seg"

    mask_decoder: dict | None = None
    mask_token_id: int | None = None
    reject_token_id: int | None = None

    @property
    def mask_decoder_sizes(self) -> MaskDecoderConfig:
        return MaskDecoderConfig.from_dict(self.mask_decoder)


def decoder_dict(config: MaskDecoderConfig) -> dict:
    """The JSON form kept in config.json."""
    return asdict(config)
