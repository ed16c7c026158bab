"""How fast `replay` answers a recording, beside the bare pipeline on the same frames in memory. They take turns, and each
round is compared with the one before it: what else the machine does falls on both.

    python benchmarks/replay_throughput.py [--repeats 4] [--rounds 3] [--threads 1] [--stored]

The recording is that of the demo, several times over: 640x480, eight instructions about every five frames. `--stored` takes the
network's answers from memory: what is left is what a fast GPU would leave.
"""

import argparse
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from qwen_seg_ros.frame import Frame
from qwen_seg_ros.offline.bags.reader import read_bag
from qwen_seg_ros.offline.bags.replay.output import BAG, LATENCIES
from qwen_seg_ros.offline.bags.replay.run import Question, replay
from qwen_seg_ros.offline.bags.replay.timetable import Timetable, load_timetable
from qwen_seg_ros.offline.bags.writer import write_bag
from qwen_seg_ros.pipeline import Pipeline
from qwen_seg_ros.segmentation.replay import ReplaySegmenter

DEMO = Path(__file__).resolve().parents[1] / "demo"
GAP_S = 0.1
LEAST_SHARE = 0.8
Asked = list[tuple[Frame, tuple[str, ...]]]


def demo(repeats: int) -> Asked:
    """Frames a tenth of a second apart and what is asked of each."""
    frames, table = list(read_bag(DEMO / "bag")), load_timetable(DEMO / "asked.yaml")
    asked = [table.at((frame.stamp_ns - frames[0].stamp_ns) / 1e9) for frame in frames]
    first_ns = frames[0].stamp_ns
    every = [(frame, words) for _ in range(repeats) for frame, words in zip(frames, asked, strict=True)]
    return [(replace(frame, stamp_ns=first_ns + round(n * GAP_S * 1e9)), words) for n, (frame, words) in enumerate(every)]


def question_about(asked: Asked) -> Question:
    starts = tuple(round(n * GAP_S - GAP_S / 2, 3) if n else 0.0 for n in range(len(asked)))
    return Question(Timetable(starts, tuple(words for _, words in asked)))


def with_stored_answers(pipeline: Pipeline, asked: Asked) -> Pipeline:
    answers = {words: pipeline.run(frame, words, False).segmentation for frame, several in asked for words in several}
    return Pipeline(pipeline.settings, ReplaySegmenter(answers))


def bare_s(pipeline: Pipeline, asked: Asked) -> float:
    began = time.perf_counter()
    for frame, several in asked:
        encoded = pipeline.encode(frame)
        for words in several:
            pipeline.run_encoded(frame, encoded, words)
    return time.perf_counter() - began


def replay_s(pipeline: Pipeline, bag: Path, question: Question, out: Path) -> float:
    """From the file to the finished folder."""
    began = time.perf_counter()
    replay(bag, question, pipeline, out)
    spent = time.perf_counter() - began
    assert (out / BAG).is_dir() and (out / LATENCIES).is_file()
    return spent


def report(spent: dict[str, list[float]], answers: int) -> None:
    print(f"\n| {answers} answers a round | answers/s | slowest and fastest round | ms an answer |\n|---|---|---|---|")
    for name, seconds in spent.items():
        rates = [answers / one for one in seconds]
        middle = float(np.median(seconds))
        print(f"| {name} | {answers / middle:.2f} | {min(rates):.2f} .. {max(rates):.2f} | {1e3 * middle / answers:.1f} |")
    bare, replayed = (np.array(seconds) for seconds in spent.values())
    more_ms, share = 1e3 * float(np.median(replayed - bare)) / answers, float(np.median(bare / replayed))
    verdict = "as promised" if share >= LEAST_SHARE else "MISSED"
    print(f"\nreplay has {share:.2f} of the bare throughput (promised {LEAST_SHARE}: {verdict}); {more_ms:+.1f} ms an answer")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--repeats", type=int, default=4, help="how often the demo's five frames stand in the recording")
    parser.add_argument("--rounds", type=int, default=3, help="of each of the two, in turns")
    parser.add_argument("--threads", type=int, default=1, help="of the network")
    parser.add_argument("--stored", action="store_true", help="stored answers in place of the network")
    given = parser.parse_args()
    import torch

    torch.set_num_threads(given.threads)
    asked, pipeline = demo(given.repeats), Pipeline()
    if given.stored:
        pipeline = with_stored_answers(pipeline, asked)
    question, answers = question_about(asked), sum(len(several) for _, several in asked)
    bare_s(pipeline, asked[:5])  # what is loaded late
    spent: dict[str, list[float]] = {"bare pipeline": [], "replay": []}
    with tempfile.TemporaryDirectory() as folder:
        bag = write_bag(Path(folder) / "bag", (frame for frame, _ in asked))
        for number in range(given.rounds):
            spent["bare pipeline"].append(bare_s(pipeline, asked))
            spent["replay"].append(replay_s(pipeline, bag, question, Path(folder) / str(number)))
    what = "stored answers" if given.stored else f"the embedded network, {given.threads} threads"
    print(f"{len(asked)} frames of 640x480, {what}, {given.rounds} rounds each")
    report(spent, answers)


if __name__ == "__main__":
    main()
