"""The folder of a replay: it grows answer by answer, goes on where it was interrupted, and refuses to mix two replays.

run.json         what was asked of which recording with which settings; a replay that differs does not go on here
results.jsonl    one line an answer
latencies.json   milliseconds by stage: the only file that two runs do not have in common
bag/             rosbag2 (mcap) with the messages that the node would have published
"""

import json
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from qwen_seg_ros.errors import InvalidInputError
from qwen_seg_ros.offline.bags.replay.answering import Answer
from qwen_seg_ros.offline.bags.replay.journal import Journal
from qwen_seg_ros.offline.bags.replay.records import result_line
from qwen_seg_ros.offline.bags.result_messages import TOPICS, ResultMessages
from qwen_seg_ros.offline.bags.writer import connect, open_writer

RUN, RESULTS, LATENCIES, BAG, UNFINISHED = "run.json", "results.jsonl", "latencies.json", "bag", "unfinished.sqlite"


class Output:
    """complete: everything had been answered before; begun_with: answers that were there already."""

    def __init__(self, folder: Path, run: dict[str, Any], messages: ResultMessages, target_frame: str) -> None:
        self.folder, self._messages, self._target_frame = folder, messages, target_frame
        going_on = _goes_on(folder, run)
        self.complete = going_on and not (folder / UNFINISHED).exists()
        self._journal = None if self.complete else Journal(folder / UNFINISHED)
        if not going_on:
            (folder / RUN).write_text(json.dumps(run, indent=1) + "\n")
        if self._journal is not None:
            (folder / RESULTS).write_text("")
            for line in self._journal.lines():
                self._append(line)
        self.begun_with = len(self)

    def __len__(self) -> int:
        """Answers so far."""
        if self._journal is not None:
            return len(self._journal)
        return sum(1 for _ in self.lines())

    def lines(self) -> Iterator[dict[str, Any]]:
        with (self.folder / RESULTS).open() as file:
            yield from map(json.loads, file)

    def statuses(self) -> dict[str, int]:
        """How many answers ended how, most frequent first."""
        return dict(Counter(line["status"] for line in self.lines()).most_common())

    def add(self, answer: Answer) -> None:
        assert self._journal is not None
        line, spent = result_line(answer, self._target_frame), {k: round(v, 2) for k, v in answer.result.stage_ms.items()}
        self._journal.add(line, json.dumps(spent), answer.view.log_ns, self._messages.of(answer.result, answer.size))
        self._append(line)

    def finish(self) -> None:
        """Everything is answered: write what needs all answers."""
        assert self._journal is not None
        self._write_bag(self._journal)
        (self.folder / LATENCIES).write_text(json.dumps(_latencies(self._journal), indent=1) + "\n")
        self._journal.remove()
        self._journal, self.complete = None, True

    def close(self) -> None:
        if self._journal is not None:
            self._journal.close()

    def _append(self, line: str) -> None:
        with (self.folder / RESULTS).open("a") as file:
            file.write(line + "\n")

    def _write_bag(self, journal: Journal) -> None:
        if (self.folder / BAG).exists():  # a run that ended while it wrote the bag
            shutil.rmtree(self.folder / BAG)
        with open_writer(self.folder / BAG) as writer:
            connections = {topic: connect(writer, self._messages.store, topic, kind) for topic, kind in TOPICS.items()}
            for topic, log_ns, data in journal.messages():
                writer.write(connections[topic], log_ns, data)


def _goes_on(folder: Path, run: dict[str, Any]) -> bool:
    """Whether the folder holds this very replay, finished or not; it is made where it does not exist.

    Raises:
        InvalidInputError: it holds another replay (what differs is named) or other files.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / RUN).exists():
        others = sorted(path.name for path in folder.iterdir() if not path.name.startswith(UNFINISHED))
        if others:
            names = ", ".join(others[:3])
            raise InvalidInputError(f"{folder} holds other files ({names}); name a new or empty folder with --out")
        return False
    known = _known_run(folder)
    differing = [name for name in {**known, **run} if known.get(name) != run.get(name)]
    if differing:
        what = "; ".join(f"{name} was {known.get(name)!r}, is {run.get(name)!r}" for name in differing[:5])
        raise InvalidInputError(f"{folder} holds another replay: {what}; name a new folder with --out, or remove this one")
    return True


def _known_run(folder: Path) -> dict[str, Any]:
    try:
        known = json.loads((folder / RUN).read_text())
        whole = isinstance(known, dict) and ((folder / UNFINISHED).exists() or (folder / RESULTS).exists())
    except ValueError:
        whole = False
    if not whole:
        raise InvalidInputError(f"{folder} is damaged: {RUN} or {RESULTS} is not what was written; remove it and begin again")
    return known


def _latencies(journal: Journal) -> dict[str, Any]:
    """By stage: how many answers had it, median and 95th percentile; then every answer's, in the order of results.jsonl."""
    answers = [json.loads(spent) for spent in journal.spent()]
    stages: dict[str, Any] = {}
    for name in dict.fromkeys(name for spent in answers for name in spent):
        values = [spent[name] for spent in answers if name in spent]
        middle, high = np.percentile(values, (50, 95))
        stages[name] = {"count": len(values), "p50_ms": round(float(middle), 2), "p95_ms": round(float(high), 2)}
    return {"stages": stages, "answers": answers}
