"""Which candidates fell out, for which reason, and what to tell the user when none is left."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from qwen_seg_ros.grasping.body import Body
from qwen_seg_ros.grasping.gripper import Gripper
from qwen_seg_ros.grasping.settings import GraspSettings

FROM_SIDE = {  # where the words differ from those for a hand from above
    "too low": "no piece is deep enough for the fingertips",
    "too wide": "it is too wide for the gripper",
    "below the table": "the hand would touch the table",
}
BLOCKED = ("hits the scene", "in a keep-out box", "palm hits the object", "finger in unseen space")


class Rejections:
    """Candidates counted by the first check they failed, and how many there were at first."""

    def __init__(self) -> None:
        self.proposed = 0
        self.counts: dict[str, int] = {}

    def passed(self, checks: Mapping[str, NDArray]) -> NDArray[np.intp]:
        """Index of those who pass every check, (C,) bool each True = failed."""
        left = np.ones(len(next(iter(checks.values()))), bool)
        for reason, failed in checks.items():
            self.count(reason, int((left & failed).sum()))
            left &= ~failed
        return np.flatnonzero(left)

    def count(self, reason: str, number: int) -> None:
        if number:
            self.counts[reason] = self.counts.get(reason, 0) + number

    def main_reason(self) -> str:
        """What stopped most of those that came farthest; "too thin" when nothing was proposed.

        Every object has sides that are too wide or slope: they say little where others would have held it.
        """
        order = [BLOCKED, ("contacts unseen", "surfaces slope"), ("too thin", "too low", "below the table"), ("too wide",)]
        for reasons in order:
            stopped = {name: self.counts[name] for name in reasons if name in self.counts}
            if stopped:
                return max(stopped, key=lambda name: stopped[name])
        return "too thin"


def together(parts: Mapping[str, Rejections]) -> dict[str, int]:
    """The counts of all kinds of approach, by reason."""
    whole = Rejections()
    for part in parts.values():
        for reason, number in part.counts.items():
            whole.count(reason, number)
    return whole.counts


def why_none(body: Body, gripper: Gripper, settings: GraspSettings, above: Rejections | None, beside: Rejections | None) -> str:
    """What stands in the way of a hand from above and of others, in words and numbers; None = not tried."""
    words = _words(body, gripper, settings)
    said = []
    if above is not None:
        said.append(f"from above: {words[_reason_above(body, gripper, settings, above)]}")
    if beside is not None:
        reason = beside.main_reason()
        said.append(f"from the side: {(words | FROM_SIDE)[reason]}")
    return f"no grasp {'; '.join(said)}" if said else "no grasp: the object is too low to be taken from the side"


def _reason_above(body: Body, gripper: Gripper, settings: GraspSettings, above: Rejections) -> str:
    if _height_m(body) < settings.table_clearance_m + settings.min_bite_m:
        return "too low"
    if 2 * body.half_size[:2].min() > gripper.max_opening_m - settings.width_margin_m:
        return "too wide"
    return above.main_reason()


def _height_m(body: Body) -> float:
    return float((body.points[:, 2] - body.table_z(body.points[:, :2])).max())


def _words(body: Body, gripper: Gripper, settings: GraspSettings) -> dict[str, str]:
    width_m = 2 * float(body.half_size[:2].min())
    return {
        "too low": f"the object is {1000 * _height_m(body):.0f} mm high; the fingertips stay "
                   f"{1000 * settings.table_clearance_m:.0f} mm above the table and must reach "
                   f"{1000 * settings.min_bite_m:.0f} mm below its top",
        "too wide": f"the object is {100 * width_m:.1f} cm wide, the gripper opens {100 * gripper.max_opening_m:.1f} cm",
        "too thin": f"the pieces between the fingers are thinner than {1000 * settings.min_width_m:.0f} mm",
        "below the table": "the fingertips would touch the table",
        "hits the scene": "the hand would hit what stands around the object; clear some space",
        "in a keep-out box": "the hand would enter a keep-out box",
        "palm hits the object": "the palm would hit the object before the fingers hold it",
        "finger in unseen space": "a finger would go where the camera could not see; look from higher up",
        "contacts unseen": "the camera saw neither of the surfaces between the fingers; look from another side",
        "surfaces slope": "the surfaces between the fingers slope too much for the friction of the pads",
    }
