"""Names and types of the topics of an RGB-D recording; the defaults are those of a RealSense camera with aligned depth."""

from dataclasses import dataclass

IMAGE, COMPRESSED = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"
IMAGE_TYPES = (IMAGE, COMPRESSED)
CAMERA_INFO = "sensor_msgs/msg/CameraInfo"
TRANSFORM_TYPES = ("tf2_msgs/msg/TFMessage", "tf/msg/tfMessage")


@dataclass(frozen=True)
class Topics:
    """colour: rgb8, bgr8 or compressed; depth: 16UC1, 32FC1 or compressedDepth; info: calibration of colour.

    depth, info "" = there is none. depth_info: calibration of depth that is not registered to colour, "" = none.
    """

    colour: str = "/camera/color/image_raw"
    depth: str = "/camera/aligned_depth_to_color/image_raw"
    info: str = "/camera/color/camera_info"
    static_transforms: str = "/tf_static"
    depth_info: str = ""


OPTICAL_FRAME = "camera_color_optical_frame"
BASE_FRAME = "base_link"
