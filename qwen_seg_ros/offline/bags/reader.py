"""A recording -> frames: colour and depth paired by stamp, with calibration and the pose that its transforms give."""

from collections.abc import Iterator
from pathlib import Path

from rosbags.highlevel import AnyReader

from qwen_seg_ros.frame import Frame
from qwen_seg_ros.offline.bags.discovery import find_topics, present
from qwen_seg_ros.offline.bags.opening import open_bag
from qwen_seg_ros.offline.bags.selection import Selection
from qwen_seg_ros.offline.bags.topics import Topics
from qwen_seg_ros.offline.bags.views import Views


def read_bag(path: Path, topics: Topics | None = None, tolerance_s: float = 0.05) -> Iterator[Frame]:
    """Frames in order of time, in base_link where transforms lead there.

    topics: None = found by type. A colour topic may be compressed ("<colour>/compressed" is looked for too).

    Raises:
        InvalidInputError: there is no bag, a topic is missing (those that exist are named) or an encoding is unknown.
    """
    with open_bag(Path(path)) as reader:
        chosen = _present(reader, topics) if topics else find_topics(reader)
        for view in Views(reader, chosen, Selection(tolerance_s=tolerance_s)):
            yield view.look().frame


def _present(reader: AnyReader, topics: Topics) -> Topics:
    """The topics as the recording has them."""
    colour = present(reader, topics.colour, topics.colour + "/compressed")
    depth = present(reader, topics.depth, topics.depth + "/compressedDepth")
    return Topics(colour, depth, present(reader, topics.info))
