"""Knobs of tracking."""

from dataclasses import dataclass

from qwen_seg_ros.setting import check, setting


@dataclass(frozen=True)
class TrackingSettings:
    """How long objects are followed without the model, and what makes two sightings the same object."""

    refresh_s: float = setting(1.0, "seconds after which the model looks again; 0 = on every frame", 0.0, 3600.0)
    reshape_s: float = setting(
        0.3, "seconds after which carried masks are cut anew from depth, where there is any; 0 = on every frame", 0.0, 3600.0
    )
    keep_lost_s: float = setting(60.0, "seconds for which an object out of sight keeps its id", 0.0, 86400.0)
    max_lost: int = setting(50, "objects out of sight that are remembered at most", 0, 1000)
    max_misses: int = setting(1, "looks of the model in a row that may miss an object before it counts as lost", 0, 100)
    same_place_m: float = setting(
        0.08, "an object found within this distance of where it was is the same one, metres", 0.005, 1.0
    )
    min_overlap: float = setting(
        0.2, "overlap with the expected mask and box (mean IoU) that an object needs where depth or pose is unknown", 0.01, 1.0
    )
    same_look: float = setting(0.85, "likeness of colours that brings back a lost object found at another place", 0.0, 1.0)
    min_look: float = setting(0.4, "likeness of colours below which a mask shows something else", 0.0, 1.0)
    min_visible: float = setting(0.3, "share of an object that must be in sight for it to be followed", 0.0, 1.0)

    def __post_init__(self) -> None:
        check(self)
