"""Carried masks cut anew from depth: they lack what the camera has come to see of an object since the model looked."""

from dataclasses import replace

import numpy as np

from qwen_seg_ros.frame import Frame
from qwen_seg_ros.geometry.mask import CroppedMask
from qwen_seg_ros.geometry.region import Region
from qwen_seg_ros.segmentation.depth_mask import Surfaces, mask_from_depth, surfaces_around
from qwen_seg_ros.tracking.flow import STILL
from qwen_seg_ros.tracking.look import likeness, look_of
from qwen_seg_ros.tracking.settings import TrackingSettings
from qwen_seg_ros.tracking.surface import depth_of, surface_of
from qwen_seg_ros.tracking.track import Track

HELD = 0.8  # share of the carried mask that the new one holds if it shows the same object ...
GROWTH = 1.6  # ... and it has this times its pixels at most


def reshaped(tracks: tuple[Track, ...], frame: Frame, settings: TrackingSettings) -> tuple[Track, ...]:
    """The tracks in their order; visible ones with a new mask where depth shows one that fits. As they were without depth."""
    boxes = [Region.of_box(track.mask.box_px, frame.width, frame.height) for track in tracks if track.visible]
    surfaces = surfaces_around(frame, boxes)
    if surfaces is None:
        return tracks
    return tuple(_reshaped(track, surfaces, frame, settings) if track.visible else track for track in tracks)


def _reshaped(track: Track, surfaces: Surfaces, frame: Frame, settings: TrackingSettings) -> Track:
    box = Region.of_box(track.mask.box_px, frame.width, frame.height)
    found = mask_from_depth(surfaces, box, frame.width, frame.height)
    if found is None:
        return track
    mask = CroppedMask.from_part(found.mask, found.region.x0, found.region.y0, frame.height, frame.width)
    if not _same(track.mask, mask) or likeness(track.sighting.look, look_of(frame.rgb, mask)) < settings.min_look:
        return track
    surface = surface_of(frame, mask) or track.sighting.surface
    sighting = replace(track.sighting, surface=surface, depth_m=depth_of(frame, mask))
    return replace(track, mask=mask, outline=mask, motion=STILL, sighting=sighting)


def _same(carried: CroppedMask, cut: CroppedMask) -> bool:
    held = int(np.count_nonzero(cut.full()[carried.rows_cols] & carried.crop))
    return held >= HELD * carried.area_px and cut.area_px <= GROWTH * carried.area_px
