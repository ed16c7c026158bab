"""Commands that belong to development, never to the robot: train, evaluate, bench."""

import json
import runpy
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import track

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
    data: Annotated[Path, typer.Option(help="folder of rendered shards")],
    out: Annotated[Path, typer.Option(help="folder of the run; a run found there is continued")],
    steps: Annotated[int, typer.Option(min=1, help="step at which training ends, steps of earlier calls included")] = 20_000,
    cooldown: Annotated[int, typer.Option(min=0, help="last steps over which the rate falls to zero")] = 0,
    batch: Annotated[int, typer.Option(min=1, help="pictures a step")] = 8,
    questions: Annotated[int, typer.Option(min=1, help="questions a picture")] = 6,
    rate: Annotated[float, typer.Option(help="learning rate of the matrices (Muon); half of it for the rest (AdamW)")] = 2e-3,
    masks_from: Annotated[int, typer.Option(min=0, help="step at which the mask decoder joins in")] = 600,
    vision_only: Annotated[bool, typer.Option(help="train the vision tower alone on words and corners")] = False,
    save_every: Annotated[int, typer.Option(min=1, help="steps between snapshots in OUT/model")] = 250,
    seed: Annotated[int, typer.Option(help="of weights and questions")] = 0,
    workers: Annotated[int, typer.Option(min=1, help="processes that prepare pictures")] = 1,
    init: Annotated[Path | None, typer.Option(help="model folder to start a new run from")] = None,
    export: Annotated[Path | None, typer.Option(help="write the result here in bfloat16, as a checkpoint to ship")] = None,
) -> None:
    """Train the small embedded model, or continue; OUT/model is a checkpoint that every other command takes."""
    from qwen_seg_ros.offline.training.loop import Trainer, TrainSettings, export_checkpoint
    from qwen_seg_ros.offline.training.tokenizer import tokenizer_of_run

    settings = TrainSettings(
        data,
        out,
        steps,
        cooldown,
        batch,
        questions,
        rate,
        masks_from=masks_from,
        vision_only=vision_only,
        save_every=save_every,
        seed=seed,
        workers=workers,
        init=init,
    )
    Trainer(settings, tokenizer_of_run(out / "tokenizer", init)).train()
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
