"""Answers against expected ones: what a test of a robot's perception fails on, in words.

The expected file has the form of results.jsonl; begin with a copy of one that was looked over. What a line leaves out
("segments", "objects", "status") is not compared.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from qwen_seg_ros.errors import InvalidInputError
from qwen_seg_ros.geometry.mask import decode_rle, mask_iou
from qwen_seg_ros.geometry.transform import rotation_from_quaternion
from qwen_seg_ros.setting import check, setting

MAX_LINE = 32_000_000  # characters
Key = tuple[int, str]


@dataclass(frozen=True)
class Tolerances:
    """How much an answer may differ from the expected one."""

    iou: float = setting(0.8, "Least overlap of a mask with the expected one", 0.0, 1.0)
    position_mm: float = setting(10.0, "Largest distance of an object from its expected place", 0.0, 10_000.0)
    size_mm: float = setting(20.0, "Largest difference of an edge of an object's box", 0.0, 10_000.0)
    grasp_mm: float = setting(20.0, "Largest distance from the expected best grasp to one of the best grasps", 0.0, 10_000.0)
    grasp_deg: float = setting(20.0, "Largest angle between the same", 0.0, 180.0)
    grasp_poses: bool = setting(True, "Compare poses of grasps, not only whether there is one")

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True)
class Difference:
    """time_s: of the frame in the recording, None = not told."""

    time_s: float | None
    instruction: str
    what: str
    expected: str
    got: str


@dataclass(frozen=True)
class Comparison:
    """compared: lines of the expected file; not_expected: answers it says nothing about."""

    compared: int
    not_expected: int
    differences: tuple[Difference, ...]


def compare(expected: Path, results: Path, tolerances: Tolerances) -> Comparison:
    """Reads both files line by line, in any order; lines belong together by stamp and instruction.

    Raises:
        InvalidInputError: a file cannot be read; the line is named.
    """
    places = {_key(line): place for place, line in _lines(results)}
    differences: list[Difference] = []
    seen: set[Key] = set()
    with results.open("rb") as file:
        for number, (_, line) in enumerate(_lines(expected), start=1):
            seen.add(_key(line))
            place = places.get(_key(line))
            if place is None:
                differences.append(_difference(line, "answer", "one", "none for this stamp and instruction"))
                continue
            file.seek(place)
            try:
                differences += _compared(line, json.loads(file.readline()), tolerances)
            except (KeyError, TypeError, ValueError, IndexError) as error:
                reason = f"{type(error).__name__}: {error}"
                raise InvalidInputError(f"{expected}, line {number} is no answer as results.jsonl has them ({reason})") from error
    return Comparison(len(seen), len(set(places) - seen), tuple(differences))


def _lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Place in the file and content of every line."""
    try:
        with path.open("rb") as file:
            number, place = 0, 0
            while raw := file.readline(MAX_LINE):
                number += 1
                line = json.loads(raw)
                _key(line)
                yield place, line
                place = file.tell()
    except (OSError, ValueError, KeyError, TypeError) as error:
        what = f"{type(error).__name__}: {error}" if not isinstance(error, OSError) else str(error)
        where = "" if isinstance(error, OSError) else f", line {number}"
        wanted = "a JSON object with at least stamp_ns and instruction; begin with a copy of a results.jsonl"
        raise InvalidInputError(f"{path}{where} cannot be read ({what}); every line must be {wanted}") from error


def _key(line: dict[str, Any]) -> Key:
    return int(line["stamp_ns"]), " ".join(str(line["instruction"]).split()).casefold()


def _compared(expected: dict, got: dict, tolerances: Tolerances) -> Iterator[Difference]:
    if expected.get("status", got["status"]) != got["status"]:
        said = f"{got['status']}: {got['message']}" if got["message"] else got["status"]
        yield _difference(expected, "status", expected["status"], said)
    if "segments" in expected:
        yield from _compared_masks(expected, got, tolerances)
    if "objects" in expected:
        yield from _compared_objects(expected, got, tolerances)


def _compared_masks(expected: dict, got: dict, tolerances: Tolerances) -> Iterator[Difference]:
    masks = [[_mask(item) for item in line["segments"]] for line in (expected, got)]
    for mine, theirs, iou in _matched(*masks, nearness=_overlap):
        if theirs is None and mine is not None:
            yield _difference(expected, "target", f"{expected['segments'][mine]['phrase']!r} found", "not found")
        elif mine is None and theirs is not None:
            yield _difference(expected, "target", "no further one", f"{got['segments'][theirs]['phrase']!r} found")
        elif mine is not None and iou < tolerances.iou:
            what = f"mask of {expected['segments'][mine]['phrase']!r}"
            yield _difference(expected, what, f"IoU at least {tolerances.iou:g}", f"{iou:.3f}")


def _compared_objects(expected: dict, got: dict, tolerances: Tolerances) -> Iterator[Difference]:
    if expected["objects"] and got["objects"] and expected.get("frame", got["frame"]) != got["frame"]:
        yield _difference(expected, "frame of the objects", expected["frame"], got["frame"])
        return
    places = [[_place(item) for item in line["objects"]] for line in (expected, got)]
    for mine, theirs, nearness in _matched(*places, nearness=lambda a, b: -float(np.linalg.norm(a - b))):
        if theirs is None and mine is not None:
            yield _difference(expected, "object in 3-D", f"{expected['objects'][mine]['phrase']!r}", "none")
        elif mine is None and theirs is not None:
            yield _difference(expected, "object in 3-D", "no further one", f"{got['objects'][theirs]['phrase']!r}")
        elif mine is not None and theirs is not None:
            pair = expected["objects"][mine], got["objects"][theirs]
            for what, wanted, had in _compared_object(*pair, -1e3 * nearness, tolerances):
                yield _difference(expected, f"{what} of {pair[0]['phrase']!r}", wanted, had)


def _compared_object(expected: dict, got: dict, gap_mm: float, tolerances: Tolerances) -> Iterator[tuple[str, str, str]]:
    """What differs, expected, got."""
    if gap_mm > tolerances.position_mm:
        yield "position", f"within {tolerances.position_mm:g} mm of {_xyz(expected)}", f"{gap_mm:.1f} mm away, {_xyz(got)}"
    if "size_m" in expected:
        wrong_mm = 1e3 * np.abs(np.subtract(expected["size_m"], got["size_m"]))
        if wrong_mm.max() > tolerances.size_mm:
            yield "size", f"{_cm(expected)} within {tolerances.size_mm:g} mm", f"{_cm(got)}"
    if "grasps" in expected:
        yield from _compared_grasps(expected, got, tolerances)


def _compared_grasps(expected: dict, got: dict, tolerances: Tolerances) -> Iterator[tuple[str, str, str]]:
    if bool(expected["grasps"]) != bool(got["grasps"]):
        yield "grasp", "one" if expected["grasps"] else "none", f"{len(got['grasps'])}; {got.get('no_grasp', '')}".rstrip("; ")
    elif expected["grasps"] and tolerances.grasp_poses:
        gaps = [_grasp_gap(expected["grasps"][0], grasp) for grasp in got["grasps"]]
        if not any(mm <= tolerances.grasp_mm and degrees <= tolerances.grasp_deg for mm, degrees in gaps):
            mm, degrees = min(gaps, key=lambda gap: gap[0])
            allowed = f"one of the best within {tolerances.grasp_mm:g} mm and {tolerances.grasp_deg:g} degrees"
            yield "best grasp", allowed, f"nearest: {mm:.1f} mm, {degrees:.0f} degrees"


def _matched(
    mine: list[Any], theirs: list[Any], nearness: Callable[[Any, Any], float]
) -> Iterator[tuple[int | None, int | None, float]]:
    """Pairs of places in both lists, nearest first; then what is left of either with None."""
    ranked = sorted(((nearness(a, b), i, j) for i, a in enumerate(mine) for j, b in enumerate(theirs)), key=lambda p: -p[0])
    left, right = set(range(len(mine))), set(range(len(theirs)))
    for value, i, j in ranked:
        if i in left and j in right:
            left.remove(i)
            right.remove(j)
            yield i, j, value
    yield from ((i, None, 0.0) for i in sorted(left))
    yield from ((None, j, 0.0) for j in sorted(right))


def _overlap(first: np.ndarray, second: np.ndarray) -> float:
    return mask_iou(first, second) if first.shape == second.shape else 0.0


def _mask(segment: dict) -> np.ndarray:
    height, width = segment["mask"]["size"]
    return decode_rle(segment["mask"]["counts"], height, width)


def _place(item: dict) -> np.ndarray:
    return np.asarray(item["pose"]["position_m"], np.float64).reshape(3)


def _grasp_gap(first: dict, second: dict) -> tuple[float, float]:
    """Millimetres and degrees between two grasps; a hand turned by half about its approach grips the same way."""
    gap_mm = 1e3 * float(np.linalg.norm(_place(first) - _place(second)))
    ours, other = (rotation_from_quaternion(np.asarray(g["pose"]["quaternion_xyzw"], np.float64)) for g in (first, second))
    cosines = [(np.trace(ours.T @ other @ np.diag(turn)) - 1) / 2 for turn in ((1, 1, 1), (-1, -1, 1))]
    return gap_mm, float(np.degrees(np.arccos(np.clip(max(cosines), -1, 1))))


def _difference(line: dict, what: str, expected: str, got: str) -> Difference:
    return Difference(line.get("time_s"), str(line["instruction"]), what, expected, got)


def _xyz(item: dict) -> str:
    return " ".join(f"{v:+.3f}" for v in item["pose"]["position_m"])


def _cm(item: dict) -> str:
    return " x ".join(f"{100 * v:.1f}" for v in item["size_m"]) + " cm"
