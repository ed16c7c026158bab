"""The folder of a replay read back: its lines by number, thinned out where there are more than a page can show."""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from qwen_seg_ros.errors import InvalidInputError
from qwen_seg_ros.offline.bags.discovery import Asked
from qwen_seg_ros.offline.bags.replay.output import LATENCIES, RESULTS, RUN, UNFINISHED
from qwen_seg_ros.offline.bags.selection import Selection

LISTED, PICTURED = 2_000, 60  # answers with a row, and with a picture
MAX_LINE, MAX_FILE = 32_000_000, 200_000_000  # bytes
NEEDED = ("stamp_ns", "time_s", "instruction", "status", "message", "frame", "camera_frame", "absent", "segments", "objects")


@dataclass(frozen=True)
class Folder:
    """statuses: answers by how they ended, most frequent first; listed, pictured: ascending places (0..) of results.jsonl.

    latencies: by stage; {} where the run was not finished.
    """

    path: Path
    run: dict[str, Any]
    statuses: dict[str, int]
    listed: tuple[int, ...]
    pictured: tuple[int, ...]
    latencies: dict[str, Any]
    finished: bool

    @property
    def answers(self) -> int:
        return sum(self.statuses.values())

    def lines(self) -> Iterator[tuple[int, dict[str, Any]]]:
        """The listed answers with their places, one at a time: masks of a long recording do not fit into memory."""
        wanted = set(self.listed)
        yield from ((place, line) for place, line in enumerate(_lines(self.path / RESULTS)) if place in wanted)

    def asked(self) -> Asked:
        """The topics that the run looked at."""
        topics = self.run["topics"]
        return Asked(topics["colour"], topics["depth"], topics["info"], not topics["depth"])

    def selection(self) -> Selection:
        return Selection(**{item.name: self.run[item.name] for item in fields(Selection)})


def read_folder(path: Path) -> Folder:
    """Raises InvalidInputError: there is no replay in the folder, or a file is damaged (which one and where is told)."""
    if not (path / RUN).is_file() or not (path / RESULTS).is_file():
        raise InvalidInputError(f"{path} holds no replay ({RUN} and {RESULTS}); name the --out of one with --out")
    run = _object(path / RUN)
    statuses = Counter(str(line["status"]) for line in _lines(path / RESULTS))
    if not statuses:
        raise InvalidInputError(f"{path / RESULTS} holds no answer; let the replay run first")
    latencies = _object(path / LATENCIES) if (path / LATENCIES).is_file() else {}
    folder = Folder(
        path,
        run,
        dict(statuses.most_common()),
        _evenly(statuses.total(), LISTED),
        _evenly(statuses.total(), PICTURED),
        latencies.get("stages", {}),
        not (path / UNFINISHED).exists(),
    )
    _check(folder)
    return folder


def _check(folder: Folder) -> None:
    try:
        folder.asked(), folder.selection()
    except (KeyError, TypeError) as error:
        raise InvalidInputError(f"{folder.path / RUN} is not what a replay writes ({error!r}); run the replay again") from error


def _evenly(count: int, most: int) -> tuple[int, ...]:
    """At most `most` of the places 0..count-1, the first and the last among them."""
    return tuple(np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(int)).tolist())


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    with path.open("rb") as file:
        number = 0
        while raw := file.readline(MAX_LINE):
            number += 1
            yield _line(path, number, raw)


def _line(path: Path, number: int, raw: bytes) -> dict[str, Any]:
    try:
        line = json.loads(raw)
        missing = [name for name in NEEDED if name not in line]
    except (ValueError, TypeError, RecursionError) as error:
        raise InvalidInputError(f"{path}, line {number} is damaged ({error}); run the replay again") from error
    if not isinstance(line, dict) or missing:
        raise InvalidInputError(f"{path}, line {number} is no answer of a replay: {', '.join(missing)} is missing")
    return line


def _object(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > MAX_FILE:
            raise InvalidInputError(f"{path} is larger than {MAX_FILE} bytes; it is not what a replay writes")
        content = json.loads(path.read_text())
    except (OSError, ValueError, RecursionError) as error:
        raise InvalidInputError(f"{path} is damaged ({error}); run the replay again") from error
    if not isinstance(content, dict):
        raise InvalidInputError(f"{path} must hold a JSON object; run the replay again")
    return content
