"""What is said of an object in one scene, and how its surface is painted: drawn anew for every scene."""

import colorsys
from dataclasses import dataclass

import numpy as np

from qwen_seg_ros.offline.sim.catalogue import PAINT, CatalogueEntry
from qwen_seg_ros.offline.sim.procedural import SOLIDS

SHAPE_OF = {
    "can": "cylinder", "box": "box", "carton": "box", "book": "box", "ball": "ball", "plate": "round",
    "bowl": "round", "ramekin": "round", "crate": "box",
}  # fmt: skip
MATERIAL_OF = {
    "libero/moka_pot": "metal", "libero/yellow_moka_pot": "metal", "libero/chefmate_8_frypan": "metal",
    "libero/alphabet_soup": "metal", "libero/red_alphabet_soup": "metal", "libero/tomato_sauce": "metal",
    "libero/yellow_tomato_sauce": "metal", "robosuite/can": "metal", "libero/white_bottle": "glass",
    "libero/wine_bottle": "glass", "libero/porcelain_mug": "ceramic", "libero/white_porcelain_mug": "ceramic",
    "libero/glazed_rim_porcelain_ramekin": "ceramic", "libero/red_ramekin": "ceramic", "libero/white_bowl": "ceramic",
    "libero/wooden_tray": "wooden", "ycb/036_wood_block": "wooden", "robosuite/cereal": "cardboard",
    "libero/popcorn": "cardboard", "libero/butter": "cardboard", "libero/green_butter": "cardboard",
    "libero/cookies": "cardboard", "libero/yellow_cookies": "cardboard", "libero/macaroni_and_cheese": "cardboard",
}  # fmt: skip
METAL_COLOURS = ("silver", "gold")
WOOD_COLOURS = {"brown": (0.72, 0.5, 0.32), "beige": (1.0, 0.92, 0.75)}  # tints over a light grain


@dataclass(frozen=True)
class Finish:
    """specular and shininess as MuJoCo takes them, 0..1; grain: name of a texture of world.GRAINS; shine: 0..1, how much of a
    depth camera's pattern is lost; alpha: 1 = opaque."""

    specular: float = 0.25
    shininess: float = 0.3
    grain: str = ""
    shine: float = 0.0
    alpha: float = 1.0


FINISHES = {
    "": Finish(),
    "shiny": Finish(0.9, 0.85, shine=0.5),
    "metal": Finish(1.0, 0.7, "metal", shine=0.8),
    "wooden": Finish(0.1, 0.1, "wooden"),
    "cloth": Finish(0.0, 0.0, "cloth"),
    "glass": Finish(1.0, 0.95, shine=1.0, alpha=0.45),
}
SHINE_OF = {"metal": 0.6, "glass": 0.8, "ceramic": 0.3}  # of textured objects


@dataclass(frozen=True)
class Look:
    """Words for a record, and rgb (3,) and finish of what can be painted, else None."""

    key: str
    name: str
    colour: str
    shape: str
    material: str
    rgb: tuple[float, ...] | None
    finish: Finish

    @property
    def shine(self) -> float:
        return max(self.finish.shine, SHINE_OF.get(self.material, 0.0))


def draw_look(item: CatalogueEntry, rng: np.random.Generator, wish: str = "") -> Look:
    """A colour where the entry leaves a choice (the wished one if it can), a shade of it, and a finish that goes with it."""
    colour = str(rng.choice(item.colours)) if item.colours else item.colour
    colour = wish if wish in item.colours else colour
    finish = _draw_finish(item, colour, rng)
    key, name = (f"{item.key}/{colour}", f"{colour} {item.name}") if item.colours else (item.key, item.name)
    material = item.material or MATERIAL_OF.get(item.key, "" if finish == "shiny" else finish)
    shape = SOLIDS[item.solid].shape if item.solid else SHAPE_OF.get(item.category, "")
    return Look(key, name, colour, shape, material, _draw_shade(item, colour, finish, rng), FINISHES[finish])


def _draw_finish(item: CatalogueEntry, colour: str, rng: np.random.Generator) -> str:
    if not item.colours:
        return ""
    if colour in METAL_COLOURS:
        return "metal"
    if item.solid and colour in WOOD_COLOURS:
        return str(rng.choice(["wooden", "wooden", "", "shiny"]))
    if item.solid:
        return str(rng.choice(["", "shiny", "cloth", "glass"], p=[0.5, 0.28, 0.15, 0.07]))
    return str(rng.choice(["", "shiny"], p=[0.7, 0.3]))


def _draw_shade(item: CatalogueEntry, colour: str, finish: str, rng: np.random.Generator) -> tuple[float, ...] | None:
    """rgb near that of the word: what people call red is not one red."""
    if item.paint is None:
        return None
    base = WOOD_COLOURS[colour] if finish == "wooden" else PAINT[colour] if item.colours else item.paint
    hue, saturation, value = colorsys.rgb_to_hsv(*base)
    hue += rng.uniform(-0.012, 0.012)
    saturation = min(saturation * rng.uniform(0.85, 1.1), 1.0)
    value = min(value * rng.uniform(0.85, 1.15), 1.0)
    return colorsys.hsv_to_rgb(hue % 1.0, saturation, value)
