"""How far lifted objects lie from simulation truth: true masks, one view, noise-free or noisy depth.

python benchmarks/lifting_accuracy.py --scenes 100 [--noise-mm 1.0] [--no-completion]
"""

import argparse
import time
from collections import defaultdict
from collections.abc import Iterator

import numpy as np

from qwen_seg_ros.frame import Frame
from qwen_seg_ros.geometry.mask import CroppedMask
from qwen_seg_ros.lifting.lift import lift
from qwen_seg_ros.lifting.object_cloud import Lifted
from qwen_seg_ros.lifting.settings import LiftSettings
from qwen_seg_ros.offline.sim.renderer import SceneRenderer
from qwen_seg_ros.offline.sim.scene import ObjectRecord, SimScene
from qwen_seg_ros.segmentation.result import Instance, Outcome, SegmentationResult

FIRST_SEED = 900_000  # away from the seeds used for training
Row = tuple[float, float, float, float, float]  # position error mm, errors of length, width and height %, their mean amount %


def true_segmentation(scene: SimScene) -> SegmentationResult:
    """The renderer's own masks as the result of the 2-D stage."""
    masks = [CroppedMask.from_full(scene.ids == record.id) for record in scene.objects]
    instances = [Instance(r.name, m.box_px, m, 1.0, 1.0) for r, m in zip(scene.objects, masks, strict=True)]
    return SegmentationResult("everything", Outcome.FOUND, tuple(instances))


def noisy(frame: Frame, noise_mm: float) -> Frame:
    """The same frame with Gaussian depth noise that grows with the square of the distance (as given at 1 m)."""
    if noise_mm == 0:
        return frame
    noise = np.random.default_rng(frame.stamp_ns).normal(0, noise_mm / 1000, frame.depth_m.shape)
    depth = (frame.depth_m + noise * frame.depth_m**2).astype(np.float32)
    return Frame(frame.rgb, depth, frame.camera, frame.base_from_camera, frame.frame_id, frame.stamp_ns)


def errors(record: ObjectRecord, size_m: np.ndarray, centre_m: np.ndarray) -> Row:
    size = 100 * (size_m / np.array(record.size_m) - 1)
    return (1000 * float(np.linalg.norm(centre_m - record.centre_m)), *map(float, size), float(np.abs(size).mean()))


def rows_of(scene: SimScene, lifted: Lifted) -> Iterator[tuple[str, Row]]:
    in_base = lifted.moved(scene.base_from_camera)
    for cloud in in_base.objects:
        record = scene.objects[cloud.id - 1]
        yield record.category, errors(record, cloud.box.size_m, cloud.box.pose[:3, 3])


def report(rows: dict[str, list[Row]]) -> None:
    print(
        f"{'category':<12} {'n':>5} {'place mm':>11} {'p90 mm':>8} {'size %':>8} {'length %':>9} {'width %':>9} {'height %':>9}"
    )
    everything = [row for group in rows.values() for row in group]
    for name, group in [*sorted(rows.items()), ("all", everything)]:
        table = np.array(group)
        middle, worst = np.median(table, axis=0), np.percentile(table[:, 0], 90)
        print(
            f"{name:<12} {len(group):>5} {middle[0]:>11.1f} {worst:>8.1f} {middle[4]:>8.1f} "
            f"{middle[1]:>+9.1f} {middle[2]:>+9.1f} {middle[3]:>+9.1f}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenes", type=int, default=100)
    parser.add_argument("--noise-mm", type=float, default=0.0, help="depth noise at 1 m, standard deviation")
    parser.add_argument("--no-completion", action="store_true", help="boxes around what is seen only")
    options = parser.parse_args()
    settings, renderer = LiftSettings(complete=not options.no_completion), SceneRenderer(640, 480)
    rows, times, refused = defaultdict(list), [], []
    for seed in range(FIRST_SEED, FIRST_SEED + options.scenes):
        (scene,) = renderer.render(seed)
        frame, segmentation = noisy(scene.frame(), options.noise_mm), true_segmentation(scene)
        start = time.perf_counter()
        lifted = lift(frame, segmentation, settings)
        times.append(1000 * (time.perf_counter() - start))
        refused += lifted.refused
        for category, row in rows_of(scene, lifted):
            rows[category].append(row)
    report(rows)
    print(f"{options.scenes} scenes, {len(refused)} objects refused, lifting {np.median(times):.1f} ms a scene (median)")
    for reason in sorted({r.reason for r in refused}):
        print("  refused:", reason)


if __name__ == "__main__":
    main()
