"""Grasps tried in MuJoCo physics: success with 95 % intervals and reasons of failure, by row.

python benchmarks/grasp_trials.py --rows single clutter --trials 300 --seed 1 --out out/trials
python benchmarks/grasp_trials.py --rows packed-view packed-centroid --trials 100 --out out/packed --vgn FOLDER

Rows: KIND-CHOOSER, or a kind for all of its rows; see docs/grasp_trials.md. Run again to go on after a stop.
"""

import argparse
import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
from PIL import Image
from rich.progress import track

from qwen_seg_ros.errors import InvalidInputError, MissingExtraError
from qwen_seg_ros.grasping.gripper import load_gripper
from qwen_seg_ros.offline.sim.trial_choice import Choosers
from qwen_seg_ros.offline.sim.trial_gripper import HAND_GROUP, Physics
from qwen_seg_ros.offline.sim.trial_physics import Outcome, TrialWorld
from qwen_seg_ros.offline.sim.trials import KINDS, ROWS, Figure, RowFigures, TrialRecord, TrialRun, TrialStore, figures_of
from qwen_seg_ros.offline.sim.vgn_packed import PackedObject, load_packed
from qwen_seg_ros.offline.sim.world import mujoco
from qwen_seg_ros.settings import Settings, load_settings, to_yaml

FRAME_S = 0.1
FILM_PX = (320, 240)
MOST_FRAMES = 200


class Film:
    """Pictures of a trial, a frame every tenth of a second of its time."""

    def __init__(self, world: TrialWorld) -> None:
        self.world = world
        self.frames: list[Image.Image] = []
        self.renderer = mujoco.Renderer(world.model, FILM_PX[1], FILM_PX[0])
        self.option, self.camera = mujoco.MjvOption(), mujoco.MjvCamera()
        self.option.geomgroup[HAND_GROUP] = 1
        self.camera.lookat[:], self.camera.distance = self._middle(), 0.75
        self.camera.azimuth, self.camera.elevation = 40, -20
        self._next_s = 0.0
        world.on_step = self.step

    def step(self) -> None:
        if self.world.data.time >= self._next_s and len(self.frames) < MOST_FRAMES:
            self._next_s = self.world.data.time + FRAME_S
            self.renderer.update_scene(self.world.data, self.camera, self.option)
            self.frames.append(Image.fromarray(self.renderer.render().copy()))

    def close(self, path: Path) -> None:
        """Write the last frame as PNG and the whole as GIF, where there are frames."""
        self.world.on_step = lambda: None
        self.renderer.close()
        if self.frames:
            path.parent.mkdir(parents=True, exist_ok=True)
            self.frames[-1].save(path.with_suffix(".png"))
            self.frames[0].save(
                path.with_suffix(".gif"), save_all=True, append_images=self.frames[1:], duration=int(1000 * FRAME_S), loop=0
            )

    def _middle(self) -> np.ndarray:
        """Of what stands on the table, a little above it."""
        places = np.array([self.world.pose(k)[:3, 3] for k in range(self.world.count)])
        return places[np.abs(places[:, 0]) < 1].mean(axis=0) * [1, 1, 0] + [0, 0, 0.1]


def film(run: TrialRun, records: list[TrialRecord], folder: Path) -> None:
    """Run these trials once more, before a camera; what is filmed already stays."""
    for record in track(records, description="films"):
        path = folder / f"{record.row}_{record.number:03d}_{record.outcomes[-1].replace(' ', '_')}"
        films: list[Film] = []
        run.watch = lambda world, row, number, films=films: films.append(Film(world))
        if not path.with_suffix(".gif").exists():
            run.trial(record.row, record.number)
        for item in films:
            item.close(path)


def worth_filming(records: list[TrialRecord], rows: list[str], count: int) -> list[TrialRecord]:
    """The first successes and the first failures of each row in which the hand moved, `count` of either."""
    moved = [r for r in records if r.strategy or r.row.startswith("packed")]
    ends = [(row, good) for row in rows for good in (True, False)]
    of_end = [[r for r in moved if r.row == row and (r.outcomes[-1] == Outcome.SUCCESS.value) == good] for row, good in ends]
    return [record for found in of_end for record in found[:count]]


def wanted_rows(words: list[str]) -> list[str]:
    """Rows in a fixed order, from names of rows and kinds.

    Raises:
        InvalidInputError: for a word that is neither.
    """
    unknown = [word for word in words if word not in (*ROWS, *KINDS)]
    if unknown:
        raise InvalidInputError(f"there is no row {', '.join(unknown)}; there are {', '.join(KINDS)} and {', '.join(ROWS)}")
    return [row for row in ROWS if row in words or row.split("-")[0] in words]


def packed_objects(rows: list[str], folder: Path | None) -> tuple[list[str], list[PackedObject]]:
    """The rows that can run, and the objects of the packed ones; says what is skipped."""
    if not any(row.startswith("packed") for row in rows):
        return rows, []
    try:
        if folder is None:
            raise MissingExtraError("--vgn FOLDER is not given")
        return rows, load_packed(folder)
    except MissingExtraError as reason:
        print(f"skipped: {', '.join(row for row in rows if row.startswith('packed'))} ({reason})")
        return [row for row in rows if not row.startswith("packed")], []


def percent(figure: Figure) -> str:
    return f"{100 * figure.share:5.1f} [{100 * figure.low:.1f}, {100 * figure.high:.1f}]"


def table(figures: list[RowFigures]) -> str:
    """Markdown."""
    lines = ["| row | trials | attempts | success % [95 %] | of reachable % | cleared % [95 %] | other ends |", "|" + "---|" * 7]
    for row in figures:
        reasons = ", ".join(f"{name} {count}" for name, count in row.reasons.items() if name != Outcome.SUCCESS.value)
        success, cleared = percent(row.success), percent(row.cleared)
        reachable = percent(row.reachable) if row.reachable else ""
        lines.append(f"| {row.row} | {row.trials} | {row.attempts} | {success} | {reachable} | {cleared} | {reasons} |")
    return "\n".join(lines)


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", nargs="+", default=["single", "clutter"], help="rows, or kinds for all of their rows")
    parser.add_argument("--trials", type=int, default=300, help="of each row; packed: rounds")
    parser.add_argument("--seed", type=int, default=1, help="the same seed gives the same trials")
    parser.add_argument("--out", type=Path, required=True, help="folder of trials.jsonl, results.json and pictures; goes on")
    parser.add_argument("--vgn", type=Path, help="folder of VGN's packed objects")
    parser.add_argument("--settings", type=Path, help="YAML with settings of the pipeline")
    parser.add_argument("--films", type=int, default=2, help="of each row: filmed successes, and as many failures")
    return parser.parse_args()


def main() -> None:
    options = parsed()
    settings = load_settings(options.settings) if options.settings else Settings()
    rows, packed = packed_objects(wanted_rows(options.rows), options.vgn)
    physics, gripper = Physics(), load_gripper(settings.grasping.gripper)
    about = {"seed": options.seed, "physics": asdict(physics), "settings": to_yaml(settings), "mujoco": mujoco.__version__}
    store = TrialStore(options.out, about)
    run = TrialRun(options.seed, gripper, physics, Choosers(settings, gripper), packed)
    for row, number in track(store.missing(rows, options.trials), description="trials"):
        store.add(run.trial(row, number))
    counted = [r for r in store.records if r.number < options.trials]
    figures = [figures_of(row, counted) for row in rows]
    results = {"about": about, "rows": [asdict(row) for row in figures]}
    (options.out / "results.json").write_text(json.dumps(results, indent=1))
    print(table(figures))
    film(run, worth_filming(counted, rows, options.films), options.out / "films")


if __name__ == "__main__":
    main()
