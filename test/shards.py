"""Folders of views as `qwen-seg simulate --data` makes them, drawn instead of rendered: plain things on a plain ground."""

import json
from pathlib import Path

import cv2
import numpy as np

from qwen_seg_ros.geometry.camera import Camera
from qwen_seg_ros.offline.data.store import ViewWriter
from qwen_seg_ros.offline.data.stored_view import Row, to_row
from qwen_seg_ros.offline.sim.catalogue import catalogue
from qwen_seg_ros.offline.sim.scene import ObjectRecord, SimScene

DRAWN = (("ycb/025_mug/red", (200, 30, 30)), ("robosuite/can", (235, 120, 20)), ("ycb/048_hammer", (20, 20, 20)))
ENTRIES = {entry.key: entry for entry in catalogue()}
WIDTH, HEIGHT = 320, 240
CAMERA = Camera(WIDTH, HEIGHT, 250.5, 250.5, 159.5, 119.5)


def write_shard(folder: Path, views: int, seed: int = 0) -> Path:
    """One Parquet file of `views` pictures with a mug (round), a can and a hammer (rectangles) each; returns `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    with ViewWriter(folder / "shard_00000.parquet", {"drawn": seed}) as writer:
        writer.add(_rows(views, seed))
    return folder


def write_folder_shard(folder: Path, views: int, seed: int = 0) -> Path:
    """The same pictures as they were written before Parquet: a folder of files; returns `folder`."""
    shard = folder / "shard_00000"
    shard.mkdir(parents=True)
    lines = [_write_files(shard, f"{n:07d}", row) for n, row in enumerate(_rows(views, seed))]
    (shard / "meta.jsonl").write_text("\n".join(lines) + "\n")
    (shard / "done").touch()
    return folder


def drawn_scene(rng: np.random.Generator, seed: int) -> SimScene:
    """Mug, can and hammer in places of their own; depth: a slope with holes."""
    rgb, ids, records = np.full((HEIGHT, WIDTH, 3), 140, np.uint8), np.zeros((HEIGHT, WIDTH), np.uint8), []
    for number, place in enumerate(rng.permutation(len(DRAWN)), 1):
        key, paint = DRAWN[number - 1]
        x, y = 100 * int(place) + int(rng.integers(10, 40)), int(rng.integers(40, 130))
        mask = np.zeros((HEIGHT, WIDTH), np.uint8)
        if number == 1:
            cv2.ellipse(mask, (x + 25, y + 30), (25, 30), 0, 0, 360, 1, -1)
        else:
            mask[y : y + 60, x : x + 50] = 1
        rgb[mask > 0], ids[mask > 0] = paint, number
        rows, cols = np.nonzero(mask)
        box = (int(cols.min()), int(rows.min()), int(cols.max()) + 1, int(rows.max()) + 1)
        entry = ENTRIES[key]
        words = (key, entry.name, entry.colour, entry.category, entry.aliases)
        sizes = ((0.0, 0.0, 0.05), (0.1, 0.1, 0.1), 0.6 + 0.1 * number)
        records.append(ObjectRecord(number, *words, box, len(rows), *sizes))
    depth_m = np.linspace(0.4, 1.2, ids.size, dtype=np.float32).reshape(ids.shape)
    depth_m[:7, :9] = np.nan
    base_from_camera = np.eye(4)
    base_from_camera[:3, 3] = 1 / 3, 0.1, 0.7
    return SimScene(seed, rgb, depth_m, ids, CAMERA, base_from_camera, tuple(records))


def _rows(views: int, seed: int) -> list[Row]:
    rng = np.random.default_rng(seed)
    return [to_row(drawn_scene(rng, number), 0, "simple", depth=True) for number in range(views)]


def _write_files(shard: Path, name: str, row: Row) -> str:
    for column, ending in (("rgb", ".jpg"), ("ids", "_ids.png"), ("depth", "_depth.png")):
        (shard / f"{name}{ending}").write_bytes(row[column])
    return json.dumps({"name": name, "seed": row["seed"], **json.loads(row["truth"])})
