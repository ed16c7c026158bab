"""The shards of offline.sim.dataset rendered by a Ray Data job: one actor with one OpenGL context a CPU, on one machine or many.

Each row of the job is a shard. Actors write it themselves, with the same function as a local run, instead of sending rows to a
common writer: the file appears when it is complete, has the same bytes as one that was made locally, and a job that was
stopped goes on with what is missing. The folder must be the same one on every machine (network file system, mounted bucket).
"""

import os
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np

from qwen_seg_ros.errors import MissingExtraError
from qwen_seg_ros.offline.sim.dataset import SHARD, Rendering, Shard, missing_shards, render_whole, show_progress

PASSED_ON = ("QWEN_SEG_ASSETS", "MUJOCO_GL")  # variables of this process that renderers need


class ShardRenderer:
    """An actor: keeps one renderer for all shards it is given."""

    def __init__(self, shards: list[Shard]) -> None:
        self.shards = shards

    def __call__(self, batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """id: numbers of shards -> scenes: arrangements rendered for each."""
        return {"scenes": np.array([render_whole(self.shards[number]) for number in batch["id"]])}


def generate_with_ray(
    folder: Path, first_seed: int, scenes: int, rendering: Rendering, actors: int = 1, address: str | None = None,
    shard: int = SHARD,
) -> None:  # fmt: skip
    """As dataset.render_missing, by `actors` processes of the cluster at `address`; None = of a cluster of this machine's own.

    Every machine needs this package, the assets and, where they lie elsewhere than here, its own QWEN_SEG_ASSETS.

    Raises:
        InvalidInputError: for a folder that holds shards made in another way.
        MissingExtraError: without ray.
    """
    ray = _ray()
    waiting = missing_shards(Path(folder).resolve(), first_seed, scenes, rendering, shard)
    if not waiting:
        return
    with ray.init(address=address, runtime_env={"env_vars": _variables()}, include_dashboard=False, log_to_driver=False):
        show_progress(scenes, waiting, _run(ray, waiting, actors))


def _run(ray: ModuleType, shards: list[Shard], actors: int) -> Iterator[int]:
    """-> arrangements finished since the last yield."""
    ray.data.DataContext.get_current().enable_progress_bars = False  # ours counts arrangements
    # A block for each shard, the unit of a retry. Not ray.data.range: its tasks starve where the actors hold every CPU.
    numbers = ray.data.from_items([{"id": number} for number in range(len(shards))], override_num_blocks=len(shards))
    pool = ray.data.ActorPoolStrategy(size=min(actors, len(shards)))
    made = numbers.map_batches(ShardRenderer, fn_constructor_args=(shards,), batch_size=1, compute=pool, num_cpus=1)
    for row in made.iter_rows():
        yield int(row["scenes"])


def _variables() -> dict[str, str]:
    return {name: os.environ[name] for name in PASSED_ON if name in os.environ}


def _ray() -> ModuleType:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing about this run is sent to anybody
    try:
        import ray.data
    except ImportError as error:
        raise MissingExtraError("rendering on a cluster needs Ray: pip install 'qwen-seg-ros[sim,scale]'") from error
    return ray
