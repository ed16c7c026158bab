"""Which known object each instance of an answer is: one assignment over all of them by place, one by look for lost objects."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from qwen_seg_ros.geometry.box import iou
from qwen_seg_ros.geometry.mask import CroppedMask
from qwen_seg_ros.geometry.region import Region
from qwen_seg_ros.tracking.look import likeness
from qwen_seg_ros.tracking.settings import TrackingSettings
from qwen_seg_ros.tracking.track import Sighting, Track

PLACE, WORDS, LOOK = 0.6, 0.2, 0.2  # what place, phrase and look count
RETURNED = 0.7  # what the place of a lost object counts beside that of one that was followed
CLEAR_LEAD = 0.05  # of the best likeness over the next: twins are not told apart by look
SAME_WORDS = 0.5  # share of common words that a lost object needs to be known by its look
SIZE_RATIO = 1.6  # between the extents of one object seen from two sides
DEPTH_GAP_M, DEPTH_GAP_SHARE = 0.05, 0.05  # without a pose: farther before or behind each other are two objects


def matches(tracks: Sequence[Track], sightings: Sequence[Sighting], settings: TrackingSettings) -> dict[int, int]:
    """Index in `sightings` -> index in `tracks` of the same object; sightings without a pixel match nothing."""
    seen = [n for n, sighting in enumerate(sightings) if sighting.look is not None]
    by_place = _assigned(np.array([[_worth_by_place(track, sightings[n], settings) for n in seen] for track in tracks]))
    found = {seen[col]: row for col, row in by_place.items()}
    lost = [n for n, track in enumerate(tracks) if n not in found.values() and _may_be_elsewhere(track)]
    new = [n for n in seen if n not in found]
    alike = np.array([[_worth_by_look(tracks[t], sightings[s], settings) for s in new] for t in lost])
    return found | {new[col]: lost[row] for col, row in _assigned(_unmistakable(alike)).items()}


def _assigned(worth: NDArray) -> dict[int, int]:
    """Column -> row of the pairs of positive worth with the largest sum of squares: one good pair beats two poor ones."""
    if worth.size == 0:
        return {}
    rows, cols = linear_sum_assignment(worth**2, maximize=True)
    return {int(col): int(row) for row, col in zip(rows, cols, strict=True) if worth[row, col] > 0}


def _worth_by_place(track: Track, sighting: Sighting, settings: TrackingSettings) -> float:
    """0..1; 0 = not the same object."""
    alike = likeness(track.sighting.look, sighting.look)
    near = _nearness(track, sighting, settings)
    if not track.visible and alike < settings.min_look:
        return 0.0
    words = common_words(track.sighting.instance.phrase, sighting.instance.phrase)
    return near * (PLACE + WORDS * words + LOOK * alike)


def _nearness(track: Track, sighting: Sighting, settings: TrackingSettings) -> float:
    """By distance in the base frame where both places are known there, and by overlap in the image if it was followed."""
    overlap = mask_and_box_overlap(track.mask, sighting.instance.mask) if track.visible else 0.0
    before, now = track.sighting.surface, sighting.surface
    if before is not None and now is not None:
        allowed = settings.same_place_m + before.extent_m * overlap  # another part of a large object may be seen
        near = max(0.0, 1 - float(np.linalg.norm(now.centre_m - before.centre_m)) / allowed)
        return (near + overlap) / 2 * (near > 0) if track.visible else RETURNED * near
    if overlap < settings.min_overlap or _behind_each_other(track.sighting.depth_m, sighting.depth_m):
        return 0.0
    return overlap


def mask_and_box_overlap(first: CroppedMask, second: CroppedMask) -> float:
    """Mean of the masks' and their boxes' intersection over union; 0 for images of different size."""
    if (first.height, first.width) != (second.height, second.width) or not first.area_px or not second.area_px:
        return 0.0
    boxes = float(iou(first.box_px, second.box_px)[0, 0])
    if boxes == 0:
        return 0.0
    low = np.maximum(first.box_px[:2], second.box_px[:2])
    high = np.minimum(first.box_px[2:], second.box_px[2:])
    common = Region(*(int(edge) for edge in (*low, *high)))
    shared = int(np.count_nonzero(_part(first, common) & _part(second, common)))
    return (boxes + shared / (first.area_px + second.area_px - shared)) / 2


def _part(mask: CroppedMask, region: Region) -> NDArray[np.bool_]:
    rows, cols = mask.rows_cols
    return mask.crop[region.within(Region(cols.start, rows.start, cols.stop, rows.stop)).rows_cols]


def _behind_each_other(first_m: float | None, second_m: float | None) -> bool:
    if first_m is None or second_m is None:
        return False
    return abs(first_m - second_m) > DEPTH_GAP_M + DEPTH_GAP_SHARE * min(first_m, second_m)


def common_words(first: str, second: str) -> float:
    """Words that two phrases share, as a share of all their words."""
    a, b = set(first.casefold().split()), set(second.casefold().split())
    return len(a & b) / len(a | b) if a | b else 1.0


def _may_be_elsewhere(track: Track) -> bool:
    """Lost, and not known to stand where it stood: out of view or hidden, an object is expected to stay."""
    return not track.visible and (track.gone or track.sighting.surface is None)


def _worth_by_look(track: Track, sighting: Sighting, settings: TrackingSettings) -> float:
    alike = likeness(track.sighting.look, sighting.look)
    words = common_words(track.sighting.instance.phrase, sighting.instance.phrase)
    fits = alike >= settings.same_look and words >= SAME_WORDS and _same_size(track.sighting, sighting)
    return alike if fits else 0.0


def _same_size(first: Sighting, second: Sighting) -> bool:
    if first.surface is None or second.surface is None:
        return True
    small, large = sorted((first.surface.extent_m, second.surface.extent_m))
    return large <= SIZE_RATIO * small


def _unmistakable(alike: NDArray) -> NDArray:
    """Only the pairs that lead clearly over every other pair of the same track and of the same sighting."""
    if alike.size == 0:
        return alike
    near = alike[..., None] - CLEAR_LEAD  # compared with the others of the row and of the column
    rivals = (alike[:, None, :] > near).sum(axis=2) + (alike.T[None, :, :] > near).sum(axis=2)
    return np.where(rivals == 2, alike, 0.0)  # each beats itself once in its row and once in its column
