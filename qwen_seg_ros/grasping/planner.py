"""From an object cloud and its scene to ranked grasps: propose, refuse with a count per reason, score, keep distinct ones.

Every approach is planned in a frame of its own, in which the hand comes from above; what is left of all is ranked together.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from qwen_seg_ros.geometry.transform import transform
from qwen_seg_ros.grasping.approaches import Approach, approaches
from qwen_seg_ros.grasping.body import Body, body_of
from qwen_seg_ros.grasping.candidates import Candidates, propose
from qwen_seg_ros.grasping.collision import (
    FINGER_GROW,
    PART_GROW,
    HeightMap,
    below,
    finger_in_unknown,
    hits,
    lowest_m,
    undersides,
)
from qwen_seg_ros.grasping.contacts import find_contacts
from qwen_seg_ros.grasping.grasp import Grasp, GraspPlan
from qwen_seg_ros.grasping.gripper import Gripper
from qwen_seg_ros.grasping.preferences import NONE, Preferences
from qwen_seg_ros.grasping.rejections import Rejections, together, why_none
from qwen_seg_ros.grasping.scoring import distinct, score, score_terms
from qwen_seg_ros.grasping.settings import GraspSettings
from qwen_seg_ros.lifting.object_cloud import ObjectCloud, Scene

MIN_POINTS = 10
MAX_SIZE_M = 2.0  # time and memory grow with the square of an object's size; a wall would take all of them
CLEARANCE_VOXELS = 4  # how far around the fingers free space is welcome


def plan_grasps(target: ObjectCloud, scene: Scene, gripper: Gripper, settings: GraspSettings,
                preferences: Preferences = NONE) -> GraspPlan:
    """Grasps for one object, best first, in the frame of `target` and `scene`.

    No hand comes nearer to the table than `table_clearance_m`, touches another object on its way, opens wider than the gripper
    can, or holds surfaces outside the friction cone. `rejected` counts what fell out by reason; `message` says in words why
    nothing is left.
    """
    if len(target.points_m) < MIN_POINTS:
        message = f"only {len(target.points_m)} points of the object were seen; move the camera nearer"
        return GraspPlan(target.id, target.phrase, (), {}, message)
    size_m = float(np.ptp(target.points_m, axis=0).max())
    if not size_m <= MAX_SIZE_M:
        message = f"the object is {size_m:.1f} m large, grasps are planned for up to {MAX_SIZE_M:g} m; name a part of it"
        return GraspPlan(target.id, target.phrase, (), {}, message)
    body = body_of(target, scene)
    reach_m = _way_m(gripper, settings) + float(np.linalg.norm(body.half_size))
    body = replace(body, keep_out=preferences.keep_out_points(body, reach_m, 2 * FINGER_GROW * settings.voxel_m))
    rejections: dict[str, Rejections] = {}
    found = []
    for approach in approaches(body, gripper, settings, preferences):
        kind = "above" if approach.strategy == "top_down" else "beside"
        found.append(_from(approach, body, gripper, settings, preferences, rejections.setdefault(kind, Rejections())))
    grasps, alike = _best([part for part in found if part is not None], gripper, settings)
    rejected = together(rejections) | ({"like a better one": alike} if alike else {})
    message = "" if grasps else why_none(body, gripper, settings, rejections.get("above"), rejections.get("beside"))
    return GraspPlan(target.id, target.phrase, grasps, rejected, message, sum(part.proposed for part in rejections.values()))


@dataclass(frozen=True, eq=False)
class _Found:
    """The candidates of one approach that passed every check. frame_from_hand: (C, 4, 4). terms: (C,) each."""

    strategy: str
    candidates: Candidates
    frame_from_hand: NDArray[np.float64]
    terms: dict[str, NDArray]
    scores: NDArray[np.float64]


def _from(approach: Approach, upright: Body, gripper: Gripper, settings: GraspSettings, preferences: Preferences,
          rejections: Rejections) -> _Found | None:
    """What one approach offers, None = nothing. The cheap checks come first."""
    body = upright.turned(approach.local_from_approach)
    candidates = propose(body, approach.yaws_rad, approach.slide_steps * settings.slide_step_m, gripper, settings)
    rejections.proposed += len(candidates)
    candidates = candidates.take(rejections.passed(_not_fitting(candidates, body, gripper, settings)))
    contacts = find_contacts(candidates, body, gripper)
    # Two contacts inside the friction cone close the force (Nguyen 1988).
    keep = rejections.passed({
        "contacts unseen": ~contacts.known,
        "surfaces slope": contacts.angle_rad > np.arctan(settings.friction),
    })
    candidates, contacts = candidates.take(keep), contacts.take(keep)
    if len(candidates) == 0:
        return None
    blocked, clearance = _blocked(candidates, body, gripper, settings)
    keep = rejections.passed(blocked)
    candidates = candidates.take(keep)
    terms = score_terms(candidates, contacts.take(keep), clearance[keep], body, gripper, settings)
    wishes = preferences.terms(candidates, body)
    scores = score(terms, wishes)
    terms |= {name: value for name, (_, value) in wishes.items()}
    return _Found(approach.strategy, candidates, _hands(candidates, body, gripper), terms, scores)


def _not_fitting(candidates: Candidates, body: Body, gripper: Gripper, settings: GraspSettings) -> dict[str, NDArray]:
    """Pieces that do not go between the fingers, do not offer them enough height, or lie too near to the table."""
    return {
        "too wide": candidates.width_m > gripper.max_opening_m - settings.width_margin_m,
        "too thin": candidates.width_m < max(settings.min_width_m, gripper.min_opening_m),
        "too low": candidates.top_z - candidates.tip_z < settings.min_bite_m - 1e-4,
        "below the table": lowest_m(candidates, body, gripper, settings) < settings.table_clearance_m,
    }


def _blocked(candidates: Candidates, body: Body, gripper: Gripper, settings: GraspSettings) -> tuple[dict[str, NDArray], NDArray]:
    """Hands that touch something on their way to their place, by reason, and the share of free space around each."""
    tips, palm = (undersides(candidates, gripper, settings, fingers) for fingers in (True, False))
    limit = body.points[:, 2].max() + _way_m(gripper, settings)
    near = [points[points[:, 2] < limit] for points in (body.obstacles, body.points, body.keep_out)]
    scene, own, forbidden = (HeightMap(points, settings.voxel_m, CLEARANCE_VOXELS) for points in near)

    def meets(obstacles: HeightMap) -> NDArray[np.bool_]:
        return hits(tips, obstacles.grown(FINGER_GROW)) | hits(palm, obstacles.grown(PART_GROW))

    blocked = {
        "hits the scene": meets(scene),
        "in a keep-out box": meets(forbidden) if len(body.keep_out) else np.zeros(len(candidates), bool),
        "palm hits the object": hits(palm, own.grown(PART_GROW)),
        "finger in unseen space": finger_in_unknown(candidates, body, gripper, settings),
    }
    return blocked, 1 - below(tips, scene.grown(CLEARANCE_VOXELS)).mean(axis=1)


def _way_m(gripper: Gripper, settings: GraspSettings) -> float:
    """How far from its tips' place the hand reaches back on its straight way: what lies farther is left to the motion planner."""
    return gripper.length_m + settings.pregrasp_m


def _hands(candidates: Candidates, body: Body, gripper: Gripper) -> NDArray[np.float64]:
    """frame_from_hand (C, 4, 4)."""
    local_from_hand = np.tile(np.eye(4), (len(candidates), 1, 1))
    local_from_hand[:, :2, 0], local_from_hand[:, :2, 1] = candidates.along, candidates.closing
    local_from_hand[:, 2, 2] = -1
    local_from_hand[:, :3, 3] = candidates.tcp_xyz + np.array([0, 0, gripper.tip_beyond_tcp_m])
    return body.frame_from_local @ local_from_hand


def _best(found: list[_Found], gripper: Gripper, settings: GraspSettings) -> tuple[tuple[Grasp, ...], int]:
    """Distinct grasps of all approaches, best first, and how many were left out for being like a better one."""
    if not found:
        return (), 0
    place = [(part, k) for part in found for k in range(len(part.candidates))]
    hands = np.concatenate([part.frame_from_hand for part in found])
    chosen = distinct(hands, np.concatenate([part.scores for part in found]), settings)
    return tuple(_grasp(*place[index], gripper, settings) for index in chosen), len(place) - len(chosen)


def _grasp(found: _Found, k: int, gripper: Gripper, settings: GraspSettings) -> Grasp:
    pose = found.frame_from_hand[k]
    pregrasp = pose @ transform(np.eye(3), np.array([0, 0, -settings.pregrasp_m]))
    opening_m = float(found.candidates.opening_m(gripper, settings)[k])
    strategy = "rim" if found.candidates.rim[k] else found.strategy
    terms = {name: float(term[k]) for name, term in found.terms.items()}
    return Grasp(pose, pregrasp, opening_m, float(np.clip(found.scores[k], 0, 1)), strategy, terms)
