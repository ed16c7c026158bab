"""Names and types of the topics of an RGB-D recording; those of a RealSense camera with aligned depth."""

from dataclasses import dataclass

COLOUR_TYPES = ("sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage")


@dataclass(frozen=True)
class Topics:
    """colour: rgb8, bgr8 or compressed; depth: 16UC1 or 32FC1 registered to colour; info: intrinsics of colour."""

    colour: str = "/camera/color/image_raw"
    depth: str = "/camera/aligned_depth_to_color/image_raw"
    info: str = "/camera/color/camera_info"
    static_transforms: str = "/tf_static"


OPTICAL_FRAME = "camera_color_optical_frame"
BASE_FRAME = "base_link"
