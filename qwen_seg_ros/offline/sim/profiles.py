"""Kinds of scenes by name: what stands there and how, and who looks at it. Training, and each way to differ from it.

`simple` is what the renderer made before there were profiles: upright, apart from each other, exact pictures. `train` varies
everything the `ood_*` profiles do not hold out; each of those differs from `id` in one respect.
"""

from dataclasses import dataclass, replace

from qwen_seg_ros.errors import InvalidInputError

POOLS = ("starter", "train", "unseen")
CAMERAS = ("starter", "wrist", "shoulder", "static", "low")
LIGHTS = ("starter", "soft", "side", "dim", "coloured", "harsh")
SENSORS = ("realsense", "kinect")
AREAS = ("any", "tiny", "huge")


@dataclass(frozen=True)
class SceneProfile:
    """A kind of scenes; each tuple of words is drawn from with equal chance.

    objects, backgrounds: pool, one of POOLS; count: fewest and most objects; procedural: share of objects that are made-up
    shapes; touching, stacked (on or in another), lying: chance for an object that can; spread: share of the table's area in
    use, least and most; cameras, lights: words of CAMERAS and LIGHTS; sensors: words of SENSORS, () = exact pictures, with
    strength drawn between two numbers, 1 = a camera of that kind on a good day; areas: words of AREAS, tiny = targets below
    0.2 % of the image, huge = one above 40 %; least_area: share of the image below which an object is not spoken of.

    Raises:
        InvalidInputError: for a word or a share that does not exist.
    """

    objects: str = "train"
    backgrounds: str = "train"
    count: tuple[int, int] = (1, 12)
    procedural: float = 0.35
    touching: float = 0.3
    stacked: float = 0.35
    lying: float = 0.3
    spread: tuple[float, float] = (0.5, 1.0)
    cameras: tuple[str, ...] = ("wrist", "shoulder", "static")
    lights: tuple[str, ...] = ("starter", "soft", "side")
    sensors: tuple[str, ...] = SENSORS
    strength: tuple[float, float] = (0.0, 1.0)
    areas: tuple[str, ...] = ("any",)
    least_area: float = 0.0008

    def __post_init__(self) -> None:
        words = ((POOLS, (self.objects, self.backgrounds)), (CAMERAS, self.cameras), (LIGHTS, self.lights))
        for known, given in (*words, (SENSORS, self.sensors), (AREAS, self.areas)):
            if not set(given) <= set(known):
                raise InvalidInputError(f"a scene profile takes the words {', '.join(known)}, got {', '.join(given)}")
        shares = {name: getattr(self, name) for name in ("procedural", "touching", "stacked", "lying", "least_area")}
        for name, share in shares.items():
            if not 0 <= share <= 1:
                raise InvalidInputError(f"{name} of a scene profile is a share between 0 and 1, got {share}")
        if not 1 <= self.count[0] <= self.count[1] <= 40:
            raise InvalidInputError(f"count of a scene profile goes from 1 to at most 40, got {self.count}")


SIMPLE = SceneProfile(
    "starter", "starter", (2, 6), 0.0, 0.0, 0.0, 0.0, (0.6, 1.0), ("starter",), ("starter",), (), (0.0, 0.0), ("any",), 80 / 76800
)
TRAIN = SceneProfile()
ID = replace(TRAIN, count=(3, 8))

PROFILES = {
    "simple": SIMPLE,
    "train": TRAIN,
    "id": ID,
    "ood_objects": replace(ID, objects="unseen"),
    "ood_scale": replace(ID, areas=("tiny", "huge"), least_area=0.0002),
    "ood_occlusion": replace(
        ID, count=(5, 10), touching=0.75, stacked=0.2, spread=(0.3, 0.5), cameras=("low",), least_area=0.0004
    ),
    "ood_lighting": replace(ID, backgrounds="unseen", lights=("dim", "coloured", "harsh")),
    "ood_clutter": replace(ID, count=(14, 22), touching=0.5, stacked=0.35, spread=(0.7, 1.0)),
    "ood_sensor": replace(ID, strength=(2.0, 3.0)),
}


def scene_profile(name: str) -> SceneProfile:
    """
    Raises:
        InvalidInputError: when there is no profile of that name.
    """
    if name not in PROFILES:
        raise InvalidInputError(f"there is no scene profile {name!r}; there are {', '.join(PROFILES)}")
    return PROFILES[name]
