"""What a training step sees: a weighted mixture of sources, every picture a pure function of (seed, step, place).

Nothing is remembered between two calls, so a run that is resumed at a step, and each of several GPUs, draws exactly its own
pictures. Draw number n = step * places + place. Draws come in blocks as long as the sum of the weights; in each block every
source has exactly its weight, in a drawn order, so shares are exact. The k-th draw of a source takes the k-th picture of its
endless row of passes, each a permutation of its own.
"""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Protocol

import numpy as np

from qwen_seg_ros.errors import InvalidInputError
from qwen_seg_ros.offline.data.expressions import Expression
from qwen_seg_ros.offline.data.plain_questions import PlainQuestion, plain_questions
from qwen_seg_ros.offline.data.reasoning import pick_reasoning
from qwen_seg_ros.offline.data.samples import Sample, augment, evenly, pick_questions, visible
from qwen_seg_ros.offline.data.store import StoredViews
from qwen_seg_ros.offline.data.stored_view import StoredView
from qwen_seg_ros.offline.sim.scene import ObjectRecord

KINDS = ("segmentation", "general", "reasoning")
RECIPE = {"segmentation": 3, "general": 1, "reasoning": 2}  # stage 2 of arXiv 2605.07141
MAX_WEIGHT, MAX_TRIES = 1000, 50
BLOCK, PASS, PICTURE = range(3)  # streams of random numbers that must not meet


class Source(Protocol):
    """Pictures with questions, found by number. `sample` is pure: the same index and state of `rng` give the same arrays."""

    def __len__(self) -> int: ...

    def sample(self, index: int, rng: np.random.Generator) -> Sample | None:
        """None where nothing can be asked about this picture."""


@dataclass(frozen=True)
class Draw:
    """The count-th draw (from 0) of `source`."""

    source: str
    count: int


class Mixture:
    """Sources by name, weights by the same names (whole numbers, 0 = not used), `places` = pictures a step of all GPUs together.

    Raises:
        InvalidInputError: for weights that do not fit the sources, and sources without pictures.
    """

    def __init__(self, sources: Mapping[str, Source], weights: Mapping[str, int], places: int) -> None:
        _check(sources, weights, places)
        self.names = sorted(name for name, weight in weights.items() if weight)
        self.sources, self.weights, self.places = sources, [weights[name] for name in self.names], places

    def picture(self, seed: int, step: int, place: int) -> Sample:
        """The picture at `place` (0 .. places - 1, for example rank * batch + its number in the batch) of a step.

        Raises:
            InvalidInputError: when a source has nothing to ask about many pictures in a row.
        """
        draw = self.draw(seed, step, place)
        source, stream = self.sources[draw.source], zlib.crc32(draw.source.encode())
        number, within = divmod(draw.count, len(source))
        index = int(_pass(seed, stream, number, len(source))[within])
        rng = np.random.default_rng([PICTURE, seed, stream, draw.count])
        for _ in range(MAX_TRIES):
            sample = source.sample(index, rng)
            if sample is not None:
                return sample
            index = int(rng.integers(len(source)))
        raise InvalidInputError(f"source {draw.source!r}: nothing to ask about {MAX_TRIES} pictures in a row; look at its data")

    def draw(self, seed: int, step: int, place: int) -> Draw:
        """Which source a place draws from, and its how-manieth draw that is."""
        if min(seed, step) < 0 or not 0 <= place < self.places:
            raise InvalidInputError(f"seed and step must be >= 0, place 0..{self.places - 1}, got {seed}, {step}, {place}")
        block, within = divmod(step * self.places + place, sum(self.weights))
        order = np.random.default_rng([BLOCK, seed, block]).permutation(np.repeat(np.arange(len(self.names)), self.weights))
        which = int(order[within])
        earlier = int(np.count_nonzero(order[:within] == which))
        return Draw(self.names[which], block * self.weights[which] + earlier)


def _check(sources: Mapping[str, Source], weights: Mapping[str, int], places: int) -> None:
    unknown = sorted(set(weights) - set(sources))
    if unknown:
        raise InvalidInputError(f"weights for {unknown}, but the sources are {sorted(sources)}")
    wrong = {n: w for n, w in weights.items() if not isinstance(w, int) or isinstance(w, bool) or not 0 <= w <= MAX_WEIGHT}
    if wrong or not any(weights.values()):
        raise InvalidInputError(f"weights must be whole numbers 0..{MAX_WEIGHT}, one at least above 0, got {dict(weights)}")
    empty = [name for name, weight in weights.items() if weight and not len(sources[name])]
    if empty:
        raise InvalidInputError(f"no pictures in {empty}; `qwen-seg simulate --data FOLDER` makes rendered ones")
    if places < 1:
        raise InvalidInputError(f"a step needs at least one picture, got places={places}")


@lru_cache(maxsize=32)
def _pass(seed: int, stream: int, number: int, length: int) -> np.ndarray:
    return np.random.default_rng([PASS, seed, stream, number]).permutation(length)


class RenderedPictures:
    """Rendered views, usually StoredViews, asked about in one of KINDS; up to `questions` questions a picture.

    train=False: pictures as they are on disk, without augmentation.
    """

    def __init__(self, views: Sequence[StoredView], kind: str, questions: int, train: bool = True) -> None:
        if kind not in KINDS:
            raise InvalidInputError(f"kind of questions must be one of {', '.join(KINDS)}, got {kind!r}")
        self.views, self.kind, self.questions, self.train = views, kind, questions, train

    def __len__(self) -> int:
        return len(self.views)

    def sample(self, index: int, rng: np.random.Generator) -> Sample | None:
        view = self.views[index]
        rgb, ids, objects = view.rgb, view.ids, view.objects
        if self.train:
            rgb, ids = augment(rgb, ids, rng)
        seen = visible(objects, ids)
        asked = self._ask(objects, seen, ids, rng) if seen else ()
        return Sample(rgb, ids, seen, asked) if asked else None

    def _ask(
        self,
        objects: tuple[ObjectRecord, ...],
        seen: tuple[ObjectRecord, ...],
        ids: np.ndarray,
        rng: np.random.Generator,
    ) -> tuple[Expression | PlainQuestion, ...]:
        doubtful = doubtful_objects(objects, seen, ids)
        if doubtful is None:
            return ()
        if self.kind == "segmentation":
            return pick_questions(seen, ids.shape[1], self.questions, rng, doubtful)
        clear = tuple(o for o in seen if o not in doubtful)
        if self.kind == "reasoning":
            return pick_reasoning(clear, self.questions, rng, doubtful)
        return evenly(list(plain_questions(clear, ids.shape[1], rng, doubtful)), self.questions, rng)


def rendered_sources(folder: Path, questions: int, train: bool = True) -> dict[str, RenderedPictures]:
    """The same pictures as three sources, one for each of KINDS."""
    views = StoredViews(folder)
    return {kind: RenderedPictures(views, kind, questions, train) for kind in KINDS}


def doubtful_objects(
    objects: tuple[ObjectRecord, ...], seen: tuple[ObjectRecord, ...], ids: np.ndarray
) -> tuple[ObjectRecord, ...] | None:
    """Objects of which a sliver is left; None when there is something of which nothing is known."""
    shown = set(np.unique(ids).tolist()) - {0}
    known, clear = {o.id: o for o in objects}, {o.id for o in seen}
    return tuple(known[i] for i in sorted(shown - clear)) if shown <= known.keys() else None


def held_out_plain(folder: Path, count: int) -> list[tuple[np.ndarray, PlainQuestion]]:
    """Up to `count` pictures rgb uint8 (H, W, 3) with a plain question, always the same for the same shards.

    To be asked before and after training, of shards that are not trained on. Kinds of questions take turns; with more
    questions than pictures, pictures are asked about several times.
    """
    views = StoredViews(folder)
    source = RenderedPictures(views, "general", max(1, -(-count // max(1, len(views)))), train=False)
    out: list[tuple[np.ndarray, PlainQuestion]] = []
    for index in range(len(source)):
        sample = source.sample(index, np.random.default_rng([7, index]))
        out += [(sample.rgb, q) for q in sample.questions] if sample else []
        if len(out) >= count:
            break
    return out[:count]
