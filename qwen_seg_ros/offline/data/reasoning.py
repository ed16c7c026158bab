"""Instructions that say what a thing is for and leave its name out; exact, or not said at all."""

from collections.abc import Iterator, Sequence

import numpy as np

from qwen_seg_ros.offline.data.affordances import AFFORDANCES, Affordance
from qwen_seg_ros.offline.data.expressions import Expression
from qwen_seg_ros.offline.sim.scene import ObjectRecord

FRAMES = (
    "{}",
    "give me {}",
    "I need {}",
    "find {}",
    "bring me {}",
    "can you pass me {}",
    "please hand me {}",
    "I am looking for {}",
    "segment {}",
)
SHARE_OF_SENTENCES = 0.6
NAMED_BY_CATEGORY_ONLY = {"fruit", "tool", "bread", "pot"}  # "apple" says more than "fruit"
KIND = "reasoning"
SHARE_ABSENT = 1 / 3  # of the instructions picked; most affordances are absent from most pictures


def reasoning(
    objects: Sequence[ObjectRecord], rng: np.random.Generator, doubtful: Sequence[ObjectRecord] = ()
) -> Iterator[Expression]:
    """One instruction for every affordance that can be decided in this picture; wording drawn from `rng`.

    doubtful: things of which only a sliver or a copy may be seen. An affordance that one of them could have is left out.
    """
    for affordance in AFFORDANCES:
        verdicts = [affordance.holds(item) for item in objects]
        if None in verdicts or any(affordance.holds(item) is not False for item in doubtful):
            continue
        yield _say(affordance, [item for item, fits in zip(objects, verdicts, strict=True) if fits], rng)


def _say(affordance: Affordance, targets: list[ObjectRecord], rng: np.random.Generator) -> Expression:
    if rng.random() < SHARE_OF_SENTENCES:
        text = str(rng.choice(affordance.sentences))
    else:
        text = str(rng.choice(FRAMES)).format(affordance.thing)
    by_label: dict[str, list[int]] = {}
    for item in targets:
        by_label.setdefault(label_of(item), []).append(item.id)
    phrases = tuple((label, tuple(ids)) for label, ids in by_label.items()) or ((affordance.thing, ()),)
    return Expression(text, KIND, phrases)


def label_of(item: ObjectRecord) -> str:
    """The word an answer uses for an object."""
    return item.name if item.category in NAMED_BY_CATEGORY_ONLY else item.category


def pick_reasoning(
    objects: Sequence[ObjectRecord], count: int, rng: np.random.Generator, doubtful: Sequence[ObjectRecord] = ()
) -> tuple[Expression, ...]:
    """Up to `count` of them, about one in three without a target."""
    pool = list(reasoning(objects, rng, doubtful))
    rng.shuffle(pool)
    present, absent = ([e for e in pool if bool(e.target_ids) is wanted] for wanted in (True, False))
    without = int(rng.binomial(len(present), SHARE_ABSENT / (1 - SHARE_ABSENT))) if present else 1
    chosen = [*present, *absent[:without]]
    return tuple(chosen[i] for i in rng.permutation(len(chosen))[:count])
