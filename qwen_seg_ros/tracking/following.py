"""One object carried into the next frame: where its surface must be if it stands still, else where its picture moved to."""

from dataclasses import dataclass, replace

from qwen_seg_ros.frame import Frame
from qwen_seg_ros.geometry.mask import CroppedMask
from qwen_seg_ros.tracking.flow import STILL, Affine, Flow, joined, warped
from qwen_seg_ros.tracking.look import likeness, look_of
from qwen_seg_ros.tracking.settings import TrackingSettings
from qwen_seg_ros.tracking.surface import DepthView, Sight, depth_of, surface_of
from qwen_seg_ros.tracking.track import Track

BACK_IN_SIGHT = 0.6  # share of a lost object that must be seen again: more than what keeps one, so that none flickers
SEEN_THROUGH = 0.5  # share of a surface behind which depth is seen when the object is no longer there
DEPTH_STEP_M, DEPTH_STEP_SHARE = 0.03, 0.05  # an object comes nearer or goes farther by this at most from frame to frame


@dataclass(frozen=True, eq=False)
class Now:
    """A frame to carry objects into. view: None without depth, camera or pose; flow: from the frame before, None after a cut."""

    frame: Frame
    view: DepthView | None
    flow: Flow | None


def followed(track: Track, now: Now, settings: TrackingSettings) -> Track:
    """The track in this frame, or lost: then `visible` is False and the mask stays where it was last seen."""
    sight = _sight(track, now)
    if sight is not None and _in_sight(track, sight, now, settings):
        return replace(_seen(track, now, sight.mask), outline=sight.mask, motion=STILL)
    moved = _by_flow(track, now, settings) if track.visible else None
    if moved is not None:
        return moved
    gone = track.gone or (sight is not None and sight.empty > SEEN_THROUGH)
    return replace(track, visible=False, gone=gone)


def _sight(track: Track, now: Now) -> Sight | None:
    """Where the object's surface is seen if it stands still; for a lost one first with a few points, as there may be many."""
    if now.view is None or track.sighting.surface is None:
        return None
    if not track.visible:
        sight = now.view.sight(track.sighting.surface.thinned)
        if sight is None or sight.visible < BACK_IN_SIGHT:
            return sight
    return now.view.sight(track.sighting.surface)


def _in_sight(track: Track, sight: Sight, now: Now, settings: TrackingSettings) -> bool:
    """An object that the model gave up is found again only by the model."""
    if not track.visible and track.misses > 0:
        return False
    least = settings.min_visible if track.visible else BACK_IN_SIGHT
    return sight.visible >= least and _looks_right(track, sight.mask, now, settings)


def _looks_right(track: Track, mask: CroppedMask, now: Now, settings: TrackingSettings) -> bool:
    return likeness(track.sighting.look, look_of(now.frame.rgb, mask)) >= settings.min_look


def _by_flow(track: Track, now: Now, settings: TrackingSettings) -> Track | None:
    step = now.flow.motion(track.mask) if now.flow else None
    if step is None:
        return None
    motion = joined(track.motion, step)
    mask = warped(track.outline, motion)
    if _share_inside(track.outline, motion, mask) < settings.min_visible or not _looks_right(track, mask, now, settings):
        return None
    depth = depth_of(now.frame, mask)
    if not _continuous(track.sighting.depth_m, depth):
        return None
    return _moved(_seen(track, now, mask), now, motion, depth)


def _share_inside(outline: CroppedMask, motion: Affine, mask: CroppedMask) -> float:
    """How much of a moved outline lies in the image."""
    zoom = abs(motion[0, 0] * motion[1, 1] - motion[0, 1] * motion[1, 0])
    return mask.area_px / max(1.0, outline.area_px * zoom)


def _continuous(before_m: float | None, now_m: float | None) -> bool:
    if before_m is None or now_m is None:
        return True
    return abs(now_m - before_m) <= DEPTH_STEP_M + DEPTH_STEP_SHARE * before_m


def _seen(track: Track, now: Now, mask: CroppedMask) -> Track:
    return replace(track, mask=mask, seen_ns=now.frame.stamp_ns, visible=True, gone=False)


def _moved(track: Track, now: Now, motion: Affine, depth_m: float | None) -> Track:
    """An object that moves by itself has its surface at another place from now on."""
    surface = surface_of(now.frame, track.mask) or track.sighting.surface
    return replace(track, motion=motion, sighting=replace(track.sighting, surface=surface, depth_m=depth_m))
