"""What the 2-D stage found, in pixels of the colour image."""

from dataclasses import dataclass, field
from enum import Enum

from qwen_seg_ros.geometry.arrays import BoxPx
from qwen_seg_ros.geometry.mask import CroppedMask


class Outcome(Enum):
    """What an answer means; never an empty list that could mean two things."""

    FOUND = "found"
    NOT_FOUND = "not found"  # the model says that nothing in the image matches
    UNREADABLE_ANSWER = "unreadable answer"  # the model wrote something that is no answer


@dataclass(frozen=True, eq=False)
class Instance:
    """One object. box_px: (4,) as the model wrote it; score: confidence of the answer, mask_score: predicted IoU, both 0..1."""

    phrase: str
    box_px: BoxPx
    mask: CroppedMask
    score: float
    mask_score: float


@dataclass(frozen=True, eq=False)
class SegmentationResult:
    """Instances best first, the phrases that have no target, and the raw answer for the log.

    stage_ms: milliseconds by stage of the segmenter, for example {"encode": 60.0, "generate": 300.0, "masks": 20.0}.
    """

    instruction: str
    outcome: Outcome
    instances: tuple[Instance, ...] = ()
    absent: tuple[str, ...] = ()
    answer: str = ""
    message: str = ""
    stage_ms: dict[str, float] = field(default_factory=dict)
