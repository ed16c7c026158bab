"""`qwen-seg evaluate`: accuracy on rendered scenes, the short report and the benchmark Tabletop-ORS."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import track

from qwen_seg_ros.cli.output import console, results
from qwen_seg_ros.errors import InvalidInputError

if TYPE_CHECKING:
    from qwen_seg_ros.offline.evaluation.tabletop_ors import Bound
    from qwen_seg_ros.segmentation.qwen import QwenSegmenter
    from qwen_seg_ros.segmentation.settings import SegmentationSettings

app = typer.Typer(invoke_without_command=True, rich_markup_mode="rich", add_completion=False)

CHECKPOINT = typer.Option(help="embedded model's name, folder, or owner/name on the model hub")
SIZE = typer.Option(help="width x height of the rendered pictures")
CACHE = typer.Option(help="where rendered pictures and answers are kept")
THREADS = typer.Option(min=0, help="CPU threads, 0 = the library's choice")
THRESHOLD = typer.Option(min=0, max=1, help="see SegmentationSettings")
MAX_NEW_TOKENS = typer.Option(help="length of an answer at most")


@app.callback()
def evaluate(
    context: typer.Context,
    checkpoint: Annotated[str, CHECKPOINT] = "tabletop",
    scenes: Annotated[int, typer.Option(min=1, help="how many pictures")] = 200,
    first_seed: Annotated[int, typer.Option(help="first seed of the scenes; the default ones are never trained on")] = 5_000_000,
    size: Annotated[str, SIZE] = "640x480",
    questions: Annotated[int, typer.Option(min=1, help="questions a picture at most")] = 6,
    data: Annotated[Path | None, typer.Option(help="folder of shards to use instead: for tuning")] = None,
    cache: Annotated[Path, CACHE] = Path(".cache/evaluation"),
    threads: Annotated[int, THREADS] = 0,
    rejection_threshold: Annotated[float, THRESHOLD] = 0.3,
    max_new_tokens: Annotated[int, MAX_NEW_TOKENS] = 256,
    json_file: Annotated[Path | None, typer.Option("--json", help="write all figures and every answer here")] = None,
) -> None:
    """Answer questions about simple rendered scenes and print accuracy by kind of expression, with baselines and the upper bound;
    or, as `qwen-seg evaluate tabletop-ors`, run the benchmark with its splits."""
    if context.invoked_subcommand:
        _nothing_before(context)
        return
    from qwen_seg_ros.offline.evaluation.evaluate import evaluate as run
    from qwen_seg_ros.offline.evaluation.questions import rendered, views
    from qwen_seg_ros.offline.evaluation.report import print_report

    segmenter = _segmenter(_settings(checkpoint, threads, rejection_threshold, max_new_tokens))
    folder = data or rendered(cache, first_seed, scenes, parse_size(size))
    asked = list(views(folder, questions, scenes))
    if not asked:
        raise InvalidInputError(f"{folder} holds no finished shard (shard_*/done) with objects; `qwen-seg simulate` makes them")
    result = run(segmenter, track(asked, description="pictures", console=console))
    results.print(f"{checkpoint}: {len(result.rows)} questions about {len(asked)} pictures of {folder}", highlight=False)
    print_report(result, results)
    if json_file:
        json_file.parent.mkdir(parents=True, exist_ok=True)
        json_file.write_text(json.dumps(result.to_dict(), indent=1))


@app.command(name="tabletop-ors")
def tabletop_ors(
    split: Annotated[list[str] | None, typer.Option(help="name of a split; may be repeated; all without it")] = None,
    scenes: Annotated[int, typer.Option(min=1, help="pictures a split")] = 200,
    questions: Annotated[int, typer.Option(min=1, help="questions a picture at most")] = 8,
    size: Annotated[str, SIZE] = "640x480",
    data: Annotated[Path | None, typer.Option(help="folder of views to use for every split instead: to try things out")] = None,
    cache: Annotated[Path, CACHE] = Path(".cache/tabletop_ors"),
    out: Annotated[Path, typer.Option(help="folder of report.html, results.json and questions.jsonl")] = Path("out/tabletop_ors"),
    fresh: Annotated[
        bool, typer.Option("--fresh", help="ask again, also what was answered before: after changes of code")
    ] = False,
    workers: Annotated[int, typer.Option(min=1, help="processes that render")] = 1,
    card: Annotated[Path | None, typer.Option(help="rewrite the figures of this page, docs/tabletop_ors.md")] = None,
    checkpoint: Annotated[str, CHECKPOINT] = "tabletop",
    threads: Annotated[int, THREADS] = 0,
    rejection_threshold: Annotated[float, THRESHOLD] = 0.3,
    max_new_tokens: Annotated[int, MAX_NEW_TOKENS] = 256,
) -> None:
    """The benchmark Tabletop-ORS: figures with intervals by split and kind of expression, baselines, and a page of pictures.

    Answers are kept below the cache folder by what is in the checkpoint, so that an interrupted run goes on where it stopped.

    [bold]Examples[/bold]

      qwen-seg evaluate tabletop-ors

      qwen-seg evaluate tabletop-ors --split id --split ood_objects --scenes 20 --checkpoint .train/stage2/model
    """
    from qwen_seg_ros.offline.evaluation.benchmark import run_benchmark
    from qwen_seg_ros.offline.evaluation.plan import Plan
    from qwen_seg_ros.offline.evaluation.splits import chosen

    splits = chosen(split or ())
    settings = _settings(checkpoint, threads, rejection_threshold, max_new_tokens)
    segmenter = _segmenter(settings)
    facts = _facts(segmenter, settings)
    plan = Plan(
        checkpoint,
        _digest(segmenter, settings),
        splits,
        scenes,
        questions,
        parse_size(size),
        cache,
        data,
        workers=workers,
        facts=facts,
    )
    if fresh:
        plan.forget()
    run_benchmark(segmenter, plan, out, _bound(segmenter), card, results)
    console.print(f"wrote {out}/report.html, results.json and questions.jsonl", highlight=False)


def _nothing_before(context: typer.Context) -> None:
    """Options of the short report mean nothing to the benchmark; dropping them in silence would measure something else."""
    sources = {name: context.get_parameter_source(name) for name in context.params}
    given = [name for name, source in sources.items() if source is not None and source.name == "COMMANDLINE"]
    if given:
        raise InvalidInputError(f"options of {context.invoked_subcommand} go behind its name, got {', '.join(given)} before it")


def _settings(checkpoint: str, threads: int, rejection_threshold: float, max_new_tokens: int) -> "SegmentationSettings":
    from qwen_seg_ros.segmentation.settings import SegmentationSettings

    return SegmentationSettings(
        checkpoint=checkpoint, num_threads=threads, rejection_threshold=rejection_threshold, max_new_tokens=max_new_tokens
    )


def _segmenter(settings: "SegmentationSettings") -> "QwenSegmenter":
    from qwen_seg_ros.segmentation.qwen import QwenSegmenter

    return QwenSegmenter(settings)


def _digest(segmenter: "QwenSegmenter", settings: "SegmentationSettings") -> str:
    """Of what answers depend on, but for the code; a checkpoint of the model hub counts by its name."""
    from qwen_seg_ros.model.checkpoint import resolve
    from qwen_seg_ros.offline.evaluation.replies import digest_of

    source = Path(resolve(settings.checkpoint))
    limits = (settings.rejection_threshold, settings.max_new_tokens, settings.max_instances)
    parts = (*map(str, limits), str(segmenter.device), str(segmenter.dtype))
    return digest_of(*parts, folder=source) if source.is_dir() else digest_of(settings.checkpoint, *parts)


def _facts(segmenter: "QwenSegmenter", settings: "SegmentationSettings") -> dict[str, str]:
    known = segmenter.info()
    facts = {name: known[name] for name in ("parameters", "masks", "device", "dtype")}
    return {**facts, "rejection threshold": f"{settings.rejection_threshold:g}"}


def _bound(segmenter: "QwenSegmenter") -> "Bound":
    """Masks of the true boxes by the model's own decoder."""
    from qwen_seg_ros.offline.evaluation.decoder_bound import from_decoder

    return lambda encoded, view, question: from_decoder(segmenter.engine, encoded.image, view, question)


def parse_size(text: str) -> tuple[int, int]:
    """ "640x480" -> (640, 480)."""
    parts = text.lower().split("x")
    if len(parts) != 2 or not all(p.isdigit() and int(p) > 0 for p in parts):
        raise InvalidInputError(f"size must be WIDTHxHEIGHT in pixels, for example 640x480, got {text!r}")
    return int(parts[0]), int(parts[1])
