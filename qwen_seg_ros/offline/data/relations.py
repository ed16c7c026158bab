"""Where things are to each other, from the truth: a relation holds, does not, or (None) people would not agree.

Sides and the middle are those of the picture; distances and sizes are in metres. Every relation needs a margin to hold and the
same margin on the other side to fail, so that nothing hangs on a few pixels or millimetres. A mirrored picture keeps its truth:
of the base frame only heights and distances between objects are used.
"""

from collections.abc import Callable
from functools import cached_property
from math import hypot

from qwen_seg_ros.offline.data.lexicon import CONTAINERS
from qwen_seg_ros.offline.data.meaning import Meaning
from qwen_seg_ros.offline.data.scene_words import SceneWords
from qwen_seg_ros.offline.sim.scene import ObjectRecord

SIDE_MARGIN = 0.06  # share of the image's width by which box centres must differ
DISTANCE_MARGIN_M = 0.08
ROW_MARGIN = 0.02  # share of the image's width by which lower edges must differ
COLUMN_SHARE = 0.5  # of the narrower box must lie before or behind the other
BESIDE_M, APART_M = 0.05, 0.12  # gap of neighbours, and of things that are no neighbours
SUNK_M = 0.01
LARGER, TALLER, TALLER_M = 2.0, 1.25, 0.015  # ratios of volumes and of heights, metres
WELL_SEEN = 0.6  # share of an object that must be seen to speak of its size


class Placed:
    """An object as the relations need it. left, right: pixels; x, row: shares of the image's width; the rest in metres."""

    def __init__(self, item: ObjectRecord, width: int) -> None:
        left, _, right, lower = item.box_px
        self.item, self.left, self.right, self.row = item, left, right, lower / width
        self.x, self.distance = (left + right) / 2 / width, item.distance_m
        self.at = item.centre_m
        self.length, self.breadth, self.height = item.size_m
        self.top, self.bottom = self.at[2] + self.height / 2, self.at[2] - self.height / 2
        self.volume, self.longest = self.length * self.breadth * self.height, max(item.size_m)
        self.whole = not item.cut and item.visible >= WELL_SEEN
        self.category = item.category


Verdict = Callable[[Placed, Placed], bool | None]


def _decided(holds: bool, fails: bool) -> bool | None:
    return True if holds else False if fails else None


def side_of(sign: int) -> Verdict:
    """sign -1: left, 1: right."""

    def verdict(one: Placed, anchor: Placed) -> bool | None:
        gap = sign * (one.x - anchor.x)
        centre = (one.left + one.right) / 2
        outside = centre < anchor.left or centre > anchor.right
        return _decided(gap >= SIDE_MARGIN and outside and not stacked(one, anchor), gap <= -SIDE_MARGIN)

    return verdict


def nearer(one: Placed, anchor: Placed) -> bool | None:
    """Closer to the camera, by distance and by the lower edge in the picture."""
    gap, rows = anchor.distance - one.distance, one.row - anchor.row
    agree = rows >= 0 and not stacked(one, anchor)
    return _decided(gap >= DISTANCE_MARGIN_M and agree, gap <= -DISTANCE_MARGIN_M and rows <= 0)


def before(one: Placed, anchor: Placed) -> bool | None:
    """Nearer and in the same column of the picture."""
    shared = min(one.right, anchor.right) - max(one.left, anchor.left)
    share = shared / max(1, min(one.right - one.left, anchor.right - anchor.left))
    gap, rows = anchor.distance - one.distance, one.row - anchor.row
    holds = gap >= DISTANCE_MARGIN_M / 2 and rows >= ROW_MARGIN and share >= COLUMN_SHARE and not stacked(one, anchor)
    return _decided(holds, (gap <= 0 and rows <= 0) or share <= -1)


def swapped(verdict: Verdict) -> Verdict:
    return lambda one, anchor: verdict(anchor, one)


def beside(one: Placed, anchor: Placed) -> bool | None:
    """Neighbours: the gap between their sides, whatever way they are turned."""
    apart = hypot(one.at[0] - anchor.at[0], one.at[1] - anchor.at[1])
    most, least = apart - (one.breadth + anchor.breadth) / 2, apart - (one.length + anchor.length) / 2
    return _decided(most <= BESIDE_M and not stacked(one, anchor), least >= APART_M)


def stacked(one: Placed, other: Placed) -> bool:
    return one.item.support == other.item.id or other.item.support == one.item.id


def inside(one: Placed, anchor: Placed) -> bool | None:
    if one.item.support != anchor.item.id:
        return None if _above(one, anchor) else False
    sunk = anchor.category in CONTAINERS and one.bottom <= anchor.top - SUNK_M and not anchor.item.lying
    return _decided(sunk, anchor.category not in CONTAINERS)


def on_top(one: Placed, anchor: Placed) -> bool | None:
    if one.item.support != anchor.item.id:
        return None if _above(one, anchor) else False
    return _decided(inside(one, anchor) is False, False)


def _above(one: Placed, anchor: Placed) -> bool:
    """Over the other with something between, so that one might say it is on it."""
    over = hypot(one.at[0] - anchor.at[0], one.at[1] - anchor.at[1]) < anchor.length / 2
    return bool(one.item.support) and over and one.bottom > anchor.bottom + SUNK_M


def taller(one: Placed, anchor: Placed) -> bool | None:
    if not (one.whole and anchor.whole) or one.item.lying or anchor.item.lying:
        return None
    low, high = sorted((one.height, anchor.height))
    clear = high >= max(TALLER * low, low + TALLER_M)
    return _decided(clear and one.height > anchor.height, clear)


def bigger(one: Placed, anchor: Placed) -> bool | None:
    if not (one.whole and anchor.whole):
        return None
    holds = one.volume >= LARGER * anchor.volume and one.longest >= anchor.longest
    return _decided(holds, anchor.volume >= LARGER * one.volume and anchor.longest >= one.longest)


VERDICTS: dict[str, Verdict] = {
    "left": side_of(-1),
    "right": side_of(1),
    "front": before,
    "behind": swapped(before),
    "nearer": nearer,
    "farther": swapped(nearer),
    "beside": beside,
    "on": on_top,
    "under": swapped(on_top),
    "in": inside,
    "holding": swapped(inside),
    "taller": taller,
    "shorter": swapped(taller),
    "bigger": bigger,
    "smaller": swapped(bigger),
}


def is_between(one: Placed, first: Placed, last: Placed) -> bool | None:
    """On the way from one to the other, on the table and in the picture."""
    run, rise = last.at[0] - first.at[0], last.at[1] - first.at[1]
    length = max(1e-6, hypot(run, rise))
    dx, dy = one.at[0] - first.at[0], one.at[1] - first.at[1]
    along, aside = (dx * run + dy * rise) / length**2, abs(dx * rise - dy * run) / length
    low, high = sorted((first.x, last.x))
    in_picture = low + SIDE_MARGIN <= one.x <= high - SIDE_MARGIN
    way_off = not low - SIDE_MARGIN <= one.x <= high + SIDE_MARGIN
    holds = 0.2 <= along <= 0.8 and aside <= 0.25 * length and in_picture
    return _decided(holds, way_off or not 0 <= along <= 1 or aside >= 0.5 * length)


class Layout:
    """Who stands how to whom in one picture."""

    def __init__(self, words: SceneWords) -> None:
        self.words = words
        self._known: dict[tuple[str, int], Meaning] = {}

    @cached_property
    def placed(self) -> list[Placed]:
        return [Placed(o, self.words.width) for o in self.words.objects]

    def related(self, relation: str, anchor: int) -> Meaning:
        """The objects that stand so to the object of id `anchor`, which is never among them."""
        key = (relation, anchor)
        if key not in self._known:
            verdict, other = VERDICTS[relation], self.placed[self.words.place[anchor]]
            self._known[key] = self.words.verdicts([p is not other and verdict(p, other) for p in self.placed])
        return self._known[key]

    def between(self, first: int, last: int) -> Meaning:
        ends = [self.placed[self.words.place[i]] for i in (first, last)]
        return self.words.verdicts([p not in ends and is_between(p, *ends) for p in self.placed])

    def closest(self, group: Meaning, anchor: int) -> Meaning:
        """The one of a group that stands closest to an object, closer than any other by a good share."""
        other = self.placed[self.words.place[anchor]]
        apart = sorted((_apart(p, other), n) for n, p in enumerate(self.placed) if p is not other and group.maybe >> n & 1)
        clear = group.proven and len(apart) > 1 and apart[1][0] - apart[0][0] >= max(DISTANCE_MARGIN_M, 0.3 * apart[0][0])
        return Meaning(1 << apart[0][1], 1 << apart[0][1]) if clear else Meaning(0, group.maybe)


def _apart(one: Placed, other: Placed) -> float:
    return hypot(one.at[0] - other.at[0], one.at[1] - other.at[1], one.at[2] - other.at[2])
