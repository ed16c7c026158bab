"""Find scenes that show what the package does and that a checkpoint answers right; writes demo/bag and demo/instructions.yaml.

    python demo/choose_scenes.py --checkpoint tabletop        (needs the simulation assets: qwen-seg simulate --fetch-assets)

The scenes are a show, not a measurement: how often the checkpoint is right is for `qwen-seg evaluate` to say.
"""

import shutil
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console
from tasks import Task, mistakes, save_tasks

from qwen_seg_ros.offline.bags.truth import SceneTruth, record, recorded_frame
from qwen_seg_ros.offline.data.expressions import SceneWords, expressions
from qwen_seg_ros.offline.sim.scene import SimScene
from qwen_seg_ros.pipeline import Pipeline
from qwen_seg_ros.segmentation.settings import SegmentationSettings
from qwen_seg_ros.settings import Settings

HERE = Path(__file__).resolve().parent
PLAN = (
    ("colour_category", "absent"),
    ("relation", "name"),
    ("all",),
    ("several",),
    ("ambiguous", "absent"),
)  # what each scene shall show
OBJECTS = (3, 6)  # in a scene
MOST_WORDS = 3  # in a phrase: catalogue colours such as "red green and white" sound odd
TRIES = 4  # wordings of one kind tried on a scene
console = Console()


def main(
    checkpoint: Annotated[str, typer.Option(help="Embedded checkpoint, folder or hub id.")] = "tabletop",
    first_seed: Annotated[int, typer.Option(help="First seed tried.")] = 7_000_000,
    most: Annotated[int, typer.Option(help="Seeds tried at most.")] = 150,
    camera_seed: Annotated[int, typer.Option(help="Place of the one camera of all scenes.")] = 6,
    noise: Annotated[bool, typer.Option(help="Depth as from a stereo camera.")] = True,
    truth_answers: Annotated[
        bool, typer.Option("--truth-answers", help="Take the first scenes that have something to say, without asking a model.")
    ] = False,
) -> None:
    from qwen_seg_ros.offline.sim.renderer import SceneRenderer, random_camera

    pipeline = None if truth_answers else Pipeline(Settings(segmentation=SegmentationSettings(checkpoint=checkpoint)))
    renderer, camera = SceneRenderer(640, 480), random_camera(np.random.default_rng(camera_seed))
    open_slots, chosen = list(PLAN), {}
    for seed in range(first_seed, first_seed + most):
        if not open_slots:
            break
        view = View(renderer.render(seed, count=OBJECTS, camera=camera)[0], noise, pipeline)
        taken = {task.text for _, tasks in chosen.values() for task in tasks}
        for slot in open_slots:
            tasks = view.right_ones(slot, taken)
            if tasks:
                console.print(f"seed {seed}: {'; '.join(task.text for task in tasks)}")
                chosen[PLAN.index(slot)] = (view.scene, tasks)
                open_slots.remove(slot)
                break
        else:
            console.print(f"seed {seed}: nothing for {', '.join('+'.join(slot) for slot in open_slots)}", style="dim")
    if open_slots:
        console.print(f"[red]nothing right found for {open_slots} in {most} scenes[/red]; try more seeds or a better checkpoint")
        raise typer.Exit(1)
    _write(chosen, noise)


class View:
    """A scene as it would be recorded, looked at once, and what the checkpoint answers right in it."""

    def __init__(self, scene: SimScene, noise: bool, pipeline: Pipeline | None) -> None:
        self.scene, self.pipeline = scene, pipeline
        self.known: dict[str, bool] = {}  # instruction -> answered right
        self.frame = recorded_frame(scene, scene.seed, noise)
        self.truth = SceneTruth(scene.seed, 0, scene.objects, {o.id: scene.ids == o.id for o in scene.objects})

    @cached_property
    def encoded(self) -> object:
        return self.pipeline.encode(self.frame) if self.pipeline else None

    def is_right(self, task: Task) -> bool:
        if self.pipeline is None:
            return True
        if task.text not in self.known:
            result = self.pipeline.run_encoded(self.frame, self.encoded, task.text)
            grasped = not task.wanted_ids or any(plan.grasps for plan in result.plans)
            self.known[task.text] = grasped and not mistakes(task, result, self.truth)
        return self.known[task.text]

    def right_ones(self, kinds: tuple[str, ...], taken: set[str]) -> list[Task]:
        """One of every kind, or [] as soon as one is lacking."""
        out: list[Task] = []
        for kind in kinds:
            task = self.right(kind, taken)
            if task is None:
                return []
            out.append(task)
        return out

    def right(self, kind: str, taken: set[str]) -> Task | None:
        """The first instruction of this kind that is answered right, None where none is."""
        tasks = [task for task in _candidates(self.scene, kind) if task.text not in taken][:TRIES]
        return next((task for task in tasks if self.is_right(task)), None)


def _candidates(scene: SimScene, kind: str) -> Iterator[Task]:
    if kind == "ambiguous":
        yield from _ambiguous(scene)
        return
    for item in expressions(scene.objects, scene.camera.width, np.random.default_rng(scene.seed)):
        enough = len(item.target_ids) >= 2 or kind not in ("all", "several")
        plain = all(len(phrase.split()) <= MOST_WORDS for phrase, _ in item.phrases)
        if item.kind == kind and enough and plain:
            yield Task(0, item.text, kind, {phrase: list(ids) for phrase, ids in item.phrases})


def _ambiguous(scene: SimScene) -> Iterator[Task]:
    """One thing is asked for where two are: either will do, or both."""
    words = SceneWords(scene.objects, scene.camera.width)
    for category in sorted({o.category for o in scene.objects}):
        ids = words.matches(category)
        if ids and len(ids) == 2:
            yield Task(0, f"give me the {category}", "ambiguous", {category: list(ids)}, any_of=True)


def _write(chosen: dict[int, tuple[SimScene, list[Task]]], noise: bool) -> None:
    bag = HERE / "bag"
    if bag.exists():
        shutil.rmtree(bag)
    ordered = [chosen[n] for n in sorted(chosen)]
    record(bag, [scene for scene, _ in ordered], noise)
    tasks = [Task(n, t.text, t.kind, t.wanted, t.any_of) for n, (_, scene_tasks) in enumerate(ordered) for t in scene_tasks]
    save_tasks(HERE / "instructions.yaml", tasks)
    console.print(f"wrote {bag} and {HERE / 'instructions.yaml'}")


if __name__ == "__main__":
    typer.run(main)
