"""Commands that belong to development, never to the robot: train, evaluate, bench."""

import json
import runpy
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import track

from qwen_seg_ros.cli.options import assignments
from qwen_seg_ros.errors import InvalidInputError, MissingExtraError

REPOSITORY = Path(__file__).resolve().parents[2]


def register(app: typer.Typer) -> None:
    """Add the commands; heavy imports wait until one is called."""
    app.command()(evaluate)
    app.command()(train)
    app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []})(bench)


def evaluate(
    checkpoint: Annotated[str, typer.Option(help="embedded model's name, folder, or owner/name on the model hub")] = "tabletop",
    scenes: Annotated[int, typer.Option(min=1, help="how many pictures")] = 200,
    first_seed: Annotated[int, typer.Option(help="first seed of the scenes; the default ones are never trained on")] = 5_000_000,
    size: Annotated[str, typer.Option(help="width x height of the rendered pictures")] = "640x480",
    questions: Annotated[int, typer.Option(min=1, help="questions a picture at most")] = 6,
    data: Annotated[Path | None, typer.Option(help="folder of shards to use instead: for tuning")] = None,
    cache: Annotated[Path, typer.Option(help="where rendered pictures are kept")] = Path(".cache/evaluation"),
    threads: Annotated[int, typer.Option(min=0, help="CPU threads, 0 = the library's choice")] = 0,
    rejection_threshold: Annotated[float, typer.Option(min=0, max=1, help="see SegmentationSettings")] = 0.5,
    max_new_tokens: Annotated[int, typer.Option(help="length of an answer at most")] = 256,
    json_file: Annotated[Path | None, typer.Option("--json", help="write all figures and every answer here")] = None,
) -> None:
    """Answer questions about rendered scenes and print accuracy by kind of expression, with baselines and the upper bound."""
    from qwen_seg_ros.offline.evaluation.evaluate import evaluate as run
    from qwen_seg_ros.offline.evaluation.questions import rendered, views
    from qwen_seg_ros.offline.evaluation.report import print_report
    from qwen_seg_ros.segmentation.qwen import QwenSegmenter
    from qwen_seg_ros.segmentation.settings import SegmentationSettings

    settings = SegmentationSettings(
        checkpoint=checkpoint, num_threads=threads, rejection_threshold=rejection_threshold, max_new_tokens=max_new_tokens
    )
    segmenter = QwenSegmenter(settings)
    folder = data or rendered(cache, first_seed, scenes, parse_size(size))
    asked = list(views(folder, questions, scenes))
    if not asked:
        raise InvalidInputError(f"{folder} holds no finished shard (shard_*/done) with objects; `qwen-seg simulate` makes them")
    console = Console()
    result = run(segmenter, track(asked, description="pictures", console=console))
    console.print(f"{checkpoint}: {len(result.rows)} questions about {len(asked)} pictures of {folder}", highlight=False)
    print_report(result, console)
    if json_file:
        json_file.parent.mkdir(parents=True, exist_ok=True)
        json_file.write_text(json.dumps(result.to_dict(), indent=1))


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


def bench(context: typer.Context) -> None:
    """Instruction to grasp target in milliseconds by stage; `qwen-seg bench --help` lists the options."""
    script = REPOSITORY / "benchmarks" / "pipeline_speed.py"
    if not script.is_file():
        raise MissingExtraError(f"{script} is missing; the benchmark runs in a clone of the repository")
    sys.argv = [str(script), *context.args]
    runpy.run_path(str(script), run_name="__main__")


def parse_size(text: str) -> tuple[int, int]:
    """ "640x480" -> (640, 480)."""
    parts = text.lower().split("x")
    if len(parts) != 2 or not all(p.isdigit() and int(p) > 0 for p in parts):
        raise InvalidInputError(f"size must be WIDTHxHEIGHT in pixels, for example 640x480, got {text!r}")
    return int(parts[0]), int(parts[1])
