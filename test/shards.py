"""A folder of shards as `qwen-seg simulate --data` makes them, drawn instead of rendered: plain things on a plain ground."""

import json
from pathlib import Path

import cv2
import numpy as np

from qwen_seg_ros.offline.sim.catalogue import catalogue
from qwen_seg_ros.offline.sim.scene import ObjectRecord

DRAWN = (("ycb/025_mug/red", (200, 30, 30)), ("robosuite/can", (235, 120, 20)), ("ycb/048_hammer", (20, 20, 20)))
ENTRIES = {entry.key: entry for entry in catalogue()}
WIDTH, HEIGHT = 320, 240


def write_shard(folder: Path, views: int, seed: int = 0) -> Path:
    """One shard of `views` pictures with a mug (round), a can and a hammer (rectangles) each; returns `folder`."""
    shard, rng = folder / "shard_00000", np.random.default_rng(seed)
    shard.mkdir(parents=True)
    lines = [_write_view(shard, f"{n:07d}", rng) for n in range(views)]
    (shard / "meta.jsonl").write_text("\n".join(lines) + "\n")
    (shard / "done").touch()
    return folder


def _write_view(shard: Path, name: str, rng: np.random.Generator) -> str:
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
        records.append(ObjectRecord(number, *words, box, len(rows), *sizes).to_dict())
    cv2.imwrite(str(shard / f"{name}.jpg"), rgb[..., ::-1])
    cv2.imwrite(str(shard / f"{name}_ids.png"), ids)
    return json.dumps({"name": name, "objects": records})
