"""How often messages come and how long answers take, over the last while: figures for /diagnostics."""

import time
from collections import deque

import numpy as np

WINDOW_S = 5.0
_MOST_ARRIVALS = 1000  # in a window; more often than that is told as this many
_MOST_ANSWERS = 200


class Rate:
    """Messages a second over the last `WINDOW_S`; fed and asked by the executor's thread."""

    def __init__(self) -> None:
        self._arrivals: deque[float] = deque(maxlen=_MOST_ARRIVALS)

    def tick(self) -> None:
        self._arrivals.append(time.monotonic())

    def hz(self) -> float:
        """From the first to the last message of the window, so that it is right from the third message on."""
        since = time.monotonic() - WINDOW_S
        recent = [arrival for arrival in self._arrivals if arrival >= since]
        spread_s = recent[-1] - recent[0] if recent else 0.0
        return (len(recent) - 1) / spread_s if spread_s > 0 else len(recent) / WINDOW_S


class Latency:
    """Milliseconds of the last answers; fed by one thread, asked by another."""

    def __init__(self) -> None:
        self._spent_ms: deque[float] = deque(maxlen=_MOST_ANSWERS)

    def add(self, spent_s: float) -> None:
        self._spent_ms.append(1e3 * spent_s)

    def percentiles(self) -> dict[str, float]:
        """{"p50": ..., "p95": ...}, empty before the first answer."""
        spent_ms = self._spent_ms.copy()  # at once: the other thread goes on
        return {f"p{share}": float(np.percentile(spent_ms, share)) for share in (50, 95)} if spent_ms else {}
