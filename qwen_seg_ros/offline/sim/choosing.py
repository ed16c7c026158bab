"""Which objects a scene holds, and how each of them looks."""

from collections.abc import Sequence

import numpy as np

from qwen_seg_ros.offline.sim.catalogue import CatalogueEntry
from qwen_seg_ros.offline.sim.looks import Look, draw_look
from qwen_seg_ros.offline.sim.profiles import SceneProfile

SAME_CATEGORY, SAME_COLOUR = 0.28, 0.2  # chance that an object is taken because it is like another: there is more to tell apart
POOLS = {"starter": {"starter"}, "train": {"starter", "train"}, "unseen": {"unseen"}}


def choose(
    objects: Sequence[CatalogueEntry], profile: SceneProfile, count: int, rng: np.random.Generator
) -> list[tuple[int, Look]]:
    """Places in `objects`, each once, and looks."""
    free = [int(i) for i in rng.permutation(len(objects)) if objects[i].pool in POOLS[profile.objects]]
    chosen: list[tuple[int, Look]] = []
    while free and len(chosen) < count:
        like = chosen[int(rng.integers(len(chosen)))] if chosen else None
        fits, colour = _wish(objects, free, like, rng)
        wanted = bool(rng.random() < profile.procedural)
        fits = [i for i in fits if bool(objects[i].solid) == wanted] or fits
        pick = fits[-1]
        free.remove(pick)
        chosen.append((pick, draw_look(objects[pick], rng, colour)))
    return chosen


def _wish(
    objects: Sequence[CatalogueEntry], free: list[int], like: tuple[int, Look] | None, rng: np.random.Generator
) -> tuple[list[int], str]:
    """Objects to choose from, and the colour they shall have if they can."""
    kind = rng.random()
    if like is None or kind > SAME_CATEGORY + SAME_COLOUR:
        return free, ""
    if kind < SAME_CATEGORY:
        return [i for i in free if objects[i].category == objects[like[0]].category] or free, ""
    colour = like[1].colour
    return [i for i in free if colour in (objects[i].colour, *objects[i].colours)] or free, colour
