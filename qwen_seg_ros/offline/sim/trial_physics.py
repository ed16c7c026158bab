"""Objects on a table and a flying gripper in MuJoCo: settle, try a grasp, say what became of it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np

from qwen_seg_ros.errors import InvalidInputError
from qwen_seg_ros.geometry.arrays import Matrix4
from qwen_seg_ros.geometry.transform import transform
from qwen_seg_ros.grasping.grasp import Grasp
from qwen_seg_ros.grasping.gripper import Gripper
from qwen_seg_ros.offline.sim.trial_gripper import Hand, Physics, add_hand
from qwen_seg_ros.offline.sim.world import mujoco

AddBody = Callable[[mujoco.MjSpec], mujoco.MjsBody]  # adds one object to the world; its frame is the body's
REMOVED_M = 5.0  # what is taken away stands this far from the middle, on the same plane
LIGHTEST_KG, HEAVIEST_KG = 0.03, 0.8
DENSITY = 400.0  # kg/m3: partly filled packages, wood, fruit
ROLLING_M = 3e-4  # else balls and cans that lie never come to rest
SUNK_M = 0.001  # deeper contacts of the hand at the start are collisions
TOUCH_N = 0.05
LIFTED_SHARE = 0.75
STILL_M_S, STILL_RAD_S = 0.005, 0.1
ARENA_BYTES = 64 << 20  # bowls of many boxes beside each other make many contacts
CHECK_EVERY = 5  # steps between looks for collisions


class Outcome(str, Enum):
    """What became of a trial; everything but SUCCESS says where it ended."""

    SUCCESS = "success"
    NOT_FOUND = "target not found"
    WRONG_OBJECT = "another object was meant"
    NO_CLOUD = "no usable cloud"
    NO_GRASP = "no grasp planned"
    BLOCKED = "collision before the approach"
    BUMPED = "collision on approach"
    MISSED = "fingers closed beside it"
    SLIPPED = "slipped"


@dataclass(frozen=True)
class Attempt:
    """risen_m: how much higher the target is at the end; opening_m: between the fingers at the end."""

    outcome: Outcome
    risen_m: float = 0.0
    opening_m: float = 0.0


@dataclass(frozen=True, eq=False)
class WorldState:
    """Places and speeds of everything."""

    qpos: np.ndarray
    qvel: np.ndarray


class TrialWorld:
    """The table top is the plane z = 0. Objects are known by their place in `objects`.

    masses_kg: of each, None = from its volume at a common density, within bounds.
    """

    def __init__(
        self, objects: Sequence[AddBody], gripper: Gripper, physics: Physics, masses_kg: Sequence[float] | None = None
    ) -> None:
        self.physics, self.count = physics, len(objects)
        self.model = _compiled(objects, gripper, physics)
        self.bodies = [self.model.body(f"object{i}").id for i in range(self.count)]
        self._weigh(masses_kg)
        self.data = mujoco.MjData(self.model)
        self.hand = Hand(self.model, self.data, physics)
        self.on_step: Callable[[], None] = lambda: None  # for who wants to watch
        self._free = [self.model.joint(f"free{i}") for i in range(self.count)]
        for number in range(self.count):
            self._place(number, _far_off(number))
        self.hand.park()

    def put(self, number: int, pose: Matrix4) -> None:
        """Place an object at rest, base_from_body."""
        self._place(number, pose)
        mujoco.mj_forward(self.model, self.data)

    def remove(self, number: int) -> None:
        """Take an object away from the table; it stands far off."""
        self.put(number, _far_off(number))

    def pose(self, number: int) -> Matrix4:
        """base_from_body."""
        body = self.bodies[number]
        return transform(self.data.xmat[body].reshape(3, 3).copy(), self.data.xpos[body].copy())

    def settle(self, seconds: float = 1.0) -> None:
        for _ in range(round(seconds / self.physics.timestep_s)):
            self._step()
        mujoco.mj_forward(self.model, self.data)

    def still(self, number: int) -> bool:
        start = self._free[number].dofadr[0]
        speed = self.data.qvel[start : start + 6]
        return bool(np.linalg.norm(speed[:3]) < STILL_M_S and np.linalg.norm(speed[3:]) < STILL_RAD_S)

    def state(self) -> WorldState:
        return WorldState(self.data.qpos.copy(), self.data.qvel.copy())

    def restore(self, state: WorldState) -> None:
        """Everything as it was, the hand parked."""
        mujoco.mj_resetData(self.model, self.data)
        self.data.qpos[:], self.data.qvel[:] = state.qpos, state.qvel
        self.hand.park()

    def attempt(self, target: int, grasp: Grasp) -> Attempt:
        """Approach from the pre-grasp, close, lift, hold. The hand stays where it ends, so that one can look.

        Raises:
            InvalidInputError: for a target that is not there.
        """
        if not 0 <= target < self.count:
            raise InvalidInputError(f"target must be one of 0..{self.count - 1}, got {target}")
        low = self.data.xipos[self.bodies[target]][2]
        self.hand.put(grasp.pregrasp, grasp.width_m)
        if self._hand_sunk():
            return Attempt(Outcome.BLOCKED)
        if not self.hand.move(grasp.pose[:3, 3], self._step_unless_bumped):
            return Attempt(Outcome.BUMPED)
        self.hand.close(self._step)
        held = self._held(target)
        self.hand.move(grasp.pose[:3, 3] + [0, 0, self.physics.lift_m], self._step)
        self.hand.wait(self.physics.hold_s, self._step)
        risen = float(self.data.xipos[self.bodies[target]][2] - low)
        success = self._held(target) and risen > LIFTED_SHARE * self.physics.lift_m
        outcome = Outcome.SUCCESS if success else Outcome.SLIPPED if held else Outcome.MISSED
        return Attempt(outcome, round(risen, 4), round(self.hand.opening_m(), 4))

    def _place(self, number: int, pose: Matrix4) -> None:
        address, speeds = self._free[number].qposadr[0], self._free[number].dofadr[0]
        self.data.qpos[address : address + 3] = pose[:3, 3]
        mujoco.mju_mat2Quat(self.data.qpos[address + 3 : address + 7], np.ascontiguousarray(pose[:3, :3]).ravel())
        self.data.qvel[speeds : speeds + 6] = 0

    def _step(self) -> bool:
        mujoco.mj_step(self.model, self.data)
        self.on_step()
        return True

    def _step_unless_bumped(self) -> bool:
        self._step()
        if round(self.data.time / self.physics.timestep_s) % CHECK_EVERY:
            return True
        return sum(force for bodies, force, _ in self._contacts() if self.hand.root in bodies) < self.physics.bump_n

    def _contacts(self) -> list[tuple[tuple[int, int], float, tuple[int, int]]]:
        """Of every contact: root bodies, pressing force in newtons, bodies."""
        model, data, wrench = self.model, self.data, np.zeros(6)
        found = []
        for number in range(data.ncon):
            first, second = (int(model.geom_bodyid[geom]) for geom in data.contact.geom[number])
            mujoco.mj_contactForce(model, data, number, wrench)
            roots = int(model.body_rootid[first]), int(model.body_rootid[second])
            found.append((roots, float(wrench[0]), (first, second)))
        return found

    def _hand_sunk(self) -> bool:
        pairs = self.model.body_rootid[self.model.geom_bodyid[self.data.contact.geom]]
        return bool(((pairs == self.hand.root).any(axis=1) & (self.data.contact.dist < -SUNK_M)).any())

    def _held(self, target: int) -> bool:
        """Whether both fingers press on it."""
        mujoco.mj_forward(self.model, self.data)
        root, pressing = self.bodies[target], set()
        for roots, force, bodies in self._contacts():
            if root in roots and force > TOUCH_N:
                pressing |= set(bodies)
        return {self.model.body(name).id for name in ("left", "right")} <= pressing

    def _weigh(self, masses_kg: Sequence[float] | None) -> None:
        for number, root in enumerate(self.bodies):
            own = self.model.body_rootid == root
            mass = float(self.model.body_mass[own].sum())
            wanted = masses_kg[number] if masses_kg else float(np.clip(mass, LIGHTEST_KG, HEAVIEST_KG))
            self.model.body_mass[own] *= wanted / mass
            self.model.body_inertia[own] *= wanted / mass
        mujoco.mj_setConst(self.model, mujoco.MjData(self.model))


def _far_off(number: int) -> Matrix4:
    return transform(np.eye(3), np.array([REMOVED_M + number, REMOVED_M, 0.3]))


def _compiled(objects: Sequence[AddBody], gripper: Gripper, physics: Physics) -> mujoco.MjModel:
    spec = mujoco.MjSpec()
    _set_options(spec, physics)
    table = spec.worldbody.add_geom(name="table", type=mujoco.mjtGeom.mjGEOM_PLANE, size=[0, 0, 0.05], rgba=[0.6, 0.5, 0.4, 1])
    _touchable(table, physics)
    spec.worldbody.add_camera(name="view", pos=[0, 0, 1])
    spec.worldbody.add_light(pos=[0.4, -0.6, 1.5], dir=[-0.2, 0.3, -1])
    for number, add in enumerate(objects):
        body = add(spec)
        body.name = f"object{number}"
        body.add_freejoint(name=f"free{number}")
        for geom in body.find_all(mujoco.mjtObj.mjOBJ_GEOM):
            _touchable(geom, physics)
            geom.density, geom.mass = DENSITY, np.nan
    add_hand(spec, gripper, physics)
    return spec.compile()


def _set_options(spec: mujoco.MjSpec, physics: Physics) -> None:
    option, spec.memory = spec.option, ARENA_BYTES
    option.timestep, option.impratio = physics.timestep_s, physics.impratio
    option.noslip_iterations = physics.noslip_iterations
    option.cone, option.integrator = mujoco.mjtCone.mjCONE_ELLIPTIC, mujoco.mjtIntegrator.mjINT_IMPLICITFAST
    spec.visual.global_.offwidth, spec.visual.global_.offheight = 640, 480
    spec.visual.headlight.ambient, spec.visual.headlight.diffuse = [0.4] * 3, [0.3] * 3
    spec.visual.map.znear, spec.visual.map.zfar = 0.02, 12
    spec.stat.extent, spec.stat.center = 1.0, [0, 0, 0]


def _touchable(geom: mujoco.MjsGeom, physics: Physics) -> None:
    geom.contype, geom.conaffinity, geom.condim = 1, 1, 6
    geom.friction = [physics.table_friction, 0.005, ROLLING_M]
    geom.priority, geom.solref, geom.solimp = 0, [0.008, 1], [0.95, 0.99, 0.001, 0.5, 2]
