"""The real node in its own process answers instructions about recorded scenes that another process plays over DDS.

    make demo        or, in a shell with `source .ws/env.sh`:  python demo/run_demo.py [--checkpoint FOLDER]

Checks every answer against the truth beside the bag; exit code 1 when an answer is missing or wrong, 2 when the demo cannot run.
"""

import os
import sys
import time
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from report import Shown, size_cm, write_overview, write_page, write_pictures, xyz
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from robot import Client, DemoError, NodeProcess, PlayerProcess, private_network
from tasks import Task, load_tasks, mistakes

from qwen_seg_ros.errors import QwenSegError
from qwen_seg_ros.offline.bags.reader import read_bag
from qwen_seg_ros.offline.bags.truth import SceneTruth, load_truth

HERE = Path(__file__).resolve().parent
PATIENT = {"depth_grace_s": 10.0, "frame_timeout_s": 20.0, "deadline_s": 60.0}  # a busy machine may lose single images on the way
console = Console(width=None if sys.stdout.isatty() else 150)


def main(
    bag: Annotated[Path, typer.Option(help="Folder of a bag made by qwen-seg simulate.")] = HERE / "bag",
    instructions: Annotated[Path, typer.Option(help="What is asked of each scene.")] = HERE / "instructions.yaml",
    out: Annotated[Path, typer.Option(help="Folder for pictures, page and the node's log.")] = HERE.parent / "out" / "demo",
    checkpoint: Annotated[str, typer.Option(help="Embedded checkpoint, folder or hub id.")] = "tabletop",
    truth_answers: Annotated[
        bool, typer.Option("--truth-answers", help="Answers from the truth in place of the network: checks all the rest.")
    ] = False,
) -> None:
    began = time.monotonic()
    out.mkdir(parents=True, exist_ok=True)
    for stale in (*out.glob("*.png"), *out.glob("*.jpg"), *out.glob("*.html")):
        stale.unlink()
    try:
        tasks, truths = load_tasks(instructions), load_truth(bag)
        parameters = _truth_parameters(tasks, truths, out) if truth_answers else {"segmentation.checkpoint": checkpoint}
        shown = _ask_all(bag, tasks, truths, parameters, out)
    except (DemoError, QwenSegError, OSError) as error:
        console.print(f"[red]demo:[/red] {escape(str(error))}", highlight=False, soft_wrap=True)
        raise typer.Exit(2) from None
    console.print(_table(shown))
    _say_where(out, shown, time.monotonic() - began)
    raise typer.Exit(1 if any(item.wrong for item in shown) else 0)


def _ask_all(bag: Path, tasks: list[Task], truths: list[SceneTruth], parameters: dict, out: Path) -> list[Shown]:
    from messages import result_from_messages

    private_network()
    node = NodeProcess({**PATIENT, **parameters}, out / "node.log")
    player = PlayerProcess(bag)
    client = Client(node)
    shown = []
    try:
        frames = list(read_bag(bag))
        with console.status("starting the node and loading the model"):
            client.wait_for_node()
            client.ask(tasks[0].text, player.show(tasks[0].scene))  # the first answer also pays for what is loaded late
        for number, task in enumerate(tasks, start=1):
            with console.status(f"{number} of {len(tasks)}: {task.text}"):
                response, spent_ms = client.ask(task.text, player.show(task.scene))
            result = result_from_messages(response, frames[task.scene])
            shown.append(Shown(task, frames[task.scene], result, spent_ms, mistakes(task, result, truths[task.scene])))
    finally:
        client.close()
        player.stop()
        node.stop()
    return shown


def _truth_parameters(tasks: list[Task], truths: list[SceneTruth], out: Path) -> dict:
    """Parameters of a node that replays what the truth says. One instruction has one answer, so its words must not come twice."""
    from qwen_seg_ros.geometry.mask import CroppedMask
    from qwen_seg_ros.segmentation.replay import save_answers
    from qwen_seg_ros.segmentation.result import Instance, Outcome, SegmentationResult

    answers = {}
    for task in tasks:
        masks = [(phrase, CroppedMask.from_full(truths[task.scene].masks[i])) for phrase, ids in task.wanted.items() for i in ids]
        found = tuple(Instance(phrase, mask.box_px, mask, 1.0, 1.0) for phrase, mask in masks)
        absent = tuple(phrase for phrase, ids in task.wanted.items() if not ids)
        answers[task.text] = SegmentationResult(task.text, Outcome.FOUND if found else Outcome.NOT_FOUND, found, absent)
    save_answers(out / "answers", answers)
    return {"segmentation.segmenter": "replay", "segmentation.checkpoint": out / "answers"}


def _table(shown: list[Shown]) -> Table:
    table = Table(title="Instructions and answers (base frame: table centre, z up)", title_justify="left")
    for head in ("scene", "instruction", "status", "found", "position, m", "size, cm", "best grasp: opening, score", "ms", ""):
        table.add_column(head, justify="right" if head == "ms" else "left", no_wrap=head not in ("instruction", ""))
    for item in shown:
        verdict = "[green]right[/green]" if not item.wrong else f"[red]{escape('; '.join(item.wrong))}[/red]"
        found, positions, sizes, grasps = _cells(item)
        table.add_row(
            str(item.task.scene + 1),
            item.task.text,
            item.result.status.code.name,
            escape(found),
            positions,
            sizes,
            grasps,
            f"{item.spent_ms:.0f}",
            verdict,
        )
    return table


def _cells(item: Shown) -> tuple[str, str, str, str]:
    """Found phrases, positions, sizes and grasps: a line per object."""
    segmentation, lifted = item.result.segmentation, item.result.lifted
    if segmentation is None or lifted is None or not lifted.objects:
        return ", ".join(f"no {phrase}" for phrase in segmentation.absent) if segmentation else "", "", "", ""
    plans = {plan.object_id: plan for plan in item.result.plans}
    best = [plans[o.id].grasps[0] if plans[o.id].grasps else None for o in lifted.objects]
    grasps = [f"{100 * g.width_m:.1f} cm, {g.score:.2f}" if g else "none" for g in best]
    columns = (
        [o.phrase for o in lifted.objects],
        [xyz(o.box.pose[:3, 3]) for o in lifted.objects],
        [size_cm(o.box.size_m) for o in lifted.objects],
        grasps,
    )
    phrases, positions, sizes, hands = ("\n".join(column) for column in columns)
    return phrases + "".join(f"\nno {phrase}" for phrase in segmentation.absent), positions, sizes, hands


def _say_where(out: Path, shown: list[Shown], spent_s: float) -> None:
    pictures = write_pictures(out, shown)
    overview = write_overview(out / "overview.jpg", shown)
    page = write_page(out / "index.html", shown, "Words in, grasp targets out")
    right = sum(not item.wrong for item in shown)
    middle = float(np.median([item.spent_ms for item in shown]))
    speed = f"median {middle:.0f} ms from instruction to answer on {os.cpu_count()} cores"
    console.print(f"{right} of {len(shown)} right, {speed}, {spent_s:.0f} s in all")
    places = {"page": page, "pictures": f"{pictures[0]} ... {pictures[-1].name}, {overview.name}", "node log": out / "node.log"}
    for name, place in places.items():
        console.print(f"{name + ':':10}{_short(Path(place))}", highlight=False, soft_wrap=True)


def _short(path: Path) -> Path:
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


if __name__ == "__main__":
    typer.run(main)
