"""Shapes to write as text, and what is lost and spent on it: the table of test_text_masks.py and docs/answers.md.

`python test/mask_shapes.py` writes the table into docs/answers.md.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from qwen_seg_ros.model import text_masks as tm

PAGE = Path(__file__).resolve().parents[1] / "docs" / "answers.md"
BEGIN, END = "<!-- mask texts: written by test/mask_shapes.py -->\n", "<!-- end of mask texts -->\n"
HEIGHT, WIDTH = 240, 320
KINDS = ("ellipse", "tilted ellipse", "ring", "mug with a handle", "rod with a head", "star")
EACH = 12


def shape(kind: str, seed: int) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
    """A mask (HEIGHT, WIDTH) of 24 to 200 pixels across, and the box around it."""
    rng = np.random.default_rng([seed, KINDS.index(kind)])
    half_w, half_h = np.exp(rng.uniform(np.log(12), np.log(100), 2))
    centre_x, centre_y = rng.uniform(half_w, WIDTH - half_w), rng.uniform(half_h, HEIGHT - half_h)
    y, x = np.mgrid[:HEIGHT, :WIDTH] + 0.5
    mask = _inside(kind, (x - centre_x) / half_w, (y - centre_y) / half_h, rng)
    rows, cols = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return mask, np.array([cols[0], rows[0], cols[-1] + 1, rows[-1] + 1], np.float32)


def _inside(kind: str, x: NDArray, y: NDArray, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Membership in a shape that fills -1..1 in both directions."""
    radius, angle = np.hypot(x, y), np.arctan2(y, x)
    if kind == "ellipse":
        return radius < 1
    if kind == "tilted ellipse":
        turn = rng.uniform(0.4, 1.1)
        return np.hypot(np.cos(turn) * x + np.sin(turn) * y, (np.cos(turn) * y - np.sin(turn) * x) / 0.4) < 1
    if kind == "ring":
        return (radius < 1) & (radius > 0.6)
    if kind == "mug with a handle":
        handle = np.hypot((x - 0.4) / 0.6, y / 0.6)
        return ((x > -1) & (x < 0.4) & (np.abs(y) < 1)) | ((x >= 0.4) & (handle < 1) & (handle > 0.7))
    if kind == "rod with a head":
        along, across = (x - y) / np.sqrt(2), (x + y) / np.sqrt(2)
        return ((np.abs(along) < 1) & (np.abs(across) < 0.1)) | (np.hypot(x - 0.7, y + 0.7) < 0.3)
    return radius < 0.65 + 0.35 * np.cos(rng.integers(3, 7) * angle + rng.uniform(0, 6))


def iou(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    return float((a & b).sum() / (a | b).sum())


SHAPES = [(kind, *shape(kind, seed)) for kind in KINDS for seed in range(EACH)]


def bricks(side: int) -> tuple[list[int], list[float], list[float]]:
    """Characters between the tags, IoU with nearest and with smooth upsampling, of every shape."""
    texts = [tm.encode_bricks(mask, box, side) for _, mask, box in SHAPES]
    nearest, smooth = [], []
    for text, (_, mask, box) in zip(texts, SHAPES, strict=True):
        x0, y0, x1, y1 = box.astype(int)
        near = np.zeros_like(mask)
        near[y0:y1, x0:x1] = tm.upsample_nearest(tm.decode_bricks(text), y1 - y0, x1 - x0)
        nearest.append(iou(near, mask))
        smooth.append(iou(tm.text_mask_in_image(text, box, HEIGHT, WIDTH, ""), mask))
    return [len(text) - len("<seg></seg>") for text in texts], nearest, smooth


def labels(side: int) -> tuple[list[int], list[float], list[float]]:
    """The same for image-wise texts with the label "mug"; IoU counts 0 where the mask falls between the cells."""
    grids = [tm.label_grid({"mug": mask}, side, side) for _, mask, _ in SHAPES]
    nearest = [iou(tm.upsample_nearest(g.mask("mug"), HEIGHT, WIDTH), m) for g, (_, m, _) in zip(grids, SHAPES, strict=True)]
    smooth = [iou(tm.upsample_smooth(g.mask("mug"), HEIGHT, WIDTH), m) for g, (_, m, _) in zip(grids, SHAPES, strict=True)]
    return [len(tm.encode_labels(grid)) - len("<seg></seg>") for grid in grids], nearest, smooth


def page_block() -> str:
    head = "| form | cells | characters: mean, most | IoU nearest | IoU smooth |"
    head += "".join(f" {kind} |" for kind in KINDS) + "\n" + "|---" * (5 + len(KINDS)) + "|\n"
    rows = [_row("bricks in the box", side, bricks(side)) for side in tm.BRICK_SIDES]
    return head + "".join(rows + [_row("labels of the image", side, labels(side)) for side in (16, 24, 32)])


def _row(form: str, side: int, measured: tuple[list[int], list[float], list[float]]) -> str:
    length, nearest, smooth = measured
    used = smooth if form.startswith("bricks") else nearest
    by_kind = np.reshape(used, (len(KINDS), EACH)).mean(axis=1)
    cells = [
        form,
        f"{side} x {side}",
        f"{np.mean(length):.0f}, {max(length)}",
        f"{np.mean(nearest):.2f}",
        f"{np.mean(smooth):.2f}",
    ]
    return "| " + " | ".join(cells + [f"{value:.2f}" for value in by_kind]) + " |\n"


def page_with_table(page: str) -> str:
    before, rest = page.split(BEGIN)
    return before + BEGIN + page_block() + END + rest.split(END)[1]


if __name__ == "__main__":
    PAGE.write_text(page_with_table(PAGE.read_text()))
