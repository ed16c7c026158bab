"""How good a grasp is, term by term, and which of many like ones to keep."""

import numpy as np
from numpy.typing import NDArray

from qwen_seg_ros.grasping.body import Body
from qwen_seg_ros.grasping.candidates import Candidates
from qwen_seg_ros.grasping.contacts import Contacts
from qwen_seg_ros.grasping.gripper import Gripper
from qwen_seg_ros.grasping.settings import GraspSettings

# What each term, 0..1, counts for; the score is their weighted mean.
WEIGHTS = {
    "antipodal": 0.30,  # contact normals face the fingers
    "support": 0.15,  # both contact surfaces were seen
    "centre": 0.25,  # near the middle of the object: little torque
    "margin": 0.10,  # the opening is wider than the piece
    "clearance": 0.10,  # room around the fingers
    "bite": 0.10,  # the pads hold the piece over their height
}
CENTRE_M = 0.05  # distance from the middle that halves the term
LIFT_SHARE = 0.3  # height above or below the middle makes no torque at rest, but the object swings
FULL_MARGIN_M = 0.02


def score_terms(candidates: Candidates, contacts: Contacts, clearance: NDArray, body: Body, gripper: Gripper,
                settings: GraspSettings) -> dict[str, NDArray]:
    """Every term of `WEIGHTS` as (C,) values 0..1; clearance: (C,) share of free space around the hand."""
    offset = candidates.tcp_xyz - body.centre
    lift = offset @ body.up
    distance = np.hypot(np.linalg.norm(offset - lift[:, None] * body.up, axis=1), LIFT_SHARE * lift)
    return {
        "antipodal": np.clip(1 - contacts.angle_rad / np.arctan(settings.friction), 0, 1),
        "support": contacts.support,
        "centre": 1 / (1 + (distance / CENTRE_M) ** 2),
        "margin": np.clip((gripper.max_opening_m - candidates.width_m) / FULL_MARGIN_M, 0, 1),
        "clearance": clearance,
        "bite": np.clip((candidates.top_z - candidates.tip_z) / gripper.pad_height_m, 0, 1),
    }


def score(terms: dict[str, NDArray], wishes: dict[str, tuple[float, NDArray]]) -> NDArray[np.float64]:
    """Weighted mean of the terms (C,), 0..1; every wish then takes away its weight's share of what it misses."""
    total = np.sum([WEIGHTS[name] * np.asarray(value, np.float64) for name, value in terms.items()], axis=0)
    for weight, value in wishes.values():
        total = total * (1 - weight * (1 - np.asarray(value, np.float64)))
    return total


def distinct(hands: NDArray, scores: NDArray, settings: GraspSettings) -> list[int]:
    """Indices, best first, of at most `max_grasps` hand poses (C, 4, 4) that differ in place, approach or closing direction."""
    same = np.cos(np.deg2rad(settings.same_yaw_deg) - 1e-3)
    order = np.lexsort([np.arange(len(scores)), -np.round(scores, 9)])
    chosen: list[int] = []
    while len(order) and len(chosen) < settings.max_grasps:
        best = int(order[0])
        chosen.append(best)
        closing = np.abs(hands[order, :3, 1] @ hands[best, :3, 1])  # a hand turned by half a turn closes on the same two sides
        approach = hands[order, :3, 2] @ hands[best, :3, 2]
        far = np.linalg.norm(hands[order, :3, 3] - hands[best, :3, 3], axis=1) > settings.same_distance_m
        order = order[far | (closing < same) | (approach < same)]
        order = order[order != best]
    return chosen
