"""Masks as text, for models that write their masks instead of mask tokens. NumPy and strings only.

Two forms, both between `<seg>` and `</seg>`:

- Image-wise, Text4Seg (arXiv 2410.09855): the whole image as a grid of labels, run-length coded row by row (R-RLE):
  `others *1| dog *3\\n others *4\\n`. A run is `<label> *<count>`; runs of a row are joined by `| `, rows by `\\n `, and the text
  ends in `\\n`. Runs never cross rows. `others` is the background.
- Box-wise, after Text4Seg++ (arXiv 2509.06321), whose vocabulary is not public; the syntax is our own. A box localises, the text
  says what of the box is the mask: `N x N` cells, cut into bricks of 4 cells one above the other, each brick one letter `a`..`p`
  (bits of the cells from the top: 1, 2, 4, 8, so `a` is empty and `p` full). Rows of bricks are joined by `/`; `p7` is seven
  times `p`; empty bricks at the end of a row are left out. N is 16, or stands in front: `24:...`.

Shapes: (R, C) cells, (h, w) pixels of a box, (H, W) pixels of the image.
"""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from qwen_seg_ros.errors import InvalidInputError
from qwen_seg_ros.geometry.arrays import BoxPx, MaskImage
from qwen_seg_ros.geometry.box import GRID

SEG_START, SEG_END, BACKGROUND = "<seg>", "</seg>", "others"
LABEL_SIDES = (16, 24, 32)  # grids that are published or likely; a text of another size is taken as it is
MAX_SIDE = 64
MAX_LABELS = 64
MAX_TEXT_CHARACTERS = 20_000
BRICK_SIDES = (8, 12, 16, 20, 24, 32)
BRICK_SIDE = 16  # of the sizes above the knee of IoU over length: docs/answers.md
BRICK_HEIGHT = 4
BRICKS = "abcdefghijklmnop"

COUNT = re.compile(r"\s?0{0,5}([1-9]\d{0,5})\s{0,5}")
BRICK_TEXT = re.compile(r"(?:(\d{1,2}):)?([a-p0-9/]*)")
BRICK_RUN = re.compile(r"([a-p])(\d{0,3})")

CellMask = NDArray[np.bool_]  # (R, C)


@dataclass(frozen=True, eq=False)
class LabelGrid:
    """cells: (R, C) integers, index into labels; labels[0] is the background, and no two differ only in case."""

    labels: tuple[str, ...]
    cells: NDArray[np.int64]

    def mask(self, label: str) -> CellMask:
        """Cells of this label, upper and lower case alike; a label that is not there has none."""
        names = [name.casefold() for name in self.labels[1:]]
        wanted = label.strip().casefold()
        return self.cells == (names.index(wanted) + 1 if wanted in names else -1)


# --- image-wise: Text4Seg ---------------------------------------------------------------------------------------------------


def label_grid(masks: Mapping[str, MaskImage], rows: int = 16, cols: int = 16) -> LabelGrid:
    """Masks (H, W) by label -> the label at the middle of every cell; where masks overlap the later one counts.

    Raises:
        InvalidInputError: for a label that cannot be written, or no mask at all.
    """
    if not masks:
        raise InvalidInputError("a label grid needs at least one mask; an image without target has an empty one")
    cells = np.zeros((rows, cols), np.int64)
    for number, (label, mask) in enumerate(masks.items(), start=1):
        _check_label(label)
        cells[mask[np.ix_(_centres(mask.shape[0], rows), _centres(mask.shape[1], cols))]] = number
    return LabelGrid((BACKGROUND, *masks), cells)


def encode_labels(grid: LabelGrid) -> str:
    """R-RLE between its tags. Inverse: `decode_labels`."""
    rows = ("| ".join(f"{grid.labels[value]} *{len(list(run))}" for value, run in groupby(row)) for row in grid.cells.tolist())
    return SEG_START + "\n ".join(rows) + "\n" + SEG_END


def decode_labels(text: str, shape: tuple[int, int] | None = None) -> LabelGrid:
    """R-RLE, with or without tags -> its grid; never fails.

    A row that is too short goes on with its last label, one too long is cut, missing rows repeat the last label; a run that
    cannot be read is left out, and a text without any is all background. Without `shape` (rows, columns) the commonest row
    length tells the columns; square for the usual sizes.
    """
    rows = _label_rows(_inner(text))
    height, width = shape or _shape(rows)
    labels, numbers = [BACKGROUND], {BACKGROUND: 0}
    cells = np.zeros((height, width), np.int64)
    last = BACKGROUND
    for row in range(height):
        column = 0
        for label, count in rows[row] if row < len(rows) else [(last, width)]:
            if label.casefold() not in numbers:
                numbers[label.casefold()] = len(labels)
                labels.append(label)
            cells[row, column : column + count] = numbers[label.casefold()]
            column, last = column + count, label
        if column:
            cells[row, min(column, width) :] = numbers[last.casefold()]
    return LabelGrid(tuple(labels), cells)


def connected_instances(mask: CellMask) -> list[CellMask]:
    """The parts of a mask that do not touch, not even at a corner, largest first: the grid itself tells no instances apart."""
    left, parts = mask.copy(), []
    while left.any():
        seed = np.zeros_like(mask)
        seed.flat[int(left.argmax())] = True
        grown = _grown(seed) & left
        while (grown != seed).any():
            seed, grown = grown, _grown(grown) & left
        parts.append(seed)
        left &= ~seed
    return sorted(parts, key=lambda part: -int(part.sum()))


@dataclass(frozen=True)
class Region:
    """A label of an image-wise text. box_grid: around its cells, on the 0..1000 grid; text: the same grid with it alone."""

    label: str
    box_grid: tuple[float, float, float, float]
    text: str


def regions(text: str) -> list[Region] | None:
    """What an image-wise text describes, MAX_LABELS at most; empty where all is background, None where no run can be read."""
    if not any(_label_rows(_inner(text))):
        return None
    grid = decode_labels(text)
    masks = ((label, grid.mask(label)) for label in grid.labels[1 : MAX_LABELS + 1])
    return [_region(label, mask) for label, mask in masks if mask.any()]


def _region(label: str, mask: CellMask) -> Region:
    rows, cols = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    x, y = GRID / mask.shape[1], GRID / mask.shape[0]
    box = (float(cols[0] * x), float(rows[0] * y), float((cols[-1] + 1) * x), float((rows[-1] + 1) * y))
    return Region(label, box, encode_labels(LabelGrid((BACKGROUND, label), mask.astype(np.int64))))


def _label_rows(text: str) -> list[list[tuple[str, int]]]:
    """Runs (label, count) of every row; the last row is there though the text was cut in it."""
    lines = text.replace("\\n", "\n").strip().split("\n")[:MAX_SIDE]
    return [[run for run in map(_label_run, line.split("|")[:MAX_SIDE]) if run is not None] for line in lines]


def _label_run(text: str) -> tuple[str, int] | None:
    words, _, digits = text.rpartition("*")
    label, count = words.strip(), COUNT.fullmatch(digits)
    if not label or count is None:
        return None
    return label, min(int(count[1]), MAX_SIDE)


def _shape(rows: list[list[tuple[str, int]]]) -> tuple[int, int]:
    lengths = Counter(min(sum(count for _, count in row), MAX_SIDE) for row in rows if row)
    if not lengths:
        return LABEL_SIDES[0], LABEL_SIDES[0]
    width = lengths.most_common(1)[0][0]
    return (width if width in LABEL_SIDES else len(rows)), width


def _check_label(label: str) -> None:
    if label != label.strip() or not label or label == BACKGROUND or re.search(r"[|<>\n]", label):
        raise InvalidInputError(
            f"a label must be words without | < > or line breaks, and not {BACKGROUND!r}, which means background; got {label!r}"
        )


def _grown(mask: CellMask) -> CellMask:
    padded = np.pad(mask, 1)
    rows, cols = mask.shape
    return np.logical_or.reduce([padded[y : y + rows, x : x + cols] for y in range(3) for x in range(3)])


# --- box-wise: after Text4Seg++ ---------------------------------------------------------------------------------------------


def encode_bricks(mask: CellMask, box_px: BoxPx, side: int = BRICK_SIDE) -> str:
    """The mask (H, W) inside its box -> bricks between tags, at most side * side / 4 letters and a separator a row.

    Raises:
        InvalidInputError: for a side that cannot be written.
    """
    if side not in BRICK_SIDES:
        raise InvalidInputError(f"side must be one of {BRICK_SIDES}, got {side}")
    y, x = _inside(box_px, *mask.shape)
    return SEG_START + ("" if side == BRICK_SIDE else f"{side}:") + _write_bricks(_covered(mask[y, x], side)) + SEG_END


def decode_bricks(text: str) -> CellMask:
    """Bricks, with or without tags -> (side, side) cells; never fails.

    What is missing at the end of a row or of the text is empty, what is too much is cut, and a text that is none is empty.
    """
    match = BRICK_TEXT.fullmatch(_inner(text).strip())
    side = int(match[1]) if match and match[1] else BRICK_SIDE
    if match is None or side not in BRICK_SIDES:
        return np.zeros((BRICK_SIDE, BRICK_SIDE), np.bool_)
    values = np.zeros((side // BRICK_HEIGHT, side), np.int64)
    for row, line in zip(values, match[2].split("/"), strict=False):
        written = "".join(letter * min(int(count or 1), side) for letter, count in BRICK_RUN.findall(line))[:side]
        row[: len(written)] = [BRICKS.index(letter) for letter in written]
    bits = (values[:, None, :] >> np.arange(BRICK_HEIGHT)[None, :, None]) & 1
    return bits.reshape(side, side).astype(np.bool_)


def _write_bricks(cells: CellMask) -> str:
    side = cells.shape[1]
    bits = cells.reshape(-1, BRICK_HEIGHT, side).astype(np.int64) << np.arange(BRICK_HEIGHT)[None, :, None]
    rows = ("".join(BRICKS[value] for value in row).rstrip(BRICKS[0]) for row in bits.sum(axis=1).tolist())
    return "/".join("".join(_run(letter, len(list(run))) for letter, run in groupby(row)) for row in rows)


def _run(letter: str, count: int) -> str:
    return letter if count == 1 else f"{letter}{count}"


def _covered(mask: CellMask, side: int) -> CellMask:
    """Cells covered by half; where no cell is, those covered most, so that a mask never vanishes."""
    if not mask.size or not mask.any():
        return np.zeros((side, side), np.bool_)
    share = _overlap(mask.shape[0], side) @ mask @ _overlap(mask.shape[1], side).T
    return share >= min(0.5, float(share.max()))


def _overlap(pixels: int, cells: int) -> NDArray[np.float64]:
    """(cells, pixels): which share of a cell each pixel is."""
    edges = np.linspace(0, pixels, cells + 1)[:, None]
    shared = np.minimum(edges[1:], np.arange(1, pixels + 1)) - np.maximum(edges[:-1], np.arange(pixels))
    return np.maximum(shared, 0) * cells / pixels


# --- both -------------------------------------------------------------------------------------------------------------------


def text_mask_in_image(mask_text: str, box_px: BoxPx, height: int, width: int, label: str) -> MaskImage:
    """A mask text of either form -> mask (H, W); all False where the text cannot be read.

    box_px: the entry's box, which a box-wise text fills. label: whose cells are meant in an image-wise text; where it has no
    cell of that name, all that is not background.
    """
    inner = _inner(mask_text)
    if "*" in inner:
        grid = decode_labels(inner)
        cells = grid.mask(label)
        return upsample_nearest(cells if cells.any() else grid.cells > 0, height, width)
    mask = np.zeros((height, width), np.bool_)
    y, x = _inside(box_px, height, width)
    mask[y, x] = upsample_smooth(decode_bricks(inner), y.stop - y.start, x.stop - x.start)
    return mask


def upsample_nearest(cells: CellMask, height: int, width: int) -> MaskImage:
    """Every pixel as the cell it lies in."""
    rows, cols = cells.shape
    return cells[np.ix_(_cell_of(height, rows), _cell_of(width, cols))]


def upsample_smooth(cells: CellMask, height: int, width: int) -> MaskImage:
    """Bilinear between the cells' middles, cut at one half; outside of the cells there is nothing."""
    down, right = _weights(height, cells.shape[0]), _weights(width, cells.shape[1])
    return down @ cells @ right.T >= 0.5 - 1e-9


def _weights(pixels: int, cells: int) -> NDArray[np.float64]:
    """(pixels, cells): how much each cell counts at a pixel's middle."""
    places = (np.arange(pixels) + 0.5) * cells / max(pixels, 1) - 0.5
    return np.maximum(1 - np.abs(places[:, None] - np.arange(cells)), 0)


def _cell_of(pixels: int, cells: int) -> NDArray[np.int64]:
    return ((np.arange(pixels) + 0.5) * cells / max(pixels, 1)).astype(np.int64)


def _centres(pixels: int, cells: int) -> NDArray[np.int64]:
    return ((np.arange(cells) + 0.5) * pixels / cells).astype(np.int64)


def _inside(box_px: BoxPx, height: int, width: int) -> tuple[slice, slice]:
    """Rows and columns of the pixels of a box that lie in the image."""
    x0, y0, x1, y1 = (int(v) for v in np.rint(np.asarray(box_px, np.float64)))
    y, x = np.clip([y0, y1], 0, height), np.clip([x0, x1], 0, width)
    return slice(int(y[0]), int(max(y))), slice(int(x[0]), int(max(x)))


def _inner(text: str) -> str:
    """What stands between the tags; the closing one may have been cut off."""
    text = text[:MAX_TEXT_CHARACTERS]
    start = text.find(SEG_START)
    text = text[start + len(SEG_START) :] if start >= 0 else text
    return text.split("<", 1)[0]
