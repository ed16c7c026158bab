"""A parallel gripper that flies freely in MuJoCo: boxes of the sizes that the planner knows, driven by bounded forces.

The carrier slides along the axes of the world, the hand below it keeps the turn it was given, as an arm that is stiff in
rotation would hold it. Both fingers are coupled as in a real hand: an object off the centre is pushed to it.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from qwen_seg_ros.geometry.arrays import Matrix4, Vector3
from qwen_seg_ros.grasping.gripper import Gripper
from qwen_seg_ros.offline.sim.world import mujoco

HAND_GROUP = 3  # of geoms: sensors do not see the hand
PARKED_M = np.array([0.0, 0.0, 3.0])
CARRIER_KG, FINGER_KG = 1.0, 0.1
CARRIER_STIFFNESS, FINGER_STIFFNESS = 4e4, 4e3  # N/m
CARRIER_FORCE_N = 300.0
HARD_SOLREF, HARD_SOLIMP = [0.004, 1], [0.98, 0.999, 0.001, 0.5, 2]  # with MuJoCo's usual ones 40 N press 5 mm into light things
PRESSED_M = 0.03  # how far beyond closed the fingers are sent, so that they press with their full force
FINGERS = {"left": 1.0, "right": -1.0}  # side of the hand's y axis
AXES = "xyz"


@dataclass(frozen=True)
class Physics:
    """What a figure from these trials depends on, metres, seconds, newtons.

    friction: between pads and objects; table_friction: of everything else; squeeze_n: force of each finger; bump_n: on the way in
    more than this counts as a collision; lift_m, hold_s: what the object must survive. Friction in MuJoCo creeps unless its cones
    are elliptic, `impratio` is above 1 and a solver without slip follows; the step is a quarter of the usual contact time.
    """

    friction: float = 0.7
    table_friction: float = 0.5
    torsion_m: float = 0.008
    squeeze_n: float = 40.0
    bump_n: float = 10.0
    speed_m_s: float = 0.2
    close_s: float = 0.6
    lift_m: float = 0.15
    hold_s: float = 1.5
    timestep_s: float = 0.002
    impratio: float = 10.0
    noslip_iterations: int = 10


def add_hand(spec: mujoco.MjSpec, gripper: Gripper, physics: Physics) -> None:
    """Carrier, hand and fingers with their drives."""
    carrier = spec.worldbody.add_body(name="carrier", gravcomp=1)
    for number, axis in enumerate(AXES):
        _slide(carrier, axis, np.eye(3)[number])
        _drive(spec, axis, CARRIER_STIFFNESS, CARRIER_KG + 2 * FINGER_KG, CARRIER_FORCE_N)
    hand = carrier.add_body(name="hand", gravcomp=1)
    _weigh(hand, CARRIER_KG)
    for part in gripper.parts:
        _box(hand, np.array(part.centre_m), np.array(part.size_m), physics.table_friction)
    for name, side in FINGERS.items():
        _add_finger(spec, hand, gripper, physics, name, side)
    coupling = spec.add_equality(type=mujoco.mjtEq.mjEQ_JOINT, name1="left", name2="right")
    coupling.data[:5] = [0, 1, 0, 0, 0]


def _add_finger(spec: mujoco.MjSpec, hand: mujoco.MjsBody, gripper: Gripper, physics: Physics, name: str, side: float) -> None:
    finger = hand.add_body(name=name, gravcomp=1)
    _weigh(finger, FINGER_KG)
    joint = _slide(finger, name, np.array([0, side, 0]))
    joint.limited, joint.range = mujoco.mjtLimited.mjLIMITED_TRUE, [0, gripper.max_opening_m / 2]
    joint.solref_limit, joint.solimp_limit = HARD_SOLREF, HARD_SOLIMP
    length = gripper.tip_beyond_tcp_m + gripper.palm_above_tcp_m
    middle = np.array([0, side * gripper.finger_thickness_m / 2, gripper.tip_beyond_tcp_m - length / 2])
    pad = _box(finger, middle, np.array([gripper.finger_width_m, gripper.finger_thickness_m, length]), physics.friction)
    pad.priority, pad.condim = 1, 4  # the pads' friction holds, whatever they touch
    pad.solref, pad.solimp = HARD_SOLREF, HARD_SOLIMP
    pad.friction = [physics.friction, min(physics.torsion_m, physics.friction), 1e-4]
    _drive(spec, name, FINGER_STIFFNESS, FINGER_KG, physics.squeeze_n)


def _slide(body: mujoco.MjsBody, name: str, axis: np.ndarray) -> mujoco.MjsJoint:
    return body.add_joint(name=name, type=mujoco.mjtJoint.mjJNT_SLIDE, axis=axis)


def _weigh(body: mujoco.MjsBody, mass_kg: float) -> None:
    body.explicitinertial, body.mass, body.inertia = True, mass_kg, [1e-3] * 3


def _box(body: mujoco.MjsBody, centre_m: np.ndarray, size_m: np.ndarray, friction: float) -> mujoco.MjsGeom:
    """It touches objects and the table, never another part of the hand."""
    geom = body.add_geom(type=mujoco.mjtGeom.mjGEOM_BOX, pos=centre_m, size=size_m / 2, group=HAND_GROUP)
    geom.contype, geom.conaffinity, geom.friction, geom.rgba = 1, 0, [friction, 0.005, 1e-4], [0.35, 0.37, 0.4, 1]
    return geom


def _drive(spec: mujoco.MjSpec, joint: str, stiffness: float, mass_kg: float, force_n: float) -> None:
    """A servo of position with critical damping and bounded force."""
    drive = spec.add_actuator(name=joint, target=joint, trntype=mujoco.mjtTrn.mjTRN_JOINT)
    drive.set_to_position(kp=stiffness, kv=2 * np.sqrt(stiffness * mass_kg))
    drive.forcelimited, drive.forcerange = mujoco.mjtLimited.mjLIMITED_TRUE, [-force_n, force_n]


class Hand:
    """Moves the hand of a compiled model; every movement steps the simulation."""

    def __init__(self, model: mujoco.MjModel, data: mujoco.MjData, physics: Physics) -> None:
        self.model, self.data, self.physics = model, data, physics
        self.root = model.body("carrier").id
        self._joints = {name: model.joint(name).qposadr[0] for name in (*AXES, *FINGERS)}
        self._speeds = {name: model.joint(name).dofadr[0] for name in (*AXES, *FINGERS)}
        self._drives = {name: model.actuator(name).id for name in (*AXES, *FINGERS)}

    def put(self, pose: Matrix4, opening_m: float) -> None:
        """At rest at a pose, without a way there."""
        mujoco.mju_mat2Quat(self.model.body("hand").quat, np.ascontiguousarray(pose[:3, :3]).ravel())
        values = dict(zip(AXES, pose[:3, 3], strict=True)) | dict.fromkeys(FINGERS, opening_m / 2)
        for name, value in values.items():
            self.data.qpos[self._joints[name]] = self.data.ctrl[self._drives[name]] = value
            self.data.qvel[self._speeds[name]] = 0
        mujoco.mj_forward(self.model, self.data)

    def park(self) -> None:
        """Far above everything."""
        pose = np.eye(4)
        pose[:3, 3] = PARKED_M
        self.put(pose, 0.0)

    def move(self, to_m: Vector3, step: Callable[[], bool]) -> bool:
        """Straight to a place, smoothly; False = `step` wanted to stop."""
        start = np.array([self.data.ctrl[self._drives[axis]] for axis in AXES])
        seconds = max(1.5 * float(np.linalg.norm(to_m - start)) / self.physics.speed_m_s, 0.1)
        for share in self._shares(seconds):
            place = start + share * share * (3 - 2 * share) * (to_m - start)
            for axis, value in zip(AXES, place, strict=True):
                self.data.ctrl[self._drives[axis]] = value
            if not step():
                return False
        return True

    def close(self, step: Callable[[], bool]) -> None:
        """Send both fingers beyond the middle; what is between them stops them with their bounded force."""
        start = self.data.ctrl[self._drives["left"]]
        for share in self._shares(self.physics.close_s):
            for name in FINGERS:
                self.data.ctrl[self._drives[name]] = start - min(2 * share, 1.0) * (start + PRESSED_M)
            step()

    def wait(self, seconds: float, step: Callable[[], bool]) -> None:
        for _ in self._shares(seconds):
            step()

    def opening_m(self) -> float:
        return float(sum(self.data.qpos[self._joints[name]] for name in FINGERS))

    def _shares(self, seconds: float) -> Iterator[float]:
        count = max(round(seconds / self.physics.timestep_s), 1)
        return (number / count for number in range(1, count + 1))
