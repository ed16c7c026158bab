"""One synchronised view of the world: what the whole pipeline works on."""

from dataclasses import dataclass

import numpy as np

from qwen_seg_ros.errors import InvalidInputError
from qwen_seg_ros.geometry.arrays import DepthImage, Matrix4, RgbImage, Vector3, frozen, require
from qwen_seg_ros.geometry.camera import Camera


@dataclass(frozen=True, eq=False)
class Frame:
    """Colour, depth and camera of one moment, checked once and read-only.

    rgb: uint8 (H, W, 3). depth_m: float32 (H, W) registered to the colour image, NaN = no measurement; None = no depth camera.
    camera: intrinsics of the colour image. base_from_camera: the optical frame in the target frame at
    `stamp_ns`, None = unknown.
    frame_id: name of the optical frame. stamp_ns: time of the image in nanoseconds.
    """

    rgb: RgbImage
    depth_m: DepthImage | None = None
    camera: Camera | None = None
    base_from_camera: Matrix4 | None = None
    frame_id: str = "camera_color_optical_frame"
    stamp_ns: int = 0

    def __post_init__(self) -> None:
        require(self.rgb, "rgb", (None, None, 3), np.uint8)
        height, width = self.rgb.shape[:2]
        if height == 0 or width == 0:
            raise InvalidInputError(f"rgb must hold at least one pixel, got {width}x{height}")
        object.__setattr__(self, "rgb", frozen(self.rgb))
        if self.depth_m is not None:
            require(self.depth_m, "depth_m", (height, width), np.float32)
            object.__setattr__(self, "depth_m", frozen(self.depth_m))
        if self.camera is not None and (self.camera.width, self.camera.height) != (width, height):
            size = f"{self.camera.width}x{self.camera.height}"
            raise InvalidInputError(f"camera is for {size} images, got a {width}x{height} image")
        if self.base_from_camera is not None:
            require(self.base_from_camera, "base_from_camera", (4, 4), np.float64)

    @property
    def up(self) -> Vector3 | None:
        """Unit vector against gravity in the optical frame, where the camera's pose is known: the base frame's z."""
        return None if self.base_from_camera is None else self.base_from_camera[2, :3].copy()

    @property
    def height(self) -> int:
        return self.rgb.shape[0]

    @property
    def width(self) -> int:
        return self.rgb.shape[1]
