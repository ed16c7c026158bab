"""Colour images and the depth images of their moment, from a stream of both; bounded, whatever the recording does."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

KEPT = 60  # images of one stream that may wait for the other: 2 s at 30 Hz
JUMP_NS = 1_000_000_000


@dataclass(frozen=True)
class Stamped:
    """A message with the stamp of its header and the time at which it was recorded, both in nanoseconds."""

    stamp_ns: int
    log_ns: int
    message: Any


@dataclass
class Counts:
    """least_gap_ns: between the stamps of a colour image without partner and the depth image nearest to it, None = no such."""

    colours: int = 0
    depths: int = 0
    pairs: int = 0
    least_gap_ns: int | None = None


class Pairing:
    """A colour image gets the depth image with the nearest stamp; one depth image may serve several colour images."""

    def __init__(self, tolerance_s: float) -> None:
        self.counts = Counts()
        self._tolerance_ns = round(tolerance_s * 1e9)
        self._colours: deque[Stamped] = deque()
        self._depths: deque[Stamped] = deque(maxlen=KEPT)

    def add_colour(self, item: Stamped) -> None:
        self.counts.colours += 1
        if self._colours and item.stamp_ns < self._colours[-1].stamp_ns - JUMP_NS:
            self._colours.clear()  # time was reset: what waited has lost its partners
            self._depths.clear()
        self._colours.append(item)

    def add_depth(self, item: Stamped) -> None:
        self.counts.depths += 1
        if self._depths and item.stamp_ns < self._depths[-1].stamp_ns - JUMP_NS:
            self._depths.clear()
        self._depths.append(item)

    def pairs(self, ended: bool = False) -> Iterator[tuple[Stamped, Stamped]]:
        """Those that nothing to come can change; `ended`: nothing comes any more."""
        while self._colours and (ended or self._decided()):
            colour = self._colours.popleft()
            while len(self._depths) > 1 and self._depths[1].stamp_ns <= colour.stamp_ns:
                self._depths.popleft()
            depth = min(self._depths, key=lambda item: abs(item.stamp_ns - colour.stamp_ns), default=None)
            if depth is not None and self._near(colour, depth):
                self.counts.pairs += 1
                yield colour, depth

    def singles(self) -> Iterator[tuple[Stamped, None]]:
        """Colour alone, where no depth is looked for."""
        while self._colours:
            self.counts.pairs += 1
            yield self._colours.popleft(), None

    def _decided(self) -> bool:
        later = bool(self._depths) and self._depths[-1].stamp_ns >= self._colours[0].stamp_ns
        return later or len(self._colours) > KEPT

    def _near(self, colour: Stamped, depth: Stamped) -> bool:
        gap = abs(colour.stamp_ns - depth.stamp_ns)
        if gap > self._tolerance_ns:
            self.counts.least_gap_ns = min(gap, self.counts.least_gap_ns or gap)
        return gap <= self._tolerance_ns
