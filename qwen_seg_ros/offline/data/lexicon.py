"""Which words say the same, may be taken for another, or say nothing: what the strict and the loose reading rest on."""

from qwen_seg_ros.offline.sim.catalogue import CatalogueEntry
from qwen_seg_ros.offline.sim.scene import ObjectRecord

# fmt: off
CONFUSABLE = [
    {"mug", "cup", "pitcher"}, {"pitcher", "jug", "kettle", "teapot"}, {"can", "cup", "tin"}, {"plate", "dish", "tray"},
    {"bowl", "cup", "ramekin", "dish", "basket"}, {"plate", "pan", "saucer"}, {"pot", "pitcher", "pan", "maker", "kettle"},
    {"box", "carton", "package", "packet", "case", "container"}, {"block", "brick", "box", "cube"}, {"bottle", "flask", "jar"},
    {"cup", "glass", "tumbler", "beaker"}, {"jar", "can", "container"}, {"book", "notebook", "novel"}, {"ketchup", "sauce"},
    {"apple", "ball"}, {"orange", "ball"}, {"apple", "peach", "plum"}, {"lemon", "lime"}, {"pen", "pencil", "marker"},
    {"knife", "spatula"}, {"fork", "spoon"}, {"spoon", "ladle"}, {"wrench", "pliers"}, {"screwdriver", "chisel"},
    {"hammer", "mallet"}, {"sponge", "brush", "cloth"}, {"bag", "packet"}, {"shoe", "boot"}, {"hat", "cap"},
    {"block", "wedge", "pyramid", "cylinder", "disc", "ring", "tube", "cone"}, {"cylinder", "tube", "can", "pipe"},
    {"disc", "disk", "plate", "ring"}, {"tray", "crate", "basket", "box"}, {"toy", "brick", "block"}, {"toy", "ball"},
    {"tool", "knife", "spatula", "lock"}, {"pen", "screwdriver"}, {"clamp", "pliers", "wrench"}, {"softball", "baseball"},
    {"cleaner", "bleach"}, {"plum", "apple", "cherry"}, {"strawberry", "berry"}, {"football", "soccer"}, {"airplane", "plane"},
]
ALIKE_COLOURS = [
    {"silver", "gray", "grey", "white"}, {"gray", "grey"}, {"black", "gray", "grey"}, {"orange", "yellow", "brown"},
    {"orange", "red"}, {"brown", "red"}, {"pink", "red", "purple"}, {"purple", "blue"}, {"beige", "brown", "yellow", "white"},
    {"gold", "yellow", "brown", "orange"}, {"turquoise", "blue", "green"}, {"cyan", "blue", "turquoise"}, {"lime", "green"},
]
COLOURS = frozenset({"red", "blue", "green"}.union(*ALIKE_COLOURS))
MATERIALS = {  # what a record may say -> the word before a noun
    "wood": "wooden", "wooden": "wooden", "metal": "metal", "steel": "metal", "tin": "metal", "aluminium": "metal",
    "plastic": "plastic", "glass": "glass", "ceramic": "ceramic", "porcelain": "ceramic", "paper": "paper",
    "cardboard": "cardboard", "foam": "foam", "rubber": "rubber", "cloth": "cloth", "fabric": "cloth", "leather": "leather",
}
ALIKE_MATERIALS = [
    {"ceramic", "glass", "plastic"}, {"paper", "cardboard"}, {"foam", "rubber", "plastic"}, {"cloth", "leather"},
]
SHAPES = {
    "round": "round", "sphere": "round", "spherical": "round", "ball": "round", "disc": "round",
    "cylinder": "cylindrical", "cylindrical": "cylindrical", "box": "box-shaped", "rectangular": "box-shaped",
    "cuboid": "box-shaped", "cube": "cube-shaped", "cubic": "cube-shaped", "cone": "cone-shaped", "conical": "cone-shaped",
    "ring": "ring-shaped", "flat": "flat", "long": "long", "elongated": "long", "curved": "curved",
}
ALIKE_SHAPES = [
    {"round", "cylindrical", "ring-shaped", "cone-shaped"}, {"box-shaped", "cube-shaped", "flat", "long"},
    {"long", "cylindrical", "curved", "flat"}, {"flat", "round"},
]
MATERIALS_OF = {  # what a thing whose material is not known may be of; other categories may be of any
    "fruit": (), "bread": (), "book": ("paper", "cardboard", "leather", "cloth"), "carton": ("cardboard", "paper", "plastic"),
    "sponge": ("foam", "cloth", "rubber"), "can": ("metal",), "pan": ("metal", "ceramic"), "pot": ("metal", "ceramic"),
    "mug": ("ceramic", "glass", "plastic", "metal"), "cup": ("ceramic", "glass", "plastic", "metal", "paper"),
    "bottle": ("glass", "plastic", "ceramic", "metal"), "pitcher": ("ceramic", "glass", "plastic", "metal"),
    "ball": ("rubber", "plastic", "leather", "foam", "cloth"), "pen": ("plastic", "metal"), "basket": ("plastic", "wooden"),
}
CONTAINERS = {"bowl", "mug", "cup", "pitcher", "pan", "pot", "basket", "tray", "jug", "glass", "bin", "crate", "ramekin"}
PLURALS = {"box": "boxes", "fruit": "fruits", "brick": "bricks", "glass": "glasses", "dish": "dishes", "knife": "knives",
           "brush": "brushes", "torch": "torches", "battery": "batteries", "toy": "toys", "watch": "watches",
           "radish": "radishes", "peach": "peaches", "potato": "potatoes", "tomato": "tomatoes", "berry": "berries",
           "strawberry": "strawberries", "loaf": "loaves", "switch": "switches"}
# fmt: on
FILLERS = {
    "and",
    "of",
    "with",
    "a",
    "the",
    "small",
    "tall",
    "flat",
    "object",
    "thing",
    "item",
    "one",
}  # tell no object from another
VAGUE = {"squeeze", "coffee", "plastic", "tin", "cleaning", "foam", "soda", "cola", "drink", "patterned"}  # may fit others
COLOUR_PARTS = {"yellow-green": ("yellow", "green")}
WITHOUT_PLURAL = {"bread", "scissors", "cutlery", "pliers", "tongs", "headphones", "glasses"}
PAIRS = {"scissors", "pliers", "tongs", "headphones"}  # plural words for one thing
STUFF = {
    "ketchup",
    "milk",
    "sauce",
    "juice",
    "cereal",
    "cheese",
    "citrus",
    "bread",
    "dressing",
}  # a colour before these is not the packet's
NEVER_SAID = {"citrus", "cleaner", "turner"}  # fits, but nobody asks a robot for it


def own_words(item: ObjectRecord) -> set[str]:
    texts = (item.name, item.category, item.colour, *item.aliases)
    return {w for text in texts for w in text.replace(",", " ").split()} - FILLERS


def confusable(words: set[str]) -> set[str]:
    """The words themselves and all that somebody might call the same thing."""
    parts = {p for w in words for p in COLOUR_PARTS.get(w, ())}
    return words | parts | {other for group in (*CONFUSABLE, *ALIKE_COLOURS) if group & words for other in group}


def colour_phrase(item: ObjectRecord | CatalogueEntry) -> str:
    return item.colour.replace(",", "")


def material_of(item: ObjectRecord) -> str:
    """The word before a noun, "" where nothing can be said."""
    return MATERIALS.get(item.material.lower(), "")


def shape_of(item: ObjectRecord) -> str:
    return SHAPES.get(item.shape.lower(), "")


def alike(word: str, other: str, groups: list[set[str]]) -> bool:
    return word == other or any({word, other} <= group for group in groups)


def plural_of(phrase: str) -> str:
    """ "red box" -> "red boxes"."""
    *before, head = phrase.split()
    return " ".join([*before, PLURALS.get(head, f"{head}s")])
