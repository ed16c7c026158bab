"""Scenes for trials: catalogue objects settle by physics, then the renderer shows them where they came to rest."""

from dataclasses import dataclass, replace

import numpy as np

from qwen_seg_ros.errors import QwenSegError
from qwen_seg_ros.geometry.transform import inverse, transform
from qwen_seg_ros.grasping.gripper import Gripper
from qwen_seg_ros.offline.sim.placed import Placed
from qwen_seg_ros.offline.sim.profiles import SceneProfile
from qwen_seg_ros.offline.sim.renderer import SceneRenderer, Studio
from qwen_seg_ros.offline.sim.scene import SimScene
from qwen_seg_ros.offline.sim.trial_choice import Sight
from qwen_seg_ros.offline.sim.trial_gripper import Physics
from qwen_seg_ros.offline.sim.trial_physics import TrialWorld, WorldState
from qwen_seg_ros.offline.sim.trial_solids import HOLLOW, SurfaceCloud, entry_body, surface_cloud, trial_objects
from qwen_seg_ros.offline.sim.world import mujoco

SINGLE = SceneProfile(
    "starter", "starter", (1, 1), procedural=0, touching=0, stacked=0, lying=0, spread=(0.2, 0.6), cameras=("shoulder",),
    lights=("starter",), sensors=("realsense",), strength=(1.0, 1.0),
)  # fmt: skip
KINDS = {"single": SINGLE, "clutter": replace(SINGLE, count=(5, 8), touching=0.3, spread=(0.3, 0.6))}
TRIES = 30  # arrangements drawn until one has a target
WIDEST_M = 0.074  # between the sides of a target that has no rim
LEAST_VISIBLE, LEAST_HEIGHT_M = 0.6, 0.015
MOST_SHIFT_M = 0.03  # a target that settles farther away fell over or rolled


@dataclass(frozen=True, eq=False)
class TrialScene:
    """A world at rest in `state`, what is known of it, and the name of the one target."""

    world: TrialWorld
    state: WorldState
    sight: Sight
    name: str


class TrialScenes:
    """
    Raises:
        MissingExtraError: without MuJoCo, EGL or the assets.
    """

    def __init__(self, gripper: Gripper, physics: Physics, width: int = 640, height: int = 480) -> None:
        self.gripper, self.physics = gripper, physics
        self.studio: Studio = SceneRenderer(width, height, trial_objects()).studio("starter")

    def scene(self, kind: str, seed: tuple[int, ...]) -> TrialScene:
        """A scene of "single" or "clutter"; the same seed gives the same one.

        Raises:
            QwenSegError: when no arrangement has a target that could be reached.
        """
        for attempt in range(TRIES):
            rng = np.random.default_rng([*seed, attempt])
            scene = self._drawn(KINDS[kind], rng)
            if scene is not None:
                return scene
        raise QwenSegError(f"{TRIES} arrangements of kind {kind!r} with seed {seed} had no target; take another seed")

    def _drawn(self, profile: SceneProfile, rng: np.random.Generator) -> TrialScene | None:
        placed = self.studio.set_up(profile, profile.count, rng)
        if not placed:
            return None
        starts = [self._pose(thing.index) for thing in placed]
        world = TrialWorld([entry_body(self.studio.stage.objects[p.index]) for p in placed], self.gripper, self.physics)
        for number, pose in enumerate(starts):
            world.put(number, pose)
        world.settle()
        clouds = tuple(self._cloud(thing.index).moved(world.pose(n)) for n, thing in enumerate(placed))
        for number, thing in enumerate(placed):
            self._show(thing.index, world.pose(number))
        view = self.studio.view(0, placed, None, profile, rng)
        steady = {n for n, start in enumerate(starts) if _stayed(world, n, start)}
        targets = [k for k in self._targets(view, placed) if k in steady]
        if not targets:
            return None
        target = int(rng.choice(targets))
        name = placed[target].look.name
        sight = Sight(view.frame(), view.ids, clouds, (target,), f"pick up the {name}")
        return TrialScene(world, world.state(), sight, name)

    def _targets(self, view: SimScene, placed: list[Placed]) -> list[int]:
        """Numbers of well visible things with a name of their own that fit between the fingers or have a rim."""
        names, numbers = [item.name for item in view.objects], []
        for item in view.objects:
            clear = item.visible >= LEAST_VISIBLE and not item.cut and names.count(item.name) == 1
            size = placed[item.id - 1].size_m
            fits = (size[1] < WIDEST_M or item.category in HOLLOW) and size[2] > LEAST_HEIGHT_M
            if clear and fits:
                numbers.append(item.id - 1)
        return numbers

    def _pose(self, index: int) -> np.ndarray:
        """base_from_body as the stage shows it."""
        data, turn = self.studio.stage.data, np.empty(9)
        mocap = self.studio.stage.model.body(f"object{index}").mocapid[0]
        mujoco.mju_quat2Mat(turn, data.mocap_quat[mocap])
        return transform(turn.reshape(3, 3), data.mocap_pos[mocap])

    def _show(self, index: int, base_from_body: np.ndarray) -> None:
        data, mocap = self.studio.stage.data, self.studio.stage.model.body(f"object{index}").mocapid[0]
        data.mocap_pos[mocap] = base_from_body[:3, 3]
        mujoco.mju_mat2Quat(data.mocap_quat[mocap], np.ascontiguousarray(base_from_body[:3, :3]).ravel())

    def _cloud(self, index: int) -> SurfaceCloud:
        """In the frame of the body; leaves the stage's object in the origin."""
        stage = self.studio.stage
        base_from_surface = transform(np.eye(3), (stage.vertices(index) - stage.surface(index).vertices_m)[0])
        stage.vertices(index)
        return surface_cloud(stage.surface(index), inverse(self._pose(index)) @ base_from_surface)


def _stayed(world: TrialWorld, number: int, start: np.ndarray) -> bool:
    """At rest, near where it was put, not fallen over."""
    pose = world.pose(number)
    upright = float(np.trace(pose[:3, :3] @ start[:3, :3].T)) > 2.9
    return world.still(number) and upright and bool(np.linalg.norm(pose[:3, 3] - start[:3, 3]) < MOST_SHIFT_M)
