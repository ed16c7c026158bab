"""The newest synchronised view of the camera: a one-slot mailbox between the subscriptions and the worker.

Callbacks only store messages; pixels are decoded by the worker when it takes a frame. Colour and depth are paired by stamp;
camera_infos are kept per frame_id and need no pairing. Frames that nobody took are replaced, never queued, and counted.
"""

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from sensor_msgs.msg import CameraInfo

from qwen_seg_ros.errors import InvalidInputError
from qwen_seg_ros.frame import Frame
from qwen_seg_ros.geometry.arrays import DepthImage
from qwen_seg_ros.geometry.sensor_messages import camera_of, stamp_ns_of
from qwen_seg_ros.ros.inputs import of_camera
from qwen_seg_ros.ros.measures import Rate
from qwen_seg_ros.ros.messages_in import Picture, rgb_from_image
from qwen_seg_ros.ros.parameters import NodeSettings

_KEPT = 5  # images per stream that may still find their partner
_KEPT_INFOS = 32  # frames whose calibration is kept
_RESETS = 3  # so often time may begin anew until it is worth a word
_JUMP_NS = 1_000_000_000  # a stamp this much older than the newest one means that time was reset


@dataclass
class Counters:
    """Since the node was activated: messages per stream, pairs made, frames replaced unseen, resets of time."""

    images: int = 0
    depths: int = 0
    infos: int = 0
    depth_infos: int = 0
    pairs: int = 0
    dropped: int = 0
    time_jumps: int = 0


@dataclass(frozen=True)
class View:
    """Messages of one moment. depth, info, depth_info None = there was none; arrived_s: monotonic clock.

    note: why there is no depth, or no calibration for depth of a frame of its own. depth_wanted: False = nobody asks for 3-D.
    """

    image: Picture
    depth: Picture | None
    info: CameraInfo | None
    depth_info: CameraInfo | None
    arrived_s: float
    note: str = ""
    depth_wanted: bool = True

    @property
    def stamp(self) -> int:
        return stamp_ns_of(self.image.header.stamp)

    @property
    def other_frame(self) -> bool:
        """The depth image names another frame than the colour image."""
        return self.depth is not None and not same_frame(self.image, self.depth)

    def shows_the_same(self, other: "View") -> bool:
        return self.image is other.image and self.depth is other.depth

    def frame(self, depth_m: DepthImage | None, rectified: bool) -> Frame:
        """Decode, with depth of the colour image. Raises InvalidInputError where image, sizes or calibration cannot be used."""
        camera = camera_of(self.info, rectified) if self.info is not None else None
        rgb = rgb_from_image(self.image)
        if depth_m is not None and depth_m.shape != rgb.shape[:2]:
            raise InvalidInputError(
                f"depth image is {depth_m.shape[1]}x{depth_m.shape[0]}, colour image {rgb.shape[1]}x{rgb.shape[0]}; "
                "subscribe to the depth that is registered to the colour image (aligned_depth_to_color, depth_registered)"
            )
        return Frame(rgb, depth_m, camera, None, self.image.header.frame_id, self.stamp)


def same_frame(image: Picture, depth: Picture) -> bool:
    """By name; a depth image that names no frame is taken for one of the colour image's."""
    return depth.header.frame_id.lstrip("/") in ("", image.header.frame_id.lstrip("/"))


def _newness(entry: tuple[float, Picture]) -> tuple[int, float]:
    """Of images with one stamp the last to arrive is the newest: some cameras do not stamp."""
    return stamp_ns_of(entry[1].header.stamp), entry[0]


def _keep(infos: dict[str, CameraInfo], msg: CameraInfo) -> None:
    """The newest calibration of each frame; of more frames than there can be those heard of last."""
    infos.pop(msg.header.frame_id, None)
    infos[msg.header.frame_id] = msg
    if len(infos) > _KEPT_INFOS:
        del infos[next(iter(infos))]


@dataclass
class _Stream:
    """Messages of one topic that still wait for a partner, with their arrival times."""

    messages: deque[tuple[float, Any]] = field(default_factory=lambda: deque(maxlen=_KEPT))
    newest_ns: int | None = None
    began_s: float = float("inf")  # arrival of the first message

    def put(self, msg: Any) -> None:
        stamp = stamp_ns_of(msg.header.stamp)
        self.newest_ns = stamp if self.newest_ns is None else max(self.newest_ns, stamp)
        self.began_s = min(self.began_s, time.monotonic())
        self.messages.append((time.monotonic(), msg))

    def clear(self) -> None:
        self.messages.clear()
        self.newest_ns, self.began_s = None, float("inf")


class FrameSource:
    """Fed by subscriptions on one thread, asked by the worker on another."""

    def __init__(self, topics: dict[str, str], settings: Callable[[], NodeSettings], camera: str = "") -> None:
        """`topics`: resolved names under the keys image, depth, camera_info, depth_camera_info, for messages to the user.

        on_news: called after every message, by the thread that brought it.
        """
        self._settings = settings
        self._camera = camera
        self.on_news: Callable[[], None] = lambda: None
        self.counters = Counters()
        self.image_rate, self.depth_rate = Rate(), Rate()
        self.unheard: dict[str, str] = {}  # topic -> why nothing of a publisher there arrives
        self.topics = topics
        self._lock = threading.RLock()
        self._colour, self._depth = _Stream(), _Stream()
        self._infos: dict[str, CameraInfo] = {}
        self._depth_infos: dict[str, CameraInfo] = {}
        self._pair: tuple[float, Picture, Picture] | None = None  # arrival of the colour image, colour, depth
        self._taken: Picture | None = None
        self._lonely_since: float | None = None  # arrival of the first colour image after the last pair

    def on_image(self, msg: Picture) -> None:
        with self._lock:
            self.counters.images += 1
            self.image_rate.tick()
            self._store(self._colour, msg)
        self.on_news()

    def on_depth(self, msg: Picture) -> None:
        with self._lock:
            self.counters.depths += 1
            self.depth_rate.tick()
            self._store(self._depth, msg)
        self.on_news()

    def on_info(self, msg: CameraInfo) -> None:
        with self._lock:
            self.counters.infos += 1
            _keep(self._infos, msg)
        self.on_news()

    def on_depth_info(self, msg: CameraInfo) -> None:
        with self._lock:
            self.counters.depth_infos += 1
            _keep(self._depth_infos, msg)
        self.on_news()

    def clear(self) -> None:
        """Begin again with every count at zero; only the calibration stays."""
        with self._lock:
            self.counters = Counters()
            self._forget_images()

    def take(self, new: bool = False) -> View | None:
        """The newest whole view; None while there is none.

        `new`: only a view that has not been taken before (continuous mode).
        """
        with self._lock:
            view = self._newest()
            if view is None or (new and view.image is self._taken):
                return None
            self._taken = view.image
            return view

    def missing(self) -> str:
        """Why there is no view: which topic is silent, or what does not fit together."""
        with self._lock:
            topics, count, frame_id = self.topics, self.counters, self.camera_frame()
            arrived = f"{count.images} images, {count.depths} depth images and {count.infos} camera_infos arrived"
            if count.time_jumps > _RESETS:
                arrived += f", their stamps went back {count.time_jumps} times: do two cameras publish there?"
            if not self._colour.messages:
                name = of_camera(self._camera, "image")
                advice = self.unheard.get(topics["image"], f"check the topic name (remap `{name}`) and that the camera runs")
                return f"no image on {topics['image']}; {arrived}; {advice}"
            age = self._age(self._colour.messages[-1][0])
            if age > self._allowed_age():
                return f"the last image on {topics['image']} came {age:.1f} s ago; {arrived}"
            if frame_id not in self._infos:
                others = f" (only for {', '.join(map(repr, self._infos))})" if self._infos else ""
                where = f"for frame {frame_id!r} on {topics['camera_info']}{others}"
                return f"no camera_info {where}; {arrived}, {count.pairs} pairs matched"
            return f"no whole frame yet; {arrived}; {self._pairing()}"

    def other_depth_frame(self) -> bool:
        """The newest depth image names another frame than the newest colour image."""
        with self._lock:
            newest = [stream.messages[-1][1] for stream in (self._colour, self._depth) if stream.messages]
            return len(newest) == 2 and not same_frame(*newest)

    def wants_depth(self) -> bool:
        return self._settings().use_depth

    def camera_frame(self) -> str:
        """Frame of the newest colour image; "" = none has arrived."""
        with self._lock:
            return self._colour.messages[-1][1].header.frame_id if self._colour.messages else ""

    def seconds_since_image(self) -> float | None:
        with self._lock:
            return self._age(self._colour.messages[-1][0]) if self._colour.messages else None

    def _store(self, stream: _Stream, msg: Picture) -> None:
        if stream.newest_ns is not None and stamp_ns_of(msg.header.stamp) < stream.newest_ns - _JUMP_NS:
            self.counters.time_jumps += 1
            self._forget_images()
        stream.put(msg)
        self._match()

    def _forget_images(self) -> None:
        self._colour.clear()
        self._depth.clear()
        self._pair, self._taken, self._lonely_since = None, None, None

    def _match(self) -> None:
        """Pair the newest colour image that has a depth image within the tolerance, and note since when images go without."""
        waiting_since = None
        for arrived, image in sorted(self._colour.messages, key=_newness, reverse=True):
            depth, gap_s = self._nearest_depth(image)
            if depth is not None and gap_s <= self._settings().sync_tolerance_s:
                self._set_pair(arrived, image, depth)
                self._lonely_since = waiting_since
                return
            waiting_since = arrived
        if self._lonely_since is None:
            self._lonely_since = waiting_since

    def _set_pair(self, arrived: float, image: Picture, depth: Picture) -> None:
        if self._pair is None or self._pair[1] is not image:
            self.counters.pairs += 1
            self.counters.dropped += self._pair is not None and self._pair[1] is not self._taken
        self._pair = (arrived, image, depth)

    def _nearest_depth(self, image: Picture) -> tuple[Picture | None, float]:
        stamp = stamp_ns_of(image.header.stamp)
        gaps = [(abs(stamp_ns_of(depth.header.stamp) - stamp) * 1e-9, depth) for _, depth in reversed(self._depth.messages)]
        gap_s, depth = min(gaps, key=lambda entry: entry[0], default=(float("inf"), None))
        return depth, gap_s

    def _newest(self) -> View | None:
        """The newest pair; the newest image alone once images have gone without depth for the grace time; None = wait."""
        if not self._colour.messages or self._age(self._colour.messages[-1][0]) > self._allowed_age():
            return None
        arrived, image, depth = *self._colour.messages[-1], None
        if not self.wants_depth():
            return View(image, None, self._infos.get(image.header.frame_id), None, arrived, depth_wanted=False)
        note = ""
        if self._lonely_since is not None and self._age(self._lonely_since) >= self._settings().depth_grace_s:
            note = self._pairing()
        elif self._pair is not None:
            arrived, image, depth = self._pair
        else:
            return None
        info = self._infos.get(image.header.frame_id)
        if info is None and self._depth.messages:
            return None  # a depth camera without calibration is a wiring error, not a colour camera
        depth_frame_id = depth.header.frame_id if depth is not None else ""
        view = View(image, depth, info, self._depth_infos.get(depth_frame_id), arrived, note)
        if not view.other_frame or view.depth_info is not None:
            return view
        if self._age(self._depth.began_s) < self._settings().depth_grace_s:
            return None  # the calibration may come a moment after the first image
        return replace(view, note=self._no_depth_info(depth_frame_id))

    def _no_depth_info(self, frame_id: str) -> str:
        others = f" (only for {', '.join(map(repr, self._depth_infos))})" if self._depth_infos else ""
        return f"no camera_info for the depth frame {frame_id!r} on {self.topics['depth_camera_info']}{others}"

    def _pairing(self) -> str:
        """How depth and colour fit, for messages: called with the lock held."""
        if not self._depth.messages:
            return f"no depth image on {self.topics['depth']} ({self.counters.depths} arrived so far)"
        gaps = [self._nearest_depth(image)[1] for _, image in self._colour.messages]
        gap = f"; nearest stamps differ by {min(gaps):.3g} s, allowed are {self._settings().sync_tolerance_s:g} s" if gaps else ""
        count = self.counters
        return f"{count.images} colour and {count.depths} depth images arrived, {count.pairs} pairs matched{gap}"

    def _allowed_age(self) -> float:
        return self._settings().max_frame_age_s or float("inf")

    @staticmethod
    def _age(arrived_s: float) -> float:
        return time.monotonic() - arrived_s
