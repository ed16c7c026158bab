"""Shape table and figure of docs/models.md, from the running network:  python tools/draw_model_page.py"""

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from qwen_seg_ros.drawing import draw_overlay
from qwen_seg_ros.geometry.box import GRID
from qwen_seg_ros.model import prompts
from qwen_seg_ros.segmentation.answer import parse_answer
from tools.model_shapes import FIGURE, INSTRUCTION, PAGE, Run, page_with, run_embedded

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
