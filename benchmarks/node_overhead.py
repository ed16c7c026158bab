"""What the node costs without the model: image in to all messages out, milliseconds, in one process and over DDS.

Masks of three objects are given, as by a model that needs no time; everything else is real: messages are read, objects lifted,
grasps planned where asked for, and all topics are built and serialised (label image, overlay, markers and cloud, too, which the
node otherwise makes only where somebody listens). Depth is 16UC1, 640x480 and 1280x720.

    one process   the node's steps in turn with the same steps the usual way (usual_messages.py says what that is). Lifting,
                  planning and the messages whose making knows no other way are the same for both and told apart
    over DDS      the real node in a process of its own; from the stamp of the image, just before it is sent, to the receipt of
                  the last message. One instruction an image; then continuous mode at 30 Hz, where frames are left out rather
                  than queued; then idle, active with nothing asked, beside a bare rclpy node with the same subscriptions

The aims are about the overhead: everything but lifting and planning, which have aims of their own (open3d_comparison.py). Where
other programs share the machine, times are too long; processor times and the columns side by side say more then.

    python -m benchmarks.node_overhead                      both sizes; the node over DDS at 640x480
    python -m benchmarks.node_overhead --grasps             with planning
    python -m benchmarks.node_overhead --no-dds             in one process only
"""

import argparse
import os
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from itertools import pairwise
from typing import Any

import cv2
import numpy as np
from rclpy.serialization import deserialize_message, serialize_message
from rich.console import Console
from rich.table import Table

from benchmarks import usual_messages as usual
from benchmarks.node_traffic import DOMAIN, ROOT, Answered, Traffic, cpu_s, messages, running_node, set_up_dds
from qwen_seg_ros.drawing import color
from qwen_seg_ros.frame import Frame
from qwen_seg_ros.geometry.mask import CroppedMask
from qwen_seg_ros.geometry.sensor_messages import camera_of, depth_of, rgb_of
from qwen_seg_ros.pipeline import Pipeline, PipelineResult
from qwen_seg_ros.ros.publishers import AnswerMessages
from qwen_seg_ros.ros.requests import Answer
from qwen_seg_ros.segmentation.replay import ReplaySegmenter
from qwen_seg_ros.segmentation.result import Instance, Outcome, SegmentationResult

WORDS, SHAPES = "things", ("box", "can", "mug")
SIZES = {(640, 480): (12.0, 25.0), (1280, 720): (30.0, np.inf)}  # aims of the overhead: p50 and p95, milliseconds
PIPELINE = ("lift", "grasp")
COMPARED = ("decode", "segments", "objects", "label_image", "overlay", "object_cloud")  # what can be done otherwise
TOPICS = ("segments", "objects", "grasp_targets", "label_image", "overlay", "markers", "object_cloud")
IDLE_AIM, RATE_HZ = 10.0, 30.0  # percent of a core at this many images a second


class Times(defaultdict[str, list[float]]):
    """Milliseconds by step, one value per image. used_ms: processor time of all steps that were `timed`, all images."""

    def __init__(self) -> None:
        super().__init__(list)
        self.used_ms = 0.0


@dataclass(frozen=True, eq=False)
class Case:
    """A frame, the masks that a model would find in it, and the frame's messages as they come from the wire."""

    frame: Frame
    segmentation: SegmentationResult
    wire: dict[str, tuple[type, bytes]]


def case_of(width: int, height: int) -> Case:
    frame, masks, _ = import_module("synthetic").synthetic_scene(0, list(SHAPES), width, height)
    crops = [CroppedMask.from_full(mask) for mask in masks]
    things = tuple(Instance(name, crop.box_px, crop, 0.9, 0.9) for name, crop in zip(SHAPES, crops, strict=True))
    wire = {name: (type(message), serialize_message(message)) for name, message in messages(frame).items()}
    return Case(frame, SegmentationResult(WORDS, Outcome.FOUND, things), wire)


@contextmanager
def timed(times: Times, step: str) -> Iterator[None]:
    start, used = time.perf_counter(), time.process_time()
    yield
    times[step].append(1e3 * (time.perf_counter() - start))
    times.used_ms += 1e3 * (time.process_time() - used)


def ours(case: Case, pipeline: Pipeline, grasps: bool, times: Times) -> PipelineResult:
    """One image through the node's steps, without threads and transport."""
    with timed(times, "receive"):
        info, depth, picture = (deserialize_message(data, kind) for kind, data in case.wire.values())
    with timed(times, "decode"):
        head = picture.header
        frame = Frame(rgb_of(picture), depth_of(depth), camera_of(info), None, head.frame_id)
    result = pipeline.run(frame, WORDS, grasps)
    for stage in PIPELINE[: 1 + grasps]:
        times[stage].append(result.stage_ms[stage])
    built = AnswerMessages(Answer(WORDS, result.status.code, "", 0, head.frame_id, frame, result, head.frame_id))
    for topic in TOPICS:
        with timed(times, topic):
            serialize_message(getattr(built, topic))
    return result


def the_usual_way(case: Case, result: PipelineResult, times: Times) -> dict[str, Any]:
    """The steps of `COMPARED` for the same image and result; what was made by step, for tests."""
    info, depth, picture = (deserialize_message(data, kind) for kind, data in case.wire.values())
    assert result.segmentation is not None and result.lifted is not None
    segmentation, objects, head = result.segmentation, result.lifted.objects, picture.header
    made: dict[str, Any] = {}
    with timed(times, "decode"):
        made["decode"] = frame = Frame(usual.rgb_of(picture), usual.depth_of(depth), camera_of(info), None, head.frame_id)
    steps = {
        "segments": lambda: usual.polygons(head, segmentation),
        "objects": lambda: usual.object_clouds(head, objects),
        "label_image": lambda: [usual.label_image(head, segmentation, frame.rgb.shape[:2])],
        "overlay": lambda: [usual.overlay(head, frame.rgb, segmentation, color)],
        "object_cloud": lambda: [usual.objects_cloud(head, objects)],
    }
    for step, make in steps.items():
        with timed(times, step):
            made[step] = make()
            for message in made[step]:
                serialize_message(message)
    return made


def in_one_process(case: Case, grasps: bool, rounds: int) -> tuple[Times, Times]:
    """Both in turns. The first rounds pay for loading libraries and do not count."""
    pipeline = Pipeline(segmenter=ReplaySegmenter({WORDS: case.segmentation}))
    for _ in range(3):
        the_usual_way(case, ours(case, pipeline, grasps, Times()), Times())
    mine, theirs = Times(), Times()
    for _ in range(rounds):
        the_usual_way(case, ours(case, pipeline, grasps, mine), theirs)
    return mine, theirs


def per_image(times: Times, without: Sequence[str] = ()) -> np.ndarray:
    """The sum of all steps, (rounds,)."""
    return np.sum([values for step, values in times.items() if step not in without], axis=0)


def report(size: tuple[int, int], ours_ms: Times, usual_ms: Times, console: Console) -> None:
    table = Table(title=f"{size[0]}x{size[1]}, {len(SHAPES)} objects, one process, milliseconds")
    for column in ("step", "p50", "p95", "usual p50", "usual p95", "times"):
        table.add_column(column, justify="left" if column == "step" else "right")
    for step, values in ours_ms.items():
        row = [step, *percentiles(values)]
        if step in usual_ms:
            row += [*percentiles(usual_ms[step]), f"{np.median(usual_ms[step]) / np.median(values):.1f}"]
        table.add_row(*row)
    console.print(table)
    mine, theirs = sum(np.median(ours_ms[s]) for s in COMPARED), sum(np.median(usual_ms[s]) for s in COMPARED)
    console.print(f"what can be done otherwise: {mine:.1f} ms, the usual way {theirs:.1f} ms: {theirs / mine:.1f} times")
    overhead, whole = per_image(ours_ms, PIPELINE), per_image(ours_ms)
    for share, aim in zip((50, 95), SIZES[size], strict=True):
        if np.isfinite(aim):
            verdict(f"overhead at {size[0]}x{size[1]}, p{share}", float(np.percentile(overhead, share)), aim, "ms", console)
    stages = " and ".join(stage for stage in PIPELINE if stage in ours_ms)
    console.print(
        f"of the overhead {ours_ms.used_ms / len(whole):.1f} ms are processor time; with {stages} p50 {np.median(whole):.1f} ms"
    )


def percentiles(values: Sequence[float]) -> list[str]:
    return [f"{np.percentile(values, share):.2f}" for share in (50, 95)]


def verdict(what: str, value: float, aim: float, unit: str, console: Console) -> None:
    console.print(f"{what}: {value:.1f} {unit}, aim <= {aim:g}: {'met' if value <= aim else 'missed'}")


def over_dds(case: Case, grasps: bool, seconds: float, console: Console) -> None:
    """One image after the other, nothing asked, then a stream."""
    with running_node(case.frame, case.segmentation, TOPICS, {"max_frame_age_s": 0.1, "plan_grasps": grasps}) as (traffic, pid):
        one_by_one(traffic, 3)
        images, before = max(1, int(4 * seconds)), cpu_s(pid)
        found = one_by_one(traffic, images)
        spent_ms = 1e3 * (cpu_s(pid) - before) / images
        stages_ms = sum(float(np.median(traffic.stage_ms[stage])) for stage in PIPELINE if stage in traffic.stage_ms)
        idle = idle_percent(traffic, pid, seconds)
    console.print(f"over DDS, one by one, {len(found)} of {images} images answered on within a second")
    if found:
        p50, p95 = percentiles([answer.latency_ms for answer in found])
        console.print(f"p50 {p50} ms, p95 {p95} ms, of these lifting and planning {stages_ms:.0f} ms (as the node says, p50)")
        console.print(f"processor time of the node per image: {spent_ms:.1f} ms")
        verdict("overhead over DDS, p50", float(p50) - stages_ms, SIZES[640, 480][0], "ms", console)
    with running_node(case.frame, case.segmentation, TOPICS, {"mode": "continuous", "plan_grasps": grasps}) as (traffic, _):
        traffic.say(WORDS)
        traffic.play(2.0, RATE_HZ)
        traffic.whole()
        rate = traffic.play(seconds, RATE_HZ)
        report_stream(traffic.whole(), rate, seconds, console)
    verdict(f"idle at {RATE_HZ:g} Hz, of a core", idle, IDLE_AIM, "%", console)
    console.print(f"a bare rclpy node that hears the same: {bare_percent(case.frame, seconds):.1f} %")


def one_by_one(traffic: Traffic, images: int, pause_s: float = 0.1) -> list[Answered]:
    """An instruction with every image. With max_frame_age_s below pause_s it is answered on this image, not the one before."""
    for _ in range(images):
        stamp = traffic.send()
        traffic.say(WORDS)
        traffic.spin(1.0, until=stamp)
        traffic.spin(pause_s)
    return traffic.whole()


def idle_percent(traffic: Traffic, pid: int, seconds: float) -> float:
    """Processor time of a process while images arrive, percent of a core."""
    traffic.play(1.0, RATE_HZ)
    before, began = cpu_s(pid), time.monotonic()
    traffic.play(seconds, RATE_HZ)
    return 100 * (cpu_s(pid) - before) / (time.monotonic() - began)


def bare_percent(frame: Frame, seconds: float) -> float:
    """The same of a node that only hears the images."""
    environment = os.environ | {"ROS_DOMAIN_ID": str(DOMAIN)}
    bare = subprocess.Popen([sys.executable, "-m", "benchmarks.node_traffic"], cwd=ROOT, env=environment)
    traffic = Traffic(frame, ())
    try:
        traffic.connect(lambda: bare.poll() is None, asks=False)
        return idle_percent(traffic, bare.pid, seconds)
    finally:
        traffic.close()
        bare.terminate()
        bare.wait()


def report_stream(found: list[Answered], rate_hz: float, seconds: float, console: Console) -> None:
    third = len(found) // 3
    if not third:
        console.print(f"continuous: only {len(found)} answers in {seconds:g} s, too few to say more")
        return
    first, last = (float(np.median([a.latency_ms for a in part])) for part in (found[:third], found[-third:]))
    console.print(
        f"continuous: {len(found) / seconds:.1f} answers a second of {rate_hz:.1f} images; "
        f"latency p50 {first:.1f} ms in the first third, {last:.1f} ms in the last"
    )
    verdict("latency in the last third beside the first", last / first, 1.5, "times", console)
    verdict("age of an image when its turn comes, p95", float(np.percentile(waited_ms(found), 95)), 2e3 / RATE_HZ, "ms", console)


def waited_ms(found: list[Answered]) -> list[float]:
    """How long each image had been there when the answer before it was done. The newest wins: never many periods."""
    return [max(0.0, 1e3 * (before.last_s - after.sent_s)) for before, after in pairwise(found)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=60, help="images in one process (default 60)")
    parser.add_argument("--seconds", type=float, default=8.0, help="of each stream over DDS (default 8)")
    parser.add_argument("--threads", type=int, default=2, help="of OpenCV in this process (default 2)")
    parser.add_argument("--grasps", action="store_true", help="with planning")
    parser.add_argument("--no-dds", action="store_true", help="in one process only")
    options = parser.parse_args()
    if options.rounds < 1 or options.seconds <= 0:
        parser.error("--rounds must be 1 or more and --seconds more than 0")
    cv2.setNumThreads(options.threads)
    console = Console()
    cases = {size: case_of(*size) for size in SIZES}
    measured = {size: in_one_process(case, options.grasps, options.rounds) for size, case in cases.items()}
    for size, times in measured.items():
        report(size, *times, console)
    if not options.no_dds:
        set_up_dds()
        over_dds(cases[640, 480], options.grasps, options.seconds, console)


if __name__ == "__main__":
    main()
