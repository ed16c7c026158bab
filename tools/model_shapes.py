"""What the embedded model's parts put out while it answers one instruction, and the table of shapes in docs/models.md.

The published sizes run through the same code at full width, with few layers and without weights: no shape depends on either.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from qwen_seg_ros.cli.files import frame_from_bag
from qwen_seg_ros.frame import Frame
from qwen_seg_ros.geometry.box import GRID
from qwen_seg_ros.model import checkpoint, prompts
from qwen_seg_ros.model.configuration import Qwen3VLSegConfig
from qwen_seg_ros.model.engine import Answer, Engine
from qwen_seg_ros.model.modeling import Qwen3VLSegForConditionalGeneration
from qwen_seg_ros.model.pixel_branch import box_gate
from qwen_seg_ros.model.processing import ImageProcessor
from qwen_seg_ros.segmentation.answer import parse_answer
from qwen_seg_ros.segmentation.instruction import Instruction
from qwen_seg_ros.segmentation.qwen import QwenSegmenter
from qwen_seg_ros.segmentation.result import SegmentationResult
from qwen_seg_ros.segmentation.settings import SegmentationSettings

ROOT = Path(__file__).resolve().parents[1]
PAGE, FIGURE = ROOT / "docs" / "models.md", ROOT / "docs" / "models.jpg"
START, END = "<!-- shapes: written by tools/draw_model_page.py -->", "<!-- end of shapes -->"
BAG, FRAME, INSTRUCTION = ROOT / "demo" / "bag", 1, "give me the blue mug right of the small milk carton"

# text: layers, hidden, feed-forward, heads, key-value heads; vision: depth, hidden, feed-forward, heads, taps
SIZES = {
    "2B": ((28, 2048, 6144, 16, 8), (24, 1024, 4096, 16, (5, 11, 17))),
    "4B": ((36, 2560, 9728, 32, 8), (24, 1024, 4096, 16, (5, 11, 17))),
    "8B": ((36, 4096, 12288, 32, 8), (27, 1152, 4304, 16, (8, 16, 24))),
}
QWEN_FRAME = 5  # tokens around an image: <|im_start|> user \n <|vision_start|> ... <|vision_end|>

Values = dict[str, Tensor]


# --- what the network's parts put out ------------------------------------------------------------------------------------------


class Record:
    """Keeps the last output of each part of the network, by the names of the table."""

    def __init__(self, model: Qwen3VLSegForConditionalGeneration) -> None:
        self.values: Values = {}
        visual, decoder = model.model.visual, model.mask_decoder
        self._outputs(visual.patch_embed, "ViT tokens", "patches")
        self._outputs(visual.merger, "merged tokens")
        for number, merger in enumerate(visual.deepstack_merger_list, 1):
            self._outputs(merger, f"DeepStack level {number}")
        self._outputs(model.model.language_model, "hidden states", part="last_hidden_state")
        self._outputs(decoder.adapter, "F_mem")
        self._outputs(decoder.adapter.text, "W_mm T_mm", "T_mm")
        self._outputs(decoder.segment_token, "W_seg T_seg", "T_seg")
        self._outputs(decoder.box_mlp, "MLP_box", "E_box")
        self._outputs(decoder.blocks[-1], "Q1")
        self._outputs(decoder.refine_norm, "Q2")
        self._outputs(decoder.up, "F_up")
        self._outputs(decoder.stem, "F_cnn", "resized picture")
        decoder.register_forward_hook(self._keep_masks)

    def _outputs(self, module: nn.Module, name: str, given: str = "", part: str = "") -> None:
        def keep(_: nn.Module, inputs: tuple, output: Tensor) -> None:
            self.values[name] = getattr(output, part) if part else output
            if given:
                self.values[given] = inputs[0]

        module.register_forward_hook(keep)

    def _keep_masks(self, decoder: nn.Module, inputs: tuple, output: tuple[Tensor, Tensor, Tensor]) -> None:
        pixels, boxes = inputs[:2]
        sizes = decoder.config
        self.values["gate M"] = box_gate(boxes, *pixels.stem.shape[-2:], sizes.box_growth, sizes.gate_sharpness)
        self.values |= dict(zip(("mask 1", "mask 2", "IoU"), output, strict=True))


@dataclass(frozen=True, eq=False)
class Run:
    """One instruction, answered by the embedded model. values: outputs of its parts, hidden states those of the picture."""

    segmenter: QwenSegmenter
    frame: Frame
    values: Values
    answer: Answer
    result: SegmentationResult
    question_tokens: int


def run_embedded() -> Run:
    """On the whole picture, which is what the page shows."""
    segmenter = QwenSegmenter(SegmentationSettings(dtype="float32", device="cpu", look_closer=False))
    frame, engine = frame_from_bag(BAG, FRAME), segmenter.engine
    record = Record(engine.model)
    seen = segmenter.encode(frame)
    encoded = seen.image
    picture_states = record.values["hidden states"]
    answer = engine.answer(encoded, INSTRUCTION)
    result = segmenter.segment(seen, Instruction(INSTRUCTION))
    boxes = [entry.box_grid for entry in parse_answer(answer.text, INSTRUCTION).entries]
    record.values["image mask"], _ = engine.masks(encoded, torch.tensor(boxes) / GRID, answer.mask_states)
    question = engine._tokens(prompts.conversation_tail(INSTRUCTION, engine.answers))
    return Run(segmenter, frame, record.values | {"hidden states": picture_states}, answer, result, len(question))


def published_config(name: str) -> Qwen3VLSegConfig:
    """Full width; one text layer, a tower as deep as it has taps, a small vocabulary."""
    (_, hidden, ffn, heads, kv), (_, width, mlp, vision_heads, taps) = SIZES[name]
    rope = {"rope_type": "default", "rope_theta": 5e6, "mrope_section": [24, 20, 20], "mrope_interleaved": True}
    text = {"hidden_size": hidden, "intermediate_size": ffn, "num_attention_heads": heads, "num_key_value_heads": kv}
    text |= {"head_dim": 128, "num_hidden_layers": 1, "vocab_size": 4096, "rope_parameters": rope}
    vision = {"hidden_size": width, "intermediate_size": mlp, "num_heads": vision_heads, "out_hidden_size": hidden}
    vision |= {"depth": len(taps), "deepstack_visual_indexes": list(range(len(taps)))}
    return Qwen3VLSegConfig(text_config=text, vision_config=vision, mask_decoder={}, mask_token_id=0)


def published_shapes(name: str, rgb: NDArray) -> Values:
    """What a published size makes of the picture for one box, weights all zero."""
    with torch.device("meta"):
        model = Qwen3VLSegForConditionalGeneration(published_config(name))
    model.to(torch.bfloat16).to_empty(device="cpu")
    for tensor in (*model.parameters(), *model.buffers()):
        tensor.data.zero_()
    _, tokenizer, _ = checkpoint.load("tabletop")
    engine, record = Engine(model, tokenizer, ImageProcessor()), Record(model)
    state = torch.zeros(1, model.config.text_config.hidden_size, dtype=model.dtype)
    record.values["image mask"], _ = engine.masks(engine.encode(rgb), torch.tensor([[0.2, 0.2, 0.4, 0.4]]), state)
    values = record.values
    length = len(values["merged tokens"]) + QWEN_FRAME
    return values | {"hidden states": values["hidden states"][:, :1].expand(-1, length, -1)}


# --- the table -----------------------------------------------------------------------------------------------------------------

ROWS = (  # name in `Values`, what it is, where it is made
    ("resized picture", "resized picture, values -1..1", "`ImageProcessor.resize`, `.normalise`"),
    ("patches", "patches of 16 x 16 pixels, twice in time", "`ImageProcessor.patches`"),
    ("ViT tokens", "ViT tokens, through all blocks", "`encode_image`"),
    ("merged tokens", "merged tokens, 2 x 2 patches each", "`encode_image`"),
    ("DeepStack level 1", "DeepStack level, each of three", "`encode_image`"),
    ("hidden states", "hidden states of the picture's prompt", "`Engine._prefill_image`"),
    ("T_mm", "`T_mm`, hidden states at the image tokens", "`Engine.encode`"),
    ("F_mem", "memory `F_mem`", "`SpatialAdapter`"),
    ("T_seg", "`T_seg`, one for each of N mask tokens", "`Engine.answer`"),
    ("E_box", "box features `E_box`", "`box_features`"),
    ("Q1", "queries `Q0`, `Q1`, `Q2`", "`MaskDecoder.forward`"),
    ("F_up", "`F_up`, memory at mask resolution", "`PixelShuffleUp`"),
    ("F_cnn", "`F_cnn`, shallow features of the picture", "`ImageStem`"),
    ("gate M", "gate `M`", "`box_gate`"),
    ("mask 1", "mask 1, logits", "`MaskDecoder._dynamic_mask`"),
    ("mask 2", "mask 2, logits", "`MaskDecoder._dynamic_mask`"),
    ("IoU", "predicted IoU `s`, a logit", "`MaskDecoder.iou`"),
    ("image mask", "mask at the picture's size, logits", "`resize_masks`"),
)


def table(run: Run) -> str:
    columns = [run.values, *(published_shapes(name, run.frame.rgb) for name in SIZES)]
    lines = ["| tensor | made by | embedded | 2B | 4B | 8B |", "|---|---|---|---|---|---|", _layers(run), _prompt(run, columns)]
    for name, words, code in ROWS:
        lines.append(f"| {words} | {code} | " + " | ".join(_shape(name, values) for values in columns) + " |")
    return "\n".join(lines)


def _layers(run: Run) -> str:
    config = run.segmenter.engine.model.config
    vision = config.vision_config
    cells = [(config.text_config.num_hidden_layers, vision.depth, tuple(vision.deepstack_visual_indexes))]
    cells += [(text[0], vision[0], vision[4]) for text, vision in SIZES.values()]
    words = [f"{text}; {depth}; {', '.join(map(str, taps))}" for text, depth, taps in cells]
    return "| *text layers; ViT blocks; DeepStack after blocks* | configuration | " + " | ".join(words) + " |"


def _prompt(run: Run, columns: list[Values]) -> str:
    counts = [(len(v["merged tokens"]), v["hidden states"].shape[1] - len(v["merged tokens"])) for v in columns]
    words = [f"{image} + {around} + {run.question_tokens if n == 0 else 'words'}" for n, (image, around) in enumerate(counts)]
    return "| *prompt tokens: image + around it + question* | `prompts.py` | " + " | ".join(words) + " |"


def _shape(name: str, values: Values) -> str:
    """First dimensions that count instances are written N."""
    shape = [str(v) for v in values[name].shape]
    if name in ("T_seg", "E_box", "Q1", "gate M", "mask 1", "mask 2", "IoU", "image mask"):
        shape[0] = "N"
    return " x ".join(shape)


def page_with(text: str, run: Run) -> str:
    """The page with a fresh table between its marks."""
    head, rest = text.split(START)
    return f"{head}{START}\n{table(run)}\n{END}{rest.split(END)[1]}"
