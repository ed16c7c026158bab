"""A recording -> views in order of time, as few as asked for and never all at once."""

from collections import deque
from collections.abc import Iterator
from typing import Any

from rosbags.highlevel import AnyReader

from qwen_seg_ros.errors import InvalidInputError
from qwen_seg_ros.geometry.frame_tree import FrameTree
from qwen_seg_ros.geometry.sensor_messages import matrix_of, stamp_ns_of
from qwen_seg_ros.offline.bags.opening import messages
from qwen_seg_ros.offline.bags.pairing import Counts, Pairing, Stamped
from qwen_seg_ros.offline.bags.selection import Selection, Thinning
from qwen_seg_ros.offline.bags.topics import TRANSFORM_TYPES, Topics
from qwen_seg_ros.offline.bags.view import View

WAIT_NS = 200_000_000  # how long a view waits for transforms that are recorded after it, as the node does


class Views:
    """Iterate once; `counts` says afterwards how colour and depth fitted. Holds the images of about two seconds at most."""

    def __init__(self, reader: AnyReader, topics: Topics, selection: Selection) -> None:
        self._reader, self._topics, self._selection = reader, topics, selection
        self._pairing = Pairing(selection.tolerance_s)
        self._tree = FrameTree()
        self._latest: dict[str, Any] = {}  # calibrations by topic
        self._thinning = Thinning(selection)
        self.length_s = max(reader.end_time - reader.start_time, 0) / 1e9
        if selection.start_s > self.length_s:
            raise InvalidInputError(
                f"the recording is {self.length_s:.1f} s long; nothing is left after --start {selection.start_s:g}"
            )

    @property
    def counts(self) -> Counts:
        return self._pairing.counts

    def share(self, time_s: float) -> float:
        """How much of what is to be read lies before this time of the recording, 0..1."""
        left = self.length_s - self._selection.start_s
        length = min(self._selection.duration_s or left, left)
        return min((time_s - self._selection.start_s) / length, 1.0) if length > 0 else 1.0

    def __iter__(self) -> Iterator[View]:
        self._read_ahead()
        moving = any(self._is_transform(c) and not c.topic.endswith("tf_static") for c in self._reader.connections)
        waiting: deque[View] = deque()
        for now_ns, view in self._views():
            if view is not None:
                waiting.append(view)
            while waiting and (not moving or now_ns - waiting[0].log_ns >= WAIT_NS):
                yield waiting.popleft()
        yield from waiting

    def _views(self) -> Iterator[tuple[int, View | None]]:
        """Every message moves the time on (nanoseconds); some complete a view."""
        now_ns = 0
        for connection, now_ns, message in self._messages():
            self._take(connection, now_ns, message)
            yield now_ns, None
            yield from ((now_ns, view) for view in self._taken(ended=False))
        yield from ((now_ns, view) for view in self._taken(ended=True))

    def _messages(self) -> Iterator[tuple[Any, int, Any]]:
        topics, start_ns = self._topics, self._reader.start_time
        named = {topics.colour, topics.depth, topics.info, topics.depth_info} - {""}
        wanted = [c for c in self._reader.connections if c.topic in named or self._is_transform(c)]
        begin, length = self._selection.start_s, self._selection.duration_s
        stop_ns = start_ns + round((begin + length) * 1e9) if length else None
        return messages(self._reader, wanted, start_ns + round(begin * 1e9) if begin else None, stop_ns)

    def _read_ahead(self) -> None:
        """What holds for the whole recording, wherever it was recorded: fixed transforms and the first calibrations."""
        fixed = [c for c in self._reader.connections if self._is_transform(c) and c.topic.endswith("tf_static")]
        for connection, now_ns, message in messages(self._reader, fixed):
            self._take(connection, now_ns, message)
        for topic in {self._topics.info, self._topics.depth_info} - {""}:
            found = messages(self._reader, [c for c in self._reader.connections if c.topic == topic])
            self._latest[topic] = next((message for _, _, message in found), None)

    def _is_transform(self, connection: Any) -> bool:
        return connection.msgtype in TRANSFORM_TYPES

    def _take(self, connection: Any, log_ns: int, message: Any) -> None:
        topics, topic = self._topics, connection.topic
        if self._is_transform(connection):
            self._add_transforms(message, fixed=topic.endswith("tf_static"))
        elif topic == topics.colour:
            self._pairing.add_colour(_stamped(message, log_ns))
        elif topic == topics.depth:
            self._pairing.add_depth(_stamped(message, log_ns))
        else:
            self._latest[topic] = message

    def _add_transforms(self, message: Any, fixed: bool) -> None:
        for link in message.transforms:
            try:
                pose = matrix_of(link.transform)
            except InvalidInputError:
                continue  # a quaternion of zeros: tf2 ignores such a transform too
            self._tree.add(link.header.frame_id, link.child_frame_id, pose, stamp_ns_of(link.header.stamp), fixed)

    def _taken(self, ended: bool) -> Iterator[View]:
        pairs = self._pairing.pairs(ended) if self._topics.depth else self._pairing.singles()
        for colour, depth in pairs:
            if self._thinning.takes(colour.stamp_ns):
                yield self._view(colour, depth)

    def _view(self, colour: Stamped, depth: Stamped | None) -> View:
        info, depth_info = self._latest.get(self._topics.info), self._latest.get(self._topics.depth_info)
        time_s = (colour.log_ns - self._reader.start_time) / 1e9
        depth_message = depth.message if depth else None
        return View(
            colour.stamp_ns, colour.log_ns, time_s, colour.message, depth_message, info, depth_info, self._tree, self._selection
        )


def _stamped(message: Any, log_ns: int) -> Stamped:
    """A driver that sets no stamp leaves only the time of recording."""
    return Stamped(stamp_ns_of(message.header.stamp) or log_ns, log_ns, message)
