"""The sentences of the grammar. Each table keeps some of its wording for tests: it is never used in training.

{} or {n} is what is spoken of, {a} and {b} are other objects with their articles, {s} a plural.
"""

from collections.abc import Iterator
from dataclasses import dataclass

KINDS_OF_WORDING = ("train", "test")


@dataclass(frozen=True)
class Wording:
    """Ways to say one thing: those of training and those that only tests use."""

    train: tuple[str, ...]
    test: tuple[str, ...]

    def of(self, wording: str) -> tuple[str, ...]:
        return self.train if wording == "train" else self.test


# fmt: off
CARRIERS = Wording(  # {}: any phrase with its article
    (
        "{}", "{}", "{}", "pick up {}", "grab {}", "grab {} please", "give me {}", "take {}", "find {}", "I need {}",
        "can you pass me {}?", "please hand me {}", "get {}", "segment {}", "show me {}", "bring me {}", "point at {}",
        "could you please give me {}?", "would you pick up {} for me?", "I would like {}", "I want {}", "please find {}",
        "can you see {}?", "locate {}", "look for {}", "I am looking for {}", "can I have {} please?", "select {}",
        "please take {} off the table", "could you hand me {}?", "let me have {}", "go and get {}", "we need {} now",
        "next, take {}", "move {} out of the way", "put {} aside", "hey robot, bring me {}",
        "I would like you to pick up {}", "can you get {} for me?", "could you find {}?", "will you pass me {}?",
        "may I have {}?", "pass me {}", "hand me {}", "pick out {}", "try to grab {}", "your target is {}", "please pick {}",
        "go for {}", "please bring {} to me", "carry {} over here", "bring {} here", "what we need is {}", "detect {}",
        "make a mask of {}", "now grab {}", "first take {}", "then pick up {}", "you should take {}", "touch {}", "look at {}",
        "grasp {}", "I need you to grasp {}", "could you grasp {}?", "please grab {} for me", "help me find {}",
    ),
    (
        "would you be so kind as to pass me {}?", "fetch {}", "fetch {} for me, will you?", "mark {} in the image",
        "I'd like to have {}, thanks", "do you mind handing me {}?", "highlight {}", "kindly collect {}", "lift {}",
        "reach for {}", "get hold of {}", "what I am after is {}", "outline {}", "could I trouble you for {}?",
    ),
)
SINGULAR = Wording(  # one object
    (
        "where is {}?", "where is {}", "which one is {}?", "can you tell me where {} is?", "is {} here?",
        "do you see where {} is?", "which object is {}?", "where exactly is {}?", "do you know where {} is?",
    ),
    ("where can I find {}?", "any idea where {} is?", "where did I put {}?"),
)
RELATIONS = {  # behind a noun
    "left": Wording(("left of {a}", "to the left of {a}", "on the left of {a}"),
                    ("on the left-hand side of {a}", "to {a}'s left")),
    "right": Wording(("right of {a}", "to the right of {a}", "on the right of {a}"),
                     ("on the right-hand side of {a}", "to {a}'s right")),
    "front": Wording(("in front of {a}", "right in front of {a}"), ("just before {a}", "on the near side of {a}")),
    "behind": Wording(("behind {a}", "right behind {a}"), ("in back of {a}", "on the far side of {a}")),
    "nearer": Wording(("closer to the camera than {a}", "nearer to us than {a}"), ("closer to the viewer than {a}",)),
    "farther": Wording(("farther from the camera than {a}", "farther away than {a}"), ("more distant than {a}",)),
    "beside": Wording(("next to {a}", "beside {a}", "close to {a}", "near {a}"), ("right by {a}", "alongside {a}")),
    "on": Wording(("on {a}", "on top of {a}", "standing on {a}"), ("resting on {a}",)),
    "under": Wording(("under {a}", "underneath {a}", "with {a} on it"), ("beneath {a}", "bearing {a}")),
    "in": Wording(("in {a}", "inside {a}"), ("inside of {a}",)),
    "holding": Wording(("with {a} in it", "with {a} inside"), ("holding {a}", "containing {a}")),
    "taller": Wording(("taller than {a}",), ("of more height than {a}",)),
    "shorter": Wording(("shorter than {a}", "not as tall as {a}"), ("less tall than {a}",)),
    "bigger": Wording(("bigger than {a}", "larger than {a}"), ("of greater size than {a}",)),
    "smaller": Wording(("smaller than {a}", "not as big as {a}"), ("of lesser size than {a}",)),
}
BETWEEN = Wording(("between {a} and {b}", "in between {a} and {b}"),
                  ("flanked by {a} and {b}",))
CLOSEST = Wording(("closest to {a}", "nearest to {a}"), ("which stands nearest {a}",))
LINKS = Wording(("{n} {r}", "{n} {r}", "{n} which is {r}", "{n} that is {r}"),
                ("{n} that you see {r}", "{n}, the one {r}"))  # of places
COMPARED = Wording(("{n} {r}", "{n} which is {r}", "{n} that is {r}"), ("{n}, I mean the one {r}",))
OWNING = Wording(("{n} {r}",), ("{n}, that is, the one {r}",))
SUPERLATIVES = {
    "left": Wording(("leftmost {}", "{} on the far left", "{} farthest to the left", "{} at the far left"),
                    ("{} at the left end",)),
    "right": Wording(("rightmost {}", "{} on the far right", "{} farthest to the right", "{} at the far right"),
                     ("{} at the right end",)),
    "near": Wording(("nearest {}", "{} closest to the camera", "closest {}", "{} nearest to the camera"),
                    ("{} at the very front", "{} nearest to me")),
    "far": Wording(("farthest {}", "{} farthest from the camera", "most distant {}", "{} that is farthest away"),
                   ("{} at the very back", "furthest {}")),
    "tall": Wording(("tallest {}", "{} that is the tallest"), ("{} that is taller than the rest",)),
    "short": Wording(("shortest {}", "{} that is the shortest"), ("{} that is shorter than the rest",)),
    "big": Wording(("biggest {}", "largest {}", "{} that is the biggest"), ("{} that is bigger than the rest",)),
    "small": Wording(("smallest {}", "{} that is the smallest"), ("tiniest {}", "{} that is smaller than the rest")),
    "long": Wording(("longest {}", "{} that is the longest"), ("{} with the greatest length",)),
    "wide": Wording(("widest {}", "{} that is the widest"), ("broadest {}",)),
}
OF_TWO = {  # only where the group has two
    "left": Wording(("{} on the left", "left {}", "{} to the left"), ("left-hand {}",)),
    "right": Wording(("{} on the right", "right {}", "{} to the right"), ("right-hand {}",)),
    "near": Wording(("nearer {}", "closer {}", "front {}"), ("{} that is less far away",)),
    "far": Wording(("farther {}", "back {}"), ("more distant {}",)),
    "tall": Wording(("taller {}", "taller of the two {s}"), ("{} that is the taller one",)),
    "short": Wording(("shorter {}", "shorter of the two {s}"), ("{} that is the shorter one",)),
    "big": Wording(("bigger {}", "larger {}", "big {}", "larger of the two {s}"), ("{} that is the larger one",)),
    "small": Wording(("smaller {}", "small {}", "smaller of the two {s}"), ("{} that is the smaller one",)),
    "long": Wording(("longer {}",), ("longer of the two {s}",)),
    "wide": Wording(("wider {}",), ("wider of the two {s}",)),
}
ORDINALS = {  # {o}: second, third; never the last two of a row that could be counted from the other end
    "left": Wording(("{o} {} from the left", "{} that is {o} from the left", "{o} {} counting from the left"),
                    ("{} number {c} from the left", "{o} {} from left to right")),
    "right": Wording(("{o} {} from the right", "{} that is {o} from the right", "{o} {} counting from the right"),
                     ("{} number {c} from the right", "{o} {} from right to left")),
    "near": Wording(("{o} closest {}", "{o} nearest {}"), ("{} that comes {o} from the front",)),
    "far": Wording(("{o} farthest {}", "{o} most distant {}"), ("{} that comes {o} from the back",)),
    "tall": Wording(("{o} tallest {}",), ("{} with the {o} greatest height",)),
    "big": Wording(("{o} biggest {}", "{o} largest {}"), ("{} that comes {o} in size",)),
    "small": Wording(("{o} smallest {}",), ("{o} tiniest {}",)),
}
MIDDLE = Wording(("middle {}", "{} in the middle", "middle one of the three {s}"),
                 ("central {} of the three", "{} in the centre"))
ATTRIBUTES = {
    "colour": Wording(("{w} object", "{w} thing", "{w} one", "{w} item", "thing that is {w}"),
                      ("{w}-coloured thing",)),
    "material": Wording(("{w} {n}", "{n} made of {m}"), ("{n} made out of {m}",)),
    "shape": Wording(("{w} {n}", "{n} that is {w}"), ("{n} that looks {w}",)),
    "lying": Wording(("{n} lying on its side", "{n} that has fallen over", "toppled {n}"),
                     ("knocked over {n}",)),
    "upright": Wording(("upright {n}", "standing {n}", "{n} that stands upright"), ("{n} still on its feet",)),
    "not": Wording(("{n} that is not {w}", "{n} which is not {w}"), ("non-{w} {n}", "{n} that isn't {w}")),
}
DESCRIBED = Wording(  # {n}: a noun with its adjectives, {r} and {q}: what else is true of it
    ("{n} {r}", "{n} that is {r}", "{n} {r} and {q}", "{n} that is {r} and {q}", "{n} which is {r}",
     "{n} which is {r} and {q}", "{n} {r} and also {q}"),
    ("{n} located {r}", "{n} you can see {r}", "{n} that is both {r} and {q}", "{n} to be found {r} and also {q}"),
)
ALL = Wording(("all {s}", "all the {s}", "every {n}", "each {n}", "the {s}", "all of the {s}"),
              ("every single {n}", "any {s} there are"))
BOTH = Wording(("both {s}", "the two {s}", "both of the {s}"), ("the pair of {s}", "each of the two {s}"))
COUNTED = Wording(("the {c} {s}", "all {c} {s}"), ("all {c} of the {s}", "the set of {c} {s}"))
ALL_RELATED = Wording(("all the {s} {r}", "all {s} {r}", "every {n} {r}", "the {s} {r}"),
                      ("each and every {n} {r}", "whichever {s} are {r}"))
EVERYTHING = Wording(("everything {r}", "all objects {r}", "all things {r}", "every object {r}", "all the things {r}"),
                     ("anything {r}", "whatever is {r}"))
EXCEPT = Wording(("everything except {a}", "all objects except {a}", "everything but {a}", "every object but {a}",
                  "all the objects except {a}"),
                 ("everything other than {a}", "all things apart from {a}"))
ALL_BUT = Wording(("all {s} except {a}", "all the {s} but {a}", "every {n} except {a}"),
                  ("the {s} apart from {a}", "every {n} other than {a}"))
SEVERAL = Wording(("{h} and {l}", "{h} and {l}", "{h}, {l}", "{h} and also {l}", "{h}, and {l}"),
                  ("{h} plus {l}", "{h} as well as {l}"))
OPENERS = Wording(("uh, {}", "um {}", "ok, {}", "so, {}", "well, {}", "hey, {}", "oh, {}", "robot, {}", "um, {}"),
                  ("erm, {}", "hmm, {}", "all right then, {}", "listen, {}"))
TAILS = Wording(("{} please", "{}, please", "{}, thank you", "{} now"), ("{}, if you don't mind", "{}, cheers", "{} asap"))
# fmt: on
ORDINAL_WORDS = ("first", "second", "third", "fourth")
NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
TABLES: tuple[Wording | dict[str, Wording], ...] = (
    *(
        CARRIERS,
        SINGULAR,
        RELATIONS,
        BETWEEN,
        CLOSEST,
        LINKS,
        COMPARED,
        OWNING,
        SUPERLATIVES,
        OF_TWO,
        ORDINALS,
        MIDDLE,
        ATTRIBUTES,
        DESCRIBED,
    ),
    *(ALL, BOTH, COUNTED, ALL_RELATED, EVERYTHING, EXCEPT, ALL_BUT, SEVERAL, OPENERS, TAILS),
)


def wordings() -> Iterator[Wording]:
    for table in TABLES:
        yield from table.values() if isinstance(table, dict) else (table,)


def templates(wording: str) -> tuple[str, ...]:
    """All of one wording, each once where it says one thing."""
    return tuple(text for table in wordings() for text in dict.fromkeys(table.of(wording)))
