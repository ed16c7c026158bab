"""The recording of a replay beside its answers, again."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rosbags.highlevel import AnyReader

from qwen_seg_ros.errors import InvalidInputError
from qwen_seg_ros.offline.bags.discovery import find_topics
from qwen_seg_ros.offline.bags.opening import open_bag
from qwen_seg_ros.offline.bags.replay.report.reading import Folder
from qwen_seg_ros.offline.bags.view import View
from qwen_seg_ros.offline.bags.views import Views


def pictured_answers(bag: Path, folder: Folder) -> Iterator[tuple[View, int, dict[str, Any]]]:
    """Views with the places and lines of the answers that are to be pictured; both are in the order of the recording.

    Raises:
        InvalidInputError: `bag` is another recording than was answered, or cannot be read.
    """
    wanted = set(folder.pictured)
    answers = ((place, line) for place, line in folder.lines() if place in wanted)
    place, line = next(answers, (-1, None))
    with open_bag(bag) as reader:
        _must_be_answered(reader, bag, folder)
        for view in Views(reader, find_topics(reader, folder.asked()), folder.selection()):
            while line is not None and line["stamp_ns"] == view.stamp_ns:
                yield view, place, line
                place, line = next(answers, (-1, None))
            if line is None:
                return


def _must_be_answered(reader: AnyReader, bag: Path, folder: Folder) -> None:
    if [reader.message_count, reader.start_time, reader.end_time] != folder.run.get("bag"):
        raise InvalidInputError(f"{folder.path} has answers to another recording than {bag}; name the one that was answered")
