"""The mixture: shares, repeatability, and rendered pictures asked about in three ways."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from shards import write_shard
from test_expressions import WIDTH

from qwen_seg_ros.errors import InvalidInputError
from qwen_seg_ros.offline.data.mix import RECIPE, Mixture, RenderedPictures, doubtful_objects, held_out_plain, rendered_sources
from qwen_seg_ros.offline.data.plain_questions import PlainQuestion
from qwen_seg_ros.offline.data.samples import Sample, augment, pick_questions, visible
from qwen_seg_ros.offline.data.store import StoredViews

HEIGHT = 240


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_shard(tmp_path_factory.mktemp("data"), views=7)


class Numbered:
    """A source whose pictures are their own numbers; `silent` ones have no question."""

    def __init__(self, length: int, silent: Callable[[int], bool] = lambda _: False) -> None:
        self.length, self.silent = length, silent

    def __len__(self) -> int:
        return self.length

    def sample(self, index: int, rng: np.random.Generator) -> Sample | None:
        pixel = np.full((1, 1, 3), index, np.uint8)
        return None if self.silent(index) else Sample(pixel, pixel[..., 0], (), (PlainQuestion("?", "!"),))


def same(one: Sample, other: Sample) -> bool:
    return (
        np.array_equal(one.rgb, other.rgb)
        and np.array_equal(one.ids, other.ids)
        and (one.objects, one.questions) == (other.objects, other.questions)
    )


def test_every_source_gets_exactly_its_share() -> None:
    mixture = Mixture({name: Numbered(50) for name in RECIPE}, RECIPE, places=4)
    drawn = [mixture.draw(3, step, place).source for step in range(150) for place in range(4)]
    assert Counter(drawn) == {"segmentation": 300, "general": 100, "reasoning": 200}
    blocks = {tuple(drawn[n : n + 6]) for n in range(0, 600, 6)}
    assert all(Counter(block) == RECIPE for block in blocks)
    assert len(blocks) > 20, "the order within a block must be drawn"


def test_each_pass_shows_every_picture_once_in_an_order_of_its_own() -> None:
    mixture = Mixture({"a": Numbered(30), "b": Numbered(5)}, {"a": 1, "b": 1}, places=1)
    draws = [(mixture.draw(0, step, 0), int(mixture.picture(0, step, 0).rgb[0, 0, 0])) for step in range(120)]
    seen = [number for draw, number in draws if draw.source == "a"]
    assert sorted(seen[:30]) == sorted(seen[30:60]) == list(range(30))
    assert seen[:30] != seen[30:60]
    assert [d.count for d, _ in draws if d.source == "b"] == list(range(60))


def test_a_picture_depends_on_seed_step_and_place_alone(shards: Path) -> None:
    places = [(step, place) for step in range(4) for place in range(3)]
    first = Mixture(rendered_sources(shards, 3), RECIPE, places=3)
    again = Mixture(rendered_sources(shards, 3), RECIPE, places=3)
    forward = {key: first.picture(5, *key) for key in places}
    backward = {key: again.picture(5, *key) for key in reversed(places)}
    assert all(same(forward[key], backward[key]) for key in places)
    assert len({sample.rgb.tobytes() for sample in forward.values()}) == len(places)
    assert not same(first.picture(6, 0, 0), forward[0, 0])


def test_segmentation_alone_is_what_the_training_stream_gives(shards: Path) -> None:
    source = rendered_sources(shards, 3)["segmentation"]
    for index, view in enumerate(StoredViews(shards)):
        rng = np.random.default_rng(index)
        rgb, ids = augment(view.rgb, view.ids, rng)
        seen = visible(view.objects, ids)
        hardly = doubtful_objects(view.objects, seen, ids)
        expected = Sample(rgb, ids, seen, pick_questions(seen, WIDTH, 3, rng, hardly))
        assert same(source.sample(index, np.random.default_rng(index)), expected)


def test_the_same_pictures_are_asked_about_in_three_ways(shards: Path) -> None:
    sources = rendered_sources(shards, 3)
    drawn = {n: [s for i in range(7) if (s := source.sample(i, np.random.default_rng(i)))] for n, source in sources.items()}
    assert all(isinstance(q, PlainQuestion) for s in drawn["general"] for q in s.questions)
    assert {q.kind for s in drawn["reasoning"] for q in s.questions} == {"reasoning"}
    assert all(len(samples) >= 4 for samples in drawn.values())
    assert all(s.mask(o.id).sum() == o.pixels for samples in drawn.values() for s in samples for o in s.objects)


def test_augmentation_shows_nothing_twice() -> None:
    rgb, ids = np.full((HEIGHT, WIDTH, 3), 120, np.uint8), np.zeros((HEIGHT, WIDTH), np.uint8)
    rgb[100:140, 4:44], ids[100:140, 4:44] = (255, 0, 0), 9
    for seed in range(60):
        shown, kept = augment(rgb, ids, np.random.default_rng(seed))
        red = (shown[..., 0].astype(int) - shown[..., 1] > 90).astype(np.uint8)
        blobs = sum(area > 12 for area in cv2.connectedComponentsWithStats(red)[2][1:, cv2.CC_STAT_AREA])
        assert blobs == int((kept == 9).sum() > 12)


def test_a_thing_without_a_record_silences_everything(shards: Path) -> None:
    view = StoredViews(shards)[0]
    unknown = replace(view, objects=view.objects[:2])  # the hammer is in the picture, and nothing is known of it
    for kind in ("segmentation", "general", "reasoning"):
        assert RenderedPictures([view], kind, 3, train=False).sample(0, np.random.default_rng(0)) is not None
        assert RenderedPictures([unknown], kind, 3, train=False).sample(0, np.random.default_rng(0)) is None


def test_pictures_without_a_question_are_replaced_by_others_of_the_source() -> None:
    odd = Mixture({"a": Numbered(40, silent=lambda n: n % 2 == 0)}, {"a": 1}, places=2)
    assert all(odd.picture(1, step, place).rgb[0, 0, 0] % 2 for step in range(20) for place in range(2))
    with pytest.raises(InvalidInputError, match="source 'a': nothing to ask about 50 pictures in a row"):
        Mixture({"a": Numbered(40, silent=lambda _: True)}, {"a": 1}, places=1).picture(0, 0, 0)


@pytest.mark.parametrize(
    ("weights", "places", "message"),
    [
        ({"b": 1}, 1, r"weights for \['b'\], but the sources are \['a', 'none'\]"),
        ({"a": 0}, 1, "one at least above 0"),
        ({"a": -1}, 1, "whole numbers 0..1000"),
        ({"a": 0.5}, 1, "whole numbers 0..1000"),
        ({"a": 1, "none": 1}, 1, r"no pictures in \['none'\]"),
        ({"a": 1}, 0, "places=0"),
    ],
)
def test_weights_that_cannot_be_drawn_are_refused(weights: dict, places: int, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        Mixture({"a": Numbered(3), "none": Numbered(0)}, weights, places)


def test_places_outside_the_step_are_refused() -> None:
    with pytest.raises(InvalidInputError, match=r"place 0\.\.1, got 0, 0, 2"):
        Mixture({"a": Numbered(3)}, {"a": 1}, places=2).draw(0, 0, 2)


@pytest.mark.parametrize("count", [3, 20])
def test_held_out_questions_are_always_the_same(shards: Path, count: int) -> None:
    first, again = held_out_plain(shards, count), held_out_plain(shards, count)
    assert len(first) == count
    assert [q for _, q in first] == [q for _, q in again]
    untouched = [view.rgb for view in StoredViews(shards)]
    assert all(any(np.array_equal(rgb, picture) for picture in untouched) for rgb, _ in first)
