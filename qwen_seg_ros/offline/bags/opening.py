"""Any recording -> an open reader: rosbag2 folders (mcap or sqlite3, compressed, split), single files, ROS 1 bags."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rosbags.highlevel import AnyReader
from rosbags.typesys import Stores, get_typestore
from rosbags.typesys.store import Typestore

from qwen_seg_ros.errors import InvalidInputError

FILES = (".mcap", ".db3", ".bag")


@contextmanager
def open_bag(path: Path) -> Iterator[AnyReader]:
    """The reader with its connections; types that the recording does not define are those of ROS 2 Humble.

    Raises:
        InvalidInputError: there is no recording, or it is damaged; the message says what can be read.
    """
    with _explained(path):
        reader = AnyReader(_parts(Path(path)), default_typestore=get_typestore(Stores.ROS2_HUMBLE))
        reader.open()
    try:
        yield reader
    finally:
        reader.close()


def messages(
    reader: AnyReader, connections: list[Any], start_ns: int | None = None, stop_ns: int | None = None
) -> Iterator[tuple[Any, int, Any]]:
    """Connection, time of recording (nanoseconds) and decoded message, in order of time; nothing where there are no connections.

    Raises:
        InvalidInputError: the recording is damaged; the message says from where on.
    """
    return _read(reader, connections, start_ns, stop_ns, reader.deserialize)


def serialised_messages(
    reader: AnyReader, connections: list[Any], start_ns: int | None = None, stop_ns: int | None = None
) -> Iterator[tuple[Any, int, bytes]]:
    """As `messages`, but bytes as ROS 2 sends them (CDR). Raises as `messages` does."""
    return _read(reader, connections, start_ns, stop_ns, _as_recorded if reader.is2 else ros2_types(reader).ros1_to_cdr)


def ros2_types(reader: AnyReader) -> Typestore:
    """The types as the recording defines them; ROS 1 counts headers, ROS 2 does not."""
    if reader.is2:
        return reader.typestore
    header = "std_msgs/msg/Header"
    store = get_typestore(Stores.EMPTY)
    store.register({**reader.typestore.fielddefs, header: get_typestore(Stores.ROS2_HUMBLE).fielddefs[header]})
    return store


def _as_recorded(raw: bytes, _: str) -> bytes:
    return raw


def _read(
    reader: AnyReader, connections: list[Any], start_ns: int | None, stop_ns: int | None, read: Callable[[bytes, str], Any]
) -> Iterator[tuple[Any, int, Any]]:
    stream = reader.messages(connections, start=start_ns, stop=stop_ns) if connections else iter(())
    log_ns = reader.start_time
    while True:
        try:
            connection, log_ns, raw = next(stream)
            message = read(raw, connection.msgtype)
        except StopIteration:
            return
        except Exception as error:  # the library hands on what zstd, lz4, sqlite and struct say
            place = f"the recording is damaged {(log_ns - reader.start_time) / 1e9:.3f} s after its start or later"
            raise InvalidInputError(f"{place} ({type(error).__name__}: {error}); --duration ends before that") from error
        yield connection, log_ns, message


def contents(reader: AnyReader) -> str:
    """The topics with types and counts of messages, for messages to the user."""
    lines = [
        f"{name} ({info.msgtype or 'several types'}, {info.msgcount} messages)" for name, info in sorted(reader.topics.items())
    ]
    return ", ".join(lines) or "no topics at all"


def _parts(path: Path) -> list[Path]:
    """A rosbag2 folder as a whole, or the files of a recording that were left without metadata.yaml."""
    if not path.exists():
        raise InvalidInputError(f"there is no bag {path}; make one with: qwen-seg simulate --bag {path}")
    if path.is_file() and path.suffix not in FILES:
        raise InvalidInputError(f"{path} is no recording; give a rosbag2 folder or a file that ends with {', '.join(FILES)}")
    if path.is_file() or (path / "metadata.yaml").exists():
        return [path]
    for suffix in FILES:
        if files := sorted(path.glob(f"*{suffix}")):
            return files
    raise InvalidInputError(f"the folder {path} holds no recording: neither metadata.yaml nor a file with {', '.join(FILES)}")


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Whatever a damaged file makes the library say, as an error of ours that names the recording."""
    try:
        yield
    except InvalidInputError:
        raise
    except Exception as error:  # of the library, struct, zstd, sqlite and yaml: the file decides which
        mend = "; an mcap that was cut off is mended by: mcap recover" if Path(path).suffix == ".mcap" else ""
        raise InvalidInputError(f"{path} cannot be read as a recording ({type(error).__name__}: {error}){mend}") from error
