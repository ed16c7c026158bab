"""How well boxes become masks without training, on real RGB-D pictures: this package beside simpler ways.

python benchmarks/box_to_mask.py --data FOLDER [--pictures OUT]

FOLDER holds one folder per picture set, each with one folder per picture:
    mOSD/learn*/          color.jpg depth.png seg.png camera.json   instances from 2 on are objects, 1 is the table
    6dof-graspnet/*/      color.png depth.png seg.png camera.json   1 is the object
camera.json: width, height, fx, fy, cx, cy and depth_unit_m (0.001 where absent); depth.png: uint16, 0 = no depth.
Upstream: https://github.com/PointCloudLibrary/data folder segmentation/mOSD (Kinect, from the PCD files), and
https://github.com/NVlabs/6dof-graspnet folder demo/data (RealSense, from the NPY files; the mask is the object's points
in the picture). Those points were cut off 8 mm above the table, so the masks lack every object's foot, and white_bowl and
white_mug (a second white bowl) lack the floor that is plainly to be seen. These two count twice: as they are given, and with
the floor, which is the convex hull of the mask.

Jittered boxes have every side moved by a normal deviate of 5 % of the box's width or height. Settings were chosen on the pictures
with even numbers. Times are per object and include the object's share of what is computed once per picture.
"""

import argparse
import json
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table

from qwen_seg_ros.cli.files import read_rgb
from qwen_seg_ros.drawing import draw_overlay
from qwen_seg_ros.frame import Frame
from qwen_seg_ros.geometry.arrays import MaskImage
from qwen_seg_ros.geometry.box import iou
from qwen_seg_ros.geometry.camera import Camera
from qwen_seg_ros.geometry.mask import CroppedMask, mask_iou
from qwen_seg_ros.geometry.region import Region
from qwen_seg_ros.geometry.surface_patches import depth_jumps
from qwen_seg_ros.segmentation.box_masks import masks_in_boxes
from qwen_seg_ros.segmentation.depth_mask import INSIDE_SHARE, WINDOW_SHARE, Surfaces, surfaces_around
from qwen_seg_ros.segmentation.result import Instance, Outcome, SegmentationResult
from qwen_seg_ros.segmentation.rgb_mask import mask_from_colour

SETS = {"mOSD": 2, "6dof-graspnet": 1}  # the first instance that is an object
JITTER = 0.05
GIVEN = "6dof-graspnet as given"
WITHOUT_FLOOR = ("white_bowl", "white_mug")
WORST = 8


@dataclass(frozen=True, eq=False)
class Picture:
    """One view with the true masks, bool (H, W), of its objects."""

    set: str
    name: str
    number: int
    frame: Frame
    truths: list[MaskImage]

    @property
    def boxes(self) -> NDArray[np.float64]:
        return np.array([CroppedMask.from_full(truth).box_px for truth in self.truths], np.float64)

    @property
    def jittered(self) -> NDArray[np.float64]:
        boxes = self.boxes
        size = np.tile(boxes[:, 2:] - boxes[:, :2], 2)
        return boxes + np.random.default_rng(self.number).normal(0, JITTER, boxes.shape) * size


@dataclass(frozen=True)
class Score:
    picture: Picture
    object: int
    kind: str  # "true" or "jittered" box
    iou: float
    confidence: float
    ms: float


def read_pictures(data: Path, name: str) -> list[Picture]:
    """The picture set `name`; the number of a picture is that in its name, else its place."""
    folders = sorted(path for path in (data / name).glob("*") if path.is_dir())
    return [read_picture(path, place) for place, path in enumerate(folders)]


def read_picture(path: Path, place: int = 0) -> Picture:
    """One folder of a set."""
    info = json.loads((path / "camera.json").read_text())
    camera = Camera(*(info[key] for key in ("width", "height", "fx", "fy", "cx", "cy")))
    raw = cv2.imread(str(path / "depth.png"), cv2.IMREAD_UNCHANGED)
    depth = np.where(raw > 0, raw * info.get("depth_unit_m", 0.001), np.nan).astype(np.float32)
    ids = cv2.imread(str(path / "seg.png"), cv2.IMREAD_UNCHANGED)
    truths = [ids == k for k in range(SETS[path.parent.name], int(ids.max()) + 1) if (ids == k).any()]
    digits = "".join(filter(str.isdigit, path.name))
    frame = Frame(read_rgb(next(path.glob("color.*"))), depth, camera)
    return Picture(path.parent.name, path.name, int(digits) if digits else place, frame, truths)


def with_floors(pictures: list[Picture]) -> list[Picture]:
    """The pictures, the truth of bowls without a floor replaced by its convex hull."""
    return [replace(p, truths=[_hull(t) for t in p.truths]) if p.name in WITHOUT_FLOOR else p for p in pictures]


def _hull(mask: MaskImage) -> MaskImage:
    corners = cv2.convexHull(cv2.findNonZero(mask.astype(np.uint8)))
    return cv2.fillConvexPoly(np.zeros(mask.shape, np.uint8), corners, (1,)) > 0


Masks = list[tuple[MaskImage, float]]  # mask (H, W) and its confidence
Method = Callable[[Frame, NDArray], Masks]


def this_package(frame: Frame, boxes: NDArray) -> Masks:
    return [(found.mask.full(), found.confidence) for found in masks_in_boxes(frame, boxes)]


def filled_boxes(frame: Frame, boxes: NDArray) -> Masks:
    return [(_full(frame, region, np.ones(region.shape, bool)), 0.0) for region in _regions(frame, boxes)]


def colour(frame: Frame, boxes: NDArray) -> Masks:
    return [(_full(frame, region, mask_from_colour(frame.rgb, region)), 0.0) for region in _regions(frame, boxes)]


def above_table(frame: Frame, boxes: NDArray) -> Masks:
    return _in_window(frame, boxes, 0.0, lambda surfaces, window, _: surfaces.above[window.rows_cols])


def jump_component(frame: Frame, boxes: NDArray) -> Masks:
    return _in_window(frame, boxes, WINDOW_SHARE, lambda s, window, box: _nearest_component(frame, s, window, box))


def patches_inside(frame: Frame, boxes: NDArray) -> Masks:
    return _in_window(frame, boxes, WINDOW_SHARE, _patches_inside)


def with_depth_and_chroma(frame: Frame, boxes: NDArray) -> Masks:
    found = masks_in_boxes(frame, boxes)
    return [
        (_recut(frame, region, item.mask.full()), item.confidence)
        for region, item in zip(_regions(frame, boxes), found, strict=True)
    ]


METHODS: dict[str, Method] = {
    "fill the box": filled_boxes,
    "colour (GrabCut, ellipse)": colour,
    "above the table": above_table,
    "+ nearest jump component": jump_component,
    "+ creases, patches inside": patches_inside,
    "this package": this_package,
    "+ GrabCut on depth, a, b": with_depth_and_chroma,
}


def _regions(frame: Frame, boxes: NDArray) -> list[Region]:
    return [Region.of_box(box, frame.width, frame.height) for box in boxes]


def _full(frame: Frame, region: Region, mask: MaskImage | None) -> MaskImage:
    full = np.zeros((frame.height, frame.width), bool)
    full[region.rows_cols] = True if mask is None else mask
    return full


def _in_window(frame: Frame, boxes: NDArray, share: float, choose: Callable[[Surfaces, Region, Region], MaskImage]) -> Masks:
    """`choose(surfaces, window, box)` in pixels of the surfaces' region, for every box grown by `share`."""
    regions = _regions(frame, boxes)
    surfaces = surfaces_around(frame, regions)
    if surfaces is None:
        return filled_boxes(frame, boxes)
    windows = [region.grown(share, frame.width, frame.height) if share else region for region in regions]
    return [
        (_full(frame, window, choose(surfaces, window.within(surfaces.region), region.within(surfaces.region))), 0.0)
        for window, region in zip(windows, regions, strict=True)
    ]


def _nearest_component(frame: Frame, surfaces: Surfaces, window: Region, box: Region) -> MaskImage:
    above = surfaces.above[window.rows_cols]
    depth = np.where(above, frame.depth_m[surfaces.region.rows_cols][window.rows_cols], 0).astype(np.float32)
    whole = (above & ~depth_jumps(depth, above)).astype(np.uint8)
    _, numbers, stats, _ = cv2.connectedComponentsWithStats(whole, connectivity=4)
    corners = np.column_stack([stats[:, :2], stats[:, :2] + stats[:, 2:4]])
    score = iou(corners[1:], box.within(window).box)[:, 0]
    return numbers == 1 + int(np.argmax(score)) if len(score) else above


def _patches_inside(surfaces: Surfaces, window: Region, box: Region) -> MaskImage:
    patches = surfaces.patches[window.rows_cols]
    total = np.bincount(patches.ravel())
    inside = np.bincount(surfaces.patches[box.rows_cols].ravel(), minlength=len(total))
    keep = (inside > 0) & (inside >= INSIDE_SHARE * total)
    keep[0] = False
    return keep[patches]


def _recut(frame: Frame, box: Region, mask: MaskImage) -> MaskImage:
    """GrabCut from the mask on depth and the two colour channels of Lab, at full size, two rounds."""
    window = box.grown(WINDOW_SHARE, frame.width, frame.height)
    depth, inside = frame.depth_m[window.rows_cols], mask[window.rows_cols]
    near, far = np.nanpercentile(depth[inside], [1, 99]) if np.isfinite(depth[inside]).any() else (0, 1)
    level = np.nan_to_num((depth - near) / (far - near + 0.05) * 150 + 50, nan=0)
    lab = cv2.cvtColor(frame.rgb[window.rows_cols], cv2.COLOR_RGB2LAB)
    image = np.dstack([np.clip(level, 0, 255).astype(np.uint8), lab[..., 1:]])
    guess = np.where(inside, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
    cv2.setRNGSeed(0)
    cv2.grabCut(image, guess, None, np.zeros((1, 65)), np.zeros((1, 65)), 2, cv2.GC_INIT_WITH_MASK)
    return _full(frame, window, (guess == cv2.GC_FGD) | (guess == cv2.GC_PR_FGD))


def scores(pictures: Iterable[Picture], method: Method) -> list[Score]:
    """Every object of every picture, with its true and its jittered box."""
    return [score for picture in pictures for kind in ("true", "jittered") for score in _scores(picture, method, kind)]


def _scores(picture: Picture, method: Method, kind: str) -> list[Score]:
    boxes = picture.boxes if kind == "true" else picture.jittered
    start = time.perf_counter()
    found = method(picture.frame, boxes)
    ms = 1000 * (time.perf_counter() - start) / len(boxes)
    pairs = enumerate(zip(found, picture.truths, strict=True))
    return [Score(picture, k, kind, mask_iou(mask, truth), confidence, ms) for k, ((mask, confidence), truth) in pairs]


def mean_iou(items: list[Score], kind: str, odd: bool | None = None) -> float:
    """Mean IoU over objects; `odd` picks the pictures with odd or even numbers."""
    return float(np.mean([s.iou for s in items if s.kind == kind and odd in (None, s.picture.number % 2 == 1)]))


def _cells(items: list[Score]) -> list[str]:
    cells = []
    for kind in ("true", "jittered"):
        good = np.mean([s.iou > 0.75 for s in items if s.kind == kind])
        cells += [f"{mean_iou(items, kind, odd):.3f}" for odd in (False, True)]
        cells += [f"{mean_iou(items, kind):.3f} ({100 * good:.0f} %)"]
    return [*cells, f"{np.median([s.ms for s in items]):.1f}"]


def print_table(console: Console, name: str, results: dict[str, list[Score]]) -> None:
    items = next(iter(results.values()))
    pictures, objects = len({s.picture.name for s in items}), len(items) // 2
    table = Table(title=f"{name}: mean IoU (share > .75), {pictures} pictures, {objects} objects")
    for column in ("method", "true: even", "odd", "all", "jitter: even", "odd", "all", "ms"):
        table.add_column(column, justify="left" if column == "method" else "right", no_wrap=True)
    for method, scored in results.items():
        table.add_row(method, *_cells(scored))
    console.print(table)


def print_calibration(console: Console, items: list[Score]) -> None:
    """What the confidence promised and what came, over all sets."""
    table = Table(title="confidence of this package: expected and real IoU (odd pictures)")
    for column in ("confidence", "objects", "expected", "real"):
        table.add_column(column, justify="right")
    held = np.array([(s.confidence, s.iou) for s in items if s.picture.number % 2])
    for low, high in ((0, 0.6), (0.6, 0.8), (0.8, 0.9), (0.9, 1.01)):
        group = held[(held[:, 0] >= low) & (held[:, 0] < high)]
        means = [f"{value:.3f}" for value in group.mean(axis=0)] if len(group) else ["-", "-"]
        table.add_row(f"{low:.1f}..{min(high, 1):.1f}", str(len(group)), *means)
    console.print(table)


def save_pictures(items: list[Score], out: Path) -> None:
    """Overlays of the worst and best objects of this package."""
    out.mkdir(parents=True, exist_ok=True)
    ordered = sorted(items, key=lambda s: s.iou)
    for label, chosen in (("worst", ordered[:WORST]), ("best", ordered[: -WORST - 1 : -1])):
        for place, score in enumerate(chosen):
            name = f"{label}{place}_{score.picture.set}_{score.picture.name}_{score.object}_{score.kind}_{score.iou:.2f}.png"
            cv2.imwrite(str(out / name), cv2.cvtColor(_drawn(score), cv2.COLOR_RGB2BGR))


def _drawn(score: Score) -> NDArray[np.uint8]:
    """The found mask on the left, the true one on the right."""
    picture, k = score.picture, score.object
    boxes = picture.boxes if score.kind == "true" else picture.jittered
    found = masks_in_boxes(picture.frame, boxes)[k]
    pairs = (found.method, found.mask), ("truth", CroppedMask.from_full(picture.truths[k]))
    shown = [Instance(label, boxes[k].astype(np.float32), mask, found.confidence, score.iou) for label, mask in pairs]
    return np.hstack([draw_overlay(picture.frame.rgb, SegmentationResult("", Outcome.FOUND, (item,))) for item in shown])


def _sets(data: Path) -> dict[str, list[Picture]]:
    single = read_pictures(data, "6dof-graspnet")
    return {"mOSD": read_pictures(data, "mOSD"), GIVEN: single, "6dof-graspnet, bowls with their floor": with_floors(single)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder that holds mOSD/ and 6dof-graspnet/")
    parser.add_argument("--pictures", type=Path, help="write overlays of the worst and best masks to this folder")
    options = parser.parse_args()
    console, own = Console(width=130), []
    for title, pictures in _sets(options.data).items():
        if not pictures:
            parser.error(f"{options.data} holds no pictures for {title}; see --help for the layout")
        results = {method: scores(pictures, METHODS[method]) for method in track(METHODS, description=title, console=console)}
        print_table(console, title, results)
        own += results["this package"] if title != GIVEN else []
    print_calibration(console, own)
    if options.pictures:
        save_pictures(own, options.pictures)


if __name__ == "__main__":
    main()
