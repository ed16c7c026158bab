"""One folder holds a model: Hugging Face layout, safetensors only."""

import json
from dataclasses import asdict
from pathlib import Path

import torch
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from qwen_seg_ros.errors import CheckpointError
from qwen_seg_ros.model.configuration import Qwen3VLSegConfig
from qwen_seg_ros.model.difference import Difference, fingerprint
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
    save_processing(folder, tokenizer, processor)


def save_difference(
    folder: Path,
    difference: Difference,
    config: Qwen3VLSegConfig,
    tokenizer: PreTrainedTokenizerBase,
    processor: ImageProcessor,
) -> None:
    """Write what differs from `config.base_checkpoint` in place of the weights."""
    config.save_pretrained(folder)
    difference.save(Path(folder))
    save_processing(folder, tokenizer, processor)


def copy_difference(folder: Path, target: Path, dtype: torch.dtype) -> None:
    """A checkpoint that stores a difference, in another number format."""
    processor = load_processor(str(folder))
    config = read_config(str(folder))
    save_difference(target, Difference.load(folder).to(dtype), config, AutoTokenizer.from_pretrained(folder), processor)


def save_processing(folder: Path, tokenizer: PreTrainedTokenizerBase, processor: ImageProcessor) -> None:
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
    checkpoint: str, dtype: torch.dtype | str = torch.float32
) -> tuple[Qwen3VLSegForConditionalGeneration, PreTrainedTokenizerBase, ImageProcessor]:
    """Read a folder or hub id; dtype "auto" keeps the stored number format.

    A plain Qwen3-VL checkpoint gives a model without a mask decoder. A checkpoint that stores a difference is put on its base.

    Raises:
        CheckpointError: naming the file that is missing or damaged.
    """
    source = resolve(checkpoint)
    if Path(source).is_dir():
        _check_files(Path(source))
    try:
        config = read_config(source)
        tokenizer = AutoTokenizer.from_pretrained(source, config=config)
        model = _on_base(Path(source), config, dtype) if config.base_checkpoint else _pretrained(source, config, dtype)
        processor = load_processor(source)
    except CheckpointError:
        raise
    except Exception as error:
        raise CheckpointError(f"checkpoint {source} cannot be loaded: {error}") from error
    return model.eval(), tokenizer, processor


def read_config(source: str) -> Qwen3VLSegConfig:
    """config.json of a Qwen3-VL-Seg or of a plain Qwen3-VL checkpoint.

    Raises:
        CheckpointError: for another kind of model.
    """
    values, _ = Qwen3VLSegConfig.get_config_dict(source)
    if values.get("model_type") not in ("qwen3_vl", "qwen3_vl_seg"):
        raise CheckpointError(
            f"{source} holds a model of type {values.get('model_type')!r}; qwen3_vl and qwen3_vl_seg can be read"
        )
    return Qwen3VLSegConfig.from_dict({k: v for k, v in values.items() if k != "model_type"})


def _pretrained(source: str, config: Qwen3VLSegConfig, dtype: torch.dtype | str) -> Qwen3VLSegForConditionalGeneration:
    """All weights must be there."""
    model: Qwen3VLSegForConditionalGeneration
    report: dict
    model, report = Qwen3VLSegForConditionalGeneration.from_pretrained(  # type: ignore[misc]
        source, config=config, dtype=dtype, use_safetensors=True, output_loading_info=True
    )
    missing = sorted(report["missing_keys"])
    if missing:
        raise CheckpointError(f"{source} lacks {len(missing)} of the model's weights, first {missing[0]}")
    return model


def _on_base(folder: Path, config: Qwen3VLSegConfig, dtype: torch.dtype | str) -> Qwen3VLSegForConditionalGeneration:
    base = resolve(str(config.base_checkpoint))
    found = fingerprint(weights_folder(base))
    if found != config.base_fingerprint:
        raise CheckpointError(
            f"{folder} was trained from a {config.base_checkpoint} with fingerprint {config.base_fingerprint}, but {base} has "
            f"{found}: fetch the same version of the base, or name it as base_checkpoint in {folder / 'config.json'}"
        )
    vocabulary, decoder = config.text_config.vocab_size, config.mask_decoder
    config.text_config.vocab_size, config.mask_decoder = read_config(base).text_config.vocab_size, None
    model = _pretrained(base, config, dtype)
    if config.text_config.vocab_size != vocabulary:
        model.resize_token_embeddings(vocabulary, mean_resizing=False)
    if decoder is not None:
        model.add_decoder(decoder)
    Difference.load(folder).apply(model)
    return model


def weights_folder(checkpoint: str) -> Path:
    """Where the weights of a folder or hub id lie on this disk; a hub id is fetched if it must be."""
    from transformers.utils import cached_file

    if Path(checkpoint).is_dir():
        return Path(checkpoint)
    for name in ("model.safetensors.index.json", "model.safetensors"):
        path = cached_file(checkpoint, name, _raise_exceptions_for_missing_entries=False)
        if path:
            return Path(path).parent
    raise CheckpointError(f"{checkpoint} holds neither model.safetensors nor model.safetensors.index.json")


def load_processor(folder: str) -> ImageProcessor:
    """From preprocessor_config.json of Qwen3-VL (`size` holds the bounds of the area in pixels)."""
    from transformers.utils import cached_file

    values = json.loads(Path(cached_file(folder, "preprocessor_config.json")).read_text())
    size, fixed = values.get("size", {}), values.get("fixed_size")
    return ImageProcessor(
        patch_size=int(values.get("patch_size", 16)),
        merge_size=int(values.get("merge_size", 2)),
        temporal_patch_size=int(values.get("temporal_patch_size", 2)),
        min_pixels=int(values.get("min_pixels") or size.get("shortest_edge", 65_536)),
        max_pixels=int(values.get("max_pixels") or size.get("longest_edge", 16_777_216)),
        fixed_size=(int(fixed[0]), int(fixed[1])) if fixed else None,
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
