"""Tree of coordinate frames with a short history: what tf2's buffer does, for arrays and without ROS. Not for several threads."""

from bisect import bisect_left
from operator import attrgetter
from typing import NamedTuple

import cv2
import numpy as np

from qwen_seg_ros.geometry.arrays import Matrix4
from qwen_seg_ros.geometry.transform import inverse, transform

HISTORY = 2000  # stamped transforms kept per frame: 20 s at 100 Hz
JUMP_NS = 1_000_000_000  # a stamp this much older than the newest one means that time was reset
_BY_STAMP = attrgetter("stamp_ns")


class Link(NamedTuple):
    stamp_ns: int
    parent: str
    parent_from_child: Matrix4


class FrameTree:
    """Between two stamps of a moving frame its pose is interpolated; outside them the nearest within the tolerance is taken."""

    def __init__(self, tolerance_s: float = 0.1) -> None:
        self._tolerance_ns = int(tolerance_s * 1e9)
        self._fixed: dict[str, Link] = {}
        self._moving: dict[str, list[Link]] = {}  # by stamp, each stamp once

    def add(self, parent: str, child: str, parent_from_child: Matrix4, stamp_ns: int, fixed: bool) -> None:
        """One link; `fixed` ones hold for all times. Of moving ones with the same stamp the first holds, as in tf2."""
        link, name = Link(stamp_ns, parent.lstrip("/"), parent_from_child), child.lstrip("/")
        if fixed:
            self._fixed[name] = link
            return
        history = self._moving.setdefault(name, [])
        if history and stamp_ns < history[-1].stamp_ns - JUMP_NS:
            history.clear()
        place = bisect_left(history, stamp_ns, key=_BY_STAMP)
        if place < len(history) and history[place].stamp_ns == stamp_ns:
            return
        history.insert(place, link)
        del history[:-HISTORY]

    def find(self, target: str, source: str, stamp_ns: int) -> Matrix4:
        """target_from_source at `stamp_ns`. Raises LookupError that says which frames have a parent."""
        to_source, to_target = self._chain(source.lstrip("/"), stamp_ns), self._chain(target.lstrip("/"), stamp_ns)
        common = next((frame for frame in to_source if frame in to_target), None)
        if common is None:
            known = ", ".join(sorted({*self._fixed, *self._moving})) or "none"
            raise LookupError(f"no path from {source!r} to {target!r} at the image's stamp; frames with a parent: {known}")
        return inverse(to_target[common]) @ to_source[common]

    def _chain(self, frame: str, stamp_ns: int) -> dict[str, Matrix4]:
        """ancestor -> ancestor_from_frame, from the frame itself up to the root."""
        chain, here = {frame: np.eye(4)}, frame
        while (link := self._link(here, stamp_ns)) is not None and link.parent not in chain:
            chain[link.parent] = link.parent_from_child @ chain[here]
            here = link.parent
        return chain

    def _link(self, frame: str, stamp_ns: int) -> Link | None:
        if frame in self._fixed:
            return self._fixed[frame]
        history = self._moving.get(frame, [])
        place = bisect_left(history, stamp_ns, key=_BY_STAMP)
        around = history[max(place - 1, 0) : place + 1]
        if len(around) == 2 and around[0].parent == around[1].parent:
            return _between(around[0], around[1], stamp_ns)
        nearest = min(around, key=lambda link: abs(link.stamp_ns - stamp_ns), default=None)
        return nearest if nearest and abs(nearest.stamp_ns - stamp_ns) <= self._tolerance_ns else None


def _between(before: Link, after: Link, stamp_ns: int) -> Link:
    """Position along the straight line, orientation along the shortest turn."""
    share = (stamp_ns - before.stamp_ns) / max(after.stamp_ns - before.stamp_ns, 1)
    first, second = before.parent_from_child, after.parent_from_child
    turn = cv2.Rodrigues(first[:3, :3].T @ second[:3, :3])[0] * share
    place = first[:3, 3] + share * (second[:3, 3] - first[:3, 3])
    return Link(stamp_ns, before.parent, transform(first[:3, :3] @ cv2.Rodrigues(turn)[0], place))
