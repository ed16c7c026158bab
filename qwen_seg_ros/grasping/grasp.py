"""Grasps for parallel-jaw grippers and the plan that ranks them.

Hand frame: the origin is the tool centre point (TCP), the point between the finger pads that shall meet the object.

        palm
     ___________
    |           |        z  approach, from the palm towards the object
    |  |     |  |        y  closing direction, from one finger to the other
    |  |     |  |        x  = y cross z, completes the right-handed frame
       |  o--|--> y
       |  |  |
          v z
"""

from dataclasses import dataclass, field

import numpy as np

from qwen_seg_ros.geometry.arrays import Matrix4, require


@dataclass(frozen=True, eq=False)
class Grasp:
    """One way to take the object.

    pose: (4, 4) frame_from_hand at the moment of closing. pregrasp: (4, 4) where the straight approach along +z begins.
    width_m: opening to command before closing. score: 0..1 from `terms`. strategy: "top_down", "oblique", "side", or
    "rim" for one finger inside the object or a hand across its edge.
    """

    pose: Matrix4
    pregrasp: Matrix4
    width_m: float
    score: float
    strategy: str
    terms: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        require(self.pose, "grasp pose", (4, 4), np.float64)
        require(self.pregrasp, "pre-grasp pose", (4, 4), np.float64)

    def moved(self, target_from_source: Matrix4) -> "Grasp":
        """The same grasp in another frame."""
        pose, pregrasp = target_from_source @ self.pose, target_from_source @ self.pregrasp
        return Grasp(pose, pregrasp, self.width_m, self.score, self.strategy, self.terms)


@dataclass(frozen=True, eq=False)
class GraspPlan:
    """Grasps for one object, best first.

    rejected: candidates by the reason they fell out. proposed: how many there were, the sum of `rejected` and the grasps.
    """

    object_id: int
    phrase: str
    grasps: tuple[Grasp, ...]
    rejected: dict[str, int] = field(default_factory=dict)
    message: str = ""
    proposed: int = 0

    def moved(self, target_from_source: Matrix4) -> "GraspPlan":
        """The same plan in another frame."""
        grasps = tuple(g.moved(target_from_source) for g in self.grasps)
        return GraspPlan(self.object_id, self.phrase, grasps, self.rejected, self.message, self.proposed)
