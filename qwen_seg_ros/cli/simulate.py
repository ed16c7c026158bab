"""`qwen-seg simulate`: rendered tabletop scenes as a recording or as training data."""

from pathlib import Path
from typing import Annotated

import typer
from rich.progress import track

from qwen_seg_ros.cli.output import console
from qwen_seg_ros.errors import MissingExtraError

Sizes = tuple[int, int]


def simulate(
    bag: Annotated[Path | None, typer.Option(help="Write a rosbag2 (mcap) and truth.json into this new folder.")] = None,
    data: Annotated[Path | None, typer.Option(help="Write pictures with truth for training into this folder; resumes.")] = None,
    fetch_assets: Annotated[
        bool, typer.Option("--fetch-assets", help="Download meshes and textures (about 0.6 GB, once).")
    ] = False,
    scenes: Annotated[int, typer.Option(min=1, help="Number of scenes.")] = 5,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the first scene; the same seed gives the same scenes.")] = 7_000_000,
    size: Annotated[Sizes, typer.Option(help="Width and height of the pictures.", show_default="640 480; data 320 240")] = (0, 0),
    noise: Annotated[bool, typer.Option("--noise", help="Bags: depth as from a stereo camera, with noise and holes.")] = False,
    camera_seed: Annotated[int, typer.Option(min=0, help="Bags: place of the camera, which stays for all scenes.")] = 6,
    views: Annotated[int, typer.Option(min=1, help="Data: views of each scene.")] = 3,
    depth: Annotated[bool, typer.Option("--depth", help="Data: write depth too.")] = False,
    profile: Annotated[str, typer.Option(help="Data: kind of scenes: train, id, ood_objects ...")] = "train",
    sensor: Annotated[bool, typer.Option("--sensor/--exact", help="Data: as the profile's sensors see it, or exact.")] = True,
    renderer: Annotated[
        str,
        typer.Option(
            help="Data: who draws colour: classic (OpenGL), or filament (physically based, five times slower; "
            "needs Vulkan: apt install mesa-vulkan-drivers libvulkan1)."
        ),
    ] = "classic",
    shard: Annotated[int, typer.Option(min=1, help="Data: scenes in a file, what is made anew after a stop.")] = 250,
    workers: Annotated[int, typer.Option(min=1, help="Data: processes.")] = 1,
    ray: Annotated[bool, typer.Option("--ray", help="Data: the processes are actors of a Ray cluster.")] = False,
    ray_address: Annotated[str | None, typer.Option(help="Data: cluster to use, auto = that of this machine.")] = None,
) -> None:
    """Render tabletop scenes with exact truth: a recording to play to the node, or data to train on.

    [bold]Examples[/bold]

      qwen-seg simulate --fetch-assets

      qwen-seg simulate --bag out/bag --scenes 5 --seed 42 --noise

      qwen-seg simulate --data out/train --scenes 5000 --seed 1000000 --workers 2

      qwen-seg simulate --data out/filament --scenes 500 --seed 1000000 --renderer filament

      qwen-seg simulate --data /mnt/shared/train --scenes 350000 --seed 1000000 --ray --ray-address auto --workers 512
    """
    if not (bag or data or fetch_assets):
        raise typer.BadParameter("say what to make: --bag FOLDER, --data FOLDER or --fetch-assets")
    if fetch_assets:
        _fetch()
    if bag is not None:
        _bag(bag, scenes, seed, size if all(size) else (640, 480), noise, camera_seed)
    if data is not None:
        from qwen_seg_ros.offline.sim.dataset import Rendering, render_missing

        rendering = Rendering(views, size if all(size) else (320, 240), profile, depth, sensor, renderer)
        if ray or ray_address is not None:
            from qwen_seg_ros.offline.sim.cluster import generate_with_ray

            generate_with_ray(data, seed, scenes, rendering, workers, ray_address, shard)
        else:
            render_missing(data, seed, scenes, rendering, workers, shard)
        console.print(f"wrote {data}: {scenes} scenes with {views} views", highlight=False)


def _fetch() -> None:
    from qwen_seg_ros.offline.sim.assets import fetch_assets

    console.print(f"assets are in {fetch_assets()}", highlight=False)


def _bag(folder: Path, scenes: int, seed: int, size: Sizes, noise: bool, camera_seed: int) -> None:
    try:
        from qwen_seg_ros.offline.bags.truth import record
    except ImportError as error:
        raise MissingExtraError("writing bags needs rosbags: pip install 'qwen-seg-ros[bags]'") from error
    import numpy as np

    from qwen_seg_ros.errors import InvalidInputError
    from qwen_seg_ros.offline.sim.renderer import SceneRenderer, random_camera

    if folder.exists():
        raise InvalidInputError(f"{folder} exists already; name a new folder or remove it first")
    with console.status("loading the meshes"):
        renderer = SceneRenderer(*size)
    camera = random_camera(np.random.default_rng(camera_seed))
    seeds = track(range(seed, seed + scenes), description="rendering", console=console)
    record(folder, [renderer.render(number, camera=camera)[0] for number in seeds], noise)
    total = sum(file.stat().st_size for file in folder.iterdir())
    console.print(
        f"wrote {folder}: {scenes} scenes, {total / 1e6:.1f} MB; play it with: ros2 bag play {folder} --loop", highlight=False
    )
