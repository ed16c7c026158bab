"""Rows of grasp trials: what is run, how it is kept so that a stopped run goes on, and the figures with their intervals.

A row is KIND-CHOOSER. All rows of a kind see the same scenes: trial k of a seed is the same whoever chooses the grasp.
"""

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from qwen_seg_ros.errors import InvalidInputError
from qwen_seg_ros.grasping.gripper import Gripper
from qwen_seg_ros.offline.sim.trial_choice import Chooser, Choosers
from qwen_seg_ros.offline.sim.trial_gripper import Physics
from qwen_seg_ros.offline.sim.trial_physics import Outcome, TrialWorld
from qwen_seg_ros.offline.sim.trial_scenes import TrialScene, TrialScenes
from qwen_seg_ros.offline.sim.vgn_packed import PackedObject, PackedRound

KINDS = ("single", "clutter", "packed")
CHOOSERS = ("oracle", "view", "model", "centroid", "highest")
ROWS = tuple(f"{kind}-{who}" for kind in KINDS for who in CHOOSERS if (kind, who) != ("packed", "model"))
CONFIDENCE_Z = 1.959964  # 95 %
BOOTSTRAPS = 2000
Watch = Callable[[TrialWorld, str, int], None]  # told the world, row and number before an attempt begins


@dataclass(frozen=True)
class TrialRecord:
    """One trial, or one round of several attempts. outcomes: texts of Outcome; cleared: how many of `objects` were taken away."""

    row: str
    number: int
    outcomes: tuple[str, ...]
    objects: int
    cleared: int
    target: str = ""
    strategy: str = ""

    @classmethod
    def from_line(cls, line: str) -> "TrialRecord":
        """
        Raises:
            ValueError, TypeError: for a line that is not a record.
        """
        values = json.loads(line)
        return cls(**{**values, "outcomes": tuple(str(Outcome(text).value) for text in values["outcomes"])})


@dataclass(frozen=True)
class Figure:
    """A share with its 95 % interval."""

    share: float
    low: float
    high: float


@dataclass(frozen=True)
class RowFigures:
    """success: of all attempts; cleared: of all objects; reasons: how often an attempt ended how.

    reachable: success where the oracle, which knows everything, found a grasp to try; None where not all trials of the row have
    one of the oracle beside them.
    """

    row: str
    trials: int
    attempts: int
    success: Figure
    cleared: Figure
    reasons: dict[str, int]
    reachable: Figure | None = None


class TrialRun:
    """Runs trials of any row; loads what a row needs when it comes.

    packed: objects of the packed rounds, () = those rows cannot run.
    """

    def __init__(
        self, seed: int, gripper: Gripper, physics: Physics, choosers: Choosers, packed: Sequence[PackedObject] = (),
        watch: Watch | None = None,
    ) -> None:  # fmt: skip
        self.seed, self.gripper, self.physics = seed, gripper, physics
        self.choosers, self.packed, self.watch = choosers, list(packed), watch
        self._scenes: TrialScenes | None = None
        self._latest: tuple[tuple[str, int], TrialScene] | None = None

    def trial(self, row: str, number: int) -> TrialRecord:
        """
        Raises:
            InvalidInputError: for an unknown row.
        """
        if row not in ROWS:
            raise InvalidInputError(f"there is no row {row!r}; there are {', '.join(ROWS)}")
        kind, who = row.split("-")
        choose: Chooser = getattr(self.choosers, who)
        return self._round(row, number, choose) if kind == "packed" else self._single(row, number, choose)

    def _single(self, row: str, number: int, choose: Chooser) -> TrialRecord:
        scene = self._scene(row.split("-")[0], number)
        choice = choose(scene.sight)
        if choice.grasp is None:
            return TrialRecord(row, number, (choice.reason.value,), 1, 0, scene.name)
        scene.world.restore(scene.state)
        self._show(scene.world, row, number)
        outcome = scene.world.attempt(choice.target, choice.grasp).outcome
        cleared = int(outcome is Outcome.SUCCESS)
        return TrialRecord(row, number, (outcome.value,), 1, cleared, scene.name, choice.grasp.strategy)

    def _round(self, row: str, number: int, choose: Chooser) -> TrialRecord:
        played = PackedRound(self.packed, self.gripper, self.physics, (self.seed, KINDS.index("packed"), number))
        self._show(played.world, row, number)
        done = played.run(choose)
        played.close()
        return TrialRecord(row, number, tuple(o.value for o in done.outcomes), done.objects, done.cleared)

    def _scene(self, kind: str, number: int) -> TrialScene:
        """The last one is kept: rows of a kind come one after the other with the same scene."""
        if self._latest is None or self._latest[0] != (kind, number):
            self._scenes = self._scenes or TrialScenes(self.gripper, self.physics)
            self._latest = (kind, number), self._scenes.scene(kind, (self.seed, KINDS.index(kind), number))
        return self._latest[1]

    def _show(self, world: TrialWorld, row: str, number: int) -> None:
        if self.watch:
            self.watch(world, row, number)


class TrialStore:
    """Records as JSON lines in a folder, one run of settings each.

    Raises:
        InvalidInputError: when the folder holds trials made with other settings.
    """

    def __init__(self, folder: Path, settings: dict) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.file, about = folder / "trials.jsonl", folder / "settings.json"
        if about.exists() and json.loads(about.read_text()) != settings:
            raise InvalidInputError(f"{folder} holds trials with other settings ({about.name}); name another folder")
        about.write_text(json.dumps(settings, indent=1))
        self.records = self._read()

    def add(self, record: TrialRecord) -> None:
        with self.file.open("a") as file:
            file.write(json.dumps(asdict(record)) + "\n")
        self.records.append(record)

    def missing(self, rows: Sequence[str], trials: int) -> list[tuple[str, int]]:
        """What is to be done, number by number, so that a scene serves all rows of its kind."""
        done = {(r.row, r.number) for r in self.records}
        kinds = sorted({row.split("-")[0] for row in rows}, key=KINDS.index)
        order = [(row, n) for kind in kinds for n in range(trials) for row in rows if row.startswith(kind)]
        return [item for item in order if item not in done]

    def _read(self) -> list[TrialRecord]:
        """A line that was cut off by a stop is dropped from the file."""
        lines = self.file.read_text().splitlines() if self.file.exists() else []
        records = []
        for line in lines:
            try:
                records.append(TrialRecord.from_line(line))
            except (ValueError, TypeError, KeyError):
                continue
        self.file.write_text("".join(json.dumps(asdict(record)) + "\n" for record in records))
        return records


def figures_of(row: str, records: Sequence[TrialRecord]) -> RowFigures:
    """
    Raises:
        InvalidInputError: when the row has no records.
    """
    own = [r for r in records if r.row == row]
    if not own:
        raise InvalidInputError(f"no trials of row {row!r} have been run")
    reasons = Counter(text for r in own for text in r.outcomes)
    hits, attempts = np.array([r.cleared for r in own]), np.array([len(r.outcomes) for r in own])
    objects = np.array([r.objects for r in own])
    interval = over_rounds if row.startswith("packed") else lambda good, of: wilson(int(good.sum()), int(of.sum()))
    return RowFigures(
        row, len(own), int(attempts.sum()), interval(hits, attempts), interval(hits, objects), dict(reasons.most_common()),
        _where_reachable(own, records),
    )  # fmt: skip


def _where_reachable(own: Sequence[TrialRecord], records: Sequence[TrialRecord]) -> Figure | None:
    kind = own[0].row.split("-")[0]
    known = {r.number: r.outcomes[-1] != Outcome.NO_GRASP.value for r in records if r.row == f"{kind}-oracle"}
    if kind == "packed" or any(r.number not in known for r in own):
        return None
    hits = [r.cleared for r in own if known[r.number]]
    return wilson(sum(hits), len(hits)) if hits else None


def wilson(successes: int, count: int) -> Figure:
    """Wilson's score interval (1927) of a share."""
    share, z2 = successes / count, CONFIDENCE_Z**2
    middle = (share + z2 / (2 * count)) / (1 + z2 / count)
    reach = CONFIDENCE_Z / (1 + z2 / count) * np.sqrt(share * (1 - share) / count + z2 / (4 * count**2))
    return Figure(share, max(float(middle - reach), 0.0), min(float(middle + reach), 1.0))


def over_rounds(good: np.ndarray, of: np.ndarray) -> Figure:
    """Share over rounds, whose attempts depend on each other: whole rounds are drawn anew (percentile bootstrap).

    Where all or none succeeded there is nothing to draw from; then each round counts as one trial.
    """
    if good.sum() in (0, of.sum()):
        return wilson(len(good) if good.any() else 0, len(good))
    draws = np.random.default_rng(0).integers(len(good), size=(BOOTSTRAPS, len(good)))
    shares = good[draws].sum(axis=1) / np.maximum(of[draws].sum(axis=1), 1)
    low, high = np.percentile(shares, [2.5, 97.5])
    return Figure(float(good.sum() / max(of.sum(), 1)), float(low), float(high))
