"""How a gripper of `grasping/grippers` hangs in a robot description: the link, where its tool centre point lies, its joints."""

from dataclasses import dataclass
from math import acos, atan2, cos, hypot, pi, sin

import numpy as np

from qwen_seg_ros.errors import InvalidInputError
from qwen_seg_ros.geometry.arrays import Matrix4
from qwen_seg_ros.geometry.transform import transform


@dataclass(frozen=True)
class SlidingFingers:
    """Fingers on rails. Each joint moves its pad by half of the opening; 0 = closed."""

    joints: tuple[str, ...]
    tcp_m: float

    def positions(self, opening_m: float) -> tuple[float, ...]:
        """Joint values, metres."""
        return (opening_m / 2,) * len(self.joints)

    def tcp_z_m(self, opening_m: float) -> float:
        """Middle of the pads along the link's z axis; it does not depend on the opening."""
        return self.tcp_m


@dataclass(frozen=True)
class SwingingFingers:
    """Fingers on parallel cranks, driven by one joint; 0 = open. Closing swings the pads inwards and forwards on a circle.

    pivot_m: the crank's axis, away from the middle plane and along z. crank_m: from the axis to the pad's hinge with the joint at
    0, likewise. pad_m: from the hinge to the middle of the pad's surface, inwards and along z; it does not turn.
    """

    joints: tuple[str, ...]
    pivot_m: tuple[float, float]
    crank_m: tuple[float, float]
    pad_m: tuple[float, float]
    closed_rad: float

    def positions(self, opening_m: float) -> tuple[float, ...]:
        """Joint values, radians; openings beyond what the cranks reach give the nearest they do."""
        out, forward = self.crank_m
        reach = (opening_m / 2 - self.pivot_m[0] + self.pad_m[0]) / hypot(out, forward)
        angle = acos(min(max(reach, -1.0), 1.0)) - atan2(forward, out)
        return (min(max(angle, 0.0), self.closed_rad),) * len(self.joints)

    def opening_m(self, angle_rad: float) -> float:
        """Distance between the pads' surfaces."""
        out, forward = self.crank_m
        return 2 * (self.pivot_m[0] + out * cos(angle_rad) - forward * sin(angle_rad) - self.pad_m[0])

    def tcp_z_m(self, opening_m: float) -> float:
        """Middle of the pads along the link's z axis."""
        angle = self.positions(opening_m)[0]
        out, forward = self.crank_m
        return self.pivot_m[1] + forward * cos(angle) + out * sin(angle) + self.pad_m[1]


@dataclass(frozen=True)
class Hand:
    """A gripper on a link of a robot description.

    gripper: its name in `grasping/grippers`. link: the frame whose poses a motion planner is to be given; its z axis is the
    approach. yaw_rad: how far the hand frame is turned about it; 0 = the fingers close along the link's y axis.
    """

    gripper: str
    link: str
    yaw_rad: float
    max_opening_m: float
    fingers: SlidingFingers | SwingingFingers

    def link_from_hand(self, opening_m: float) -> Matrix4:
        """(4, 4): the hand frame, whose origin is the tool centre point at this opening, in the link's frame."""
        c, s = cos(self.yaw_rad), sin(self.yaw_rad)
        rotation = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
        return transform(rotation, np.array([0, 0, self.fingers.tcp_z_m(self._checked(opening_m))]))

    def positions(self, opening_m: float) -> tuple[float, ...]:
        """Value of each joint of `fingers.joints` for an opening between the pads.

        Raises:
            InvalidInputError: for an opening that the gripper does not have.
        """
        return self.fingers.positions(self._checked(opening_m))

    def _checked(self, opening_m: float) -> float:
        if not -1e-6 <= opening_m <= self.max_opening_m + 1e-6:  # float32 of a message
            raise InvalidInputError(
                f"{self.gripper} opens 0 to {self.max_opening_m:g} m, asked for {opening_m:g} m; plan with this gripper's YAML"
            )
        return min(max(float(opening_m), 0.0), self.max_opening_m)


HANDS: dict[str, Hand] = {
    hand.gripper: hand
    for hand in (
        # franka_description: panda_hand is turned by -45 degrees on panda_link8; hand tool centre point at 0.1034 m.
        Hand("panda", "panda_link8", -pi / 4, 0.08, SlidingFingers(("panda_finger_joint1", "panda_finger_joint2"), 0.1034)),
        # ros2_robotiq_gripper, robotiq_2f_85_macro: knuckle and finger tip joints; pads as in MuJoCo Menagerie's robotiq_2f85.
        # The fingers close along the base link's x axis.
        Hand("robotiq_2f_85", "robotiq_85_base_link", -pi / 2, 0.085, SwingingFingers(
            ("robotiq_85_left_knuckle_joint",), (0.0306, 0.0549), (0.03716, 0.04342), (0.02526, 0.03234), 0.8)),
        # ros2_robotiq_gripper and ros-industrial's robotiq_arg2f_140: cranks turned by 0.725 rad, 7.5 mm thick pads.
        Hand("robotiq_2f_140", "robotiq_140_base_link", 0.0, 0.14, SwingingFingers(
            ("finger_joint",), (0.0306, 0.0549), (0.06464, 0.0763), (0.03097, 0.04576), 0.7)),
    )
}
"""The grippers of the package on the links of their public descriptions; another arm or flange: `dataclasses.replace`."""


def hand_for(gripper: str) -> Hand:
    """The hand of a gripper of the package.

    Raises:
        InvalidInputError: when there is none; the known names are listed.
    """
    if gripper not in HANDS:
        raise InvalidInputError(f"no hand is known for the gripper {gripper!r}; known are {', '.join(HANDS)}, or make a Hand")
    return HANDS[gripper]
