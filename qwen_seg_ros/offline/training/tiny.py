"""The embedded configuration: Qwen3-VL's architecture at about 16 M parameters."""

from transformers import PreTrainedTokenizerBase

from qwen_seg_ros.model.configuration import MaskDecoderConfig, Qwen3VLSegConfig, decoder_dict
from qwen_seg_ros.model.processing import ImageProcessor
from qwen_seg_ros.model.prompts import MASK_TOKEN, REJECT_TOKEN

IMAGE_SIZE = (256, 320)  # height, width the model sees: 8 x 10 merged tokens of 32 px


def tiny_processor() -> ImageProcessor:
    """Brings every camera image to about 256x320 pixels."""
    area = IMAGE_SIZE[0] * IMAGE_SIZE[1]
    return ImageProcessor(min_pixels=area * 3 // 4, max_pixels=88_000)


def tiny_config(tokenizer: PreTrainedTokenizerBase) -> Qwen3VLSegConfig:
    """Sizes chosen for two CPU cores: see docs/log.md for what was tried."""
    ids = tokenizer.convert_tokens_to_ids
    decoder = MaskDecoderConfig(
        hidden_size=192,
        num_heads=6,
        num_layers=2,
        ffn_size=512,
        fourier_frequencies=16,
        pixel_channels=48,
        stem_channels=32,
        stem_stride=4,
        position_grid=16,
        gate="own",
    )
    return Qwen3VLSegConfig(
        text_config={
            "vocab_size": -(-len(tokenizer) // 64) * 64,
            "hidden_size": 320,
            "intermediate_size": 896,
            "num_hidden_layers": 6,
            "num_attention_heads": 5,
            "num_key_value_heads": 5,
            "head_dim": 64,
            "max_position_embeddings": 4096,
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 10000.0,
                "mrope_section": [12, 10, 10],
                "mrope_interleaved": True,
            },
            "tie_word_embeddings": True,
        },
        vision_config={
            "depth": 6,
            "hidden_size": 192,
            "intermediate_size": 640,
            "num_heads": 4,
            "patch_size": 16,
            "spatial_merge_size": 2,
            "temporal_patch_size": 2,
            "out_hidden_size": 320,
            "num_position_embeddings": 256,
            "deepstack_visual_indexes": [1, 3, 4],
        },
        image_token_id=ids("<|image_pad|>"),
        video_token_id=ids("<|video_pad|>"),
        vision_start_token_id=ids("<|vision_start|>"),
        vision_end_token_id=ids("<|vision_end|>"),
        tie_word_embeddings=True,
        mask_decoder=decoder_dict(decoder),
        mask_token_id=ids(MASK_TOKEN),
        reject_token_id=ids(REJECT_TOKEN),
        eos_token_id=ids("<|im_end|>"),  # type: ignore[call-arg]
        pad_token_id=ids("<|endoftext|>"),
    )
