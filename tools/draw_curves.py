"""Losses of training runs as one picture, from what `qwen-seg train` printed:

qwen-seg train ... | tee a.log
python tools/draw_curves.py a.log b.log --out docs/training.jpg
"""

import argparse
import re
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from qwen_seg_ros.drawing import PALETTE

TERMS = ("text", "words", "corners", "pointing", "bce", "dice")
PANEL, MARGIN, COLUMNS = (420, 240), (46, 40), 3  # width and height in pixels; left and bottom
INK, RULE, WHITE = (60, 66, 76), (225, 228, 232), (255, 255, 255)
LINE = re.compile(r"^step +(\d+) of")
TERM = re.compile(r"  (\w+) (\d+\.\d+)")

Curves = dict[str, NDArray[np.float64]]  # term -> (points, 2): steps, loss


def read_log(path: Path, start: int) -> tuple[Curves, int]:
    """Curves of one run, its steps counted from `start`; and the step at which it ends."""
    points: dict[str, list[tuple[int, float]]] = {}
    last = 0
    for line in path.read_text(errors="replace").splitlines():
        if match := LINE.match(line):
            last = int(match[1])
            for term, value in TERM.findall(line):
                points.setdefault(term, []).append((start + last, float(value)))
    if not points:
        raise SystemExit(f"{path} holds no line `step N of M ...  text 0.3 ...`; give what `qwen-seg train` printed")
    return {term: np.array(values) for term, values in points.items()}, start + last


def draw_panel(term: str, runs: list[Curves], end: int) -> NDArray[np.uint8]:
    """One term over all runs, each run in its colour."""
    panel = np.full((PANEL[1], PANEL[0], 3), WHITE, np.uint8)
    shown = [run[term] for run in runs if term in run]
    if not shown:
        return panel
    values = np.concatenate([curve[:, 1] for curve in shown])
    top = float(np.percentile(values, 97)) * 1.05
    for share in (0.0, 0.5, 1.0):
        y = _y(share * top, top)
        cv2.line(panel, (MARGIN[0], y), (PANEL[0] - 10, y), RULE, 1, cv2.LINE_AA)
        _text(panel, f"{share * top:.2f}", (4, y + 4))
    for step in (0, end // 2, end):
        _text(panel, str(step), (MARGIN[0] + round((PANEL[0] - MARGIN[0] - 40) * step / end), PANEL[1] - 14))
    for number, run in enumerate(runs):
        if term in run:
            x = MARGIN[0] + (PANEL[0] - MARGIN[0] - 10) * run[term][:, 0] / end
            heights = np.array([_y(value, top) for value in run[term][:, 1]])
            line = np.stack([x, heights], axis=1).round().astype(np.int32)
            cv2.polylines(panel, [line], False, PALETTE[number % len(PALETTE)], 2, cv2.LINE_AA)
    _text(panel, term, (MARGIN[0], 18), 0.5)
    return panel


def _y(value: float, top: float) -> int:
    height = PANEL[1] - MARGIN[1] - 26
    return PANEL[1] - MARGIN[1] - round(height * min(value / top, 1.0))


def _text(panel: NDArray[np.uint8], text: str, at: tuple[int, int], size: float = 0.38) -> None:
    cv2.putText(panel, text, at, cv2.FONT_HERSHEY_SIMPLEX, size, INK, 1, cv2.LINE_AA)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("logs", type=Path, nargs="+", help="in the order of the runs; each goes on where the one before ended")
    parser.add_argument("--out", type=Path, required=True, help="JPEG or PNG file")
    options = parser.parse_args()
    runs, end = list[Curves](), 0
    for path in options.logs:
        curves, end = read_log(path, end)
        runs.append(curves)
    panels = [draw_panel(term, runs, end) for term in TERMS]
    rows = [np.hstack(panels[n : n + COLUMNS]) for n in range(0, len(panels), COLUMNS)]
    cv2.imwrite(str(options.out), cv2.cvtColor(np.vstack(rows), cv2.COLOR_RGB2BGR))


if __name__ == "__main__":
    main()
