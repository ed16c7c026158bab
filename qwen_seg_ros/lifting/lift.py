"""From masks and depth to object clouds, oriented boxes and the scene around them."""

from qwen_seg_ros.errors import InvalidInputError
from qwen_seg_ros.frame import Frame
from qwen_seg_ros.geometry.mask import CroppedMask
from qwen_seg_ros.lifting.object_cloud import Lifted, ObjectCloud, Refusal
from qwen_seg_ros.lifting.object_points import lift_object
from qwen_seg_ros.lifting.scene import no_scene, scene_around
from qwen_seg_ros.lifting.settings import LiftSettings
from qwen_seg_ros.lifting.support import find_support, up_direction
from qwen_seg_ros.lifting.view import View
from qwen_seg_ros.segmentation.result import SegmentationResult

DEFAULTS = LiftSettings()


def lift(frame: Frame, segmentation: SegmentationResult, settings: LiftSettings = DEFAULTS) -> Lifted:
    """One cloud with an oriented box per instance, in the camera's optical frame, metres.

    An instance without usable depth becomes a `Refusal` with the reason; so do all of them when the frame has no depth image or
    no camera. Deterministic.

    Raises:
        InvalidInputError: when a mask is for an image of another size.
    """
    masks = [instance.mask for instance in segmentation.instances]
    for mask in masks:
        _check_size(mask, frame)
    missing = "the frame has no depth image" if frame.depth_m is None else "the frame has no camera calibration"
    if frame.depth_m is None or frame.camera is None:
        refused = tuple(Refusal(k, i.phrase, missing) for k, i in enumerate(segmentation.instances, 1))
        return Lifted((), no_scene(up_direction(frame, None)), refused)
    support = find_support(frame, masks, settings)
    view = View(frame, support, up_direction(frame, support))
    lifted = [lift_object(view, k, i, settings) for k, i in enumerate(segmentation.instances, 1)]
    objects = tuple(item for item in lifted if isinstance(item, ObjectCloud))
    refused = tuple(item for item in lifted if isinstance(item, Refusal))
    return Lifted(objects, scene_around(view, objects, masks, settings), refused)


def _check_size(mask: CroppedMask, frame: Frame) -> None:
    if (mask.width, mask.height) != (frame.width, frame.height):
        raise InvalidInputError(
            f"masks must be for the frame's {frame.width}x{frame.height} image, got one for {mask.width}x{mask.height}"
        )
