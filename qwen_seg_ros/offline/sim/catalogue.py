"""The objects, with names, colours and categories as they look when rendered (folder names of the sources often do not fit).

`starter` objects have a clear category and colour and a moderate size. Untextured shapes come in several plain colours, so
that a model can learn colour words apart from shapes.
"""

from dataclasses import dataclass
from functools import lru_cache

UPRIGHT_HOPE = {"bbq_sauce", "green_bbq_sauce"}  # the other HOPE meshes stand on their x-z plane
HOPE, SCAN, TURBO, CUSTOM = "stable_hope_objects", "stable_scanned_objects", "turbosquid_objects", "custom_objects"

PAINT = {
    "red": (0.75, 0.07, 0.08), "blue": (0.08, 0.2, 0.68), "green": (0.1, 0.5, 0.15), "yellow": (0.92, 0.76, 0.08),
    "orange": (0.93, 0.45, 0.06), "white": (0.92, 0.92, 0.9), "black": (0.07, 0.07, 0.08), "purple": (0.4, 0.12, 0.5),
    "pink": (0.92, 0.45, 0.6), "brown": (0.42, 0.24, 0.1), "gray": (0.45, 0.46, 0.48),
    "turquoise": (0.1, 0.68, 0.68), "beige": (0.82, 0.72, 0.54), "silver": (0.72, 0.73, 0.76), "gold": (0.8, 0.6, 0.16),
}  # fmt: skip


@dataclass(frozen=True)
class CatalogueEntry:
    """One kind of object. path: below the asset folder; paint: rgb of untextured shapes; y_up: the mesh's y axis points up.

    pool: "starter" (also in training), "train" or "unseen" (held out); colours: words of PAINT, one of which is drawn for every
    scene and put before the name; material: a word, "" = none that could be said; solid: name of a made-up shape, without path.
    """

    key: str
    path: str
    name: str
    colour: str
    category: str
    aliases: tuple[str, ...] = ()
    paint: tuple[float, float, float] | None = None
    y_up: bool = False
    pool: str = "starter"
    colours: tuple[str, ...] = ()
    material: str = ""
    solid: str = ""


def _textured() -> list[CatalogueEntry]:
    rows = [
        ("alphabet_soup", HOPE, "alphabet soup can", "blue and orange", "can", "soup can|tin can"),
        ("bbq_sauce", HOPE, "bbq sauce bottle", "brown", "bottle", "barbecue sauce|sauce bottle"),
        ("butter", HOPE, "butter box", "red", "box", "butter package"),
        ("chocolate_pudding", HOPE, "chocolate pudding box", "blue and brown", "box", "pudding package"),
        ("cookies", HOPE, "cookie box", "red and white", "box", "cookies package"),
        ("cream_cheese", HOPE, "cream cheese box", "blue and white", "box", "cream cheese package"),
        ("green_bbq_sauce", HOPE, "green sauce bottle", "brown and green", "bottle", "sauce bottle"),
        ("green_chocolate_pudding", HOPE, "green pudding box", "green", "box", "pudding package"),
        ("green_ketchup", HOPE, "green ketchup bottle", "green and white", "bottle", "ketchup|squeeze bottle"),
        ("ketchup", HOPE, "ketchup bottle", "orange and white", "bottle", "ketchup|squeeze bottle"),
        ("macaroni_and_cheese", HOPE, "macaroni and cheese box", "orange", "box", "mac and cheese|pasta box"),
        ("milk", HOPE, "small milk carton", "red and white", "carton", "milk box|milk"),
        ("orange_juice", HOPE, "orange juice carton", "orange and white", "carton", "juice box|orange juice"),
        ("popcorn", HOPE, "popcorn box", "blue, white and yellow", "box", "popcorn package"),
        ("red_alphabet_soup", HOPE, "red soup can", "red and green", "can", "soup can|tin can"),
        ("tomato_sauce", HOPE, "tomato sauce can", "red, green and white", "can", "tomato can|tin can"),
        ("yellow_cookies", HOPE, "yellow cookie box", "yellow", "box", "cookies package"),
        ("yellow_milk", HOPE, "yellow milk carton", "yellow", "carton", "milk box"),
        ("akita_black_bowl", SCAN, "patterned bowl", "black and white", "bowl", ""),
        ("chefmate_8_frypan", SCAN, "frying pan", "black", "pan", "skillet|fry pan"),
        ("plate", SCAN, "plate with a red rim", "white and red", "plate", "dish"),
        ("white_bowl", SCAN, "white bowl", "white", "bowl", ""),
        ("red_akita_black_bowl", SCAN, "red bowl", "red", "bowl", ""),
        ("yellow_bowl", SCAN, "yellow patterned bowl", "yellow", "bowl", ""),
        ("yellow_plate", SCAN, "yellow plate", "yellow and white", "plate", "dish"),
        ("black_book", TURBO, "black book", "black", "book", "notebook"),
        ("red_yellow_book", TURBO, "red book", "red", "book", "novel"),
        ("moka_pot", TURBO, "moka pot", "silver", "pot", "coffee maker|espresso pot"),
        ("porcelain_mug", TURBO, "white porcelain mug", "white", "mug", "coffee mug|cup"),
        ("red_coffee_mug", TURBO, "red patterned mug", "red and white", "mug", "coffee mug|cup"),
        ("white_yellow_mug", TURBO, "yellow and white mug", "yellow and white", "mug", "coffee mug|cup"),
        ("white_bottle", TURBO, "green wine bottle", "green", "bottle", "wine bottle|bottle of wine"),
        ("wine_bottle", TURBO, "dark green wine bottle", "black", "bottle", "wine bottle|bottle of wine"),
        ("libero_mug", CUSTOM, "gray mug with letters", "gray", "mug", "coffee mug|cup"),
    ]
    entries = []
    for key, folder, name, colour, category, aliases in rows:
        path, y_up = f"libero/{folder}/{key}/{key}.xml", folder == HOPE and key not in UPRIGHT_HOPE
        entries.append(CatalogueEntry(f"libero/{key}", path, name, colour, category, _split(aliases), y_up=y_up))
    return entries


def _robosuite() -> list[CatalogueEntry]:
    rows = [
        ("can", "red soda can", "red", "can", "cola can|soda can|drink can"),
        ("cereal", "cereal box", "red", "box", "breakfast cereal"),
        ("milk", "tall milk carton", "white", "carton", "milk"),
        ("lemon", "lemon", "yellow", "fruit", "citrus"),
        ("bread", "loaf of bread", "brown", "bread", "bread"),
    ]
    return [CatalogueEntry(f"robosuite/{k}", f"robosuite/objects/{k}.xml", n, c, g, _split(a)) for k, n, c, g, a in rows]


def _natural() -> list[CatalogueEntry]:
    rows = [
        ("011_banana", "banana", "yellow", "fruit", (0.93, 0.80, 0.22)),
        ("013_apple", "apple", "red", "fruit", (0.72, 0.08, 0.1)),
        ("016_pear", "pear", "green", "fruit", (0.62, 0.70, 0.22)),
        ("017_orange", "orange", "orange", "fruit", (0.93, 0.48, 0.08)),
        ("006_mustard_bottle", "mustard bottle", "yellow", "bottle", (0.90, 0.75, 0.08)),
        ("021_bleach_cleanser", "bleach bottle", "white", "bottle", (0.90, 0.90, 0.92)),
        ("035_power_drill", "power drill", "orange", "tool", (0.85, 0.32, 0.06)),
        ("048_hammer", "hammer", "black", "tool", (0.12, 0.11, 0.11)),
        ("043_phillips_screwdriver", "screwdriver", "red", "tool", (0.70, 0.10, 0.10)),
        ("037_scissors", "scissors", "orange", "tool", (0.85, 0.40, 0.10)),
        ("036_wood_block", "wooden block", "brown", "block", (0.62, 0.42, 0.22)),
        ("056_tennis_ball", "tennis ball", "yellow-green", "ball", (0.75, 0.85, 0.20)),
        ("055_baseball", "baseball", "white", "ball", (0.92, 0.90, 0.86)),
    ]
    return [CatalogueEntry(f"ycb/{k}", f"ycb/{k}.stl", name, colour, group, paint=rgb) for k, name, colour, group, rgb in rows]


def _painted() -> list[CatalogueEntry]:
    rows = [
        ("025_mug", "mug", "coffee mug|cup", ("red", "blue", "green", "white", "black", "yellow")),
        ("024_bowl", "bowl", "", ("blue", "green", "orange")),
        ("065-f_cups", "cup", "plastic cup", ("red", "blue", "green", "yellow")),
        ("019_pitcher_base", "pitcher", "jug", ("blue", "white")),
        ("029_plate", "plate", "dish", ("blue", "green")),
        ("026_sponge", "sponge", "cleaning sponge", ("green", "yellow", "pink")),
        ("057_racquetball", "ball", "", ("blue", "red", "green")),
        ("061_foam_brick", "brick", "foam brick", ("red", "blue")),
        ("007_tuna_fish_can", "can", "tin can|flat can", ("blue", "green")),
        ("005_tomato_soup_can", "can", "tin can", ("yellow", "white")),
    ]
    return [
        CatalogueEntry(f"ycb/{key}/{colour}", f"ycb/{key}.stl", f"{colour} {noun}", colour, noun, _split(aliases), PAINT[colour])
        for key, noun, aliases, colours in rows for colour in colours
    ]


def _split(aliases: str) -> tuple[str, ...]:
    return tuple(a for a in aliases.split("|") if a)


@lru_cache(maxsize=1)
def catalogue() -> tuple[CatalogueEntry, ...]:
    """The starter objects, in a fixed order."""
    return tuple(_textured() + _robosuite() + _natural() + _painted())


TABLES = (
    "libero/textures/martin_novak_wood_table.png", "libero/textures/table_light_wood.png", "libero/textures/ceramic.png",
    "libero/textures/white_marble_floor.png", "libero/textures/kona_gotham.png", "libero/textures/seamless_wood_planks_floor.png",
    "libero/textures/marble_floor.png", "libero/textures/gray_ceramic_tile.png", "libero/textures/brown_ceramic_tile.png",
    "robosuite/textures/light-wood.png", "robosuite/textures/dark-wood.png", "robosuite/textures/gray-woodgrain.png",
    "robosuite/textures/wood-varnished-panels.png", "robosuite/textures/steel-brushed.png",
    "robosuite/textures/cream-plaster.png",
)
FLOORS = ("libero/textures/light_floor.png", "libero/textures/gray_floor.png", "libero/textures/rustic_floor.png")
WALLS = ("libero/textures/light_gray_plaster.png", "libero/textures/light_blue_wall.png", "libero/textures/white_wall.png")

BACKGROUNDS = {  # of each pool: "train" uses the starter ones too
    "table": {
        "starter": TABLES,
        "train": (
            "robosuite/textures/blue-wood.png", "robosuite/textures/green-wood.png", "libero/textures/dark_floor_texture.png",
            "libero/textures/grigia_caldera_porcelain_floor.png", "libero/textures/canvas_sky_blue.png",
            "robosuite/textures/yellow-plaster.png", "robosuite/textures/steel-scratched.png",
            "libero/textures/smooth_light_gray_plaster.png", "robosuite/textures/gray-felt.png",
        ),
        "unseen": (
            "robosuite/textures/red-wood.png", "robosuite/textures/wood-tiles.png", "robosuite/textures/clay.png",
            "libero/textures/dapper_gray_floor.png", "robosuite/textures/pink-plaster.png", "robosuite/textures/brass-ambra.png",
        ),
    },
    "floor": {
        "starter": FLOORS,
        "train": (
            "libero/textures/dark_floor_texture.png", "libero/textures/grigia_caldera_porcelain_floor.png",
            "libero/textures/light-gray-floor-tile.png", "libero/textures/seamless_wood_planks_floor.png",
        ),
        "unseen": (
            "robosuite/textures/dirt.png", "libero/textures/dapper_gray_floor.png",
            "libero/textures/tile_grigia_caldera_porcelain_floor.png",
        ),
    },
    "wall": {
        "starter": WALLS,
        "train": (
            "libero/textures/dark_blue_wall.png", "libero/textures/stucco_wall.png", "libero/textures/gray_wall.png",
            "libero/textures/meeka-beige-plaster.png", "libero/textures/dark_gray_plaster.png",
        ),
        "unseen": (
            "libero/textures/dark_green_plaster_wall.png", "libero/textures/yellow_linen_wall_texture.png",
            "robosuite/textures/white-bricks.png",
        ),
    },
}  # fmt: skip
