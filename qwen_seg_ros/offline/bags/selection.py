"""Which part of a recording is looked at, and how its images are to be read."""

from dataclasses import dataclass

from qwen_seg_ros.errors import SettingsError
from qwen_seg_ros.setting import check, setting


@dataclass(frozen=True)
class Selection:
    """Which part of a recording is looked at; seconds count from its first message."""

    start_s: float = setting(0.0, "Seconds of the recording to skip", 0.0, 1e9)
    duration_s: float = setting(0.0, "Seconds of the recording to read; 0 = to its end", 0.0, 1e9)
    every: int = setting(1, "Look at every n-th frame", 1, 1_000_000)
    rate_hz: float = setting(0.0, "Look at no more frames a second than this; 0 = all", 0.0, 10_000.0)
    tolerance_s: float = setting(0.05, "Largest difference of the stamps of colour and depth", 0.0, 10.0)
    rectified: bool = setting(False, "The colour images are rectified: use P of camera_info and no distortion")
    registered: bool = setting(False, "Depth is registered to colour already, whatever its frame is called")
    target_frame: str = setting("", "Frame of the results; empty = base_link where transforms lead there, else the camera's")

    def __post_init__(self) -> None:
        check(self)
        if self.every > 1 and self.rate_hz:
            raise SettingsError(f"frames are thinned out by one rule: every {self.every}, or {self.rate_hz:g} a second, not both")


class Thinning:
    """Every n-th frame, or those at or after the ticks of a clock that starts with the first frame."""

    def __init__(self, selection: Selection) -> None:
        self._every, self._period_ns = selection.every, round(1e9 / selection.rate_hz) if selection.rate_hz else 0
        self._seen, self._due_ns = 0, 0

    def takes(self, stamp_ns: int) -> bool:
        self._seen += 1
        if not self._period_ns:
            return (self._seen - 1) % self._every == 0
        if self._seen == 1 or stamp_ns < self._due_ns - 2 * self._period_ns:  # the first frame, or time was reset
            self._due_ns = stamp_ns
        if stamp_ns < self._due_ns:
            return False
        self._due_ns += self._period_ns * ((stamp_ns - self._due_ns) // self._period_ns + 1)
        return True
