"""Rendered views on disk, in shards that a trainer can read while later ones are still being made.

    folder/shard_00000/0000000.jpg         colour, JPEG quality 92
    folder/shard_00000/0000000_ids.png     8-bit ids, 0 = no object
    folder/shard_00000/0000000_depth.png   16-bit millimetres (only with depth=True)
    folder/shard_00000/meta.jsonl          one line a view
    folder/shard_00000/done                written last

A line of meta.jsonl: {"name", "seed", "width", "height", "camera": {fields of Camera}, "base_from_camera": 4 x 4,
"objects": [{fields of scene.ObjectRecord}]}.
"""

import json
import multiprocessing
from collections.abc import Iterator
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from qwen_seg_ros.offline.sim.scene import ObjectRecord, SimScene

if TYPE_CHECKING:
    from qwen_seg_ros.offline.sim.renderer import SceneRenderer  # imports MuJoCo, which readers of shards need not have

__all__ = ["ObjectRecord", "generate"]
SHARD = 250  # arrangements in a shard


def generate(
    folder: Path, first_seed: int, scenes: int, views: int = 3, size: tuple[int, int] = (320, 240), workers: int = 1,
    depth: bool = False,
) -> None:
    """Render `scenes` arrangements with `views` views each (width, height = size); finished shards are kept, so it resumes.

    Seeds: 1,000,000 on for training, 9,000,000 on for development, 5,000,000 on for evaluation and for nothing else.
    """
    starts = range(0, scenes, SHARD)
    shards = [(Path(folder) / f"shard_{number:05d}", start) for number, start in enumerate(starts)]
    jobs = [(shard, first_seed + start, min(SHARD, scenes - start), views, size, depth) for shard, start in shards]
    waiting = [job for job in jobs if not (job[0] / "done").exists()]
    columns = (TextColumn("rendering"), BarColumn(), MofNCompleteColumn(), TextColumn("arrangements"), TimeRemainingColumn())
    with Progress(*columns) as progress:
        task = progress.add_task("", total=scenes, completed=scenes - sum(job[2] for job in waiting))
        for finished in _run(waiting, workers):
            progress.advance(task, finished)


def _run(jobs: list[tuple], workers: int) -> Iterator[int]:
    """-> arrangements finished since the last yield."""
    if workers == 1:
        for job in jobs:
            for _ in _render_shard(job):
                yield 1
        return
    with multiprocessing.get_context("spawn").Pool(workers) as pool:  # OpenGL contexts do not survive a fork
        yield from pool.imap_unordered(_render_whole, jobs)


def _render_whole(job: tuple) -> int:
    return sum(1 for _ in _render_shard(job))


@lru_cache(maxsize=1)
def _renderer(width: int, height: int) -> "SceneRenderer":
    from qwen_seg_ros.offline.sim.renderer import SceneRenderer

    return SceneRenderer(width, height)


def _render_shard(job: tuple) -> Iterator[int]:
    target, first_seed, scenes, views, size, depth = job
    target.mkdir(parents=True, exist_ok=True)
    lines: list[str] = []
    for seed in range(first_seed, first_seed + scenes):
        for view in _renderer(*size).render(seed, views):
            lines.append(_write_view(target, f"{len(lines):07d}", view, depth))
        yield seed
    (target / "meta.jsonl").write_text("\n".join(lines) + "\n")
    (target / "done").touch()


def _write_view(folder: Path, name: str, view: SimScene, depth: bool) -> str:
    cv2.imwrite(str(folder / f"{name}.jpg"), view.rgb[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 92])
    cv2.imwrite(str(folder / f"{name}_ids.png"), view.ids)
    if depth:
        cv2.imwrite(str(folder / f"{name}_depth.png"), np.rint(view.depth_m * 1000).clip(0, 65535).astype(np.uint16))
    return json.dumps({
        "name": name, "seed": view.seed, "width": view.camera.width, "height": view.camera.height, "camera": asdict(view.camera),
        "base_from_camera": view.base_from_camera.round(6).tolist(), "objects": [o.to_dict() for o in view.objects],
    })
