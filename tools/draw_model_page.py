"""Shape table and figure of docs/models.md, from the running network:  python tools/draw_model_page.py

The embedded model answers one instruction about a recorded frame while hooks keep what its parts put out. The published sizes
run through the same code at full width, with few layers and without their weights: no shape depends on either.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor, nn

from qwen_seg_ros.cli.files import frame_from_bag
from qwen_seg_ros.drawing import draw_overlay
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
from qwen_seg_ros.segmentation.qwen import EncodedFrame, QwenSegmenter
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
    segmenter = QwenSegmenter(SegmentationSettings(dtype="float32", device="cpu"))
    frame, engine = frame_from_bag(BAG, FRAME), segmenter.engine
    record = Record(engine.model)
    encoded = engine.encode(frame.rgb)
    picture_states = record.values["hidden states"]
    answer = engine.answer(encoded, INSTRUCTION)
    result = segmenter.segment(EncodedFrame(encoded, frame), Instruction(INSTRUCTION))
    boxes = [entry.box_grid for entry in parse_answer(answer.text, INSTRUCTION).entries]
    record.values["image mask"], _ = engine.masks(encoded, torch.tensor(boxes) / GRID, answer.mask_states)
    question = engine._tokens(prompts.conversation_tail(INSTRUCTION, engine.answers))
    return Run(segmenter, frame, record.values | {"hidden states": picture_states}, answer, result, len(question))


def published_config(name: str) -> Qwen3VLSegConfig:
    """Full width; one text layer, a tower as deep as it has taps, a small vocabulary."""
    (_, hidden, ffn, heads, kv), (_, width, mlp, vision_heads, taps) = SIZES[name]
    rope = {"rope_type": "default", "rope_theta": 5e6, "mrope_section": [24, 20, 20], "mrope_interleaved": True}
    text = {"hidden_size": hidden, "intermediate_size": ffn, "num_attention_heads": heads, "num_key_value_heads": kv}
    text |= {"head_dim": 128, "num_hidden_layers": 1, "vocab_size": 2048, "rope_parameters": rope}
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


# --- the figure ----------------------------------------------------------------------------------------------------------------

INK, GREY, RULE, MUG, BOX = (28, 32, 40), (98, 106, 120), (222, 226, 232), (0, 150, 92), (214, 96, 0)
WARM, COLD = (244, 120, 24), (40, 94, 172)
LOGIT_SPAN = 6.0  # logits in full colour
CLOSE_WIDTH, CLOSE_ASPECT = 266, 0.645  # of the enlarged masks: pixels, and width over height in shares of the picture
HEIGHT, GAP, MARGIN, TITLE, CAPTION = 330, 26, 30, 44, 58
"""Pixels: of a panel, between panels, around all, above a panel, below it."""


class Panel(NamedTuple):
    """image: uint8 (HEIGHT, w, 3). caption: two lines at most."""

    image: NDArray
    title: str
    caption: str


def reading(run: Run) -> list[Panel]:
    """The picture on its way to the language model."""
    rgb, resized = run.frame.rgb, _resized(run)
    rows, cols = run.values["F_mem"].shape[-2:]
    tokens = f"{resized.shape[0]} x {resized.shape[1]} pixels, {rows} x {cols} tokens\nof 2 x 2 patches of 16 pixels"
    return [
        Panel(_fit(rgb), "Picture", f"{rgb.shape[1]} x {rgb.shape[0]} pixels"),
        Panel(_lines(_fit(resized), rows, cols), "Resized, cut into tokens", tokens),
        *(_level(run, number, rows, cols) for number in (1, 3)),
    ]


def masking(run: Run) -> list[Panel]:
    """From the answer to the mask."""
    rgb, values, crop = run.frame.rgb, run.values, _crop(run)
    first, second = values["mask 1"][0], values["mask 2"][0]
    change, moved = second - first, int(((first > 0) != (second > 0)).sum())
    most, iou = float(change.abs().max()), float(values["IoU"][0].sigmoid())
    legend = "logits: orange object, blue\nbackground; line: logit 0"
    changed = f"from -{most:.1f} (blue) to {most:.1f}; cells\nthat change sides: {moved}"
    return [
        _gate(run),
        Panel(_logits(first, crop, LOGIT_SPAN), "Mask 1", legend),
        Panel(_logits(change, crop, most), "Mask 2 - mask 1", changed),
        Panel(_logits(second, crop, LOGIT_SPAN), "Mask 2", f"refined by a look at mask 1;\npredicted IoU {iou:.2f}"),
        Panel(_fit(draw_overlay(rgb, run.result)), "Mask in the picture", "mask 2, bilinear to the picture, logit > 0"),
    ]


def _resized(run: Run) -> NDArray:
    picture = run.values["resized picture"][0].permute(1, 2, 0).numpy()
    return np.rint((picture + 1) * 127.5).astype(np.uint8)


def _fit(image: NDArray, how: int = cv2.INTER_AREA) -> NDArray:
    """To the panels' height, its own aspect kept; maps of tokens are as wide as the resized picture."""
    height, width = image.shape[:2]
    how = cv2.INTER_CUBIC if how == cv2.INTER_AREA and height < HEIGHT else how
    return cv2.resize(image, (round(width * HEIGHT / height), HEIGHT), interpolation=how)


def _lines(image: NDArray, rows: int, cols: int) -> NDArray:
    """Faint lines between the tokens."""
    out, faint = image.copy(), (0.55 * image + 0.45 * 255).astype(np.uint8)
    y, x = (np.arange(1, n) * size // n for n, size in ((rows, image.shape[0]), (cols, image.shape[1])))
    out[y], out[:, x] = faint[y], faint[:, x]
    return out


def _pca(features: NDArray) -> NDArray:
    """(h, w, C) -> uint8 (h, w, 3): the three strongest directions, each from its 2nd to its 98th percentile."""
    flat = features.reshape(-1, features.shape[-1])
    centred = flat - flat.mean(0)
    _, _, directions = np.linalg.svd(centred, full_matrices=False)
    signs = np.sign(directions[np.arange(3), np.abs(directions[:3]).argmax(1)])
    values = centred @ (directions[:3] * signs[:, None]).T
    low, high = np.percentile(values, [2, 98], axis=0)
    return (((values - low) / (high - low)).clip(0, 1) * 255).astype(np.uint8).reshape(*features.shape[:2], 3)


def _level(run: Run, number: int, rows: int, cols: int) -> Panel:
    """Colours of the tokens over a faint picture."""
    features = run.values[f"DeepStack level {number}"].reshape(rows, cols, -1).numpy()
    block = run.segmenter.engine.model.config.vision_config.deepstack_visual_indexes[number - 1]
    tokens = _fit(_pca(features), cv2.INTER_NEAREST).astype(np.float32)
    grey = _fit(_resized(run)).mean(-1, keepdims=True)
    image = _lines((0.7 * tokens + 0.3 * grey).astype(np.uint8), rows, cols)
    words = f"{rows} x {cols} tokens x {features.shape[-1]}; colours = the three\nstrongest directions (PCA)"
    return Panel(image, f"DeepStack, after block {block}", words)


def _gate(run: Run) -> Panel:
    """The gate as a tint over the grey picture, with the box and the part that is shown enlarged."""
    image, values = _fit(_resized(run)), run.values["gate M"][0].numpy()
    gate = cv2.resize(values, image.shape[1::-1], interpolation=cv2.INTER_LINEAR)
    weight = 0.85 * (gate / gate.max())[..., None]
    grey = 0.45 * image.mean(-1, keepdims=True) + 10
    out = np.ascontiguousarray((grey * (1 - weight) + weight * np.array(WARM)).astype(np.uint8))
    for corners, thickness in ((_box(run), 2), (_crop(run), 1)):
        x0, y0, x1, y1 = np.rint(corners * np.tile(image.shape[1::-1], 2)).astype(int).tolist()
        cv2.rectangle(out, (x0, y0), (x1, y1), (255, 255, 255), thickness, cv2.LINE_AA)
    words = f"thick: the box as written; tint: M, up to\n{values.max():.2f}; thin: the part shown in f, g, h"
    return Panel(out, "Box gate M", words)


def _box(run: Run) -> NDArray:
    """Of the first entry of the answer, x0 y0 x1 y1 in 0..1."""
    return np.array(parse_answer(run.answer.text, INSTRUCTION).entries[0].box_grid) / GRID


def _crop(run: Run) -> NDArray:
    """Around the box, 4 : 5 in a resized picture of 5 : 4, x0 y0 x1 y1 in 0..1."""
    x0, y0, x1, y1 = _box(run)
    half = 0.85 * max((x1 - x0) / CLOSE_ASPECT, y1 - y0) * np.array([CLOSE_ASPECT, 1])
    middle = np.clip([(x0 + x1) / 2, (y0 + y1) / 2], half, 1 - half)
    return np.concatenate([middle - half, middle + half])


def _logits(values: Tensor, crop: NDArray, span: float) -> NDArray:
    """Cells of a part of the mask: blue = negative, orange = positive, in full colour from `span` on; dark line = 0."""
    height, width = values.shape
    x0, y0, x1, y1 = np.rint(crop * [width, height, width, height]).astype(int)
    part = values.numpy()[y0:y1, x0:x1]
    size = (CLOSE_WIDTH, HEIGHT)
    cells = cv2.resize((part / span).clip(-1, 1), size, interpolation=cv2.INTER_NEAREST)[..., None]
    strength = np.abs(cells) ** 0.7
    out = (255 * (1 - strength) + strength * np.where(cells > 0, WARM, COLD)).astype(np.uint8)
    if span == LOGIT_SPAN:
        inside = cv2.resize(part, size, interpolation=cv2.INTER_LINEAR) > 0
        outlines, _ = cv2.findContours(inside.astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(out, outlines, -1, INK, 2, cv2.LINE_AA)
    return out


def draw(run: Run) -> Image.Image:
    rows = [reading(run), masking(run)]
    width = max(sum(p.image.shape[1] for p in row) + GAP * (len(row) - 1) for row in rows) + 2 * MARGIN
    row_height, band = TITLE + HEIGHT + CAPTION, 96
    canvas = Image.new("RGB", (width, 2 * row_height + band + 2 * MARGIN), (255, 255, 255))
    pen = ImageDraw.Draw(canvas)
    _draw_row(canvas, rows[0], MARGIN, "abcd")
    _draw_answer(pen, run, (MARGIN, MARGIN + row_height + 4), (width - 2 * MARGIN, band - 24))
    _draw_row(canvas, rows[1], MARGIN + row_height + band, "efghi")
    return canvas


def _draw_row(canvas: Image.Image, row: list[Panel], y: int, letters: str) -> None:
    pen, x = ImageDraw.Draw(canvas), MARGIN
    for letter, panel in zip(letters, row, strict=True):
        width = panel.image.shape[1]
        pen.ellipse((x, y + 4, x + 28, y + 32), fill=MUG)
        pen.text((x + 14, y + 18), letter, (255, 255, 255), _font(20), anchor="mm")
        pen.text((x + 38, y + 18), panel.title, INK, _font(23), anchor="lm", stroke_width=0.4)
        canvas.paste(Image.fromarray(panel.image), (x, y + TITLE))
        pen.rectangle((x, y + TITLE, x + width - 1, y + TITLE + HEIGHT - 1), outline=RULE)
        pen.multiline_text((x, y + TITLE + HEIGHT + 8), panel.caption, GREY, _font(18), spacing=5)
        x += width + GAP


def _draw_answer(pen: ImageDraw.ImageDraw, run: Run, corner: tuple[int, int], size: tuple[int, int]) -> None:
    """Instruction and answer, the parts that go on to the decoder in colour."""
    (x, y), (width, height) = corner, size
    pen.rounded_rectangle((x, y, x + width, y + height), 10, fill=(245, 247, 249), outline=RULE)
    _coloured(pen, (x + 18, y + 24), [("asked:  ", GREY), (INSTRUCTION, INK)])
    entry = parse_answer(run.answer.text, INSTRUCTION).entries[0]
    box = ",".join(f"{v:.0f}" for v in entry.box_grid)
    before, after = run.answer.text.split(box)
    left, right = after.split(prompts.MASK_TOKEN)
    parts = [("written:  ", GREY), (before, INK), (box, BOX), (left, INK), (prompts.MASK_TOKEN, MUG), (right, INK)]
    end = _coloured(pen, (x + 18, y + 52), parts)
    notes = [("box", BOX), (" and the hidden state ", GREY), ("T_seg", MUG), (" at the mask token go to the decoder", GREY)]
    _coloured(pen, (end + 40, y + 52), notes)


def _coloured(pen: ImageDraw.ImageDraw, at: tuple[float, float], parts: list[tuple[str, tuple]]) -> float:
    """Pieces of one line, each in its colour; -> where the line ends."""
    x, y = at
    for text, colour in parts:
        pen.text((x, y), text, colour, _font(20), anchor="lm", stroke_width=0.3 if colour in (BOX, MUG) else 0)
        x += pen.textlength(text, _font(20))
    return x


def _font(size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.load_default(size)


def main() -> None:
    run = run_embedded()
    PAGE.write_text(page_with(PAGE.read_text(), run))
    draw(run).save(FIGURE, quality=88, optimize=True)
    print(f"wrote {PAGE} and {FIGURE} ({FIGURE.stat().st_size / 1000:.0f} kB)")


if __name__ == "__main__":
    main()
