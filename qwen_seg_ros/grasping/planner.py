"""From an object cloud and its scene to ranked grasps: propose, refuse with a count per reason, score, keep distinct ones."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from qwen_seg_ros.geometry.transform import transform
from qwen_seg_ros.grasping.body import Body, body_of
from qwen_seg_ros.grasping.candidates import Candidates, propose
from qwen_seg_ros.grasping.collision import FINGER_GROW, PART_GROW, HeightMap, below_table, finger_in_unknown, hits, undersides
from qwen_seg_ros.grasping.contacts import Contacts, find_contacts
from qwen_seg_ros.grasping.grasp import Grasp, GraspPlan
from qwen_seg_ros.grasping.gripper import Gripper
from qwen_seg_ros.grasping.scoring import distinct, score, score_terms
from qwen_seg_ros.grasping.settings import GraspSettings
from qwen_seg_ros.lifting.object_cloud import ObjectCloud, Scene

MIN_POINTS = 10
CLEARANCE_VOXELS = 4  # how far around the fingers free space is welcome
MAX_HEIGHT_M = 0.3  # what floats higher above the object is left to the motion planner


def plan_grasps(target: ObjectCloud, scene: Scene, gripper: Gripper, settings: GraspSettings) -> GraspPlan:
    """Grasps from above for one object, best first, in the frame of `target` and `scene`.

    No grasp comes nearer to the table than `table_clearance_m`, touches another object, is wider than the gripper opens, or holds
    surfaces outside the friction cone. `rejected` counts what fell out by reason; `message` says in words why nothing is left.
    """
    if len(target.points_m) < MIN_POINTS:
        message = f"only {len(target.points_m)} points of the object were seen; move the camera nearer"
        return GraspPlan(target.id, target.phrase, (), {}, message)
    body = body_of(target, scene)
    proposed = propose(body, gripper, settings)
    rejected: dict[str, int] = {}
    candidates = _fitting(proposed, gripper, settings, rejected)
    candidates, clearance = _free(candidates, body, gripper, settings, rejected)
    candidates, clearance, contacts = _holding(candidates, clearance, body, gripper, settings, rejected)
    terms = score_terms(candidates, contacts, clearance, body.centre_xy, gripper, settings)
    scores = score(terms)
    chosen = distinct(candidates, scores, settings)
    _count(rejected, "like a better one", len(candidates) - len(chosen))
    best = candidates.take(np.array(chosen, int))
    grasps = tuple(
        _grasp(best, k, float(scores[c]), {name: float(term[c]) for name, term in terms.items()}, body, gripper, settings)
        for k, c in enumerate(chosen)
    )
    message = "" if grasps else _why_none(body, gripper, settings, rejected)
    return GraspPlan(target.id, target.phrase, grasps, rejected, message)


def _fitting(candidates: Candidates, gripper: Gripper, settings: GraspSettings, rejected: dict[str, int]) -> Candidates:
    """Pieces that go between the fingers and offer them enough height."""
    checks = {
        "too wide": candidates.width_m > gripper.max_opening_m - settings.width_margin_m,
        "too thin": candidates.width_m < max(settings.min_width_m, gripper.min_opening_m),
        "too low": candidates.top_z - candidates.tip_z < settings.min_bite_m - 1e-4,
    }
    return candidates.take(np.flatnonzero(_passed(checks, rejected)))


def _free(candidates: Candidates, body: Body, gripper: Gripper, settings: GraspSettings,
          rejected: dict[str, int]) -> tuple[Candidates, NDArray]:
    """Candidates whose hand reaches its place without touching anything, and the share of free space around it."""
    tips, palm = (undersides(candidates, gripper, settings, fingers) for fingers in (True, False))
    obstacles = body.obstacles[body.obstacles[:, 2] < body.half_size[2] + MAX_HEIGHT_M]
    checks: dict[str, Any] = {
        "below the table": below_table(tips, body, settings),
        "hits the scene": np.hstack([
            hits(tips, HeightMap(obstacles, settings.voxel_m, FINGER_GROW)),
            hits(palm, HeightMap(obstacles, settings.voxel_m, PART_GROW)),
        ]).any(axis=1),
        "palm hits the object": hits(palm, HeightMap(body.points, settings.voxel_m, PART_GROW)).any(axis=1),
        "finger in unseen space": finger_in_unknown(candidates, body, gripper, settings),
    }
    keep = np.flatnonzero(_passed(checks, rejected))
    clearance = 1 - hits(tips[keep], HeightMap(obstacles, settings.voxel_m, CLEARANCE_VOXELS)).mean(axis=1)
    return candidates.take(keep), clearance


def _holding(candidates: Candidates, clearance: NDArray, body: Body, gripper: Gripper, settings: GraspSettings,
             rejected: dict[str, int]) -> tuple[Candidates, NDArray, Contacts]:
    """Candidates whose contacts lie inside the friction cone (Nguyen 1988: two such contacts close the force)."""
    contacts = find_contacts(candidates, body, gripper)
    keep = np.flatnonzero(_passed({"surfaces slope": contacts.angle_rad > np.arctan(settings.friction)}, rejected))
    return candidates.take(keep), clearance[keep], Contacts(contacts.angle_rad[keep], contacts.support[keep])


def _passed(checks: dict[str, NDArray], rejected: dict[str, int]) -> NDArray[np.bool_]:
    """Who passes every check; each failure is counted once, under the first check it fails."""
    passed = np.ones(len(next(iter(checks.values()))), bool)
    for reason, failed in checks.items():
        _count(rejected, reason, int((passed & failed).sum()))
        passed &= ~failed
    return passed


def _count(rejected: dict[str, int], reason: str, number: int) -> None:
    if number:
        rejected[reason] = rejected.get(reason, 0) + number


def _grasp(candidates: Candidates, k: int, value: float, terms: dict[str, float], body: Body, gripper: Gripper,
           settings: GraspSettings) -> Grasp:
    opening_m = candidates.opening_m(gripper, settings)[k]
    x, y, z = np.array([*candidates.along[k], 0.0]), np.array([*candidates.closing[k], 0.0]), np.array([0.0, 0.0, -1.0])
    centre = np.array([*candidates.centre_xy[k], candidates.tip_z[k] + gripper.tip_beyond_tcp_m])
    pose = body.frame_from_local @ transform(np.stack([x, y, z], axis=1), centre)
    pregrasp = body.frame_from_local @ transform(np.stack([x, y, z], axis=1), centre - settings.pregrasp_m * z)
    strategy = "rim" if candidates.rim[k] else "top_down"
    return Grasp(pose, pregrasp, float(opening_m), float(np.clip(value, 0, 1)), strategy, terms)


def _why_none(body: Body, gripper: Gripper, settings: GraspSettings, rejected: dict[str, int]) -> str:
    """The reason that stands in the way, in words and numbers."""
    height_m = float((body.points[:, 2] - body.table_z(body.points[:, :2])).max())
    width_m = 2 * float(body.half_size[:2].min())
    words = {
        "too low": f"the object is {1000 * height_m:.0f} mm high; the fingertips stay {1000 * settings.table_clearance_m:.0f} mm "
                   f"above the table and must reach {1000 * settings.min_bite_m:.0f} mm below its top",
        "too wide": f"the object is {100 * width_m:.1f} cm wide, the gripper opens {100 * gripper.max_opening_m:.1f} cm",
        "too thin": f"the pieces between the fingers are thinner than {1000 * settings.min_width_m:.0f} mm",
        "below the table": "the fingertips would touch the table",
        "hits the scene": "the hand would hit what stands around the object; clear some space",
        "palm hits the object": "the palm would hit the object before the fingers hold it",
        "finger in unseen space": "a finger would go where the camera could not see; look from higher up",
        "surfaces slope": "the surfaces between the fingers slope too much for the friction of the pads",
    }
    if height_m < settings.table_clearance_m + settings.min_bite_m:
        reason = "too low"
    elif width_m > gripper.max_opening_m - settings.width_margin_m:
        reason = "too wide"
    else:  # every object has sides that are too wide; what stopped the others is of interest
        reason = max(rejected, key=lambda name: rejected[name] * (name != "too wide"), default="too thin")
    return f"no grasp from above: {words[reason]}"
