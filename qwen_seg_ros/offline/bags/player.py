"""Plays a recording in its own time onto a stage: a ROS node, or whatever else can publish. Knows no ROS.

Each message is handed on at its time of recording, divided by the rate; whoever pauses stops that time. Where the machine cannot
keep up the recording becomes slower; nothing is dropped, or sent in a burst afterwards. One message is in memory at a time.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from qwen_seg_ros.errors import InvalidInputError
from qwen_seg_ros.offline.bags.tracks import Recording, Track
from qwen_seg_ros.setting import check, setting

LATE_NS = 200_000_000  # of wall time: what is later than this is not caught up with
LEAST_TICK_HZ = 20.0  # how often at least keys and services are looked at
SETTLED_S = 0.3  # until a listener that is known here knows the player, too
LEAST_ROUND_S = 0.1  # a recording of one moment, played again and again
CLOCK = "/clock"


class Stage(Protocol):
    """Where messages go."""

    def offer(
        self, topic: str, kind: str, *, reliable: bool, latched: bool, kept: int, definitions: Mapping[str, tuple[str, ...]]
    ) -> str:
        """Make a topic. Returns "", or why messages of this type cannot be sent here."""
        ...

    def publish(self, topic: str, data: bytes) -> None: ...

    def set_clock(self, now_ns: int) -> None: ...

    def listeners(self, topic: str) -> int: ...


@dataclass(frozen=True)
class Manner:
    """How a recording is played."""

    rate: float = setting(1.0, "Speed; 0.5 = half as fast as it was recorded", 0.001, 1000.0)
    loop: bool = setting(False, "Again and again, with the stamps as they were recorded")
    clock_hz: float = setting(100.0, "How often /clock tells the recording's time; 20 at least, or 0 = never", 0.0, 1000.0)
    paused: bool = setting(False, "Begin paused")
    wait_for: tuple[str, ...] = setting((), "Begin when somebody listens to these topics")

    def __post_init__(self) -> None:
        check(self)


class Pace:
    """Where in the recording the player is; all times are handed in. now_s: of any steady clock, place: nanoseconds."""

    def __init__(self, begin_ns: int, rate: float, now_s: float, paused: bool = False) -> None:
        self.rate, self.paused = rate, paused
        self._place_ns, self._since_s = begin_ns, now_s

    def place_ns(self, now_s: float) -> int:
        passed_s = 0.0 if self.paused else now_s - self._since_s
        return self._place_ns + round(passed_s * self.rate * 1e9)

    def pause(self, paused: bool, now_s: float) -> None:
        self.go_on_from(self.place_ns(now_s), now_s)
        self.paused = paused

    def go_on_from(self, place_ns: int, now_s: float) -> None:
        self._place_ns, self._since_s = place_ns, now_s

    def wait_s(self, log_ns: int, now_s: float) -> float:
        """How long until this place; <= 0 = it is its turn or was."""
        if self.paused:
            return float("inf")
        return (log_ns - self.place_ns(now_s)) / (self.rate * 1e9)


class _Stopped(Exception):
    """Somebody had enough."""


class Player:
    """skipped: topic -> why it is not played. attend: called at least 20 times a second, from the thread that plays.

    Raises:
        InvalidInputError: none of the topics can be played, or a topic to wait for is not among them.
    """

    def __init__(self, recording: Recording, stage: Stage, manner: Manner, attend: Callable[["Player"], None]) -> None:
        self._recording, self._stage, self._manner, self._attend = recording, stage, manner, attend
        self.skipped = {track.topic: reason for track in recording.tracks if (reason := self._offer(track))}
        self._topics = [track.topic for track in recording.tracks if track.topic not in self.skipped]
        self._must_be_playable()
        self.sent = self.rounds = 0
        self._waiting, self._begins_paused = True, manner.paused
        self._stopped = False
        self._pace = Pace(recording.begin_ns, manner.rate, time.monotonic(), paused=True)
        self._tick_due_s = 0.0

    @property
    def topics(self) -> tuple[str, ...]:
        """Those that are played."""
        return tuple(self._topics)

    @property
    def time_s(self) -> float:
        """Place in the part that is played."""
        place_ns = min(self._pace.place_ns(time.monotonic()), self._recording.end_ns)
        return (place_ns - self._recording.begin_ns) / 1e9

    @property
    def paused(self) -> bool:
        return self._begins_paused if self._waiting else self._pace.paused

    def pause(self, paused: bool) -> None:
        """At once; said before somebody listens, it holds from then on."""
        if self._waiting:
            self._begins_paused = paused
        else:
            self._pace.pause(paused, time.monotonic())

    def stop(self) -> None:
        """`play` returns within a twentieth of a second. For signal handlers: it only leaves a mark."""
        self._stopped = True

    def play(self) -> bool:
        """True when the recording has ended, which with `loop` it never does; False when it was stopped. Raises as
        `opening.messages` does."""
        try:
            self._play()
        except _Stopped:
            return False
        return True

    def _play(self) -> None:
        self._await_listeners()
        self._waiting = False
        self.pause(self._begins_paused)
        while True:
            self._play_once()
            self.rounds += 1
            if not self._manner.loop:
                return
            self._pace.go_on_from(self._recording.begin_ns, time.monotonic())

    def _await_listeners(self) -> None:
        topics = self._manner.wait_for
        heard_s = time.monotonic()  # since when all have had a listener
        while topics and time.monotonic() - heard_s < SETTLED_S:
            time.sleep(max(self._tick(self._recording.begin_ns), 0.0))
            if not all(map(self._stage.listeners, topics)):
                heard_s = time.monotonic()

    def _play_once(self) -> None:
        for message in self._recording.messages(self._topics):
            self._await(message.log_ns)
            self._stage.publish(message.topic, message.data)
            self.sent += 1
        shortest_ns = self._recording.begin_ns + round(LEAST_ROUND_S * self._manner.rate * 1e9)
        self._await(max(self._recording.end_ns, shortest_ns))

    def _await(self, place_ns: int) -> None:
        """Until the recording's time is there."""
        while True:
            until_tick_s = self._tick(place_ns)
            wait_s = self._pace.wait_s(place_ns, time.monotonic())
            if wait_s <= 0:
                break
            time.sleep(max(min(wait_s, until_tick_s), 0.0))
        if -wait_s * 1e9 > LATE_NS:
            self._pace.go_on_from(place_ns, time.monotonic())

    def _tick(self, next_ns: int) -> float:
        """Clock and attendance, when it is their time. Returns seconds to the next tick; the clock never passes `next_ns`."""
        if self._stopped:
            raise _Stopped
        now_s = time.monotonic()
        if now_s >= self._tick_due_s:
            self._attend(self)
            now_s = time.monotonic()  # attending may have paused or gone on
            if self._manner.clock_hz:
                self._stage.set_clock(min(self._pace.place_ns(now_s), next_ns))
            self._tick_due_s = now_s + 1 / max(self._manner.clock_hz, LEAST_TICK_HZ)
        return self._tick_due_s - now_s

    def _offer(self, track: Track) -> str:
        if track.topic == CLOCK and self._manner.clock_hz:
            return "the player tells the time itself; --clock 0 plays the recorded one"
        if not track.kind:
            return "its messages are of several types"
        offer = {"reliable": track.reliable, "latched": track.latched, "kept": track.kept}
        return self._stage.offer(track.topic, track.kind, **offer, definitions=track.definitions)

    def _must_be_playable(self) -> None:
        if not self._topics:
            reasons = "; ".join(f"{topic}: {reason}" for topic, reason in self.skipped.items())
            raise InvalidInputError(f"none of the topics can be played: {reasons or 'the recording is empty'}")
        unknown = sorted(set(self._manner.wait_for) - set(self._topics))
        if unknown:
            raise InvalidInputError(f"cannot wait for a listener to {', '.join(unknown)}; played are {', '.join(self._topics)}")
