"""`qwen-seg replay`: a recording answered as the node would answer it, and compared with what is expected."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from qwen_seg_ros.cli import output
from qwen_seg_ros.cli.options import CheckpointOption, SetOption, SettingsOption, pipeline_from
from qwen_seg_ros.errors import MissingExtraError
from qwen_seg_ros.pipeline import Pipeline

if TYPE_CHECKING:
    from qwen_seg_ros.offline.bags.replay.comparison import Comparison
    from qwen_seg_ros.offline.bags.replay.run import Question, Summary
    from qwen_seg_ros.offline.bags.replay.timetable import Timetable
    from qwen_seg_ros.offline.bags.topics import Topics

SHOWN = 40  # differences in the table
TOPICS, PART, EXPECTED = "Topics and frames", "Which part of the recording", "Compare with what is expected"


def _option(text: str, panel: str, *names: str, **limits: Any) -> Any:
    return typer.Option(*names, help=text, rich_help_panel=panel, **limits)


def replay(
    bag: Annotated[Path, typer.Argument(help="rosbag2 folder, .mcap, .db3 or ROS 1 .bag file.")],
    instruction: Annotated[
        list[str] | None, typer.Option("--instruction", "-i", help="What to find in every frame; may be repeated.")
    ] = None,
    instructions: Annotated[Path | None, typer.Option(help="YAML with times and words: docs/replay.md.")] = None,
    out: Annotated[Path, typer.Option(help="Folder of the answers; an interrupted run goes on there.")] = Path("out/replay"),
    grasps: Annotated[bool, typer.Option(help="Plan grasps.")] = True,
    report: Annotated[bool, typer.Option("--report", help="Write report.html into --out: pictures, a timeline, 3-D.")] = False,
    rerun: Annotated[bool, typer.Option("--rerun", help="Write replay.rrd into --out, for the rerun viewer.")] = False,
    report_only: Annotated[
        bool,
        typer.Option("--report-only", help="Answer nothing: report.html (with --rerun: replay.rrd) of what is in --out."),
    ] = False,
    image: Annotated[str, _option("Colour topic, where finding it by type is not enough.", TOPICS)] = "",
    depth: Annotated[str, _option("Depth topic.", TOPICS)] = "",
    camera_info: Annotated[str, _option("Calibration of the colour camera.", TOPICS)] = "",
    no_depth: Annotated[bool, _option("Masks only: depth and calibration may be missing.", TOPICS, "--no-depth")] = False,
    target_frame: Annotated[str, _option("Frame of the results. Default: base_link if known.", TOPICS)] = "",
    rectified: Annotated[bool, _option("Images are rectified: use P of camera_info.", TOPICS, "--rectified")] = False,
    registered: Annotated[bool, _option("Depth is registered, whatever its frame.", TOPICS, "--registered")] = False,
    tolerance: Annotated[float, _option("Largest gap of colour and depth, seconds.", TOPICS, min=0, max=10)] = 0.05,
    start: Annotated[float, _option("Seconds to skip.", PART, min=0)] = 0.0,
    duration: Annotated[float, _option("Seconds to look at, 0 = to the end.", PART, min=0)] = 0.0,
    every: Annotated[int, _option("Look at every n-th frame.", PART, min=1)] = 1,
    rate: Annotated[float, _option("Look at no more frames a second, 0 = all.", PART, min=0)] = 0.0,
    expect: Annotated[Path | None, _option("Compare with this results.jsonl; exit code 1 if it differs.", EXPECTED)] = None,
    iou: Annotated[float, _option("Least overlap of masks.", EXPECTED, min=0, max=1)] = 0.8,
    position_mm: Annotated[float, _option("Largest error of a position.", EXPECTED, min=0)] = 10.0,
    size_mm: Annotated[float, _option("Largest error of an edge of a box.", EXPECTED, min=0)] = 20.0,
    grasp_mm: Annotated[float, _option("Largest distance of the best grasp.", EXPECTED, min=0)] = 20.0,
    grasp_deg: Annotated[float, _option("Largest angle of the best grasp.", EXPECTED, min=0, max=180)] = 20.0,
    grasp_poses: Annotated[bool, _option("Compare poses of grasps, not only if there is one.", EXPECTED)] = True,
    checkpoint: CheckpointOption = "",
    settings: SettingsOption = None,
    values: SetOption = None,
) -> None:
    """Answer a recording without ROS, exactly as the node would: masks, objects and grasps for every frame.

    Writes results.jsonl, latencies.json and a rosbag2 of the node's messages. Two runs give the same bytes, times apart.

    [bold]Examples[/bold]

      qwen-seg replay demo/bag -i "the bowl" --out out/bowl

      qwen-seg replay drive.mcap --instructions asked.yaml --rate 2 --start 30 --duration 60

      qwen-seg replay demo/bag -i "the bowl" --out out/again --expect out/bowl/results.jsonl

      qwen-seg replay demo/bag --out out/bowl --report-only

    Exit codes: 0 = answered (and as expected), 1 = not as expected, 2 = the request cannot be carried out.
    """
    if rerun:
        _must_have_rerun()
    with _needs_rosbags():
        from qwen_seg_ros.offline.bags.discovery import Asked
        from qwen_seg_ros.offline.bags.replay.comparison import Tolerances, compare
        from qwen_seg_ros.offline.bags.replay.output import RESULTS
        from qwen_seg_ros.offline.bags.replay.run import Question, topics_of
        from qwen_seg_ros.offline.bags.selection import Selection
    tolerances = Tolerances(iou, position_mm, size_mm, grasp_mm, grasp_deg, grasp_poses)
    _must_be_file(expect)
    if report_only:
        _must_ask_nothing(instruction, instructions)
    else:
        question = Question(
            _timetable(instruction, instructions),
            Asked(image, depth, camera_info, no_depth),
            Selection(start, duration, every, rate, tolerance, rectified, registered, target_frame),
            grasps,
        )
        _print_topics(topics_of(bag, question.asked))
        _print_summary(out, _answer(bag, question, pipeline_from(checkpoint, settings, values), out))
    if report or (report_only and not rerun):
        _report(bag, out)
    if rerun:
        _rerun_file(bag, out)
    if expect is not None:
        raise typer.Exit(_print_comparison(compare(expect, out / RESULTS, tolerances)))


@contextmanager
def _needs_rosbags() -> Iterator[None]:
    try:
        yield
    except ImportError as error:
        what = "this command is not installed on robots" if "qwen_seg_ros" in str(error) else "reading bags needs rosbags"
        raise MissingExtraError(f"{what}: pip install 'qwen-seg-ros[bags]'") from error


def _timetable(instruction: list[str] | None, instructions: Path | None) -> "Timetable":
    from qwen_seg_ros.offline.bags.replay.timetable import Timetable, load_timetable

    if instructions is not None and not instruction:
        return load_timetable(instructions)
    if instruction and instructions is None:
        return Timetable.always(instruction)
    raise typer.BadParameter('say what to find: either --instruction "the red mug" or --instructions FILE.yaml')


def _must_be_file(path: Path | None) -> None:
    """Before minutes are spent on answers that cannot be compared."""
    if path is not None and not path.is_file():
        raise typer.BadParameter(f"there is no file {path}; make it with a first run and look its results.jsonl over")


def _must_ask_nothing(instruction: list[str] | None, instructions: Path | None) -> None:
    if instruction or instructions is not None:
        raise typer.BadParameter("--report-only asks nothing: leave the instructions away, or say --report")


def _must_have_rerun() -> None:
    """Before minutes are spent on answers."""
    if find_spec("rerun") is None:
        raise MissingExtraError("a file for the rerun viewer needs: pip install 'qwen-seg-ros[viz]'")


def _report(bag: Path, out: Path) -> None:
    from qwen_seg_ros.offline.bags.replay.report.writing import write_report

    _print_written(write_report(bag, out), "open it in a browser")


def _rerun_file(bag: Path, out: Path) -> None:
    from qwen_seg_ros.offline.bags.replay.rerun_file import write_rerun_file

    file = write_rerun_file(bag, out)
    _print_written(file, f"open it with: rerun {file}")


def _print_written(file: Path, what_next: str) -> None:
    size_mb = file.stat().st_size / 1e6
    output.console.print(f"wrote {file} ({size_mb:.1f} MB); {what_next}", highlight=False, soft_wrap=True, markup=False)


def _answer(bag: Path, question: "Question", pipeline: Pipeline, out: Path) -> "Summary":
    from qwen_seg_ros.offline.bags.replay.run import Progress as Place
    from qwen_seg_ros.offline.bags.replay.run import replay as answer_bag

    place = TextColumn("{task.fields[time_s]:.1f} s of the recording, {task.fields[answers]} answers, last {task.fields[status]}")
    with Progress(BarColumn(), place, TimeElapsedColumn(), TimeRemainingColumn(), console=output.console) as bar:
        task = bar.add_task("", total=None, time_s=0.0, answers=0, status="none")

        def tell(now: Place) -> None:
            bar.update(task, completed=now.share, total=1.0, time_s=now.time_s, answers=now.answers, status=now.status)

        try:
            summary = answer_bag(bag, question, pipeline, out, tell)
        except KeyboardInterrupt:
            output.complain(f"stopped; the same command goes on from here, the answers so far are in {out}")
            raise typer.Exit(130) from None
        bar.update(task, completed=1.0, total=1.0, answers=summary.answers)
        return summary


def _print_topics(topics: "Topics") -> None:
    depth = f", depth {topics.depth}, calibration {topics.info}" if topics.depth else ", no depth"
    beside = f", the depth camera's {topics.depth_info}" if topics.depth_info else ""
    output.console.print(f"colour {topics.colour}{depth}{beside}", highlight=False, soft_wrap=True, markup=False)


def _print_summary(out: Path, summary: "Summary") -> None:
    ends = ", ".join(f"{name} {count}" for name, count in summary.statuses.items())
    begun = f" ({summary.begun_with} of them by an earlier run)" if summary.begun_with else ""
    output.results.print(f"{summary.answers} answers{begun}: {ends}", highlight=False, markup=False)
    counts = summary.counts
    if counts is not None and counts.colours > counts.pairs:
        lonely = f"{counts.colours - counts.pairs} of {counts.colours} colour images had no depth of their moment"
        output.console.print(f"{lonely}; --tolerance says how near stamps must be", highlight=False)
    output.console.print(f"wrote {out}; show it with: ros2 bag play {out / 'bag'}", highlight=False, soft_wrap=True)


def _print_comparison(comparison: "Comparison") -> int:
    """Returns the exit code."""
    if comparison.not_expected:
        output.console.print(f"{comparison.not_expected} answers were not compared: nothing is expected of them", highlight=False)
    if not comparison.differences:
        output.results.print(f"as expected: {comparison.compared} answers compared, no difference", highlight=False)
        return 0
    count = len(comparison.differences)
    title = f"{count} difference{'s' if count > 1 else ''} in {comparison.compared} answers"
    table = Table(title=title, title_justify="left")
    for head in ("time, s", "instruction", "what", "expected", "got"):
        table.add_column(head, justify="right" if head == "time, s" else "left")
    for item in comparison.differences[:SHOWN]:
        time_s = "" if item.time_s is None else f"{item.time_s:.2f}"
        table.add_row(time_s, *(escape(words) for words in (item.instruction, item.what, item.expected, item.got)))
    output.results.print(table)
    if count > SHOWN:
        output.console.print(f"and {count - SHOWN} more", highlight=False)
    return 1
