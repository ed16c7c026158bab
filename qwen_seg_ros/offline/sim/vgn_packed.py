"""The "packed" rounds of VGN and GIGA on a folder of their test objects: five upright things in a 30 cm square, one side view.

A round goes on until the table is clear, no grasp is found, or two attempts in a row failed. Their figures were measured in
PyBullet; what comes out here stands beside them, not against them.
"""

import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from qwen_seg_ros.errors import InvalidInputError, MissingExtraError
from qwen_seg_ros.frame import Frame
from qwen_seg_ros.geometry.transform import transform
from qwen_seg_ros.grasping.gripper import Gripper
from qwen_seg_ros.offline.sim.cameras import centred_camera, looking_at
from qwen_seg_ros.offline.sim.noise import noisy_depth
from qwen_seg_ros.offline.sim.shapes import yaw_turn
from qwen_seg_ros.offline.sim.standing import gap_m
from qwen_seg_ros.offline.sim.trial_choice import Chooser, Sight
from qwen_seg_ros.offline.sim.trial_gripper import Physics
from qwen_seg_ros.offline.sim.trial_physics import Outcome, TrialWorld
from qwen_seg_ros.offline.sim.trial_solids import SurfaceCloud, cloud_on, hull_body, hull_of
from qwen_seg_ros.offline.sim.world import mujoco

OBJECTS = 5
DRAWS = 12  # objects tried until there are enough
SCALE = (0.7, 0.9)
SPREAD_M = 0.07  # of the centres, each way
WORKSPACE_M = 0.15
IMAGE_PX, FOCAL_PX = (640, 480), 540.0
EYE_M, ELEVATION_RAD, AIM_M = 0.6, np.pi / 6, np.array([0.0, 0.0, 0.1])
FOVY_DEG = float(np.rad2deg(2 * np.arctan(IMAGE_PX[1] / 2 / FOCAL_PX)))
BASE_FROM_CAMERA = looking_at(AIM_M, EYE_M, ELEVATION_RAD, -np.pi / 2)
FAILURES = 2  # in a row
MOST_BYTES, MOST_FILES, MOST_PARTS = 1_000_000, 200, 64
GEOM_KIND = int(mujoco.mjtObj.mjOBJ_GEOM)  # NumPy compares with the enumeration itself a thousand times slower
COLOURS = ((0.8, 0.3, 0.2), (0.2, 0.5, 0.8), (0.3, 0.7, 0.3), (0.9, 0.7, 0.2), (0.6, 0.4, 0.7))


@dataclass(frozen=True, eq=False)
class PackedObject:
    """parts_m: corners (V, 3) of each convex part, z up."""

    name: str
    parts_m: tuple[np.ndarray, ...]
    mass_kg: float


@dataclass(frozen=True)
class Round:
    """What became of each attempt, in order; cleared of `objects` were carried away."""

    outcomes: tuple[Outcome, ...]
    objects: int
    cleared: int


def load_packed(folder: Path) -> list[PackedObject]:
    """All objects of a folder: `NAME.urdf` with the mass and `NAME_collision.obj` with a group of corners per convex part.

    Raises:
        MissingExtraError: when the folder holds none. InvalidInputError: for a file that is not what it should be.
    """
    files = sorted(folder.glob("*.urdf"))[:MOST_FILES]
    if not files:
        raise MissingExtraError(f"no objects (NAME.urdf, NAME_collision.obj) in {folder}; name that of VGN's packed objects")
    return [_load(file) for file in files]


def _load(urdf: Path) -> PackedObject:
    shape = urdf.with_name(f"{urdf.stem}_collision.obj")
    parts: list[list[list[float]]] = []
    try:
        mass = float(ElementTree.fromstring(_text(urdf)).find(".//mass").get("value"))
        for line in _text(shape).splitlines():
            if line.startswith("o "):
                parts.append([])
            elif line.startswith("v "):
                parts[-1].append([float(word) for word in line.split()[1:4]])
        corners = tuple(np.array(part).reshape(-1, 3) for part in parts)
    except (OSError, ValueError, AttributeError, IndexError, ElementTree.ParseError) as error:
        raise InvalidInputError(f"{urdf.stem}: wanted are a mass in the URDF, groups of corners in the OBJ: {error}") from error
    if not 0 < len(corners) <= MOST_PARTS or min(map(len, corners)) < 4 or not 0 < mass < 100:
        sizes = f"{len(corners)} parts, {mass} kg"
        raise InvalidInputError(f"{urdf.stem}: wanted are 1 to {MOST_PARTS} parts of at least 4 corners and a mass, got {sizes}")
    return PackedObject(urdf.stem, corners, mass)


def _text(file: Path) -> str:
    size = file.stat().st_size
    if size > MOST_BYTES:
        raise InvalidInputError(f"{file} must be at most {MOST_BYTES} bytes, got {size}")
    return file.read_text()


class PackedRound:
    """One round, set up by a seed; `run` plays it with somebody who chooses the grasps."""

    def __init__(self, objects: list[PackedObject], gripper: Gripper, physics: Physics, seed: tuple[int, ...]) -> None:
        self.rng = np.random.default_rng([*seed, 0])
        drawn = _arranged(objects, self.rng)
        bodies = [hull_body(parts, COLOURS[k % len(COLOURS)]) for k, (parts, _, _) in enumerate(drawn)]
        self.world = TrialWorld(bodies, gripper, physics, [mass for _, mass, _ in drawn])
        for number, (_, _, pose) in enumerate(drawn):
            self.world.put(number, pose)
        self.world.settle()
        self.left = set(range(len(drawn)))
        self._clouds = [_cloud(parts) for parts, _, _ in drawn]
        self._eye = _Eye(self.world, BASE_FROM_CAMERA)
        self._noise_seed = int(self.rng.integers(2**31))

    def close(self) -> None:
        """Give the OpenGL context back."""
        self._eye.renderer.close()

    def run(self, choose: Chooser) -> Round:
        """Play it to its end, once."""
        outcomes: list[Outcome] = []
        count = len(self.left)
        cleared = 0
        while self.left:
            choice = choose(self.sight())
            if choice.grasp is None:
                outcomes.append(choice.reason)
                break
            outcomes.append(self.world.attempt(choice.target, choice.grasp).outcome)
            if outcomes[-1] is Outcome.SUCCESS:
                self._take(choice.target)
                cleared += 1
            if len(outcomes) >= FAILURES and Outcome.SUCCESS not in outcomes[-FAILURES:]:
                break
            self._tidy()
        return Round(tuple(outcomes), count, cleared)

    def sight(self) -> Sight:
        """A new noisy view of what is left."""
        rgb, depth, ids = self._eye.look()
        self._noise_seed += 1
        frame = Frame(rgb, noisy_depth(depth, self._noise_seed), centred_camera(*IMAGE_PX, FOVY_DEG), BASE_FROM_CAMERA)
        clouds = tuple(c.moved(self.world.pose(n)) if n in self.left else None for n, c in enumerate(self._clouds))
        return Sight(frame, ids, clouds, tuple(sorted(self.left)))

    def _take(self, number: int) -> None:
        self.world.remove(number)
        self.left.discard(number)

    def _tidy(self) -> None:
        """The hand goes, things come to rest, what left the workspace is taken away."""
        self.world.hand.park()
        self.world.settle()
        for number in sorted(self.left):
            if np.abs(self.world.pose(number)[:2, 3]).max() > WORKSPACE_M:
                self._take(number)


class _Eye:
    """Looks at a world; the hand is not seen. Not for use by two threads (one OpenGL context)."""

    def __init__(self, world: TrialWorld, base_from_camera: np.ndarray) -> None:
        self.world, model = world, world.model
        view = model.camera("view").id
        mujoco.mju_mat2Quat(model.cam_quat[view], (base_from_camera[:3, :3] @ np.diag([1.0, -1.0, -1.0])).ravel())
        model.cam_pos[view] = base_from_camera[:3, 3]
        model.cam_fovy[view] = FOVY_DEG
        self.renderer = mujoco.Renderer(model, IMAGE_PX[1], IMAGE_PX[0])
        self.renderer.scene.flags[mujoco.mjtRndFlag.mjRND_SHADOW] = 0

    def look(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Colour (H, W, 3), exact depth (H, W) in metres and numbers of objects plus one (H, W)."""
        model, renderer = self.world.model, self.renderer
        mujoco.mj_forward(model, self.world.data)
        renderer.update_scene(self.world.data, "view")
        rgb = renderer.render().copy()
        renderer.enable_depth_rendering()
        depth = renderer.render().astype(np.float32)
        renderer.disable_depth_rendering()
        renderer.enable_segmentation_rendering()
        geoms, kinds = np.moveaxis(renderer.render(), 2, 0)
        renderer.disable_segmentation_rendering()
        owner = np.zeros(model.ngeom + 1, np.uint8)  # the last one is for pixels that show nothing
        for number, body in enumerate(self.world.bodies, 1):
            owner[:-1][model.body_rootid[model.geom_bodyid] == body] = number
        return rgb, depth, owner[np.where(kinds == GEOM_KIND, geoms, model.ngeom)]


def _arranged(objects: list[PackedObject], rng: np.random.Generator) -> list[tuple[list[np.ndarray], float, np.ndarray]]:
    """Parts, mass and base_from_body of upright objects whose outlines do not meet."""
    drawn: list[tuple[list[np.ndarray], float, np.ndarray]] = []
    outlines: list[np.ndarray] = []
    for _ in range(DRAWS):
        item, scale = objects[int(rng.integers(len(objects)))], rng.uniform(*SCALE)
        turn, spot = yaw_turn(rng.uniform(0, 2 * np.pi)), rng.uniform(-SPREAD_M, SPREAD_M, 2)
        parts = [part * scale for part in item.parts_m]
        corners = np.concatenate(parts) @ turn.T + [*spot, 0]
        outline = cv2.convexHull(corners[:, :2].astype(np.float32)).reshape(-1, 2).astype(np.float64)
        if all(gap_m(outline, other) > 0 for other in outlines) and len(drawn) < OBJECTS:
            drawn.append((parts, item.mass_kg, transform(turn, np.array([*spot, -corners[:, 2].min()]))))
            outlines.append(outline)
    return drawn


def _cloud(parts_m: list[np.ndarray]) -> SurfaceCloud:
    """On the hulls of all parts."""
    clouds = [cloud_on(np.asarray(hull.vertices), np.asarray(hull.triangles)) for hull in map(hull_of, parts_m)]
    return SurfaceCloud(np.concatenate([c.points_m for c in clouds]), np.concatenate([c.normals for c in clouds]))
