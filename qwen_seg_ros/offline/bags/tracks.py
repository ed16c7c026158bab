"""A recording as it is to be played: its topics with their QoS, and its messages as bytes. Knows no ROS."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from rosbags.highlevel import AnyReader
from rosbags.interfaces import Nodetype, Qos, QosDurability, QosHistory, QosReliability, TopicInfo
from rosbags.typesys.store import Typestore

from qwen_seg_ros.errors import InvalidInputError
from qwen_seg_ros.offline.bags.discovery import present
from qwen_seg_ros.offline.bags.opening import ros2_types, serialised_messages
from qwen_seg_ros.offline.bags.topics import TRANSFORM_TYPES

MOST_KEPT = 100  # messages that a publisher keeps for those who have not got them yet: of 4 MB each they fit into memory
LEAST_KEPT = 10
STATIC_TRANSFORMS = "tf_static"


@dataclass(frozen=True)
class Track:
    """A topic of a recording. kind: "sensor_msgs/msg/Image", "" = its messages are of several types.

    reliable, latched (for who joins late, too), kept (messages): the QoS that was recorded; where none was, reliable, which every
    subscriber takes. definitions: names of the fields of the type and of all types within, as they were recorded.
    """

    topic: str
    kind: str
    count: int
    reliable: bool
    latched: bool
    kept: int
    definitions: Mapping[str, tuple[str, ...]]


class Message(NamedTuple):
    """log_ns: when it was recorded; data: CDR bytes."""

    log_ns: int
    topic: str
    data: bytes


class Recording:
    """The part of an open recording that is to be played. topics: () = all; seconds count from its first message.

    Raises:
        InvalidInputError: a topic is not there (those that are get listed), or nothing is left after the start.
    """

    def __init__(self, reader: AnyReader, topics: Collection[str] = (), start_s: float = 0.0, duration_s: float = 0.0) -> None:
        wanted = [present(reader, name) for name in topics] or sorted(reader.topics)
        self._reader = reader
        types = ros2_types(reader)
        self.tracks = tuple(_track(name, reader.topics[name], types) for name in wanted)
        self.begin_ns = reader.start_time + round(start_s * 1e9)
        last_ns = reader.end_time
        if self.begin_ns >= last_ns:
            length_s = (last_ns - reader.start_time) / 1e9
            raise InvalidInputError(f"the recording is {length_s:.1f} s long; nothing is left after --start {start_s:g}")
        self.end_ns = min(self.begin_ns + round(duration_s * 1e9), last_ns) if duration_s else last_ns

    @property
    def length_s(self) -> float:
        return (self.end_ns - self.begin_ns) / 1e9

    def messages(self, topics: Collection[str]) -> Iterator[Message]:
        """Of these topics in order of time; first what was latched before the part begins. Raises as `opening.messages`."""
        latched = {track.topic for track in self.tracks if track.latched} & set(topics)
        for topic, _, data in self._read(latched, self._reader.start_time, self.begin_ns):
            yield Message(self.begin_ns, topic, data)
        for topic, log_ns, data in self._read(set(topics), self.begin_ns, self.end_ns):
            yield Message(log_ns, topic, data)

    def _read(self, topics: set[str], start_ns: int, stop_ns: int) -> Iterator[tuple[str, int, bytes]]:
        connections = [connection for connection in self._reader.connections if connection.topic in topics]
        for connection, log_ns, data in serialised_messages(self._reader, connections, start_ns, stop_ns):
            yield connection.topic, log_ns, data


def _track(topic: str, info: TopicInfo, types: Typestore) -> Track:
    recorded = info.msgtype or ""
    profiles = [profile for connection in info.connections for profile in _profiles(connection)]
    fixed = topic.rpartition("/")[2] == STATIC_TRANSFORMS and not profiles
    latched = fixed or any(p.durability is QosDurability.TRANSIENT_LOCAL for p in profiles) or _latched_in_ros1(info.connections)
    return Track(
        topic,
        TRANSFORM_TYPES[0] if recorded == TRANSFORM_TYPES[1] else recorded,
        info.msgcount,
        reliable=not any(p.reliability is QosReliability.BEST_EFFORT for p in profiles),
        latched=latched,
        kept=_kept(profiles, info.msgcount if latched else LEAST_KEPT),
        definitions=_definitions(types, recorded) if recorded else {},
    )


def _profiles(connection: Any) -> list[Qos]:
    return getattr(connection.ext, "offered_qos_profiles", [])


def _latched_in_ros1(connections: list[Any]) -> bool:
    return any(getattr(connection.ext, "latching", None) for connection in connections)


def _kept(profiles: list[Qos], least: int) -> int:
    """Several publishers with one latched message each have become one publisher that must keep all of them."""
    depths = [MOST_KEPT if p.history is QosHistory.KEEP_ALL else p.depth for p in profiles]
    return min(max([least, *depths]), MOST_KEPT)


def _definitions(types: Typestore, kind: str) -> dict[str, tuple[str, ...]]:
    """Type -> names of its fields, of a type and all that it is made of."""
    found: dict[str, tuple[str, ...]] = {}
    waiting = [kind]
    while waiting:
        name = waiting.pop()
        if name not in types.fielddefs:
            continue  # a recording without definitions, of a type that is not part of ROS
        fields = types.fielddefs[name][1]
        found[name] = tuple(field for field, _ in fields)
        waiting += [part for _, description in fields for part in _parts(description) if part not in found]
    return found


def _parts(description: Any) -> list[str]:
    """The type of a field, if it is no plain number or text; of its elements, if it is a list."""
    node, content = description
    if node in (Nodetype.ARRAY, Nodetype.SEQUENCE):
        return _parts(content[0])
    return [content] if node is Nodetype.NAME else []
