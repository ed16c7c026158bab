"""What the objects of the catalogue are good for: the table behind instructions that do not name their target.

`fits` and `unsure` hold categories or whole names; a name goes before its category. What stands in neither surely does not fit.
`unsure` is what people would argue about: with such a thing in view nothing is said.
"""

from collections.abc import Container
from dataclasses import dataclass

from qwen_seg_ros.offline.sim.catalogue import catalogue
from qwen_seg_ros.offline.sim.scene import ObjectRecord

PLAIN_CANS = ("blue can", "green can", "yellow can", "white can")
MILK = ("small milk carton", "yellow milk carton", "tall milk carton")
WINE = ("green wine bottle", "dark green wine bottle")
KETCHUP = ("ketchup bottle", "green ketchup bottle")
SAUCES = (*KETCHUP, "mustard bottle", "bbq sauce bottle", "green sauce bottle")
COOKIES = ("cookie box", "yellow cookie box")
PUDDING = ("chocolate pudding box", "green pudding box")
SPREADS = ("butter box", "cream cheese box")
SOUP = ("alphabet soup can", "red soup can")


@dataclass(frozen=True)
class Affordance:
    """thing: what is looked for, fits behind "give me"; sentences: whole instructions that ask for it."""

    thing: str
    sentences: tuple[str, ...]
    fits: tuple[str, ...] = ()
    unsure: tuple[str, ...] = ()

    def holds(self, item: ObjectRecord) -> bool | None:
        """None where it cannot be told, also for things of a kind that the table does not know."""
        return serves(item, self.fits, self.unsure, KNOWN)


def serves(item: ObjectRecord, fits: Container[str], unsure: Container[str], known: Container[str]) -> bool | None:
    """By name, the longest ending of it first (a "red power drill" is a "power drill"), then by category."""
    parts = item.name.split()
    for word in (*(" ".join(parts[n:]) for n in range(len(parts))), item.category):
        if word in fits:
            return True
        if word in unsure:
            return None
    return False if item.category in known else None


KNOWN = frozenset(entry.category for entry in catalogue())

# fmt: off
AFFORDANCES = (
    Affordance(
        "something to drink coffee from",
        ("what do I pour my tea into?", "I would like a hot drink, bring me something for it", "what could I sip coffee from?"),
        ("mug", "cup"), ("pitcher", "bowl", "moka pot"),
    ),
    Affordance(
        "something to cut paper with",
        ("I want to cut out a paper star", "what would I use to trim a sheet of paper?", "I want to cut a ribbon"),
        ("scissors",),
    ),
    Affordance(
        "something to slice an apple with",
        ("I want to cut an apple", "what would I use to chop an onion?", "I need to slice some bread"),
        (), ("scissors",),
    ),
    Affordance(
        "something to tighten a screw with",
        ("what would I use to tighten a screw?", "a screw has come loose, what do I need?", "I have to drive in a screw"),
        ("screwdriver", "power drill"), ("scissors",),
    ),
    Affordance(
        "something to drive in a nail with",
        ("I want to put a nail into the wall", "what would I hit a nail with?", "which tool pounds nails?"),
        ("hammer",), ("block", "brick"),
    ),
    Affordance(
        "something to drill a hole with",
        ("I have to make a hole in this board", "what bores holes into wood?", "which one is the tool with a motor?"),
        ("power drill",), ("screwdriver",),
    ),
    Affordance(
        "fresh fruit to eat",
        ("I am hungry, bring me fruit", "I would like a healthy snack that grows on plants", "what would go into a fruit salad?"),
        ("fruit",),
    ),
    Affordance(
        "something sour to squeeze",
        ("what would I squeeze over a fish?", "which fruit makes lemonade?", "which one tastes very sour?"),
        ("lemon",), ("orange", "orange juice carton"),
    ),
    Affordance(
        "a fruit that must be peeled",
        ("which fruit has to be peeled before I eat it?", "which fruit has a thick peel?", "what do I have to peel?"),
        ("banana", "orange"), ("lemon", "apple", "pear"),
    ),
    Affordance(
        "something to read",
        ("I am bored and want to read a story", "what has pages?", "I would like to read before I go to bed"),
        ("book",),
    ),
    Affordance(
        "something to scrub the dishes with",
        ("the dishes are dirty, what do I wipe them with?", "what soaks up spilled water?", "I need to wipe the table"),
        ("sponge",), ("brick",),
    ),
    Affordance(
        "something to disinfect the sink with",
        ("I want to whiten my laundry", "what kills germs in the bathroom?", "what takes stubborn stains out with chlorine?"),
        ("bleach bottle",), WINE,
    ),
    Affordance(
        "milk to pour over cereal",
        ("what goes into white coffee besides coffee?", "what comes from a cow and is poured?", "I want a glass of milk"),
        MILK, ("pitcher", "cream cheese box"),
    ),
    Affordance(
        "juice for breakfast",
        ("I would like to drink some fruit juice", "what is pressed from oranges and ready to drink?", "pour me a juice please"),
        ("orange juice carton",), ("fruit", "pitcher"),
    ),
    Affordance(
        "soup that only needs heating",
        ("I would like a warm soup", "I have a cold and want soup", "what can I heat up to get noodle letters in broth?"),
        SOUP, ("tomato sauce can", *PLAIN_CANS),
    ),
    Affordance(
        "a fizzy drink",
        ("I am thirsty and want a soda", "what has bubbles and is sweet to drink?", "I would like a cola"),
        ("red soda can",), (*PLAIN_CANS, *WINE),
    ),
    Affordance(
        "an alcoholic drink",
        ("what is only for adults to drink?", "what would a sommelier pour?", "what is made from grapes?"),
        WINE, (*PLAIN_CANS, "red soda can"),
    ),
    Affordance(
        "a sauce for my burger",
        ("my hot dog is too dry", "what would I put on my fries?", "I want to season a grilled sausage"),
        SAUCES, ("tomato sauce can",),
    ),
    Affordance(
        "something to spread on toast",
        ("what do I put on my bread with a knife?", "I need a dairy product for my sandwich", "my toast is dry, bring a spread"),
        SPREADS, (*SAUCES, *MILK),
    ),
    Affordance(
        "something to slice for a sandwich",
        ("what goes into the toaster?", "what comes from the bakery?", "what can be sliced and toasted?"),
        ("loaf of bread",), ("fruit", *COOKIES),
    ),
    Affordance(
        "cereal for the morning",
        ("what is eaten with cold milk?", "I want a bowl of crunchy flakes", "what is poured into a bowl before the milk?"),
        ("cereal box",), (*COOKIES, *SPREADS, "popcorn box"),
    ),
    Affordance(
        "a snack for the cinema",
        ("what do we nibble at the movies?", "what pops when it gets hot?", "what is made from corn that bursts?"),
        ("popcorn box",), (*COOKIES, "cereal box"),
    ),
    Affordance(
        "a packed sweet dessert",
        ("I fancy something sweet after dinner", "I would like biscuits or pudding", "what sweets are in a package?"),
        (*COOKIES, *PUDDING), ("cereal box", "popcorn box"),
    ),
    Affordance(
        "a pasta dinner",
        ("which package has noodles with cheese?", "what contains pasta?", "what is a quick noodle meal?"),
        ("macaroni and cheese box",), SOUP,
    ),
    Affordance(
        "something to fry an egg in",
        ("what would I turn pancakes in?", "what would I sear a steak in?", "in what would I fry some potatoes?"),
        ("pan",), ("moka pot",),
    ),
    Affordance(
        "something to brew coffee with",
        ("I want to make an espresso", "what goes on the stove to make coffee?", "which one makes coffee?"),
        ("moka pot",),
    ),
    Affordance(
        "something to eat soup from",
        ("what would I serve the salad in?", "what do I pour my cereal into?", "what holds my porridge?"),
        ("bowl",), ("mug", "cup", "plate", "pan", "pitcher"),
    ),
    Affordance(
        "something to serve a slice of cake on",
        ("what would I serve a steak on?", "the pizza is ready, what do I eat it from?", "what goes between fork and knife?"),
        ("plate",), ("bowl", "pan", "book"),
    ),
    Affordance(
        "something to fill the glasses from",
        ("what do I serve water in?", "what can hold two litres of lemonade?", "which one has a spout for water?"),
        ("pitcher",), ("carton", "bottle", "moka pot", "mug", "bowl"),
    ),
    Affordance(
        "a toy to play catch with",
        ("the dog wants to play fetch", "the children want to throw something to each other", "what does a player throw?"),
        ("ball",), ("fruit",),
    ),
    Affordance(
        "something to build a tower from",
        ("a child wants to build a small castle", "what could I stack like a mason?", "what are walls made from, as a toy?"),
        ("block", "brick"), ("box", "book", "cup", "can", "sponge"),
    ),
    Affordance(
        "something that keeps drinks cold",
        ("where would I cool my lemonade?", "what makes ice cubes?", "the drinks are warm, what chills them?"),
        (), ("pitcher", "mug", "cup"),
    ),
    Affordance(
        "something to write a letter with",
        ("I want to sign a contract", "what would I draw a line with?", "I need to note down a number"),
    ),
    Affordance(
        "something that tells the time",
        ("I need to know how late it is", "what would wake me up in the morning?", "which one shows hours and minutes?"),
    ),
)
# fmt: on
