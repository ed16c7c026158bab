"""Knobs of the grasp planner."""

from dataclasses import dataclass

from qwen_seg_ros.setting import check, setting


@dataclass(frozen=True)
class GraspSettings:
    """What counts as a good grasp and how many are wanted."""

    gripper: str = setting("panda", "a gripper that comes with the package, or the path of a gripper YAML file", read_only=True)
    approach: str = setting(
        "any", "where the hand may come from: any, top (straight from above) or side (level, oblique, across rims)",
        choices=("any", "top", "side"))
    max_grasps: int = setting(10, "grasps per object at most", 1, 200)
    friction: float = setting(
        0.7, "friction coefficient between finger pads and objects; contacts outside its cone are refused", 0.05, 2.0)
    min_width_m: float = setting(0.002, "thinner pieces are not trusted: they are often noise, metres", 0.0, 0.05)
    width_margin_m: float = setting(0.004, "opening that must be left over beyond the object's width, metres", 0.0, 0.05)
    opening_margin_m: float = setting(0.015, "how much wider than the object the hand opens, where it can, metres", 0.0, 0.1)
    min_bite_m: float = setting(
        0.006, "how far the fingertips must reach below the top of the piece they hold, metres", 0.0, 0.05)
    table_clearance_m: float = setting(0.004, "distance of the fingertips from the table at least, metres", 0.0, 0.05)
    pregrasp_m: float = setting(0.1, "length of the straight approach that must be free, metres", 0.01, 0.5)
    voxel_m: float = setting(0.005, "resolution of collision checks, metres; obstacles are grown by one voxel", 0.002, 0.02)
    yaw_step_deg: float = setting(15.0, "step between closing directions, degrees", 5.0, 90.0)
    slide_step_m: float = setting(0.01, "step along the object between grasps, metres", 0.002, 0.1)
    min_free_share: float = setting(
        0.3, "share of a finger's place inside the object's outline (bowl, mug) that the camera must have seen empty", 0.0, 1.0)
    same_distance_m: float = setting(0.03, "two grasps nearer than this with like yaw count as the same, metres", 0.0, 0.5)
    same_yaw_deg: float = setting(
        30.0, "two grasps near in place and turned by less than this count as the same, degrees", 0.0, 90.0)

    def __post_init__(self) -> None:
        check(self)
