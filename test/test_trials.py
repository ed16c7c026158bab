"""Grasp trials obey physics: real MuJoCo, simple bodies. Scenes of the catalogue need assets and are tried by the benchmark."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from qwen_seg_ros.errors import InvalidInputError, MissingExtraError

try:  # before any other import of mujoco: it sets how pictures are rendered
    from qwen_seg_ros.offline.sim.world import mujoco
except ImportError as problem:
    pytest.skip(str(problem), allow_module_level=True)

from qwen_seg_ros.geometry.transform import transform
from qwen_seg_ros.grasping.grasp import Grasp
from qwen_seg_ros.grasping.gripper import load_gripper
from qwen_seg_ros.offline.sim.trial_choice import Choosers
from qwen_seg_ros.offline.sim.trial_gripper import Physics
from qwen_seg_ros.offline.sim.trial_physics import Outcome, TrialWorld
from qwen_seg_ros.offline.sim.trial_solids import cloud_on, hull_body, hull_of
from qwen_seg_ros.offline.sim.trials import TrialRecord, TrialRun, TrialStore, figures_of, over_rounds, wilson
from qwen_seg_ros.offline.sim.vgn_packed import PackedRound, load_packed
from qwen_seg_ros.settings import Settings

PANDA = load_gripper("panda")
QUICK = Physics(hold_s=0.5)
DOWN = np.array([[1.0, 0, 0], [0, -1, 0], [0, 0, -1]])
CORNERS = np.array([[x, y, z] for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (-0.5, 0.5)])


def world_of(*sizes_m: tuple[float, float, float], physics: Physics = QUICK) -> TrialWorld:
    """Boxes on the table in a row along x, 20 cm apart."""
    world = TrialWorld([hull_body([CORNERS * size], (0.8, 0.2, 0.2)) for size in sizes_m], PANDA, physics)
    for number, size in enumerate(sizes_m):
        world.put(number, transform(np.eye(3), np.array([0.2 * number, 0, size[2] / 2])))
    world.settle(0.2)
    return world


def from_above(x: float, y: float, z: float, width_m: float = 0.08) -> Grasp:
    pose, pregrasp = (transform(DOWN, np.array([x, y, height])) for height in (z, z + 0.1))
    return Grasp(pose, pregrasp, width_m, 1.0, "test")


def test_a_box_between_the_fingers_is_lifted_and_its_width_is_felt() -> None:
    world = world_of((0.04, 0.04, 0.08))
    attempt = world.attempt(0, from_above(0, 0, 0.05))
    assert attempt.outcome is Outcome.SUCCESS
    assert attempt.risen_m == pytest.approx(QUICK.lift_m, abs=0.003)
    assert attempt.opening_m == pytest.approx(0.04, abs=0.001)


def test_a_held_box_does_not_creep() -> None:
    world = world_of((0.04, 0.04, 0.08))
    world.attempt(0, from_above(0, 0, 0.05))
    before = world.pose(0)
    world.settle(5.0)
    np.testing.assert_allclose(world.pose(0), before, atol=5e-4)


def test_a_box_off_the_middle_is_pushed_there_and_lifted() -> None:
    world = world_of((0.04, 0.03, 0.08))
    assert world.attempt(0, from_above(0, 0.012, 0.05)).outcome is Outcome.SUCCESS
    assert world.pose(0)[1, 3] == pytest.approx(0.012, abs=0.002)


def test_a_cube_of_twice_the_opening_cannot_be_taken() -> None:
    world = world_of((0.16, 0.16, 0.16))
    assert world.attempt(0, from_above(0, 0, 0.14)).outcome is Outcome.BUMPED


def test_without_friction_it_slips() -> None:
    world = world_of((0.04, 0.04, 0.08), physics=replace(QUICK, friction=0.0))
    attempt = world.attempt(0, from_above(0, 0, 0.05))
    assert attempt.outcome is Outcome.SLIPPED
    assert attempt.risen_m < 0.01


def test_too_weak_a_squeeze_does_not_lift_a_heavy_box() -> None:
    """Two pads with friction mu hold 2 mu F: 0.8 kg weigh 7.8 N."""
    strong, weak = (replace(QUICK, squeeze_n=force) for force in (10.0, 3.0))
    grasp = from_above(0, 0, 0.08)
    outcomes = [world_of((0.2, 0.06, 0.1), physics=physics).attempt(0, grasp).outcome for physics in (strong, weak)]
    assert outcomes == [Outcome.SUCCESS, Outcome.SLIPPED]


def test_closing_beside_it_is_a_miss() -> None:
    assert world_of((0.03, 0.03, 0.06)).attempt(0, from_above(0.1, 0, 0.03)).outcome is Outcome.MISSED


def test_taking_the_neighbour_is_no_success() -> None:
    world = world_of((0.04, 0.04, 0.08), (0.04, 0.04, 0.08))
    assert world.attempt(0, from_above(0.2, 0, 0.05)).outcome is Outcome.MISSED
    assert world.pose(1)[2, 3] > 0.15


def test_a_start_inside_something_is_told_apart() -> None:
    world = world_of((0.04, 0.16, 0.3))
    assert world.attempt(0, from_above(0, 0, 0.1)).outcome is Outcome.BLOCKED


def test_a_grasp_into_the_table_collides() -> None:
    assert world_of((0.02, 0.02, 0.03)).attempt(0, from_above(0, 0, -0.01)).outcome is Outcome.BUMPED


def test_what_rests_stays_for_five_seconds() -> None:
    world = world_of((0.04, 0.04, 0.08), (0.1, 0.06, 0.02))
    before = [world.pose(0), world.pose(1)]
    world.settle(5.0)
    np.testing.assert_allclose([world.pose(0), world.pose(1)], before, atol=2e-4)
    assert world.still(0) and world.still(1)


def test_the_same_attempt_ends_the_same_after_a_restore() -> None:
    world = world_of((0.04, 0.03, 0.08))
    state, ends = world.state(), []
    for _ in range(2):
        world.restore(state)
        ends.append((world.attempt(0, from_above(0, 0.01, 0.05)), world.pose(0)))
    assert ends[0][0] == ends[1][0]
    np.testing.assert_array_equal(ends[0][1], ends[1][1])


def test_a_target_that_is_not_there_is_named() -> None:
    with pytest.raises(InvalidInputError, match=r"target must be one of 0\.\.0, got 1"):
        world_of((0.04, 0.04, 0.08)).attempt(1, from_above(0, 0, 0.05))


def test_clouds_lie_on_the_surface_with_normals_outwards() -> None:
    hull = hull_of(CORNERS * 0.1)
    cloud = cloud_on(np.asarray(hull.vertices), np.asarray(hull.triangles))
    np.testing.assert_allclose(np.abs(cloud.points_m).max(axis=1), 0.05, atol=1e-6)
    np.testing.assert_allclose(np.einsum("ij,ij->i", cloud.points_m, cloud.normals), 0.05, atol=1e-6)


def packed_folder(folder: Path) -> Path:
    """Two made-up objects in the layout of VGN's folder."""
    folder.mkdir(exist_ok=True)
    for name, size in (("tin", (0.05, 0.05, 0.1)), ("brick", (0.06, 0.09, 0.08))):
        corners = "\n".join("v " + " ".join(f"{v:.4f}" for v in corner) for corner in CORNERS * size)
        (folder / f"{name}_collision.obj").write_text(f"o convex_0\n{corners}\n")
        mass = '<inertial><mass value="0.3"/></inertial>'
        (folder / f"{name}.urdf").write_text(f'<robot name="{name}"><link name="base">{mass}</link></robot>')
    return folder


def test_packed_rounds_repeat_by_seed_and_the_full_cloud_clears_some(tmp_path: Path) -> None:
    objects = load_packed(packed_folder(tmp_path / "vgn"))
    choosers, rounds = Choosers(Settings(), PANDA), []
    for seed in (3, 3):
        played = PackedRound(objects, PANDA, QUICK, (seed,))
        rounds.append(played.run(choosers.oracle))
        played.close()
    assert rounds[0] == rounds[1]
    assert 1 <= rounds[0].cleared <= rounds[0].objects
    assert rounds[0].cleared == rounds[0].outcomes.count(Outcome.SUCCESS)


def test_bad_packed_folders_say_what_is_wanted(tmp_path: Path) -> None:
    with pytest.raises(MissingExtraError, match="no objects"):
        load_packed(tmp_path)
    folder = packed_folder(tmp_path / "vgn")
    (folder / "tin_collision.obj").write_text("v 1 2\n")
    with pytest.raises(InvalidInputError, match="tin: wanted are a mass"):
        load_packed(folder)


def records(row: str, outcomes: list[Outcome]) -> list[TrialRecord]:
    return [TrialRecord(row, k, (o.value,), 1, int(o is Outcome.SUCCESS)) for k, o in enumerate(outcomes)]


def test_a_stopped_run_goes_on_where_it_was(tmp_path: Path) -> None:
    rows, about = ["single-view", "single-oracle"], {"seed": 1}
    store = TrialStore(tmp_path, about)
    assert len(store.missing(rows, 3)) == 6
    for record in records("single-view", [Outcome.SUCCESS, Outcome.SLIPPED]):
        store.add(record)
    with (tmp_path / "trials.jsonl").open("a") as file:
        file.write('{"row": "single-vi')  # stopped while it wrote
    again = TrialStore(tmp_path, about)
    assert again.records == store.records
    assert again.missing(rows, 3) == [("single-oracle", 0), ("single-oracle", 1), ("single-view", 2), ("single-oracle", 2)]
    with pytest.raises(InvalidInputError, match="other settings"):
        TrialStore(tmp_path, {"seed": 2})


def test_figures_count_ends() -> None:
    figures = figures_of("single-view", records("single-view", [Outcome.SUCCESS] * 3 + [Outcome.SLIPPED]))
    assert figures.success.share == 0.75 and figures.trials == figures.attempts == 4
    assert figures.reasons == {"success": 3, "slipped": 1}
    with pytest.raises(InvalidInputError, match="no trials of row"):
        figures_of("single-model", [])


def test_success_is_also_told_of_what_the_oracle_found_a_grasp_for() -> None:
    oracle = records("single-oracle", [Outcome.SUCCESS, Outcome.NO_GRASP, Outcome.SLIPPED, Outcome.SUCCESS])
    view = records("single-view", [Outcome.SUCCESS, Outcome.NO_GRASP, Outcome.SUCCESS, Outcome.NO_CLOUD])
    assert figures_of("single-view", oracle + view).reachable == wilson(2, 3)
    assert figures_of("single-oracle", oracle).reachable == wilson(2, 3)
    assert figures_of("single-view", view).reachable is None
    assert figures_of("single-view", oracle[:3] + view).reachable is None
    assert figures_of("packed-view", records("packed-view", [Outcome.SUCCESS])).reachable is None


def test_intervals_are_those_of_the_books() -> None:
    known = wilson(8, 10)  # Wilson 1927, as computed by R's binom.confint
    assert (known.low, known.high) == (pytest.approx(0.4902, abs=1e-3), pytest.approx(0.9433, abs=1e-3))
    assert wilson(0, 20).low == 0 and wilson(20, 20).high == 1


def test_intervals_over_rounds_hold_the_share_and_are_never_empty() -> None:
    mixed = over_rounds(np.array([5, 1, 4, 0]), np.array([5, 5, 5, 5]))
    assert mixed.low < mixed.share == 0.5 < mixed.high
    perfect = over_rounds(np.array([5, 5, 4]), np.array([5, 5, 4]))
    assert perfect == wilson(3, 3)
    assert over_rounds(np.array([0, 0]), np.array([2, 2])) == wilson(0, 2)


def test_an_unknown_row_lists_the_known_ones() -> None:
    run = TrialRun(1, PANDA, QUICK, Choosers(Settings(), PANDA))
    with pytest.raises(InvalidInputError, match="single-oracle"):
        run.trial("single-luck", 0)


def test_packed_rows_are_skipped_without_their_objects(tmp_path: Path) -> None:
    root = Path(__file__).resolve().parent.parent
    command = [sys.executable, str(root / "benchmarks" / "grasp_trials.py"), "--rows", "packed-view", "--out", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(root)}, check=True)
    assert "skipped: packed-view (--vgn FOLDER is not given)" in done.stdout


def test_the_step_is_short_enough_for_the_contacts() -> None:
    """MuJoCo stiffens contacts only down to two steps."""
    model = world_of((0.04, 0.04, 0.08)).model
    assert model.geom_solref[:, 0].min() >= 2 * model.opt.timestep
    assert model.opt.cone == mujoco.mjtCone.mjCONE_ELLIPTIC
