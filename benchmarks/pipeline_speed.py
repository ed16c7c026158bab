"""Instruction to grasp target, milliseconds by stage: rendered scenes, or ray-cast ones where the assets are missing.

    python benchmarks/pipeline_speed.py [--checkpoint tabletop] [--scenes 20] [--threads 2] [--network-threads 0] [--synthetic]
"""

import argparse
import sys
import time
from pathlib import Path

import cv2
import numpy as np

from qwen_seg_ros.errors import MissingExtraError
from qwen_seg_ros.frame import Frame
from qwen_seg_ros.pipeline import STAGES, Pipeline
from qwen_seg_ros.segmentation.settings import SegmentationSettings
from qwen_seg_ros.settings import Settings

FIRST_SEED = 6_000_000  # away from training, development and evaluation
MODEL_STAGES = ("encode", "generate", "masks")
GOAL_REST_MS, GOAL_TOTAL_MS = 60.0, 2000.0
Case = tuple[Frame, str]  # a view and an instruction about something in it


def rendered_cases(scenes: int) -> list[Case]:
    """640x480 views; asked for is one object by its name.

    Raises:
        MissingExtraError: without MuJoCo or the assets.
    """
    from qwen_seg_ros.offline.sim.renderer import SceneRenderer

    renderer = SceneRenderer(640, 480)
    views = [renderer.render(seed)[0] for seed in range(FIRST_SEED, FIRST_SEED + scenes)]
    return [(view.frame(), f"grab the {view.objects[0].name}") for view in views if view.objects]


def synthetic_cases(scenes: int) -> list[Case]:
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "test"))
    from synthetic import synthetic_scene

    return [(synthetic_scene(seed, ["box", "can", "mug", "ball"])[0], "grab the mug") for seed in range(scenes)]


def cases(scenes: int, synthetic: bool) -> tuple[list[Case], str]:
    if synthetic:
        return synthetic_cases(scenes), "ray-cast scenes"
    try:
        return rendered_cases(scenes), "rendered scenes"
    except MissingExtraError as error:
        print(f"ray-cast scenes instead of rendered ones: {error}")
        return synthetic_cases(scenes), "ray-cast scenes"


def measure(pipeline: Pipeline, todo: list[Case]) -> tuple[dict[str, list[float]], dict[str, int]]:
    """Milliseconds by stage, of each request that went through it, and how often each status came back."""
    pipeline.run(*todo[0])  # the first run pays for loading libraries
    times: dict[str, list[float]] = {name: [] for name in (*STAGES, "rest", "all but the model", "total")}
    statuses: dict[str, int] = {}
    for frame, instruction in todo:
        began = time.perf_counter()
        result = pipeline.run(frame, instruction)
        total = 1e3 * (time.perf_counter() - began)
        statuses[result.status.code.name] = statuses.get(result.status.code.name, 0) + 1
        model = sum(result.stage_ms.get(name, 0.0) for name in MODEL_STAGES)
        split = {**result.stage_ms, "rest": total - sum(result.stage_ms.values()), "total": total}
        if "grasp" in result.stage_ms:
            split["all but the model"] = total - model
        for name, value in split.items():
            times.setdefault(name, []).append(value)
    return times, statuses


def report(times: dict[str, list[float]]) -> None:
    print(f"{'stage':<18} {'n':>4} {'p50 ms':>9} {'p95 ms':>9}")
    for name, values in times.items():
        if values:
            print(f"{name:<18} {len(values):>4} {np.median(values):>9.1f} {np.percentile(values, 95):>9.1f}")
    if not times["all but the model"]:
        print("no request reached the grasp stage: the figures for everything except the model are missing")
        return
    verdict("everything except the model, p50", float(np.median(times["all but the model"])), GOAL_REST_MS)
    verdict("instruction to grasp target, p50", float(np.median(times["total"])), GOAL_TOTAL_MS)


def verdict(what: str, value_ms: float, goal_ms: float) -> None:
    print(f"{what}: {value_ms:.1f} ms, {'exceeds' if value_ms > goal_ms else 'within'} {goal_ms:.0f} ms")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", default="tabletop")
    parser.add_argument("--scenes", type=int, default=20)
    parser.add_argument("--threads", type=int, default=2, help="of everything but the network")
    parser.add_argument("--network-threads", type=int, default=0, help="0 = what the package chooses")
    parser.add_argument("--max-new-tokens", type=int, default=256)
    parser.add_argument("--synthetic", action="store_true", help="ray-cast scenes even where assets are there")
    options = parser.parse_args()
    cv2.setNumThreads(options.threads)
    segmentation = SegmentationSettings(
        checkpoint=options.checkpoint, num_threads=options.network_threads, max_new_tokens=options.max_new_tokens
    )
    pipeline = Pipeline(Settings(segmentation=segmentation))
    todo, what = cases(options.scenes, options.synthetic)
    times, statuses = measure(pipeline, todo)
    print(f"{len(todo)} {what}, 640x480, {options.threads} threads, checkpoint {options.checkpoint}")
    print("answers: " + ", ".join(f"{name} {count}" for name, count in sorted(statuses.items())))
    report(times)


if __name__ == "__main__":
    main()
