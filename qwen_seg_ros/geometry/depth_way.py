"""Which way depth gets into the pixels of the colour image: what is known decides, for live images and recorded ones alike.

    frames      depth's calibration   transform     size    way
    equal       -                     -             -       AS_IS
    different   known                 known         any     REGISTER
    different   known                 none          any     UNPLACED: left out
    different   none                  any           other   OTHER_SIZE: left out
    different   none                  same place    equal   SAME_PLACE: taken as registered
    different   none                  apart         equal   APART: left out
    different   none                  none          equal   ASSUMED: taken as registered, with a warning

Wrong positions are worse than none: what contradicts itself is left out.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto

import numpy as np

from qwen_seg_ros.geometry.arrays import Matrix4

SAME_PLACE_WITHIN = 1e-3  # metres, radians: frames nearer than this see one picture


class Way(Enum):
    AS_IS = auto()
    REGISTER = auto()
    UNPLACED = auto()
    OTHER_SIZE = auto()
    SAME_PLACE = auto()
    APART = auto()
    ASSUMED = auto()


@dataclass(frozen=True, eq=False)
class FoundWay:
    """color_from_depth: for REGISTER; missing: for UNPLACED, why there is no transform."""

    way: Way
    color_from_depth: Matrix4 | None = None
    missing: str = ""


def find_way(one_frame: bool, calibrated: bool, same_size: Callable[[], bool], find: Callable[[], Matrix4]) -> FoundWay:
    """One line of the table. find: color_from_depth, or a LookupError; both are asked only where it matters."""
    if one_frame:
        return FoundWay(Way.AS_IS)
    if not calibrated and not same_size():
        return FoundWay(Way.OTHER_SIZE)
    try:
        color_from_depth = find()
    except LookupError as error:
        return FoundWay(Way.UNPLACED if calibrated else Way.ASSUMED, missing=str(error))
    if calibrated:
        return FoundWay(Way.REGISTER, color_from_depth)
    moved = np.abs(color_from_depth - np.eye(4)).max()
    return FoundWay(Way.APART if moved > SAME_PLACE_WITHIN else Way.SAME_PLACE)
