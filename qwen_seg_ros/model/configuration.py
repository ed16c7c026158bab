"""Configuration of Qwen3-VL-Seg: a Qwen3-VL configuration plus the mask decoder's and the new tokens' numbers."""

from dataclasses import asdict, dataclass, fields

from transformers import Qwen3VLConfig


@dataclass(frozen=True)
class MaskDecoderConfig:
    """Sizes of the box-guided mask decoder.

    arXiv 2605.07141 discloses only the total, 17 M parameters on the 4B base. Heads, layers, feed-forward size and Fourier
    frequencies follow published reproductions; their width of 256 gives 7 M, so the width is what was left to choose: 512.
    """

    hidden_size: int = 512
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


ANSWER_FORMATS = ("boxes", "mask_token", "text4seg", "text4seg++")


class Qwen3VLSegConfig(Qwen3VLConfig):
    """A plain Qwen3-VL configuration is read as one without a decoder that answers with boxes.

    mask_decoder: dict of MaskDecoderConfig, None = no decoder. mask_token_id, reject_token_id: ids of the new tokens.
    answer_format: one of ANSWER_FORMATS, None = what the tokens allow. box_step: boxes are written in these steps of the 0..1000
    grid. base_checkpoint, base_fingerprint: the model this one was trained from, when its folder stores only what differs from it
    (see `model.difference`).
    """

    model_type = "qwen3_vl_seg"

    mask_decoder: dict | None = None
    mask_token_id: int | None = None
    reject_token_id: int | None = None
    answer_format: str | None = None
    box_step: int = 1
    base_checkpoint: str | None = None
    base_fingerprint: str | None = None

    @property
    def answers(self) -> str:
        """How this model writes masks, one of ANSWER_FORMATS."""
        return self.answer_format or ("boxes" if self.mask_token_id is None else "mask_token")

    @property
    def mask_decoder_sizes(self) -> MaskDecoderConfig:
        return MaskDecoderConfig.from_dict(self.mask_decoder)


def decoder_dict(config: MaskDecoderConfig) -> dict:
    """The JSON form kept in config.json."""
    return asdict(config)
