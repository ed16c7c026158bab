"""The soak benchmark: a short run of the real node over DDS, and its verdict on runs in which something grows."""

from dataclasses import replace
from io import StringIO

import pytest

pytest.importorskip("qwen_seg_ros.msg", reason="needs the built interfaces: make test, or source .ws/env.sh")
from rich.console import Console

from benchmarks.soak import SAMPLES, Sample, growth, report, run


def steady(frames: int = 10_000) -> list[Sample]:
    """A run that warms up for its first fifth, and then stays as it is."""
    numbers = [frames * (n + 1) // SAMPLES for n in range(SAMPLES)]
    return [Sample(n, 300.0 + min(50.0, n / 40), 24, 20 + (n > 500), (30.0, 40.0)) for n in numbers]


def test_a_run_that_stays_as_it_is_after_warming_up_is_flat() -> None:
    said = StringIO()
    assert report(steady(), {"images": "10000", "dropped": "7"}, 60.0, Console(file=said, width=200))
    assert "verdict: flat" in said.getvalue() and "80 answers" in said.getvalue() and "dropped 7" in said.getvalue()


@pytest.mark.parametrize("per_frame", [{"memory_mb": 0.002}, {"files": 0.001}, {"threads": 0.001}])
def test_what_grows_by_little_per_frame_is_told(per_frame: dict[str, float]) -> None:
    (name, step), said = *per_frame.items(), StringIO()
    grows = [replace(s, **{name: getattr(s, name) + int(s.frames * step * 1e3) / 1e3}) for s in steady()]
    assert not growth(grows).ok and not report(grows, {}, 60.0, Console(file=said, width=200))
    assert "verdict: GROWS" in said.getvalue()


def test_a_short_run_answers_and_leaves_nothing_open() -> None:
    said = StringIO()
    samples, _ = run(160, 40.0, "given", (320, 240), Console(file=said, width=200))
    assert samples[-1].frames == 160 and sum(len(sample.latencies_ms) for sample in samples) > 20
    found = growth(samples)
    assert found.memory_mb < 20 and found.files <= 0 and found.threads <= 0, said.getvalue()
    assert "verdict" in said.getvalue()
