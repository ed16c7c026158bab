"""Commands that belong to development, never to the robot: train, evaluate, bench."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from qwen_seg_ros.cli import evaluate
from qwen_seg_ros.cli.options import assignments
from qwen_seg_ros.cli.output import console
from qwen_seg_ros.errors import MissingExtraError

REPOSITORY = Path(__file__).resolve().parents[2]


def register(app: typer.Typer) -> None:
    """Add the commands; heavy imports wait until one is called."""
    app.add_typer(evaluate.app, name="evaluate")
    app.command()(train)
    app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []})(bench)


def train(
    out: Annotated[Path, typer.Option(help="folder of the run; a run found there is continued")],
    recipe: Annotated[str, typer.Option(help="stage1, stage2, embedded, or a YAML file")] = "embedded",
    data: Annotated[Path | None, typer.Option(help="folder of rendered shards (qwen-seg simulate --data)")] = None,
    user_data: Annotated[Path | None, typer.Option(help="your own pictures, JSONL: docs/training_data.md")] = None,
    held_out: Annotated[Path | None, typer.Option(help="shards not trained on: loss of plain answers before and after")] = None,
    values: Annotated[
        list[str] | None, typer.Option("--set", help="a value of the recipe, e.g. losses.bce=1; may be repeated")
    ] = None,
    export: Annotated[Path | None, typer.Option(help="write the result here in bfloat16, as a checkpoint to ship")] = None,
    show: Annotated[bool, typer.Option("--show", help="print the recipe with every value and what it means, and end")] = False,
) -> None:
    """Train by a recipe, or continue; OUT/model is a checkpoint that every other command takes.

    [bold]Examples[/bold]

      qwen-seg train --recipe stage1 --show --out x

      accelerate launch -m qwen_seg_ros.cli train --recipe stage1 --data SHARDS --out .train/stage1

      qwen-seg train --recipe stage2 --set base=.train/stage1/model --data SHARDS --held-out OTHERS --out .train/stage2
    """
    from qwen_seg_ros.offline.training.recipe import load_recipe
    from qwen_seg_ros.settings import to_yaml, updated

    chosen = updated(load_recipe(recipe), assignments(values or []))
    if show:
        print(to_yaml(chosen))
        return
    try:
        from qwen_seg_ros.offline.training.loop import Places, Trainer, export_checkpoint
    except ModuleNotFoundError as error:
        raise MissingExtraError(f"{error.name} is not installed; pip install 'qwen-seg-ros[train]'") from error

    Trainer(chosen, Places(out, data, user_data, held_out)).train()
    if export:
        export_checkpoint(out / "model", export)


def bench(
    context: typer.Context,
    open3d: Annotated[bool, typer.Option(help="then compare with a plain Open3D pipeline, masks to grasps")] = True,
    node: Annotated[bool, typer.Option(help="then what the ROS 2 node costs beside, in one process and over DDS")] = True,
) -> None:
    """Instruction to grasp target in milliseconds by stage, then lifting and planning beside plain Open3D, then the node itself.

    Options go to benchmarks/pipeline_speed.py: `qwen-seg bench --help` lists them. The node's part needs ROS 2.
    """
    run_benchmark("pipeline_speed", context.args)
    if {"-h", "--help"} & set(context.args):
        return
    if open3d:
        run_benchmark("open3d_comparison", [option for option in context.args if option == "--synthetic"])
    if node and find_spec("rclpy") and find_spec("qwen_seg_ros.msg"):
        run_benchmark("node_overhead", [])
    elif node:
        console.print("the node is left out: source a ROS 2 workspace with this package, or .ws/env.sh in the checkout")


def run_benchmark(name: str, options: list[str]) -> None:
    """In a process of its own, so that one benchmark leaves no threads and caches to the next.

    Raises:
        MissingExtraError: where the package is installed without its repository.
    """
    script = REPOSITORY / "benchmarks" / f"{name}.py"
    if not script.is_file():
        raise MissingExtraError(f"{script} is missing; the benchmarks run in a clone of the repository")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, [str(REPOSITORY), os.environ.get("PYTHONPATH")]))}
    done = subprocess.run([sys.executable, "-m", f"benchmarks.{name}", *options], check=False, env=environment)
    if done.returncode:
        raise typer.Exit(done.returncode)
