"""Ids and masks on rendered sequences: a camera goes round a table, the model is a perfect one that looks at every N-th frame.

python benchmarks/tracking.py --sequences 20 [--refresh 1 5 10 30] [--miss 0.2] [--rough-px 4] [--strip out/tracking.jpg]

Answers are the renderer's own masks, so the figures are those of the tracking alone; `--miss` leaves out that share of the
objects from every answer but the first, `--rough-px` shifts, narrows and widens the masks. Depth has the noise of a stereo
camera. Each frame is 1/15 s after the last one; the camera goes round by 15 to 40 degrees in 30 frames, up or down by up to
10, to or fro by up to a tenth, and shakes by 2 mm.

IoU: of the carried masks of objects in the last answer with their visible pixels, 0 where there is no mask. Switches: how
often an object is shown under another id than before. Milliseconds: of processor time, all objects together; p95 shows the
frames whose masks are cut anew from depth.
"""

import argparse
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from qwen_seg_ros.drawing import color
from qwen_seg_ros.frame import Frame
from qwen_seg_ros.geometry.arrays import Matrix4, RgbImage
from qwen_seg_ros.geometry.mask import CroppedMask, mask_iou
from qwen_seg_ros.offline.sim.cameras import looking_at
from qwen_seg_ros.offline.sim.noise import noisy_depth
from qwen_seg_ros.offline.sim.profiles import SIMPLE
from qwen_seg_ros.offline.sim.renderer import SceneRenderer
from qwen_seg_ros.offline.sim.scene import SimScene
from qwen_seg_ros.segmentation.result import Instance, Outcome, SegmentationResult
from qwen_seg_ros.tracking.track import Tracked
from qwen_seg_ros.tracking.tracker import Tracker

FIRST_SEED = 910_000  # away from the seeds used for training
FPS = 15
COUNT = (4, 8)  # objects
LEAST_PX = 150  # visible pixels of an object that counts, at 640x480
SHAKE_M = 0.002
COLOUR_SIGMA = 2.0
SHOWS = 0.5  # IoU from which a mask is said to show an object
SENSORS = {"depth and pose": (True, True), "depth": (True, False), "colour": (False, False)}


@dataclass(frozen=True, eq=False)
class Seen:
    """One frame with the true masks, bool (H, W), of what can be seen, by number of the object."""

    frame: Frame
    truths: dict[int, NDArray[np.bool_]]
    names: dict[int, str]

    def for_robot(self, depth: bool, pose: bool) -> Frame:
        frame = self.frame
        kept = frame.depth_m if depth else None, frame.camera, frame.base_from_camera if pose else None
        return Frame(frame.rgb, *kept, stamp_ns=frame.stamp_ns)

    def answer(self, chosen: list[int], rough_px: int, rng: np.random.Generator) -> SegmentationResult:
        masks = {k: CroppedMask.from_full(roughened(self.truths[k], rough_px, rng)) for k in chosen}
        found = tuple(Instance(self.names[k], mask.box_px, mask, 1.0, 1.0) for k, mask in masks.items())
        return SegmentationResult("everything", Outcome.FOUND if found else Outcome.NOT_FOUND, found)


def roughened(mask: NDArray[np.bool_], px: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    """A mask as a middling model gives it: shifted by a normal deviate of `px`, and up to `px` too narrow or too wide."""
    if px == 0:
        return mask
    by, width = rng.normal(0, px, 2), int(rng.integers(-px, px + 1))
    moved = cv2.warpAffine(mask.astype(np.uint8), np.array([[1, 0, by[0]], [0, 1, by[1]]]), mask.shape[::-1])
    around = np.ones((2 * abs(width) + 1,) * 2, np.uint8)
    return (cv2.dilate(moved, around) if width > 0 else cv2.erode(moved, around)) > 0


@dataclass
class Figures:
    """Of all sequences with one kind of sensors and one refresh."""

    overlaps: list[float] = field(default_factory=list)
    switches: int = 0
    objects: int = 0
    carry_ms: list[float] = field(default_factory=list)
    match_ms: list[float] = field(default_factory=list)


def path(rng: np.random.Generator, frames: int) -> Iterator[Matrix4]:
    """base_from_camera of every frame."""
    start, elevation, reach = rng.uniform(0, 360), rng.uniform(35, 60), rng.uniform(0.55, 0.8)
    sweep, climb, approach = rng.choice([-1, 1]) * rng.uniform(15, 40), rng.uniform(-10, 10), rng.uniform(-0.1, 0.1)
    for share in np.arange(frames) / 30:
        aim = np.array([0, 0, 0.04]) + rng.normal(0, SHAKE_M, 3)
        angles = np.deg2rad([elevation + climb * share, start + sweep * share])
        yield looking_at(aim, reach * (1 + approach * share), *angles)


def sequence(renderer: SceneRenderer, seed: int, frames: int) -> list[Seen]:
    """One arrangement from a camera on its way."""
    rng, studio = np.random.default_rng(seed), renderer.studio(SIMPLE.objects)
    placed = studio.set_up(SIMPLE, COUNT, rng)
    poses = list(path(rng, frames))
    return [_seen(studio.view(seed, placed, (pose, 48.0), SIMPLE, rng), n, rng) for n, pose in enumerate(poses)]


def _seen(scene: SimScene, number: int, rng: np.random.Generator) -> Seen:
    rgb = np.clip(scene.rgb + rng.normal(0, COLOUR_SIGMA, scene.rgb.shape), 0, 255).astype(np.uint8)
    depth = noisy_depth(scene.depth_m, scene.seed * 1000 + number)
    frame = Frame(rgb, depth, scene.camera, scene.base_from_camera, stamp_ns=round(number / FPS * 1e9))
    least = LEAST_PX * rgb.shape[0] * rgb.shape[1] / (640 * 480)
    seen = [record for record in scene.objects if record.pixels >= least]
    return Seen(frame, {r.id: scene.ids == r.id for r in seen}, {r.id: r.name for r in seen})


def follow(
    frames: list[Seen], sensors: tuple[bool, bool], refresh: int, miss: float, rough_px: int, figures: Figures
) -> list[Tracked]:
    """One sequence through a fresh tracker; its figures are added to `figures`."""
    tracker, rng, results = Tracker(), np.random.default_rng(0), []
    names: dict[int, str] = {}
    asked: list[int] = []
    for n, seen in enumerate(frames):
        frame, began = seen.for_robot(*sensors), time.process_time()
        if n % refresh == 0:
            asked = [k for k in seen.truths if n == 0 or rng.random() >= miss]
            answer, began = seen.answer(asked, rough_px, rng), time.process_time()
            tracked = tracker.update(frame, answer)
            shown = {k: name for k, name in zip(asked, tracked.track_ids, strict=True) if name}
            figures.match_ms.append(1e3 * (time.process_time() - began))
        else:
            tracked = tracker.propagate(frame)
            figures.carry_ms.append(1e3 * (time.process_time() - began))
            shown = _shown(tracked, seen)
            figures.overlaps += [_overlap(tracked, seen, names[k], k) for k in asked if k in seen.truths and k in names]
        figures.switches += sum(names.get(k, name) != name for k, name in shown.items())
        names |= shown
        results.append(tracked)
    figures.objects += len(names)
    return results


def _shown(tracked: Tracked, seen: Seen) -> dict[int, str]:
    """Object -> id of the mask that shows it."""
    shown = {}
    for name, instance in zip(tracked.track_ids, tracked.segmentation.instances, strict=True):
        overlaps = {k: mask_iou(instance.mask.full(), truth) for k, truth in seen.truths.items()}
        best = max(overlaps, key=overlaps.__getitem__, default=0)
        if overlaps and overlaps[best] > SHOWS:
            shown[best] = name
    return shown


def _overlap(tracked: Tracked, seen: Seen, name: str, number: int) -> float:
    if name not in tracked.track_ids:
        return 0.0
    mask = tracked.segmentation.instances[tracked.track_ids.index(name)].mask
    return mask_iou(mask.full(), seen.truths[number])


def strip(frames: list[Seen], results: list[Tracked], count: int = 6) -> RgbImage:
    """`count` frames of a sequence beside each other, two rows, colours and numbers by id."""
    chosen = np.linspace(0, len(frames) - 1, count).astype(int)
    pictures = [_drawn(frames[n].frame.rgb, results[n], n) for n in chosen]
    return np.vstack([np.hstack(pictures[: count // 2]), np.hstack(pictures[count // 2 :])])


def _drawn(rgb: RgbImage, tracked: Tracked, number: int) -> RgbImage:
    picture = rgb.copy()
    for name, instance in zip(tracked.track_ids, tracked.segmentation.instances, strict=True):
        mask, tint = instance.mask, color(int(name))
        region = picture[mask.rows_cols]
        region[mask.crop] = (0.4 * region[mask.crop] + 0.6 * np.array(tint)).astype(np.uint8)
        x, y = (round(float(v)) for v in (mask.box_px[:2] + mask.box_px[2:]) / 2)
        for ink, width in (((0, 0, 0), 5), ((255, 255, 255), 2)):
            cv2.putText(picture, name, (x - 9, y + 9), cv2.FONT_HERSHEY_SIMPLEX, 0.9, ink, width, cv2.LINE_AA)
    label = f"frame {number}, {'answer' if tracked.fresh else 'carried'}"
    cv2.putText(picture, label, (8, 24), cv2.FONT_HERSHEY_SIMPLEX, 0.7, (255, 255, 255), 2, cv2.LINE_AA)
    return picture


def report(console: Console, found: dict[tuple[str, int], Figures]) -> None:
    table = Table(title="tracking by sensors and refresh")
    for column in ("sensors", "refresh", "objects", "switches", "IoU", "> .75", "without mask", "ms p50, p95", "ms matched"):
        table.add_column(column, justify="left" if column == "sensors" else "right")
    for (sensors, refresh), figures in found.items():
        overlaps = np.array(figures.overlaps)
        carried = ["-"] * 4
        if len(overlaps):
            good, none = 100 * (overlaps > 0.75).mean(), 100 * (overlaps == 0).mean()
            half, slow = np.percentile(figures.carry_ms, [50, 95])
            carried = [f"{overlaps.mean():.3f}", f"{good:.0f} %", f"{none:.1f} %", f"{half:.1f}, {slow:.1f}"]
        match_ms = f"{np.median(figures.match_ms):.1f}"
        table.add_row(sensors, str(refresh), str(figures.objects), str(figures.switches), *carried, match_ms)
    console.print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sequences", type=int, default=20)
    parser.add_argument("--frames", type=int, default=30)
    parser.add_argument("--size", type=int, nargs=2, default=(640, 480), metavar=("WIDTH", "HEIGHT"))
    parser.add_argument("--refresh", type=int, nargs="+", default=[1, 5, 10, 30], help="frames from answer to answer")
    parser.add_argument("--miss", type=float, default=0.0, help="share of objects that an answer leaves out")
    parser.add_argument("--rough-px", type=int, default=0, help="how far answered masks are off, in pixels")
    parser.add_argument("--strip", type=Path, help="write a picture of the first sequence, carried with the largest refresh")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    renderer = SceneRenderer(*options.size)
    found = {(sensors, refresh): Figures() for sensors in SENSORS for refresh in options.refresh}
    for seed in range(FIRST_SEED, FIRST_SEED + options.sequences):
        frames = sequence(renderer, seed, options.frames)
        for (sensors, refresh), figures in found.items():
            results = follow(frames, SENSORS[sensors], refresh, options.miss, options.rough_px, figures)
            if options.strip and seed == FIRST_SEED and (sensors, refresh) == ("depth and pose", max(options.refresh)):
                options.strip.parent.mkdir(parents=True, exist_ok=True)
                cv2.imwrite(str(options.strip), cv2.cvtColor(strip(frames, results), cv2.COLOR_RGB2BGR))
    report(Console(width=130), found)


if __name__ == "__main__":
    main()
