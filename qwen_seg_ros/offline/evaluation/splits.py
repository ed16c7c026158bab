"""The splits of the benchmark: which scenes, which words, which seeds. Nothing is ever trained or tuned on these seeds."""

from collections.abc import Iterable
from dataclasses import dataclass

from qwen_seg_ros.errors import InvalidInputError

FIRST_TEST_SEED, SEEDS_A_SPLIT = 5_000_000, 100_000


@dataclass(frozen=True)
class Split:
    """profile: key of the kind of scenes; wording: "train" or "test"; about: what is new in it."""

    name: str
    profile: str
    wording: str
    first_seed: int
    about: str


def _numbered(*rows: tuple[str, str]) -> dict[str, Split]:
    splits = {}
    for number, (name, about) in enumerate(rows):
        reworded = name == "ood_wording"  # the scenes of "id" again, so that only the words differ
        seed = FIRST_TEST_SEED + (0 if reworded else number * SEEDS_A_SPLIT)
        splits[name] = Split(name, "id" if reworded else name, "test" if reworded else "train", seed, about)
    return splits


SPLITS = _numbered(
    ("id", "new scenes of the kind that is trained on"),
    ("ood_objects", "objects that no training scene holds"),
    ("ood_wording", "the scenes of id, asked in sentences and paraphrases that are never trained on"),
    ("ood_scale", "objects below 0.2 % of the picture, and one above 40 %"),
    ("ood_occlusion", "objects close together that hide each other, seen from low"),
    ("ood_lighting", "light and backgrounds that no training scene has"),
    ("ood_clutter", "14 to 22 objects, many touching or stacked"),
    ("ood_sensor", "colour and depth of worse cameras"),
)


def chosen(names: Iterable[str]) -> tuple[Split, ...]:
    """The splits of these names in the order of `SPLITS`, all for no name.

    Raises:
        InvalidInputError: for an unknown name.
    """
    wanted = set(names)
    if unknown := sorted(wanted - set(SPLITS)):
        raise InvalidInputError(f"split must be one of {', '.join(SPLITS)}, got {', '.join(unknown)}")
    return tuple(split for name, split in SPLITS.items() if not wanted or name in wanted)
