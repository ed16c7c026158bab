"""What the 3-D stage hands on: one cloud per object and the scene around them."""

from dataclasses import dataclass, replace

import numpy as np

from qwen_seg_ros.geometry.arrays import Colors, Matrix4, Points, Vector3, frozen, require
from qwen_seg_ros.geometry.oriented_box import OrientedBox
from qwen_seg_ros.geometry.plane import Plane
from qwen_seg_ros.geometry.transform import move_points


@dataclass(frozen=True, eq=False)
class ObjectCloud:
    """One lifted instance, in the camera's optical frame until `Lifted.moved` says otherwise.

    id: 1..N, the instance's place in the segmentation result plus one (= value in the label image).
    points_m: float32 (P, 3) cleaned and voxelised, colors: uint8 (P, 3), normals: float32 (P, 3) unit, towards the camera.
    depth_coverage: share of the mask's pixels with valid depth. flags: reasons to be careful ("flat", "thin", "cut").
    """

    id: int
    phrase: str
    score: float
    points_m: Points
    colors: Colors
    normals: Points
    box: OrientedBox
    depth_coverage: float
    flags: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        require(self.points_m, "object points", (None, 3), np.float32)
        count = len(self.points_m)
        require(self.colors, "object colors", (count, 3), np.uint8)
        require(self.normals, "object normals", (count, 3), np.float32)
        for name in ("points_m", "colors", "normals"):
            object.__setattr__(self, name, frozen(getattr(self, name)))


@dataclass(frozen=True, eq=False)
class Scene:
    """Everything around the objects that a gripper could hit.

    points_m: float32 (M, 3), what stands above the table near the objects, voxelised at the scene voxel size, objects included.
    object_ids: uint16 (M,), which object each point belongs to, 0 = none. support: the table, None = not found.
    up: unit vector against gravity (the table's normal, else the base frame's z, else the image's up). camera: (3,) viewpoint.
    """

    points_m: Points
    object_ids: np.ndarray
    support: Plane | None
    up: Vector3
    camera: Vector3


@dataclass(frozen=True)
class Refusal:
    """An instance that could not be lifted, and why."""

    id: int
    phrase: str
    reason: str


@dataclass(frozen=True, eq=False)
class Lifted:
    """objects in the order of the segmentation result; refused: instances without a usable cloud."""

    objects: tuple[ObjectCloud, ...]
    scene: Scene
    refused: tuple[Refusal, ...] = ()

    def moved(self, target_from_source: Matrix4) -> "Lifted":
        """The same objects and scene in another frame."""
        return Lifted(
            tuple(_moved_object(o, target_from_source) for o in self.objects),
            _moved_scene(self.scene, target_from_source),
            self.refused,
        )


def _moved_object(cloud: ObjectCloud, target_from_source: Matrix4) -> ObjectCloud:
    rotation = target_from_source[:3, :3].astype(np.float32)
    return replace(
        cloud,
        points_m=move_points(target_from_source, cloud.points_m),
        normals=np.ascontiguousarray(cloud.normals @ rotation.T),
        box=OrientedBox(target_from_source @ cloud.box.pose, cloud.box.size_m),
    )


def _moved_scene(scene: Scene, target_from_source: Matrix4) -> Scene:
    return Scene(
        points_m=move_points(target_from_source, scene.points_m),
        object_ids=scene.object_ids,
        support=scene.support.moved(target_from_source) if scene.support else None,
        up=target_from_source[:3, :3] @ scene.up,
        camera=target_from_source[:3, :3] @ scene.camera + target_from_source[:3, 3],
    )
