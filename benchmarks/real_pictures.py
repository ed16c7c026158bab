"""What the model finds in real pictures: ten RealSense pictures of one object on an office table.

python -m benchmarks.real_pictures --data FOLDER [--checkpoint NAME] [--whole-picture] [--pictures OUT.png]

FOLDER/<name>/ holds color.png, depth.png, camera.json and seg.png, instance 1 is the object (upstream:
https://github.com/NVlabs/6dof-graspnet folder demo/data; the mask is the object's points in the picture). The words were chosen
once, from the pictures, before any model was asked. "Found" is an answer whose first mask has an IoU of at least 0.5. Every
picture is also asked for something that is not there, to be rejected. The model never sees these pictures in training.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.box_to_mask import read_picture
from qwen_seg_ros.drawing import draw_overlay
from qwen_seg_ros.geometry.mask import mask_iou
from qwen_seg_ros.segmentation.instruction import Instruction
from qwen_seg_ros.segmentation.qwen import QwenSegmenter
from qwen_seg_ros.segmentation.result import Outcome, SegmentationResult
from qwen_seg_ros.segmentation.settings import SegmentationSettings

WORDS = {
    "blue_mug": "the blue mug",
    "cheezit": "the cracker box",
    "cylinder": "the can",
    "green_bowl": "the green bowl",
    "mustard": "the mustard bottle",
    "pepper": "the black can",
    "red_mug": "the red mug",
    "sugar": "the sugar box",
    "white_bowl": "the white bowl",
    "white_mug": "the white bowl",  # upstream calls this second bowl a mug
}
ABSENT = "the hammer"
FOUND = 0.5


@dataclass(frozen=True, eq=False)
class Row:
    name: str
    iou: float
    said: SegmentationResult
    rejected: bool  # the absent thing
    overlay: NDArray[np.uint8]


def ask(segmenter: QwenSegmenter, folder: Path) -> Row:
    """The picture's own words, then the absent thing."""
    picture = read_picture(folder)
    frame, truth = picture.frame, picture.truths[0]
    encoded = segmenter.encode(frame)
    said = segmenter.segment(encoded, Instruction(WORDS[folder.name]))
    iou = mask_iou(said.instances[0].mask.full(), truth) if said.instances else 0.0
    absent = segmenter.segment(encoded, Instruction(ABSENT))
    return Row(folder.name, iou, said, absent.outcome == Outcome.NOT_FOUND, draw_overlay(frame.rgb, said))


def print_table(console: Console, rows: list[Row]) -> None:
    found = sum(row.iou >= FOUND for row in rows)
    table = Table(title=f"{found} of {len(rows)} found; {ABSENT!r} rejected in {sum(row.rejected for row in rows)}")
    for column in ("picture", "words", "outcome", "answer", "IoU"):
        table.add_column(column, no_wrap=True)
    for row in rows:
        table.add_row(row.name, WORDS[row.name], row.said.outcome.value, row.said.answer[:60], f"{row.iou:.2f}")
    console.print(table)


def montage(rows: list[Row], columns: int = 4) -> NDArray[np.uint8]:
    """All overlays at half size."""
    small = [cv2.resize(row.overlay, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA) for row in rows]
    small += [np.zeros_like(small[0])] * (-len(small) % columns)
    return np.vstack([np.hstack(small[n : n + columns]) for n in range(0, len(small), columns)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with one folder a picture")
    parser.add_argument("--checkpoint", default=SegmentationSettings().checkpoint, help="embedded name, folder or hub id")
    parser.add_argument("--whole-picture", action="store_true", help="look_closer: false")
    parser.add_argument("--pictures", type=Path, help="write all answers as one picture to this PNG file")
    options = parser.parse_args()
    folders = [options.data / name for name in WORDS]
    if missing := [str(path) for path in folders if not (path / "color.png").is_file()]:
        parser.error(f"no color.png in {', '.join(missing)}; see --help for the layout")
    console = Console(width=150)
    segmenter = QwenSegmenter(SegmentationSettings(checkpoint=options.checkpoint, look_closer=not options.whole_picture))
    rows = [ask(segmenter, folder) for folder in track(folders, console=console)]
    print_table(console, rows)
    if options.pictures:
        cv2.imwrite(str(options.pictures), cv2.cvtColor(montage(rows), cv2.COLOR_RGB2BGR))


if __name__ == "__main__":
    main()
