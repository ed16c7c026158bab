"""Laws of the history of moving frames: the order of arrival is of no matter, a stamp counts once, and the history is bounded."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from qwen_seg_ros.geometry.frame_tree import HISTORY, JUMP_NS, FrameTree
from qwen_seg_ros.geometry.transform import transform

STAMPS = st.lists(st.integers(0, JUMP_NS), min_size=1, max_size=30)  # none so old that it reads as a reset of time


def at(x_m: float) -> NDArray:
    return transform(np.eye(3), np.array([x_m, 0.0, 0.0]))


def tree(places: list[tuple[int, float]]) -> FrameTree:
    """An arm that was at so many metres at these stamps, told in this order."""
    found = FrameTree(tolerance_s=0.1)
    for stamp, x_m in places:
        found.add("base", "arm", at(x_m), stamp, fixed=False)
    return found


def x_m(found: FrameTree, stamp: int) -> float:
    return float(found.find("base", "arm", stamp)[0, 3])


@given(STAMPS, st.integers(0, JUMP_NS), st.randoms(use_true_random=False))
def test_what_arrives_late_counts_as_if_it_had_come_in_time(stamps: list[int], asked: int, random) -> None:
    known = {stamp: number * 1.0 for number, stamp in enumerate(sorted(set(stamps)))}
    shuffled = list(known.items())
    random.shuffle(shuffled)
    if not min(known) <= asked <= max(known):
        asked = random.choice(stamps)
    assert x_m(tree(shuffled), asked) == pytest.approx(np.interp(asked, list(known), list(known.values())), abs=1e-9)


@given(STAMPS, st.randoms(use_true_random=False))
def test_a_stamp_that_is_told_again_changes_nothing(stamps: list[int], random) -> None:
    known = [(stamp, number * 1.0) for number, stamp in enumerate(sorted(set(stamps)))]
    again = [(random.choice(stamps), -5.0) for _ in range(5)]
    found = tree(known + again)
    for stamp, place in known:
        assert x_m(found, stamp) == pytest.approx(place, abs=1e-9)


def test_the_oldest_are_forgotten_wherever_they_arrive() -> None:
    found = tree([(stamp * 1000, stamp * 1.0) for stamp in range(HISTORY)])
    found.add("base", "arm", at(-9.0), 1, fixed=False)  # between the two oldest: the very oldest goes
    assert x_m(found, 0) == -9.0
    found.add("base", "arm", at(HISTORY * 1.0), HISTORY * 1000, fixed=False)
    assert x_m(found, 0) == 1.0 and x_m(found, HISTORY * 1000) == HISTORY


def test_a_stamp_of_long_before_means_that_time_began_anew() -> None:
    found = tree([(5 * JUMP_NS, 1.0), (6 * JUMP_NS, 2.0), (0, 3.0)])
    assert x_m(found, 0) == 3.0
    with pytest.raises(LookupError):
        found.find("base", "arm", 6 * JUMP_NS)


def test_between_two_parents_nothing_is_interpolated() -> None:
    found = tree([(0, 1.0), (JUMP_NS // 2, 2.0)])
    found.add("wrist", "arm", at(7.0), JUMP_NS, fixed=False)
    assert x_m(found, JUMP_NS // 4) == pytest.approx(1.5)
    assert found.find("wrist", "arm", JUMP_NS - 1000)[0, 3] == 7.0
    with pytest.raises(LookupError):
        found.find("base", "arm", JUMP_NS * 3 // 4)
