"""What the demo asks of each scene, and whether an answer is right."""

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import yaml

from qwen_seg_ros.geometry.mask import mask_iou
from qwen_seg_ros.offline.bags.truth import SceneTruth
from qwen_seg_ros.pipeline import PipelineResult
from qwen_seg_ros.segmentation.result import Instance
from qwen_seg_ros.status import StatusCode

MIN_MASK_IOU = 0.5
MAX_POSITION_ERROR_M = 0.03


@dataclass(frozen=True)
class Task:
    """scene: number in the bag. wanted: phrase -> ids of the objects it means, none = absent. any_of: one of them is enough."""

    scene: int
    text: str
    kind: str
    wanted: dict[str, list[int]]
    any_of: bool = False

    @property
    def wanted_ids(self) -> set[int]:
        return {number for ids in self.wanted.values() for number in ids}


def load_tasks(path: Path) -> list[Task]:
    return [Task(**item) for item in yaml.safe_load(path.read_text())["instructions"]]


def save_tasks(path: Path, tasks: list[Task]) -> None:
    head = "# What is asked of the scenes of demo/bag; both are made by demo/choose_scenes.py.\n"
    path.write_text(head + yaml.safe_dump({"instructions": [asdict(t) for t in tasks]}, sort_keys=False, width=120))


def mistakes(task: Task, result: PipelineResult, truth: SceneTruth) -> list[str]:
    """What is wrong with an answer whose objects are in the base frame; [] = it is right."""
    absent = [phrase for phrase, ids in task.wanted.items() if not ids]
    if not task.wanted_ids:
        return (
            []
            if result.status.code is StatusCode.NOT_FOUND
            else [f"{', '.join(absent)} is not there, got {result.status.code.name}"]
        )
    if result.status.code is not StatusCode.OK or result.segmentation is None:
        return [f"{result.status.code.name}: {result.status.message}"]
    instances = result.segmentation.instances
    found = [matched(instance, truth) for instance in instances]
    wrong = [
        f"'{i.phrase}' {_name(number, truth)}"
        for i, number in zip(instances, found, strict=True)
        if not _allowed(task, i.phrase, number)
    ]
    missing = set() if task.any_of and found else task.wanted_ids - set(found)
    wrong += [f"missed: {_name(number, truth)}" for number in sorted(missing)]
    wrong += ["an object was given twice"] if len(set(found)) < len(found) else []
    wrong += [f"'{phrase}' is not there and was not reported" for phrase in absent[len(result.segmentation.absent) :]]
    return wrong + _misplaced(result, dict(enumerate(found, start=1)), truth)


def matched(instance: Instance, truth: SceneTruth) -> int:
    """The id of the object that the mask covers, 0 = none well enough."""
    mask = instance.mask.full()
    overlaps = {number: mask_iou(mask, true) for number, true in truth.masks.items()}
    best = max(overlaps, key=lambda number: overlaps[number])
    return best if overlaps[best] >= MIN_MASK_IOU else 0


def _allowed(task: Task, phrase: str, number: int) -> bool:
    """Phrases that the instruction does not hold in these words may mean any wanted object."""
    return number in task.wanted.get(phrase, task.wanted_ids)


def _misplaced(result: PipelineResult, found: dict[int, int], truth: SceneTruth) -> list[str]:
    centres = {o.id: np.array(o.centre_m) for o in truth.objects}
    lifted = {o.id: o.box.pose[:3, 3] for o in result.lifted.objects} if result.lifted else {}
    wrong = []
    for place, number in found.items():
        if number and place not in lifted:
            wrong.append(f"{_name(number, truth)} has no position")
        elif number and (error := float(np.linalg.norm(lifted[place] - centres[number]))) > MAX_POSITION_ERROR_M:
            wrong.append(f"{_name(number, truth)} is {error * 100:.1f} cm off")
    return wrong


def _name(number: int, truth: SceneTruth) -> str:
    return next((o.name for o in truth.objects if o.id == number), f"no object with a mask IoU of {MIN_MASK_IOU}")
