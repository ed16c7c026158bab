"""`qwen-seg evaluate`: accuracy on rendered scenes (the short report, the benchmark Tabletop-ORS) and on public sets."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import Progress, track

from qwen_seg_ros.cli.output import console, results
from qwen_seg_ros.errors import InvalidInputError

if TYPE_CHECKING:
    from qwen_seg_ros.offline.evaluation.public.results_out import About, Measured
    from qwen_seg_ros.offline.evaluation.public.split import PublicSplit
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
    or, as `qwen-seg evaluate tabletop-ors`, run the benchmark with its splits; or measure on a public set that you have."""
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


PUBLIC_HELP = """{about}. Prints the figures that papers report, with intervals, and writes results.json and questions.jsonl.

docs/public_data.md says which files belong where.

[bold]Example[/bold]

  qwen-seg evaluate {name} --data {data} --split val
"""
PUBLIC = {
    "refcoco": ("RefCOCO: one object a sentence; cIoU, mIoU, P@X", "refer/data"),
    "refcoco+": ("RefCOCO+: the same without words of place", "refer/data"),
    "refcocog": ("RefCOCOg: the same with long sentences", "refer/data"),
    "grefcoco": ("gRefCOCO: one, several or no object; gIoU, cIoU, N-acc, T-acc", "refer/data"),
    "reasonseg": ("ReasonSeg: what a sentence implies; gIoU, cIoU", "ReasonSeg"),
}


def public(
    context: typer.Context,
    data: Annotated[Path, typer.Option(help="folder of the set, see docs/public_data.md")],
    split: Annotated[str, typer.Option(help="val, testA, testB, test: as the set names it")] = "val",
    split_by: Annotated[str | None, typer.Option(help="refer sets: unc, umd or google, as in refs(...).p")] = None,
    images: Annotated[Path | None, typer.Option(help="refer sets: folder of the pictures of COCO train2014")] = None,
    pictures: Annotated[int | None, typer.Option(min=1, help="only the first ones of the split: to try things out")] = None,
    out: Annotated[Path | None, typer.Option(help="folder of what is written, else out/NAME_SPLIT")] = None,
    checkpoint: Annotated[str, CHECKPOINT] = "tabletop",
    threads: Annotated[int, THREADS] = 0,
    rejection_threshold: Annotated[float, THRESHOLD] = 0.3,
    max_new_tokens: Annotated[int, MAX_NEW_TOKENS] = 256,
) -> None:
    from qwen_seg_ros.offline.evaluation.public.results_out import About, Measured
    from qwen_seg_ros.offline.evaluation.public.run import ask_words

    name = str(context.info_name)
    whole = _public_split(name, data, split, split_by, images)
    asked = whole.first(pictures)
    settings = _settings(checkpoint, threads, rejection_threshold, max_new_tokens)
    segmenter = _segmenter(settings)
    with Progress(console=console) as progress:
        task = progress.add_task("pictures", total=len(asked.pictures))
        answers = ask_words(segmenter, asked, lambda: progress.advance(task))
    about = About(str(data), checkpoint, _facts(segmenter, settings))
    _publish(Measured(asked, len(whole.pictures), answers), about, out)


for _name, (_about, _data) in PUBLIC.items():
    app.command(name=_name, help=PUBLIC_HELP.format(name=_name, about=_about, data=_data))(public)


@app.command()
def sa1b(
    data: Annotated[Path, typer.Option(help="folder of sa_1.jpg, sa_1.json and so on")],
    pictures: Annotated[int, typer.Option(min=1, help="how many, the first of the folder")] = 20,
    out: Annotated[Path | None, typer.Option(help="folder of what is written, else out/sa1b_FOLDER")] = None,
) -> None:
    """SA-1B: masks from the true boxes by colour alone, for the set has no words; no model is asked. cIoU, mIoU, P@X.

    [bold]Example[/bold]

      qwen-seg evaluate sa1b --data sa_000020 --pictures 20
    """
    from qwen_seg_ros.offline.evaluation.public.results_out import About, Measured
    from qwen_seg_ros.offline.evaluation.public.run import ask_boxes
    from qwen_seg_ros.offline.evaluation.public.sa1b import load_sa1b

    split = load_sa1b(data, pictures)
    with Progress(console=console) as progress:
        task = progress.add_task("pictures", total=len(split.pictures))
        answers = ask_boxes(split, lambda: progress.advance(task))
    _publish(Measured(split, len(split.pictures), answers), About(str(data), "none", {}), out)


def _public_split(name: str, data: Path, split: str, split_by: str | None, images: Path | None) -> "PublicSplit":
    from qwen_seg_ros.offline.evaluation.public.reason_seg import DATASET, load_reason_seg
    from qwen_seg_ros.offline.evaluation.public.refer import load_refer

    if name != DATASET:
        return load_refer(name, data, split, split_by, images)
    if split_by or images:
        raise InvalidInputError(f"--split-by and --images mean nothing to {DATASET}; its pictures lie beside its JSON files")
    return load_reason_seg(data, split)


def _publish(measured: "Measured", about: "About", out: Path | None) -> None:
    from qwen_seg_ros.offline.evaluation.public.results_out import print_results, write_results

    folder = out or Path("out") / f"{measured.split.dataset}_{measured.split.split}"
    found = measured.figures()
    write_results(folder, measured, about, found)
    print_results(results, measured, found)
    console.print(f"wrote {folder}/results.json and questions.jsonl", highlight=False)


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
    limits = (settings.rejection_threshold, settings.max_new_tokens, settings.max_instances, settings.look_closer)
    parts = (*map(str, limits), str(segmenter.device), str(segmenter.dtype))
    return digest_of(*parts, folder=source) if source.is_dir() else digest_of(settings.checkpoint, *parts)


def _facts(segmenter: "QwenSegmenter", settings: "SegmentationSettings") -> dict[str, str]:
    known = segmenter.info()
    facts = {name: known[name] for name in ("parameters", "masks", "device", "dtype")}
    return {**facts, "rejection threshold": f"{settings.rejection_threshold:g}"}


def _bound(segmenter: "QwenSegmenter") -> "Bound":
    """Masks of the true boxes by the model's own decoder."""
    from qwen_seg_ros.offline.evaluation.decoder_bound import from_decoder

    return lambda encoded, view, question: from_decoder(segmenter.engine, encoded, view, question)


def parse_size(text: str) -> tuple[int, int]:
    """ "640x480" -> (640, 480)."""
    parts = text.lower().split("x")
    if len(parts) != 2 or not all(p.isdigit() and int(p) > 0 for p in parts):
        raise InvalidInputError(f"size must be WIDTHxHEIGHT in pixels, for example 640x480, got {text!r}")
    return int(parts[0]), int(parts[1])
