"""Room and light of a scene."""

import colorsys

import numpy as np

from qwen_seg_ros.offline.sim.placed import Placed
from qwen_seg_ros.offline.sim.profiles import SceneProfile
from qwen_seg_ros.offline.sim.simple import hang_lamp
from qwen_seg_ros.offline.sim.stage import Stage
from qwen_seg_ros.offline.sim.world import LIGHTS, REPEATS, background_numbers

AMBIENT = {  # light from everywhere, and from where the camera is
    "starter": ((0.22, 0.45), (0.05, 0.3)), "soft": ((0.42, 0.6), (0.1, 0.3)), "side": ((0.22, 0.4), (0.02, 0.1)),
    "dim": ((0.06, 0.13), (0.02, 0.08)), "coloured": ((0.12, 0.25), (0.02, 0.1)), "harsh": ((0.05, 0.12), (0.0, 0.05)),
}  # fmt: skip
NARROW_DEG = 42
TABLE_HALF_M = ((0.5, 0.95), (0.42, 0.75))


def dress(stage: Stage, placed: list[Placed], profile: SceneProfile, rng: np.random.Generator) -> None:
    """Paint the objects, paper the room, and hang the lights."""
    for thing in placed:
        if thing.look.rgb is not None:
            stage.paint(thing.index, thing.look.rgb, thing.look.finish)
    for surface in REPEATS:
        number = int(rng.choice(background_numbers(surface, profile.backgrounds)))
        stage.paper(surface, number, rng.uniform(0.6, 1.0) * rng.uniform(0.88, 1.08, 3))
    stage.size_table(np.array([rng.uniform(*half) for half in TABLE_HALF_M]))
    _light(stage, str(rng.choice(profile.lights)), rng)


def _light(stage: Stage, kind: str, rng: np.random.Generator) -> None:
    everywhere, front = AMBIENT[kind]
    stage.fill_light(rng.uniform(*everywhere), rng.uniform(*front))
    for light in range(LIGHTS):
        if kind in ("side", "harsh") and light == 0:
            _hang_low(stage, light, rng.uniform(0.7, 1.0) if kind == "side" else rng.uniform(1.0, 1.4), rng)
        else:
            hang_lamp(stage, light, rng)
            stage.tint_light(light, _filter(kind, rng))


def _filter(kind: str, rng: np.random.Generator) -> np.ndarray:
    """What a lamp's light is multiplied by."""
    if kind == "coloured":
        return 1.3 * np.array(colorsys.hsv_to_rgb(rng.random(), rng.uniform(0.35, 0.75), 1.0))
    weak = {"dim": (0.25, 0.5), "soft": (0.2, 0.5), "harsh": (0.1, 0.3), "side": (0.2, 0.5)}
    return np.full(3, rng.uniform(*weak.get(kind, (1.0, 1.0))))


def _hang_low(stage: Stage, light: int, brightness: float, rng: np.random.Generator) -> None:
    """A strong lamp beside the table: long shadows."""
    angle, reach = rng.uniform(0, 2 * np.pi), rng.uniform(1.0, 1.6)
    position = np.array([reach * np.cos(angle), reach * np.sin(angle), rng.uniform(0.45, 0.9)])
    stage.hang_light(light, position, np.array([*rng.uniform(-0.1, 0.1, 2), 0.03]), np.full(3, brightness), True, NARROW_DEG)
