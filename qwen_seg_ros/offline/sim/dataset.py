"""Rendered views on disk, in shards that a trainer can read while later ones are still being made.

    folder/shard_00000/0000000.jpg         colour, JPEG quality 92
    folder/shard_00000/0000000_ids.png     8-bit ids, 0 = no object
    folder/shard_00000/0000000_depth.png   16-bit millimetres (only with depth=True)
    folder/shard_00000/meta.jsonl          one line a view: name, seed, camera, base_from_camera, objects (scene.ObjectRecord)
    folder/shard_00000/done                written last
"""

import json
import multiprocessing
from dataclasses import asdict
from pathlib import Path

import cv2
import numpy as np
from rich.progress import track

from qwen_seg_ros.offline.sim.scene import ObjectRecord, SimScene

__all__ = ["ObjectRecord", "generate"]
SHARD = 250  # arrangements in a shard


def generate(folder: Path, first_seed: int, scenes: int, views: int = 3, size: tuple[int, int] = (320, 240), workers: int = 1, depth: bool = False) -> None:
    """Render `scenes` arrangements with `views` views each (width, height = size); finished shards are kept, so it resumes."""
    jobs = [(folder, n, first_seed + n * SHARD, min(SHARD, scenes - n * SHARD), views, size, depth) for n in range(-(-scenes // SHARD))]
    jobs = [job for job in jobs if not (_shard(folder, job[1]) / "done").exists()]
    if workers == 1:
        for job in track(jobs, description="rendering shards"):
            _render_shard(job)
        return
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        for _ in track(pool.imap_unordered(_render_shard, jobs), total=len(jobs), description="rendering shards"):
            pass


def _shard(folder: Path, number: int) -> Path:
    return Path(folder) / f"shard_{number:05d}"


_RENDERERS: dict = {}  # one OpenGL context and compiled model per process and size


def _render_shard(job: tuple) -> None:
    folder, number, first_seed, scenes, views, size, depth = job
    from qwen_seg_ros.offline.sim.renderer import SceneRenderer

    renderer = _RENDERERS.setdefault(size, None) or SceneRenderer(*size)
    _RENDERERS[size] = renderer
    target = _shard(folder, number)
    target.mkdir(parents=True, exist_ok=True)
    lines = []
    for seed in range(first_seed, first_seed + scenes):
        for view in renderer.render(seed, views):
            lines.append(_write_view(target, f"{len(lines):07d}", view, depth))
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
