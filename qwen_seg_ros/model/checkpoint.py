"""One folder holds a model: Hugging Face layout, safetensors only."""

import json
from dataclasses import asdict
from pathlib import Path

import torch
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from qwen_seg_ros.errors import CheckpointError
from qwen_seg_ros.model.configuration import Qwen3VLSegConfig
from qwen_seg_ros.model.modeling import Qwen3VLSegForConditionalGeneration
from qwen_seg_ros.model.processing import ImageProcessor

EMBEDDED = Path(__file__).resolve().parent.parent / "checkpoints"


def resolve(checkpoint: str) -> str:
    """The name of an embedded checkpoint ("tabletop") -> its folder; a folder stays; anything else is a hub id for transformers.

    Raises:
        CheckpointError: for a path that does not exist.
    """
    if (EMBEDDED / checkpoint / "config.json").is_file():
        return str(EMBEDDED / checkpoint)
    if Path(checkpoint).is_dir():
        return checkpoint
    if checkpoint.startswith(("/", ".", "~")) or checkpoint.count("/") != 1:
        known = ", ".join(sorted(p.parent.name for p in EMBEDDED.glob("*/config.json"))) or "none"
        raise CheckpointError(
            f"checkpoint {checkpoint!r} is neither a folder nor a hub id (owner/name); embedded checkpoints: {known}"
        )
    return checkpoint


def save(
    folder: Path, model: Qwen3VLSegForConditionalGeneration, tokenizer: PreTrainedTokenizerBase, processor: ImageProcessor
) -> None:
    """Write config.json, model.safetensors, the tokenizer and preprocessor_config.json."""
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    fields = {
        **asdict(processor),
        "image_processor_type": "Qwen2VLImageProcessor",
        "image_mean": [0.5] * 3,
        "image_std": [0.5] * 3,
        "size": {"shortest_edge": processor.min_pixels, "longest_edge": processor.max_pixels},
    }
    (Path(folder) / "preprocessor_config.json").write_text(json.dumps(fields, indent=2) + "\n")


def load(
    checkpoint: str, dtype: torch.dtype = torch.float32
) -> tuple[Qwen3VLSegForConditionalGeneration, PreTrainedTokenizerBase, ImageProcessor]:
    """Read a folder or hub id.

    Raises:
        CheckpointError: naming the file that is missing or damaged.
    """
    folder = resolve(checkpoint)
    if Path(folder).is_dir():
        _check_files(Path(folder))
    try:
        config = Qwen3VLSegConfig.from_pretrained(folder)
        tokenizer = AutoTokenizer.from_pretrained(folder, config=config)
        model = Qwen3VLSegForConditionalGeneration.from_pretrained(folder, config=config, dtype=dtype, use_safetensors=True)
        processor = load_processor(folder)
    except Exception as error:
        raise CheckpointError(f"checkpoint {folder} cannot be loaded: {error}") from error
    return model.eval(), tokenizer, processor


def load_processor(folder: str) -> ImageProcessor:
    """From preprocessor_config.json of Qwen3-VL (`size` holds the bounds of the area in pixels)."""
    from transformers.utils import cached_file

    values = json.loads(Path(cached_file(folder, "preprocessor_config.json")).read_text())
    size = values.get("size", {})
    return ImageProcessor(
        patch_size=int(values.get("patch_size", 16)),
        merge_size=int(values.get("merge_size", 2)),
        temporal_patch_size=int(values.get("temporal_patch_size", 2)),
        min_pixels=int(values.get("min_pixels") or size.get("shortest_edge", 65_536)),
        max_pixels=int(values.get("max_pixels") or size.get("longest_edge", 16_777_216)),
    )


def _check_files(folder: Path) -> None:
    """Name the first file that is missing, empty or not what it should be: transformers' own messages rarely do."""
    weights = sorted(folder.glob("*.safetensors"))
    if not weights:
        raise CheckpointError(f"{folder} holds no *.safetensors file; pickled weights are not loaded")
    for name in ("config.json", "preprocessor_config.json", "tokenizer_config.json"):
        _check_json(folder / name)
    for path in weights:
        _check_safetensors(path)


def _check_json(path: Path) -> None:
    try:
        json.loads(path.read_text())
    except FileNotFoundError as error:
        raise CheckpointError(f"{path} is missing") from error
    except ValueError as error:
        raise CheckpointError(f"{path} is not valid JSON: {error}") from error


def _check_safetensors(path: Path) -> None:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as handle:
            handle.keys()
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} is damaged ({path.stat().st_size} bytes): {error}") from error
