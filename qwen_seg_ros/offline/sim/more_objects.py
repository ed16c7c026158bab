"""Objects beyond the starter catalogue: more to train on, and some that training never sees (pool "unseen").

Every category of an unseen object occurs in training through another object, so that only its look is new.
"""

from functools import lru_cache

from qwen_seg_ros.offline.sim.catalogue import CUSTOM, HOPE, PAINT, SCAN, TURBO, CatalogueEntry, catalogue
from qwen_seg_ros.offline.sim.procedural import solid_entries

MATT = tuple(colour for colour in PAINT if colour not in ("silver", "gold"))
METALLIC = ("silver", "black", "gray", "gold")

TEXTURED = (  # key, folder, name, colour, category, aliases, pool
    ("glazed_rim_porcelain_ramekin", SCAN, "white ramekin", "white", "ramekin", "small dish", "train"),
    ("basket", SCAN, "basket with a white lining", "white and beige", "basket", "wicker basket", "train"),
    ("wooden_tray", TURBO, "wooden crate", "brown", "crate", "wooden tray", "train"),
    ("white_storage_box", TURBO, "white storage box", "white", "box", "plastic box", "train"),
    ("bigger_milk", HOPE, "milk carton", "red", "carton", "milk", "train"),
    ("blue_ketchup", HOPE, "plain blue bottle", "blue", "bottle", "plastic bottle", "unseen"),
    ("green_butter", HOPE, "green butter box", "green", "box", "butter package", "unseen"),
    ("new_salad_dressing", HOPE, "salad dressing bottle with a green cap", "white and green", "bottle", "dressing", "unseen"),
    ("red_salad_dressing", HOPE, "salad dressing bottle with a red cap", "white and red", "bottle", "dressing", "unseen"),
    ("red_cream_cheese", HOPE, "red and white cheese box", "red and white", "box", "cheese package", "unseen"),
    ("red_orange_juice", HOPE, "red juice carton", "red", "carton", "juice box|orange juice", "unseen"),
    ("yellow_tomato_sauce", HOPE, "blue tomato can", "blue and yellow", "can", "tin can", "unseen"),
    ("black_bowl", SCAN, "speckled bowl", "black and white", "bowl", "", "unseen"),
    ("red_ramekin", SCAN, "red ramekin", "red", "ramekin", "small dish", "unseen"),
    ("red_basket", SCAN, "red basket with a pink lining", "red and pink", "basket", "wicker basket", "unseen"),
    ("yellow_book", TURBO, "beige book", "beige", "book", "novel", "unseen"),
    ("yellow_moka_pot", TURBO, "golden moka pot", "gold", "pot", "coffee maker|espresso pot", "unseen"),
    ("white_porcelain_mug", TURBO, "white and gold mug", "white and gold", "mug", "cup", "unseen"),
    ("libero_mug_yellow", CUSTOM, "brown mug with letters", "brown", "mug", "coffee mug|cup", "unseen"),
)
PAINTED = (  # key, noun, category, aliases, colours, pool
    ("025_mug", "mug", "mug", "coffee mug|cup", MATT, "train"),
    ("024_bowl", "bowl", "bowl", "", MATT, "train"),
    ("065-f_cups", "cup", "cup", "plastic cup", MATT, "train"),
    ("065-b_cups", "cup", "cup", "plastic cup", MATT, "train"),
    ("065-j_cups", "cup", "cup", "plastic cup", MATT, "train"),
    ("019_pitcher_base", "pitcher", "pitcher", "jug", MATT, "train"),
    ("029_plate", "plate", "plate", "dish", MATT, "train"),
    ("026_sponge", "sponge", "sponge", "cleaning sponge", MATT, "train"),
    ("057_racquetball", "ball", "ball", "", MATT, "train"),
    ("053_mini_soccer_ball", "soccer ball", "ball", "football", MATT, "train"),
    ("061_foam_brick", "brick", "brick", "foam brick", MATT, "train"),
    ("073-c_lego_duplo", "toy brick", "brick", "lego brick", MATT, "train"),
    ("073-b_lego_duplo", "toy brick", "brick", "lego brick", MATT, "train"),
    ("007_tuna_fish_can", "can", "can", "tin can|flat can", (*MATT, "silver"), "train"),
    ("005_tomato_soup_can", "can", "can", "tin can", (*MATT, "silver"), "train"),
    ("002_master_chef_can", "can", "can", "tin can", (*MATT, "silver"), "train"),
    ("003_cracker_box", "box", "box", "cardboard box", MATT, "train"),
    ("004_sugar_box", "box", "box", "cardboard box", MATT, "train"),
    ("008_pudding_box", "box", "box", "cardboard box", MATT, "train"),
    ("021_bleach_cleanser", "bottle", "bottle", "plastic bottle", MATT, "train"),
    ("022_windex_bottle", "spray bottle", "bottle", "cleaner", MATT, "train"),
    ("014_lemon", "lemon", "fruit", "citrus", ("yellow",), "train"),
    ("015_peach", "peach", "fruit", "", ("orange", "pink"), "train"),
    ("013_apple", "apple", "fruit", "", ("red", "green", "yellow"), "train"),
    ("030_fork", "fork", "fork", "", METALLIC, "train"),
    ("031_spoon", "spoon", "spoon", "", METALLIC, "train"),
    ("032_knife", "knife", "knife", "", METALLIC, "train"),
    ("033_spatula", "spatula", "spatula", "turner", ("black", "red", "gray", "blue"), "train"),
    ("038_padlock", "padlock", "lock", "", METALLIC, "train"),
    ("040_large_marker", "marker", "pen", "marker pen", MATT, "train"),
    ("044_flat_screwdriver", "screwdriver", "tool", "", ("red", "yellow", "blue", "black", "green"), "train"),
    ("051_large_clamp", "clamp", "tool", "", ("black", "orange", "red", "blue"), "train"),
    ("059_chain", "chain", "chain", "", METALLIC, "train"),
    ("072-a_toy_airplane", "toy airplane", "toy", "airplane|plane", MATT, "train"),
    ("009_gelatin_box", "box", "box", "cardboard box", MATT, "unseen"),
    ("010_potted_meat_can", "rounded can", "can", "tin can", (*MATT, "silver"), "unseen"),
    ("012_strawberry", "strawberry", "fruit", "berry", ("red",), "unseen"),
    ("018_plum", "plum", "fruit", "", ("purple",), "unseen"),
    ("042_adjustable_wrench", "wrench", "tool", "adjustable wrench|spanner", METALLIC, "unseen"),
    ("052_extra_large_clamp", "clamp", "tool", "", ("black", "orange", "red", "blue"), "unseen"),
    ("054_softball", "softball", "ball", "", MATT, "unseen"),
    ("058_golf_ball", "golf ball", "ball", "", ("white", "yellow", "orange"), "unseen"),
    ("073-e_lego_duplo", "bridge brick", "brick", "toy brick|lego brick", MATT, "unseen"),
    ("073-a_lego_duplo", "slanted toy brick", "brick", "lego brick", MATT, "unseen"),
)


@lru_cache(maxsize=1)
def all_objects() -> tuple[CatalogueEntry, ...]:
    """The starter catalogue first, then everything else, in a fixed order."""
    path, name = "robosuite/objects/bottle.xml", "green glass bottle"
    bottle = CatalogueEntry("robosuite/bottle", path, name, "green", "bottle", pool="train", material="glass")
    return (*catalogue(), *_textured(), bottle, *_painted(), *solid_entries())


def pool_objects(pool: str) -> tuple[CatalogueEntry, ...]:
    """Objects of "starter", "train" (starter and more) or "unseen"."""
    pools = ("starter", "train") if pool == "train" else (pool,)
    return tuple(entry for entry in all_objects() if entry.pool in pools)


def _textured() -> list[CatalogueEntry]:
    entries = []
    for key, folder, name, colour, category, aliases, pool in TEXTURED:
        path, others = f"libero/{folder}/{key}/{key}.xml", tuple(a for a in aliases.split("|") if a)
        entries.append(CatalogueEntry(f"libero/{key}", path, name, colour, category, others, y_up=folder == HOPE, pool=pool))
    return entries


def _painted() -> list[CatalogueEntry]:
    entries = []
    for key, noun, category, aliases, colours, pool in PAINTED:
        others, rgb = tuple(a for a in aliases.split("|") if a), PAINT[colours[0]]
        entry = CatalogueEntry(f"painted/{key}", f"ycb/{key}.stl", noun, "", category, others, rgb, pool=pool, colours=colours)
        entries.append(entry)
    return entries
