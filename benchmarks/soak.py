"""The node for thousands of frames in continuous mode: what becomes of its memory, its open files, its threads and its latency.

    python -m benchmarks.soak                                            10,000 frames of 640x480, the embedded model
    python -m benchmarks.soak --frames 1000 --model given --size 320 240

The real node in a process of its own, over DDS: the model looks once a second, masks are carried into the frames between, objects
are lifted and grasps planned for each frame that is answered. A frame that comes while the node is busy is replaced by the next
one; that is meant. Thirty times in a run the camera turns to another table, so that objects get lost and new ones get ids.
`--model given` answers with masks that are known beforehand, as a model would that needs no time.

Latency is from the stamp of an image, just before it is sent, to the receipt of its grasps. Memory is the resident set. The first
quarter of the run is for warming up; the verdict compares the medians of the second quarter and of the last one. The exit code
is 1 where memory, open files or threads grow.
"""

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from benchmarks.node_traffic import ROOT, Traffic, running_node, set_up_dds
from qwen_seg_ros.frame import Frame
from qwen_seg_ros.geometry.mask import CroppedMask
from qwen_seg_ros.segmentation.result import Instance, Outcome, SegmentationResult

sys.path.insert(0, str(ROOT / "test"))
synthetic_scene = import_module("synthetic").synthetic_scene

WORDS = "the box"
TABLES = {3: ["box", "ball"], 4: ["box", "can", "mug"], 8: ["mug", "box"]}  # by seed
TURNS = 30  # of the camera, in a run
SAMPLES = 40
ALLOWED_MB = 8.0  # of growth: an image of 640x480 left behind every 250 frames of a run of 10,000 is more
PATIENCE_S = 60.0
MODELS: dict[str, dict[str, Any]] = {
    "given": {},
    "tabletop": {"segmentation.segmenter": "qwen", "segmentation.checkpoint": "tabletop"},
}
SETTINGS = {"mode": "continuous", "plan_grasps": True, "tracking.refresh_s": 1.0}


@dataclass(frozen=True)
class Sample:
    """The node's process after so many frames; latencies_ms: of the answers since the sample before."""

    frames: int
    memory_mb: float
    files: int
    threads: int
    latencies_ms: tuple[float, ...]


def tables(width: int, height: int) -> tuple[list[Frame], SegmentationResult]:
    """What the camera sees in turn, and the box on the first table."""
    scenes = [synthetic_scene(seed, shapes, width=width, height=height) for seed, shapes in TABLES.items()]
    crop = CroppedMask.from_full(scenes[0][1][0])
    return [scene[0] for scene in scenes], SegmentationResult(
        WORDS, Outcome.FOUND, (Instance("box", crop.box_px, crop, 0.9, 0.9),)
    )


def look_at(pid: int) -> tuple[float, int, int]:
    """Resident megabytes, open files and threads of a process."""
    process = Path(f"/proc/{pid}")
    pages = int((process / "statm").read_text().split()[1])
    return pages * 4096 / 1e6, len(list((process / "fd").iterdir())), len(list((process / "task").iterdir()))


def begin(traffic: Traffic, rate_hz: float) -> None:
    """Say the instruction until there is an answer: a node that is new to DDS may not hear the first one.

    Raises:
        RuntimeError: when there is none after a minute.
    """
    ends = time.monotonic() + PATIENCE_S
    while not traffic.whole():
        if time.monotonic() > ends:
            raise RuntimeError(f"no answer within {PATIENCE_S:.0f} s")
        traffic.say(WORDS)
        traffic.play(1.0, rate_hz)


def soak(
    traffic: Traffic, pid: int, views: Sequence[Frame], frames: int, rate_hz: float, tell: Callable[[int], None]
) -> list[Sample]:
    """Send so many frames, `rate_hz` a second or as fast as this side can; a sample every few. tell: how many are sent."""
    samples, began = [], time.monotonic()
    every, turn = max(1, frames // SAMPLES), max(1, frames // TURNS)
    for number in range(1, frames + 1):
        if number % turn == 0:
            traffic.show(views[number // turn % len(views)])
        traffic.send()
        traffic.spin(max(0.0, began + number / rate_hz - time.monotonic()))
        if number % every == 0:
            samples.append(Sample(number, *look_at(pid), tuple(answer.latency_ms for answer in traffic.answered())))
            tell(number)
    return samples


@dataclass(frozen=True)
class Growth:
    """From the second quarter of a run to its last one: megabytes, open files, threads."""

    memory_mb: float
    files: float
    threads: float

    @property
    def ok(self) -> bool:
        return self.memory_mb <= ALLOWED_MB and self.files <= 0 and self.threads <= 0


def growth(samples: Sequence[Sample]) -> Growth:
    quarter = len(samples) // 4
    early, late = samples[quarter : 2 * quarter], samples[-quarter:]

    def grown(value: Callable[[Sample], float]) -> float:
        return float(np.median([value(s) for s in late]) - np.median([value(s) for s in early]))

    return Growth(grown(lambda s: s.memory_mb), grown(lambda s: s.files), grown(lambda s: s.threads))


def report(samples: Sequence[Sample], counts: dict[str, str], spent_s: float, console: Console) -> bool:
    """The table and the verdict, True = nothing grows."""
    table = Table(title=f"{samples[-1].frames} frames in {spent_s / 60:.1f} minutes")
    for column in ("frames", "answers", "ms p50", "p95", "p99", "memory MB", "open files", "threads"):
        table.add_column(column, justify="right")
    for some in np.array_split(np.arange(len(samples)), min(10, len(samples))):
        last, spent = samples[some[-1]], [ms for k in some for ms in samples[k].latencies_ms]
        shares = [f"{value:.0f}" for value in np.percentile(spent, [50, 95, 99])] if spent else ["-"] * 3
        table.add_row(str(last.frames), str(len(spent)), *shares, f"{last.memory_mb:.1f}", str(last.files), str(last.threads))
    console.print(table)
    found = growth(samples)
    answered = sum(len(sample.latencies_ms) for sample in samples)
    told = ", ".join(
        f"{name} {counts.get(name, '?')}" for name in ("images", "pairs", "dropped", "answered OK", "answered NOT_FOUND")
    )
    console.print(f"heard on this side: {answered} answers; by the node's own count: {told}")
    verdict = "flat" if found.ok else "GROWS"
    console.print(
        f"verdict: {verdict}. From the second to the last quarter memory changed by {found.memory_mb:+.1f} MB (allowed "
        f"{ALLOWED_MB:g}), open files by {found.files:+g}, threads by {found.threads:+g}"
    )
    return found.ok


@contextmanager
def bar(frames: int, console: Console) -> Iterator[Callable[[int], None]]:
    columns = (TextColumn("frames"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("", total=frames)
        yield lambda sent: progress.update(task, completed=sent)


def run(frames: int, rate_hz: float, model: str, size: tuple[int, int], console: Console) -> tuple[list[Sample], bool]:
    views, answer = tables(*size)
    with running_node(views[0], answer, ("segments", "objects", "grasp_targets"), SETTINGS | MODELS[model]) as (traffic, pid):
        begin(traffic, rate_hz)
        began = time.monotonic()
        with bar(frames, console) as tell:
            samples = soak(traffic, pid, views, frames, rate_hz, tell)
        spent_s = time.monotonic() - began
        traffic.spin(1.5)  # the node reports once a second
        return samples, report(samples, traffic.report, spent_s, console)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=10_000)
    parser.add_argument("--rate", type=float, default=20.0, help="frames a second (default 20)")
    parser.add_argument("--model", choices=MODELS, default="tabletop", help="who answers (default tabletop, the embedded model)")
    parser.add_argument("--size", type=int, nargs=2, default=(640, 480), metavar=("WIDTH", "HEIGHT"))
    options = parser.parse_args()
    if options.frames < SAMPLES or options.rate <= 0:
        parser.error(f"--frames must be {SAMPLES} or more and --rate more than 0")
    set_up_dds()
    _, ok = run(options.frames, options.rate, options.model, tuple(options.size), Console())
    sys.exit(0 if ok else 1)


if __name__ == "__main__":
    main()
