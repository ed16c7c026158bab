"""Which topics of a recording are the colour image, its depth and its calibration: by type and by what their messages say.

Names only decide between topics that could all be meant. Where they do not decide either, the user is asked.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from rosbags.highlevel import AnyReader

from qwen_seg_ros.errors import InvalidInputError
from qwen_seg_ros.geometry.image_bytes import COLOUR_ENCODINGS
from qwen_seg_ros.geometry.sensor_messages import DEPTH_ENCODINGS
from qwen_seg_ros.offline.bags.opening import contents, messages
from qwen_seg_ros.offline.bags.topics import CAMERA_INFO, COMPRESSED, IMAGE, IMAGE_TYPES, Topics

COLOUR_WORDS = ("color", "colour", "rgb")
OTHER_WORDS = ("infra", "left", "right", "overlay", "annotated", "debug", "detection", "label", "mask", "marker", "theora")
ALIGNED_WORDS = ("aligned", "registered")


@dataclass(frozen=True)
class Asked:
    """Topics that the user named; "" = find it. no_depth: masks only, depth and calibration may be missing."""

    image: str = ""
    depth: str = ""
    info: str = ""
    no_depth: bool = False


@dataclass(frozen=True)
class Seen:
    """A topic of images or calibrations and what its first message says; encoding "" for calibrations, size 0 = not told."""

    name: str
    kind: str
    count: int
    encoding: str
    size: tuple[int, int]
    frame_id: str

    @property
    def plain_name(self) -> str:
        """Without the word that image_transport appends."""
        return self.name.removesuffix("/compressed").removesuffix("/compressedDepth")

    @property
    def is_depth(self) -> bool:
        packed = self.kind == COMPRESSED and (
            "compressedDepth" in self.encoding or self.encoding.startswith(tuple(DEPTH_ENCODINGS))
        )
        return packed or self.encoding in DEPTH_ENCODINGS

    @property
    def is_colour(self) -> bool:
        return not self.is_depth and (self.kind == COMPRESSED or self.encoding in COLOUR_ENCODINGS)

    def __str__(self) -> str:
        size = f" {self.size[0]}x{self.size[1]}" if any(self.size) else ""
        return f"{self.name} ({self.encoding or self.kind}{size}, {self.count} messages)"


Points = Callable[[Seen], int]  # how much speaks for a topic


def find_topics(reader: AnyReader, asked: Asked | None = None) -> Topics:
    """The topics of one RGB-D camera.

    Raises:
        InvalidInputError: a topic that was named or is needed is missing (those that exist are listed with types and counts),
            or several could be meant and none was named.
    """
    asked = asked or Asked()
    seen = list(_seen(reader, {*IMAGE_TYPES, CAMERA_INFO}))
    pictures, infos = [s for s in seen if s.kind in IMAGE_TYPES], [s for s in seen if s.kind == CAMERA_INFO]
    choice = _Choice(reader)
    colour = choice.one("colour image", "--image", asked.image, [s for s in pictures if s.is_colour], _colour_points(infos))
    depths = [] if asked.no_depth and not asked.depth else [s for s in pictures if s.is_depth]
    needed = not asked.no_depth
    depth = choice.maybe("depth image", "--depth", asked.depth, depths, _depth_points(colour), needed)
    info = choice.maybe("camera_info", "--camera-info", asked.info, infos, _info_points(colour), needed)
    depth_info = _calibration_of(depth, colour, infos)
    return Topics(colour.name, depth.name if depth else "", info.name if info else "", depth_info=depth_info)


def present(reader: AnyReader, *names: str) -> str:
    """The first of these topics that the recording has; InvalidInputError lists those that it has."""
    for name in names:
        if name in reader.topics:
            return name
    raise InvalidInputError(f"the bag has no topic {' or '.join(names)}; it has {contents(reader)}")


class _Choice:
    def __init__(self, reader: AnyReader) -> None:
        self._reader = reader

    def maybe(self, what: str, option: str, name: str, known: list[Seen], points: Points, needed: bool) -> Seen | None:
        return self.one(what, option, name, known, points) if needed or name or known else None

    def one(self, what: str, option: str, name: str, known: list[Seen], points: Points) -> Seen:
        if name:
            return self._named(what, option, name, known)
        if not known:
            masks = "" if what == "colour image" else "; --no-depth does without, for masks only"
            raise InvalidInputError(f"the bag has no {what}; it has {contents(self._reader)}{masks}")
        ranked = sorted(known, key=lambda s: (-points(s), s.name))
        best = [s for s in ranked if points(s) == points(ranked[0])]
        if len(best) > 1:
            raise InvalidInputError(
                f"several topics could be the {what}: {', '.join(map(str, best))}; say which with {option} TOPIC"
            )
        return best[0]

    def _named(self, what: str, option: str, name: str, known: list[Seen]) -> Seen:
        """The topic that the user named, or its compressed form."""
        found = present(self._reader, name, f"{name}/compressed", f"{name}/compressedDepth")
        for item in known:
            if item.name == found:
                return item
        kind = self._reader.topics[found].msgtype
        fitting = ", ".join(map(str, known)) or "none of its topics"
        raise InvalidInputError(f"{option} {found} holds no {what} but {kind}; fitting are {fitting}")


def _seen(reader: AnyReader, kinds: set[str]) -> Iterable[Seen]:
    for name, info in sorted(reader.topics.items()):
        if info.msgtype in kinds and info.msgcount:
            message = _first(reader, info.connections)
            if message is not None:
                size = (int(getattr(message, "width", 0)), int(getattr(message, "height", 0)))
                told = getattr(message, "encoding", "") or getattr(message, "format", "")
                yield Seen(name, info.msgtype, info.msgcount, told, size, message.header.frame_id.lstrip("/"))


def _first(reader: AnyReader, connections: list[Any]) -> Any:
    return next((message for _, _, message in messages(reader, connections)), None)


def _colour_points(infos: list[Seen]) -> Points:
    places = {_place(info.name) for info in infos}

    def points(item: Seen) -> int:
        return (
            2 * _has(item.name, COLOUR_WORDS)
            - 4 * _has(item.name, OTHER_WORDS)
            - 3 * (item.encoding == "mono8")
            + 2 * (_place(item.plain_name) in places)
            + (item.kind == IMAGE)
        )

    return points


def _depth_points(colour: Seen) -> Points:
    def points(item: Seen) -> int:
        return (
            4 * (item.frame_id == colour.frame_id)
            + 2 * _has(item.name, ALIGNED_WORDS)
            + 2 * _shared(item.name, colour.name)
            + (item.size == colour.size)
            + (item.kind == IMAGE)
        )

    return points


def _info_points(colour: Seen) -> Points:
    def points(item: Seen) -> int:
        same_frame, same_size = item.frame_id == colour.frame_id, item.size == colour.size
        return (
            8 * (_place(item.name) == _place(colour.plain_name))
            + 4 * same_frame
            + 2 * same_size
            + _shared(item.name, colour.name)
        )

    return points


def _calibration_of(depth: Seen | None, colour: Seen, infos: list[Seen]) -> str:
    """The camera_info beside a depth image of another frame than colour's."""
    if depth is None or depth.frame_id in ("", colour.frame_id):
        return ""
    beside = [info.name for info in infos if info.frame_id == depth.frame_id]
    return next((name for name in beside if _place(name) == _place(depth.plain_name)), beside[0] if beside else "")


def _place(name: str) -> str:
    """The namespace: camera_info lies beside its image."""
    return name.rpartition("/")[0]


def _has(name: str, words: Iterable[str]) -> bool:
    return any(word in name.lower() for word in words)


def _shared(name: str, other: str) -> int:
    """How many leading parts of two names are equal."""
    pairs = list(zip(name.split("/")[1:-1], other.split("/")[1:-1], strict=False))
    return next((number for number, (mine, theirs) in enumerate(pairs) if mine != theirs), len(pairs))
