"""Ids that stay: takes the model's answers when there are any, and carries their masks into the frames between."""

from collections.abc import Sequence
from dataclasses import replace

from qwen_seg_ros.errors import InvalidInputError
from qwen_seg_ros.frame import Frame
from qwen_seg_ros.segmentation.result import Instance, Outcome, SegmentationResult
from qwen_seg_ros.tracking.flow import Flow
from qwen_seg_ros.tracking.following import Now, followed
from qwen_seg_ros.tracking.matching import matches
from qwen_seg_ros.tracking.reshaping import reshaped
from qwen_seg_ros.tracking.settings import TrackingSettings
from qwen_seg_ros.tracking.surface import DepthView, located
from qwen_seg_ros.tracking.track import Sighting, Track, Tracked

DEFAULTS = TrackingSettings()
OUT_OF_SIGHT = "what the model found is out of sight; it looks again with the next frame"


class Tracker:
    """One camera's objects. Frames must come in order of time; not for use by two threads.

        if tracker.due(frame, instruction):
            tracked = tracker.update(frame, segmenter.segment(segmenter.encode(frame), instruction))
        else:
            tracked = tracker.propagate(frame)

    Ids are "1", "2", ... and never used twice by one tracker. A frame older than the last one (a recording that starts again)
    makes it forget its objects; the numbers go on. `settings` may be exchanged at any time.
    """

    def __init__(self, settings: TrackingSettings = DEFAULTS) -> None:
        self.settings = settings
        self._tracks: tuple[Track, ...] = ()
        self._next_number = 1
        self._last_frame: Frame | None = None
        self._answer: SegmentationResult | None = None
        self._answered_ns = self._shaped_ns = 0
        self._all_lost = False

    @property
    def known(self) -> int:
        """Objects that have an id now, in sight or remembered."""
        return len(self._tracks)

    def due(self, frame: Frame, instruction: str) -> bool:
        """Whether the model should look at this frame: for the first time, for another instruction, after `refresh_s`, or since
        everything that it found went out of sight."""
        if self._answer is None or self._all_lost or self._answer.instruction != instruction or self._went_back(frame):
            return True
        return frame.stamp_ns - self._answered_ns >= self.settings.refresh_s * 1e9

    def forget(self) -> None:
        """Start over, for example when the base frame becomes another one; the numbers go on."""
        self._tracks, self._last_frame, self._answer, self._all_lost = (), None, None, False

    def update(self, frame: Frame, segmentation: SegmentationResult) -> Tracked:
        """The model's answer on this frame, its instances in their order, with ids.

        An object keeps its id when it is found where it was expected, and gets it again when it was lost and comes back to its
        place or, moved, with an unmistakable look. An unreadable answer says nothing about objects, so it loses none.

        Raises:
            InvalidInputError: when a mask is for an image of another size.
        """
        for instance in segmentation.instances:
            _check_size(instance, frame)
        self._advance(frame)
        self._answered_ns = self._shaped_ns = frame.stamp_ns
        other = self._answer is None or self._answer.instruction != segmentation.instruction
        if segmentation.outcome is Outcome.UNREADABLE_ANSWER and not other and any(track.shown for track in self._tracks):
            return Tracked(segmentation, ("",) * len(segmentation.instances), fresh=True)
        sightings = [Sighting.of(frame, instance) for instance in segmentation.instances]
        pairs = matches(self._tracks, sightings, self.settings)
        found = [self._found(sighting, pairs.get(n), frame.stamp_ns) for n, sighting in enumerate(sightings)]
        kept = [self._missed(track, other) for n, track in enumerate(self._tracks) if n not in pairs.values()]
        self._tracks = (*(track for track in found if track is not None), *kept)
        self._answer, self._all_lost = segmentation, False
        return Tracked(segmentation, tuple(_id(track) if track else "" for track in found), fresh=True)

    def propagate(self, frame: Frame) -> Tracked:
        """The objects of the last answer in this frame, as far as they are in sight; the best first, as the model had them.

        Boxes are those of the masks; scores are the model's. With nothing in sight the outcome is NOT_FOUND and `message` says
        that this is not the model's word.

        Raises:
            InvalidInputError: before the first `update`.
        """
        if self._answer is None:
            raise InvalidInputError("there is nothing to propagate yet: call update with an answer of the model first")
        self._advance(frame)
        if frame.stamp_ns - self._shaped_ns >= self.settings.reshape_s * 1e9:
            self._tracks, self._shaped_ns = reshaped(self._tracks, frame, self.settings), frame.stamp_ns
        shown = sorted((track for track in self._tracks if track.shown), key=lambda track: -track.quality)
        self._all_lost = bool(self._answer.instances) and not shown
        return Tracked(self._carried(shown), tuple(map(_id, shown)), fresh=False)

    def _went_back(self, frame: Frame) -> bool:
        return self._last_frame is not None and frame.stamp_ns < self._last_frame.stamp_ns

    def _advance(self, frame: Frame) -> None:
        """Forget what has been out of sight for too long, and carry the others into this frame."""
        if self._went_back(frame):
            self._tracks = ()
        now = Now(frame, DepthView(frame) if located(frame) else None, self._flow(frame))
        self._tracks = tuple(followed(track, now, self.settings) for track in self._remembered(frame.stamp_ns))
        self._last_frame = frame

    def _flow(self, frame: Frame) -> Flow | None:
        """None for the first image and where another camera's or another size's comes in between."""
        last = self._last_frame
        if last is None or last.rgb.shape != frame.rgb.shape or last.frame_id != frame.frame_id:
            return None
        return Flow(last.rgb, frame.rgb)

    def _remembered(self, now_ns: int) -> tuple[Track, ...]:
        oldest = now_ns - self.settings.keep_lost_s * 1e9
        lost = [track for track in self._tracks if not track.visible and track.seen_ns >= oldest]
        lost.sort(key=lambda track: -track.seen_ns)
        return (*(track for track in self._tracks if track.visible), *lost[: self.settings.max_lost])

    def _found(self, sighting: Sighting, known: int | None, now_ns: int) -> Track | None:
        """The track of a sighting: the known one's number or a new one; None for a sighting without a pixel."""
        if sighting.look is None:
            return None
        if known is not None:
            return Track.of(self._tracks[known].number, sighting, now_ns)
        self._next_number += 1
        return Track.of(self._next_number - 1, sighting, now_ns)

    def _missed(self, track: Track, other_instruction: bool) -> Track:
        """Not in the answer: followed in silence for some more looks. What another instruction found is not shown."""
        if not (track.visible or other_instruction):
            return track
        misses = track.misses + 1
        return replace(track, misses=misses, visible=track.visible and misses <= self.settings.max_misses)

    def _carried(self, shown: Sequence[Track]) -> SegmentationResult:
        answer = self._answer
        assert answer is not None
        instances = tuple(track.instance for track in shown)
        if instances:  # maybe more than in the answer: what was out of sight when the model looked can be back
            absent = tuple(phrase for phrase in answer.absent if phrase not in {instance.phrase for instance in instances})
            message = answer.message if answer.outcome is Outcome.FOUND else ""
            return replace(answer, outcome=Outcome.FOUND, instances=instances, absent=absent, message=message, stage_ms={})
        if answer.instances:
            return replace(answer, outcome=Outcome.NOT_FOUND, instances=(), message=OUT_OF_SIGHT, stage_ms={})
        return replace(answer, stage_ms={})


def _id(track: Track) -> str:
    return str(track.number)


def _check_size(instance: Instance, frame: Frame) -> None:
    mask = instance.mask
    if (mask.width, mask.height) != (frame.width, frame.height):
        size = f"{mask.width}x{mask.height}"
        raise InvalidInputError(f"masks must be for the frame's {frame.width}x{frame.height} image, got one for {size}")
