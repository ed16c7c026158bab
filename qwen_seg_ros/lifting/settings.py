"""Knobs of the 3-D stage. Pixel values are for an image 640 pixels wide and scale with the width."""

from dataclasses import dataclass

from qwen_seg_ros.setting import check, setting


@dataclass(frozen=True)
class LiftSettings:
    """How masked depth becomes clouds and boxes."""

    mask_margin_px: float = setting(
        2.0, "pixels at the edge of a mask that count only where their depth continues the inside; 0 trusts the mask", 0.0, 10.0
    )
    flying_jump_m: float = setting(
        0.01, "depth range in 3x3 pixels above which a pixel is mixed from two surfaces, metres", 0.001, 0.1
    )
    flying_jump_share: float = setting(0.02, "the same as a share of the depth; the larger of the two holds", 0.001, 0.1)
    min_depth_coverage: float = setting(0.3, "share of a mask's pixels that must have depth", 0.0, 1.0)
    min_points: int = setting(20, "pixels with depth that an object needs after cleaning", 3, 10000)
    table_from: str = setting(
        "depth",
        "where the table is: depth = a plane found around the objects in every frame; target_frame = the plane "
        "z = table_height_m of the target frame, known from TF, where the table is hidden or glossy",
        choices=("depth", "target_frame"),
    )
    table_height_m: float = setting(
        0.0, "height of the table in the target frame, for table_from: target_frame, metres", -5.0, 5.0
    )
    table_tolerance_m: float = setting(
        0.008, "distance within which points count as the table while it is searched, metres", 0.001, 0.05
    )
    table_clearance_m: float = setting(
        0.006, "points lower than this above the table are cut off objects and scene, metres", 0.0, 0.05
    )
    flat_share: float = setting(
        0.4, "an object that would lose more than this share to the table keeps its points: it is flat", 0.05, 1.0
    )
    voxel_m: float = setting(0.004, "voxel size of object clouds, metres", 0.001, 0.02)
    scene_voxel_m: float = setting(0.005, "voxel size of the scene cloud, metres", 0.002, 0.05)
    scene_margin_m: float = setting(0.15, "how far around the objects the scene is kept, metres", 0.05, 1.0)
    cluster_voxel_m: float = setting(0.008, "voxel size for finding clusters, metres", 0.002, 0.05)
    cluster_radius_m: float = setting(
        0.014, "such voxels farther apart than this belong to different clusters, metres", 0.002, 0.05
    )
    cluster_share: float = setting(0.03, "clusters smaller than this share of the largest are dropped", 0.0, 1.0)
    complete: bool = setting(True, "estimate the hidden back of an object for its box from its symmetry")

    def __post_init__(self) -> None:
        check(self)
