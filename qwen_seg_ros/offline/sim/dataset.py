"""Rendered views on disk, in shards that a trainer can read while later ones are still being made (offline.data.store).

A shard is a Parquet file, a pure function of its seeds and of how they are rendered: it is the same wherever it is made, here
or on a cluster (offline.sim.cluster).
"""

import multiprocessing
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from qwen_seg_ros.errors import InvalidInputError, MissingExtraError
from qwen_seg_ros.offline.data.store import ViewWriter, about
from qwen_seg_ros.offline.data.stored_view import Row, to_row
from qwen_seg_ros.offline.sim.profiles import scene_profile

if TYPE_CHECKING:
    from qwen_seg_ros.offline.sim.renderer import SceneRenderer  # imports MuJoCo, which readers of shards need not have

SHARD = 250  # arrangements in a shard, unless asked otherwise
MAX_VIEWS = 100  # of an arrangement
RENDERERS = ("classic", "filament")  # of colour; docs/renderers.md


@dataclass(frozen=True)
class Rendering:
    """How an arrangement becomes rows: views of it, their width and height, the kind of scenes (offline.sim.profiles), whether
    depth is stored, whether the pictures are those of the profile's sensors or exact, and who renders their colour, one of
    RENDERERS.

    Raises:
        InvalidInputError: for a number that cannot be, or a profile or renderer that does not exist.
    """

    views: int = 3
    size: tuple[int, int] = (320, 240)
    profile: str = "train"
    depth: bool = False
    sensor: bool = True
    renderer: str = "classic"

    def __post_init__(self) -> None:
        scene_profile(self.profile)
        if not 1 <= self.views <= MAX_VIEWS or min(self.size) < 1:
            raise InvalidInputError(f"views must be 1..{MAX_VIEWS} and sides at least 1, got {self.views} and {self.size}")
        if self.renderer not in RENDERERS:
            raise InvalidInputError(f"there is no renderer {self.renderer!r}; there are {', '.join(RENDERERS)}")

    def rows(self, seed: int) -> list[Row]:
        """The views of one arrangement as they are stored; the same on every call."""
        chosen = scene_profile(self.profile)
        profile = chosen if self.sensor else replace(chosen, sensors=())
        scenes = _renderer(*self.size, self.renderer).render(seed, self.views, profile=profile)
        return [to_row(scene, number, self.profile, self.depth) for number, scene in enumerate(scenes)]


@dataclass(frozen=True)
class Shard:
    """The arrangements of `scenes` seeds from `first_seed` on, and the file they go to."""

    path: Path
    first_seed: int
    scenes: int
    rendering: Rendering

    @property
    def about(self) -> dict:
        """What the file says about itself, the version of its renderer aside."""
        size = list(self.rendering.size)
        return {**asdict(self.rendering), "size": size, "first_seed": self.first_seed, "scenes": self.scenes}

    def render(self) -> Iterator[int]:
        """Yields each seed when its arrangement is drawn; the file is there after the last one."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with ViewWriter(self.path, self.about | {"renderer": _renderer_version(self.rendering.renderer)}) as writer:
            for seed in range(self.first_seed, self.first_seed + self.scenes):
                writer.add(self.rendering.rows(seed))
                yield seed

    def finished(self) -> bool:
        """
        Raises:
            InvalidInputError: when the file is there, but holds something else.
        """
        old = self.path.with_suffix("")  # a folder of what was written before Parquet
        there = {"profile": "simple"} if (old / "done").exists() else about(self.path) if self.path.exists() else None
        if there is None:
            return False
        there["renderer"] = _renderer_name(there.get("renderer", ""))  # another version goes on in the same folder
        if not there.items() <= self.about.items():
            raise InvalidInputError(f"{self.path} was made with {there}, asked is {self.about}; use another folder")
        return True


def _renderer_name(version: str) -> str:
    """The inverse of `_renderer_version`; what does not say so is classic, as all was before there were two."""
    return "filament" if version.endswith(" filament") else "classic"


def _renderer_version(name: str) -> str:
    """As it stands in a file: "mujoco 4.0.0" is the classic renderer, "mujoco 4.0.0 filament" the other.

    Raises:
        MissingExtraError: without MuJoCo.
    """
    try:
        return f"mujoco {version('mujoco')}" + (f" {name}" if name != "classic" else "")
    except PackageNotFoundError as error:
        raise MissingExtraError("rendering needs MuJoCo: pip install 'qwen-seg-ros[sim]'") from error


def missing_shards(folder: Path, first_seed: int, scenes: int, rendering: Rendering, shard: int = SHARD) -> list[Shard]:
    """The shards of `scenes` arrangements, `shard` of them in each, that are not in the folder yet."""
    starts = range(0, scenes, shard)
    names = [Path(folder) / f"shard_{number:05d}.parquet" for number in range(len(starts))]
    shards = [
        Shard(name, first_seed + start, min(shard, scenes - start), rendering) for name, start in zip(names, starts, strict=True)
    ]
    return [item for item in shards if not item.finished()]


def generate(
    folder: Path, first_seed: int, scenes: int, views: int = 3, size: tuple[int, int] = (320, 240), workers: int = 1,
    depth: bool = False, profile: str = "train", sensor: bool = True, renderer: str = "classic",
) -> None:  # fmt: skip
    """`render_missing` with the fields of Rendering as arguments."""
    render_missing(folder, first_seed, scenes, Rendering(views, size, profile, depth, sensor, renderer), workers)


def render_missing(
    folder: Path, first_seed: int, scenes: int, rendering: Rendering, workers: int = 1, shard: int = SHARD
) -> None:
    """Render `scenes` arrangements in `workers` processes; finished shards are kept, so it resumes.

    Seeds: 1,000,000 to 4,999,999 for training, 9,000,000 on for development, 5,000,000 on for evaluation and for nothing else.

    Raises:
        InvalidInputError: for a folder that holds shards made in another way.
    """
    waiting = missing_shards(folder, first_seed, scenes, rendering, shard)
    show_progress(scenes, waiting, _run(waiting, workers))


def show_progress(scenes: int, waiting: list[Shard], finished: Iterator[int]) -> None:
    """Draw a bar until `finished`, which yields numbers of arrangements, has ended."""
    columns = (TextColumn("rendering"), BarColumn(), MofNCompleteColumn(), TextColumn("arrangements"), TimeRemainingColumn())
    with Progress(*columns) as progress:
        task = progress.add_task("", total=scenes, completed=scenes - sum(shard.scenes for shard in waiting))
        for count in finished:
            progress.advance(task, count)


def _run(shards: list[Shard], workers: int) -> Iterator[int]:
    """-> arrangements finished since the last yield."""
    if workers == 1:
        for shard in shards:
            for _ in shard.render():
                yield 1
        return
    with multiprocessing.get_context("spawn").Pool(workers) as pool:  # OpenGL contexts do not survive a fork
        yield from pool.imap_unordered(render_whole, shards)


def render_whole(shard: Shard) -> int:
    """-> arrangements rendered."""
    return sum(1 for _ in shard.render())


@lru_cache(maxsize=1)
def _renderer(width: int, height: int, name: str) -> "SceneRenderer":
    from qwen_seg_ros.offline.sim.renderer import SceneRenderer

    return SceneRenderer(width, height, filament=name == "filament")
