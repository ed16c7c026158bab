"""A recording and the folder of its replay -> report.html in that folder."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qwen_seg_ros.errors import InvalidInputError
from qwen_seg_ros.offline.bags.replay.output import RESULTS
from qwen_seg_ros.offline.bags.replay.report.answered import pictured_answers
from qwen_seg_ros.offline.bags.replay.report.page import Entry, page
from qwen_seg_ros.offline.bags.replay.report.pictures import camera_from_answer, found_in, overlay_jpeg, scene_of
from qwen_seg_ros.offline.bags.replay.report.reading import Folder, read_folder
from qwen_seg_ros.offline.bags.view import View

REPORT = "report.html"
SCENES = 6  # answers with a view in 3-D: the first pictured ones that have objects


@dataclass(frozen=True)
class _Shown:
    """What an answer looks like; scene: None = nothing to show in 3-D."""

    jpeg: bytes
    scene: dict[str, Any] | None


def write_report(bag: Path, out: Path) -> Path:
    """Make `out`/report.html from the files of a replay, finished or not, and the recording's pictures; no model is needed.

    The file needs nothing else. Its pictures and points are 20 MB at most, whatever the recording's length.

    Raises:
        InvalidInputError: `out` holds no replay or a damaged one, or `bag` is another recording than was answered.
    """
    folder = read_folder(out)
    shown = _shown(bag, folder)
    entries = [Entry(place, line, *_parts(shown.get(place))) for place, line in folder.lines()]
    try:
        text = page(bag.resolve().name, folder, entries)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise InvalidInputError(f"{out} holds what no replay writes ({error!r}); run the replay again") from error
    file = out / REPORT
    file.write_text(text, encoding="utf-8")
    return file


def _parts(shown: _Shown | None) -> tuple[bytes, dict[str, Any] | None]:
    return (shown.jpeg, shown.scene) if shown else (b"", None)


def _shown(bag: Path, folder: Folder) -> dict[int, _Shown]:
    """By place of the answer. A frame that cannot be read has no picture: its answer says why."""
    shown: dict[int, _Shown] = {}
    for view, place, line in pictured_answers(bag, folder):
        scenes = sum(item.scene is not None for item in shown.values())
        found = _answer_shown(view, line, scenes < SCENES, f"{folder.path / RESULTS}, line {place + 1}")
        if found:
            shown[place] = found
    return shown


def _answer_shown(view: View, line: dict[str, Any], with_scene: bool, where: str) -> _Shown | None:
    try:
        frame = view.look().frame
    except InvalidInputError:
        return None
    try:
        found, to_camera = found_in(line, frame), camera_from_answer(frame, line)
        scene = scene_of(frame, found, to_camera, line["frame"] == line["camera_frame"]) if with_scene else None
        return _Shown(overlay_jpeg(frame, found, to_camera), scene)
    except (KeyError, TypeError, ValueError, InvalidInputError) as error:
        raise InvalidInputError(f"{where} is no answer to this picture ({error!r}); run the replay again") from error
