"""What is known about one object over time, and what a tracked frame hands on."""

from dataclasses import dataclass, replace

from qwen_seg_ros.frame import Frame
from qwen_seg_ros.geometry.mask import CroppedMask
from qwen_seg_ros.segmentation.result import Instance, SegmentationResult
from qwen_seg_ros.tracking.flow import STILL, Affine
from qwen_seg_ros.tracking.look import Look, look_of
from qwen_seg_ros.tracking.surface import Surface, depth_of, surface_of


@dataclass(frozen=True, eq=False)
class Tracked:
    """A segmentation whose objects have names that stay.

    track_ids: one per instance of `segmentation`, in their order; "" for an instance without a pixel, which cannot be followed.
    fresh: the masks are the model's answer on this frame; else they were carried over from earlier frames.
    """

    segmentation: SegmentationResult
    track_ids: tuple[str, ...]
    fresh: bool


@dataclass(frozen=True, eq=False)
class Sighting:
    """One instance of an answer with what tells it from others. depth_m: median distance; None or no surface = not known."""

    instance: Instance
    look: Look | None
    surface: Surface | None
    depth_m: float | None

    @classmethod
    def of(cls, frame: Frame, instance: Instance) -> "Sighting":
        mask = instance.mask
        return cls(instance, look_of(frame.rgb, mask), surface_of(frame, mask), depth_of(frame, mask))


@dataclass(frozen=True, eq=False)
class Track:
    """One object.

    number: its id. sighting: the model's last one, with surface and depth brought up to date when the object moves.
    outline, motion: the last mask that was drawn from the scene itself, and how it moved since; so warping does not add up.
    mask: where the object is, or was last seen. seen_ns: when. visible: it is being followed.
    misses: looks of the model in a row that did not find it. gone: its place was seen empty.
    """

    number: int
    sighting: Sighting
    outline: CroppedMask
    motion: Affine
    mask: CroppedMask
    seen_ns: int
    visible: bool = True
    misses: int = 0
    gone: bool = False

    @classmethod
    def of(cls, number: int, sighting: Sighting, seen_ns: int) -> "Track":
        mask = sighting.instance.mask
        return cls(number, sighting, mask, STILL, mask, seen_ns)

    @property
    def quality(self) -> float:
        """What answers are ordered by."""
        instance = self.sighting.instance
        return instance.score * (0.5 + 0.5 * instance.mask_score)

    @property
    def shown(self) -> bool:
        """In sight, and the model found it when it looked last."""
        return self.visible and self.misses == 0

    @property
    def instance(self) -> Instance:
        """The model's, with the mask and box of now."""
        return replace(self.sighting.instance, mask=self.mask, box_px=self.mask.box_px)
