"""A recording is played as it was recorded: order, bytes, QoS, time, pause and loop. Without ROS."""

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rosbags")

from replay_recordings import BEGIN_NS, COLOUR, FIXED, GAP_NS, STORE, put, recorded, recording
from rosbags.convert.converter import convert
from rosbags.interfaces import Qos, QosDurability, QosHistory, QosLiveliness, QosReliability, QosTime
from rosbags.typesys import Stores, get_typestore

from qwen_seg_ros.errors import InvalidInputError
from qwen_seg_ros.offline.bags.opening import open_bag
from qwen_seg_ros.offline.bags.player import LATE_NS, Manner, Pace, Player
from qwen_seg_ros.offline.bags.tracks import Recording
from qwen_seg_ros.offline.bags.writer import open_writer

FAST = 200.0
ROOT = Path(__file__).resolve().parents[1]


class Enough(Exception):
    pass


class Listener:
    """A stage that keeps what it gets; refuses the types in `refused`; ends a loop after `enough` messages."""

    def __init__(self, refused: tuple[str, ...] = (), enough: int = 10**9) -> None:
        self.offers, self.got, self.clocks, self.refused, self.enough = {}, [], [], refused, enough

    def offer(self, topic: str, kind: str, **offer) -> str:
        self.offers[topic] = {"kind": kind, **offer}
        return f"{kind} is refused" if kind in self.refused else ""

    def publish(self, topic: str, data: bytes) -> None:
        self.got.append((topic, bytes(data)))
        if len(self.got) == self.enough:
            raise Enough

    def set_clock(self, now_ns: int) -> None:
        self.clocks.append((len(self.got), now_ns))

    def listeners(self, topic: str) -> int:
        return 1


class Late(Listener):
    """Somebody listens to the pictures, but only after a while."""

    asked = 0

    def listeners(self, topic: str) -> int:
        self.asked += 1
        return int(topic == COLOUR and self.asked > 5)


def nothing(player: Player) -> None:
    pass


def played(bag: Path, manner: Manner | None = None, stage: Listener | None = None, attend=nothing, **part) -> Listener:
    stage = stage or Listener()
    with open_bag(bag) as reader:
        Player(Recording(reader, **part), stage, manner or Manner(rate=FAST), attend).play()
    return stage


@pytest.fixture(scope="module")
def bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four frames of 160x120, a tenth of a second apart, and a fixed transform with the first."""
    return recording(tmp_path_factory.mktemp("played") / "bag")


# --- What is played ----------------------------------------------------------------------------------------------------------


def test_every_message_comes_once_in_order_with_the_bytes_that_were_recorded(bag: Path) -> None:
    assert played(bag).got == [(topic, data) for _, topic, data in recorded(bag)]


def test_a_part_is_played_after_what_was_latched_before_it(bag: Path) -> None:
    got = played(bag, start_s=0.15, duration_s=0.1).got
    third = [(topic, data) for log_ns, topic, data in recorded(bag) if log_ns == BEGIN_NS + 2 * GAP_NS]
    assert got[0] == next((topic, data) for _, topic, data in recorded(bag) if topic == FIXED)
    assert got[1:] == third and len(third) == 3


def test_only_the_topics_that_were_asked_for(bag: Path) -> None:
    stage = played(bag, topics=(COLOUR, FIXED))
    assert set(stage.offers) == {topic for topic, _ in stage.got} == {COLOUR, FIXED}
    with pytest.raises(InvalidInputError, match=r"the bag has no topic /eye; it has .*/camera/color/image_raw"):
        played(bag, topics=("/eye",))
    with pytest.raises(InvalidInputError, match=r"is 0.3 s long; nothing is left after --start 7"):
        played(bag, start_s=7)


def test_a_type_that_cannot_be_sent_is_left_out_and_the_rest_is_played(bag: Path) -> None:
    stage = Listener(refused=("tf2_msgs/msg/TFMessage",))
    with open_bag(bag) as reader:
        player = Player(Recording(reader), stage, Manner(rate=FAST), nothing)
        player.play()
    assert player.skipped == {FIXED: "tf2_msgs/msg/TFMessage is refused"} and FIXED not in player.topics
    assert len(stage.got) == player.sent == 12 and FIXED not in {topic for topic, _ in stage.got}
    with pytest.raises(
        InvalidInputError, match="none of the topics can be played: /tf_static: tf2_msgs/msg/TFMessage is refused"
    ):
        played(bag, stage=stage, topics=(FIXED,))


def test_a_key_while_it_waits_for_a_listener_skips_nothing_and_holds_then(bag: Path) -> None:
    manner = Manner(rate=FAST, wait_for=(COLOUR,), paused=True)
    stage = played(bag, manner, Late(), attend=lambda player: player.pause(False))
    assert len(stage.got) == 13 and {now_ns for sent, now_ns in stage.clocks if sent == 0} == {BEGIN_NS}


def test_a_recording_of_ros_1_is_played_as_ros_2_sends_it(bag: Path, tmp_path: Path) -> None:
    convert([bag], tmp_path / "old.bag", "sqlite3", 8, None, "file", None, get_typestore(Stores.ROS1_NOETIC), (), (), (), ())
    stage = played(tmp_path / "old.bag")
    assert sorted(stage.got) == sorted((topic, data) for _, topic, data in recorded(bag))
    assert stage.offers[FIXED]["kind"] == "tf2_msgs/msg/TFMessage" and stage.offers[FIXED]["latched"]
    assert stage.offers[COLOUR]["definitions"]["std_msgs/msg/Header"] == ("stamp", "frame_id")


# --- QoS ---------------------------------------------------------------------------------------------------------------------


def profile(reliability: QosReliability, durability: QosDurability, depth: int) -> Qos:
    never = QosTime(0, 0)
    return Qos(QosHistory.KEEP_LAST, depth, reliability, durability, never, never, QosLiveliness.AUTOMATIC, never, False)


def words_bag(folder: Path, topics: dict[str, list[Qos]]) -> Path:
    with open_writer(folder) as writer:
        for topic, profiles in topics.items():
            connection = writer.add_connection(topic, "std_msgs/msg/String", typestore=STORE, offered_qos_profiles=profiles)
            for number in range(2):
                put(writer, connection, BEGIN_NS + number, data=f"{topic} {number}")
    return folder


def test_qos_is_that_of_the_recording_and_serves_everybody_where_none_was_recorded(tmp_path: Path) -> None:
    quick = profile(QosReliability.BEST_EFFORT, QosDurability.VOLATILE, 5)
    kept = profile(QosReliability.RELIABLE, QosDurability.TRANSIENT_LOCAL, 1)
    topics = {"/quick": [quick], "/kept": [kept], "/robot/tf_static": [], "/plain": [], "/deep": [kept._replace(depth=10**9)]}
    offers = played(words_bag(tmp_path / "bag", topics)).offers
    found = {topic: (offer["reliable"], offer["latched"], offer["kept"]) for topic, offer in offers.items()}
    assert found == {
        "/quick": (False, False, 10),
        "/kept": (True, True, 2),  # two publishers with a latched message each
        "/robot/tf_static": (True, True, 2),
        "/plain": (True, False, 10),
        "/deep": (True, True, 100),
    }


# --- Time --------------------------------------------------------------------------------------------------------------------


def test_the_clock_ascends_from_the_beginning_to_the_end_and_never_passes_a_message_that_is_to_come(bag: Path) -> None:
    clocks = played(bag, Manner(rate=1.0, clock_hz=500.0)).clocks
    times = [log_ns for log_ns, _, _ in recorded(bag)] + [BEGIN_NS + 4 * GAP_NS]
    assert [now_ns for _, now_ns in clocks] == sorted(now_ns for _, now_ns in clocks)
    assert clocks[0][1] == BEGIN_NS and all(now_ns <= times[sent] for sent, now_ns in clocks)
    assert played(bag, Manner(rate=FAST, clock_hz=0.0)).clocks == []


def test_nothing_comes_before_its_time(bag: Path) -> None:
    began = time.monotonic()
    played(bag, Manner(rate=2.0))
    assert time.monotonic() - began >= 3 * GAP_NS / 2.0 / 1e9


def test_a_loop_begins_again_with_the_same_bytes_and_the_clock_jumps_back(bag: Path) -> None:
    stage = Listener(enough=30)
    with pytest.raises(Enough):
        played(bag, Manner(rate=2.0, loop=True), stage)
    once = [(topic, data) for _, topic, data in recorded(bag)]
    assert stage.got == (once * 3)[:30]
    second_round = [now_ns for sent, now_ns in stage.clocks if len(once) <= sent]
    assert min(second_round) < BEGIN_NS + GAP_NS < max(now_ns for sent, now_ns in stage.clocks if sent < len(once))


def test_a_loop_of_one_moment_leaves_time_to_breathe(tmp_path: Path) -> None:
    began, stage = time.monotonic(), Listener(enough=7)
    with pytest.raises(Enough):
        played(words_bag(tmp_path / "bag", {"/words": []}), Manner(loop=True), stage)
    assert time.monotonic() - began >= 0.3


def test_while_paused_nothing_is_sent_and_the_clock_stands(bag: Path) -> None:
    ticks: list[tuple[int, float]] = []

    def attend(player: Player) -> None:
        if player.paused:
            ticks.append((player.sent, player.time_s))
        if len(ticks) == 5:
            player.pause(False)

    stage = played(bag, Manner(rate=FAST, paused=True, clock_hz=400.0), attend=attend)
    assert len(ticks) >= 5 and set(ticks) == {(0, 0.0)} and len(stage.got) == 13
    assert {now_ns for sent, now_ns in stage.clocks if sent == 0} == {BEGIN_NS}


def test_it_begins_when_somebody_listens(bag: Path) -> None:
    stage = played(bag, Manner(rate=FAST, wait_for=(COLOUR,)), Late())
    assert stage.asked > 6 and len(stage.got) == 13
    with pytest.raises(InvalidInputError, match="cannot wait for a listener to /eye; played are /camera"):
        played(bag, Manner(wait_for=("/eye",)))


def test_the_place_in_the_recording_follows_rate_and_pause() -> None:
    pace = Pace(1_000, rate=2.0, now_s=50.0)
    assert pace.place_ns(50.5) == 1_000 + 10**9
    assert pace.wait_s(1_000 + 3 * 10**9, now_s=50.5) == pytest.approx(1.0)
    pace.pause(True, 51.0)
    assert pace.place_ns(99.0) == 1_000 + 2 * 10**9 and pace.wait_s(0, 99.0) == float("inf")
    pace.pause(False, 100.0)
    assert pace.place_ns(100.5) == 1_000 + 3 * 10**9


def test_after_a_standstill_the_rest_comes_in_its_own_time(bag: Path) -> None:
    """The process was stopped for a while: no burst of what is overdue."""
    sent_at: list[float] = []

    class Stopped(Listener):
        def publish(self, topic: str, data: bytes) -> None:
            super().publish(topic, data)
            if topic == COLOUR:
                sent_at.append(time.monotonic())
                if len(sent_at) == 1:
                    time.sleep((GAP_NS + 2 * LATE_NS) / 1e9)

    played(bag, Manner(), Stopped())
    assert min(np.diff(sent_at[1:])) >= 0.9 * GAP_NS / 1e9


def test_without_ros_the_command_says_what_is_needed(bag: Path) -> None:
    code = "import sys; sys.modules['rclpy'] = None; from qwen_seg_ros.cli.main import app; app(['play', sys.argv[1]])"
    command = [sys.executable, "-c", code, str(bag)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert "playing needs ROS 2 (rclpy) and this package built in a workspace that is sourced" in " ".join(done.stderr.split())
