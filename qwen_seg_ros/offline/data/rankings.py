"""Superlatives and ordinals: an order of a group, as far as it is beyond doubt.

A measure has several readings ("biggest": by volume, by longest side, by what is seen). The first one needs a margin between
two neighbours in the order, the others must not say the opposite.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from qwen_seg_ros.offline.data.relations import DISTANCE_MARGIN_M, SIDE_MARGIN, Placed

SIZE_MARGIN, VOLUME_MARGIN = 1.15, 1.5  # ratios
LENGTH_MARGIN_M = 0.015  # nobody sees less from where a camera is


@dataclass(frozen=True)
class Measure:
    """readings: what the order goes by, most first. ahead: two values of the first reading are clearly apart."""

    readings: tuple[Callable[[Placed], float], ...]
    ahead: Callable[[float, float], bool]
    of_size: bool = False

    def order(self, group: Sequence[Placed]) -> list[Placed]:
        """The first ones of the group in their order, as many as are clear of all that follow."""
        if self.of_size and not all(p.whole for p in group):
            return []
        ranked = sorted(group, key=self.readings[0], reverse=True)
        for place, item in enumerate(ranked[:-1]):
            if not all(self._before(item, later) for later in ranked[place + 1 :]):
                return ranked[:place]
        return ranked

    def _before(self, one: Placed, other: Placed) -> bool:
        first, *others = self.readings
        return self.ahead(first(one), first(other)) and all(reading(one) >= reading(other) for reading in others)


def by(margin: float) -> Callable[[float, float], bool]:
    return lambda one, other: one - other >= margin


def times(ratio: float) -> Callable[[float, float], bool]:
    """Of values that may be negative so that the smallest comes first."""
    return lambda one, other: one >= ratio * other if other >= 0 else -other >= ratio * -one


def _seen(p: Placed) -> float:
    left, top, right, lower = p.item.box_px
    return float((right - left) * (lower - top))


def _volume(p: Placed) -> float:
    return p.volume


def _longest(p: Placed) -> float:
    return p.longest


def _height(p: Placed) -> float:
    return p.height


def _across(p: Placed) -> float:
    return p.length


def _distance(p: Placed) -> float:
    return p.distance


def _row(p: Placed) -> float:
    return p.row


def _x(p: Placed) -> float:
    return p.x


def longer(one: float, other: float) -> bool:
    return times(SIZE_MARGIN)(one, other) and one - other >= LENGTH_MARGIN_M


Reading = Callable[[Placed], float]


def least(reading: Reading) -> Reading:
    return lambda p: -reading(p)


MEASURES = {
    "left": Measure((least(_x),), by(SIDE_MARGIN)),
    "right": Measure((_x,), by(SIDE_MARGIN)),
    "near": Measure((least(_distance), _row), by(DISTANCE_MARGIN_M)),
    "far": Measure((_distance, least(_row)), by(DISTANCE_MARGIN_M)),
    "tall": Measure((_height, _longest), longer, of_size=True),
    "short": Measure((least(_height), least(_longest)), longer, of_size=True),
    "big": Measure((_volume, _longest, _seen), times(VOLUME_MARGIN), of_size=True),
    "small": Measure((least(_volume), least(_longest), least(_seen)), times(VOLUME_MARGIN), of_size=True),
    "long": Measure((_longest, _across), longer, of_size=True),
    "wide": Measure((_across, _volume), longer, of_size=True),
}
