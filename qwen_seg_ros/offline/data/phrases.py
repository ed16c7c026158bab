"""Phrases that mean exactly one object: by relation, rank, attributes, or several of these together."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

from qwen_seg_ros.offline.data import templates as t
from qwen_seg_ros.offline.data.grammar import Phrase, Speaker
from qwen_seg_ros.offline.data.lexicon import SHAPES, WITHOUT_PLURAL, colour_phrase, material_of, plural_of, shape_of
from qwen_seg_ros.offline.data.meaning import Meaning
from qwen_seg_ros.offline.data.rankings import MEASURES
from qwen_seg_ros.offline.data.relations import Layout
from qwen_seg_ros.offline.data.scene_words import SceneWords, plain_colour, sayable_colour
from qwen_seg_ros.offline.data.templates import Wording
from qwen_seg_ros.offline.sim.scene import ObjectRecord

PLACES = ("left", "right", "front", "behind", "beside", "on", "in")  # fit behind "located"
OWNERS = ("under", "holding")  # "the plate with the apple on it"
EACH_RELATION, EACH_MEASURE = 2, 3  # phrases at most; the many sides shall not crowd out the rest
TRIES, DESCRIBED_ITEMS, MOST_BETWEEN = 6, 8, 40
SHARE_NEEDLESS = 0.25  # of phrases whose noun would have been enough
STANDING = {"bottle", "can", "carton", "box", "mug", "cup", "pitcher", "glass", "jar", "pot"}
SHAPED = {"object", "block"}  # a round ball, a box-shaped box: nobody says so
OBJECT_WORDS = ("object", "object", "thing", "item", "one")
ODD = {  # nobody speaks of the tallest ball
    "tall": {"ball", "fruit", "plate", "sponge", "pan"}, "short": {"ball", "fruit", "plate", "sponge", "pan"},
    "long": {"ball", "cup", "mug", "can", "bowl", "plate", "pot", "bottle"}, "wide": {"ball", "fruit", "tool", "bottle", "mug"},
}  # fmt: skip


@dataclass(frozen=True)
class Scene:
    """One picture that is spoken of."""

    words: SceneWords
    layout: Layout
    speaker: Speaker

    def the(self, item: int) -> str:
        """Some phrase that means this object and no other, with its article."""
        return f"the {self.speaker.one_of(self.words.names[item])}"

    def noun(self, noun: str) -> str:
        return self.speaker.one_of(OBJECT_WORDS) if noun == "object" else noun

    def named(self) -> list[int]:
        """What can stand behind "left of"."""
        return [o.id for o in self.words.spoken if o.id in self.words.names]

    def target(self, meaning: Meaning) -> int:
        return self.words.ids(meaning)[0]

    def enough(self, noun: Meaning) -> bool:
        """Whether to say more although the noun alone would do."""
        return not noun.single or self.speaker.chance(SHARE_NEEDLESS)


def single_phrases(scene: Scene) -> Iterator[Phrase]:
    for kind, phrase, item in scene.words.singles:
        yield Phrase(kind, f"the {phrase}", ((phrase, (item,)),))


# Relations


def relation_phrases(scene: Scene) -> Iterator[Phrase]:
    """ "the can left of the mug": one candidate clearly there, all others clearly not."""
    nouns = [(noun, scene.words.meaning(noun)) for noun in scene.words.nouns]
    for relation in t.RELATIONS:
        related = [(a, scene.layout.related(relation, a)) for a in scene.named()]
        found = [
            (noun, anchor, both)
            for anchor, there in related
            if there.sure
            for noun, meaning in nouns
            if (both := meaning.both(there)).single and not (meaning.single and relation not in OWNERS)
        ]
        for noun, anchor, both in scene.speaker.some_of(found, EACH_RELATION):
            yield _relation(scene, noun, scene.target(both), relation_text(scene, relation, anchor), link_of(relation))
    yield from _between(scene, nouns)
    yield from _closest(scene, nouns)


def relation_text(scene: Scene, relation: str, anchor: int) -> str:
    text = scene.speaker.way(t.RELATIONS[relation]).format(a=scene.the(anchor))
    return text.replace("s's ", "s' ")  # the scissors' left


def link_of(relation: str) -> Wording:
    return t.LINKS if relation in PLACES else t.OWNING if relation in OWNERS else t.COMPARED


def _relation(scene: Scene, noun: str, item: int, text: str, link: Wording) -> Phrase:
    said = scene.speaker.way(link).format(n=scene.noun(noun), r=text)
    return Phrase("relation", f"the {said}", ((noun, (item,)),))


def _between(scene: Scene, nouns: list[tuple[str, Meaning]]) -> Iterator[Phrase]:
    pairs = scene.speaker.some_of(list(combinations(scene.named(), 2)), MOST_BETWEEN)
    there = [(pair, scene.layout.between(*pair)) for pair in pairs]
    found = [(n, pair, both) for pair, b in there for n, m in nouns if not m.single and (both := m.both(b)).single]
    for noun, pair, both in scene.speaker.some_of(found, EACH_RELATION):
        first, last = scene.speaker.some_of(pair, 2)
        text = scene.speaker.way(t.BETWEEN).format(a=scene.the(first), b=scene.the(last))
        yield _relation(scene, noun, scene.target(both), text, t.LINKS)


def _closest(scene: Scene, nouns: list[tuple[str, Meaning]]) -> Iterator[Phrase]:
    groups = [(noun, meaning) for noun, meaning in nouns if meaning.proven and not meaning.single]
    found = [(n, a, one) for n, m in groups for a in scene.named() if (one := scene.layout.closest(m, a)).single]
    for noun, anchor, one in scene.speaker.some_of(found, EACH_RELATION):
        text = scene.speaker.way(t.CLOSEST).format(a=scene.the(anchor))
        yield Phrase("relation", f"the {scene.noun(noun)} {text}", ((noun, (scene.target(one),)),))


# Ranks


def rank_phrases(scene: Scene) -> Iterator[Phrase]:
    """Superlatives and ordinals of groups that are beyond doubt."""
    nouns = [(noun, scene.words.meaning(noun)) for noun in scene.words.nouns]
    groups = [(noun, meaning) for noun, meaning in nouns if meaning.proven and not meaning.single]
    for measure in MEASURES:
        found = [rank for noun, meaning in groups for rank in _ranks(scene, measure, noun, meaning)]
        for noun, item, ways, words in scene.speaker.some_of(found, EACH_MEASURE):
            yield _rank(scene, noun, item, ways, words)


Rank = tuple[str, int, Wording, dict[str, str]]


def _ranks(scene: Scene, measure: str, noun: str, group: Meaning) -> Iterator[Rank]:
    """(noun, id, ways to say it, words for its blanks)."""
    if noun.split()[-1] in ODD.get(measure, ()):
        return
    members = [p for n, p in enumerate(scene.layout.placed) if group.sure >> n & 1]
    order = MEASURES[measure].order(members)
    if order:
        pair = len(members) == 2 and scene.speaker.chance(0.6)
        yield noun, order[0].item.id, (t.OF_TWO if pair else t.SUPERLATIVES)[measure], {}
    for place in range(1, min(len(order), len(members) - 1, len(t.ORDINAL_WORDS)) if measure in t.ORDINALS else 1):
        words = {"o": t.ORDINAL_WORDS[place], "c": t.NUMBERS[place + 1]}
        yield noun, order[place].item.id, t.ORDINALS[measure], words
    if measure == "left" and len(order) == len(members) == 3:
        yield noun, order[1].item.id, t.MIDDLE, {}


def _rank(scene: Scene, noun: str, item: int, ways: Wording, words: dict[str, str]) -> Phrase:
    options = [w for w in ways.of(scene.speaker.wording) if "{s}" not in w or noun.split()[-1] not in WITHOUT_PLURAL]
    said = noun if ways in t.OF_TWO.values() else scene.noun(noun)  # "the right one" is the correct one
    text = scene.speaker.one_of(options).format(said, s=plural_of(noun), **words)
    return Phrase("superlative", f"the {text}", ((noun, (item,)),))


# Attributes


def attribute_phrases(scene: Scene) -> Iterator[Phrase]:
    """ "the red one", "the wooden object", "the can that is not red", "the bottle lying on its side"."""
    yield from _colours(scene)
    for kind, words_of, meaning_of in (("material", material_of, scene.words.material), ("shape", shape_of, scene.words.shape)):
        for word in sorted({words_of(o) for o in scene.words.spoken} - {""}):
            yield from _with_adjective(scene, kind, word, meaning_of(word))
    yield from _postures(scene)
    yield from _negations(scene)


def _colours(scene: Scene) -> Iterator[Phrase]:
    for item in scene.words.spoken:
        meaning = scene.words.colour(item.colour)
        if plain_colour(item) and meaning.single and scene.target(meaning) == item.id:
            text = scene.speaker.way(t.ATTRIBUTES["colour"]).format(w=item.colour)
            yield Phrase("attribute", f"the {text}", ((f"{item.colour} object", (item.id,)),))


def _with_adjective(scene: Scene, kind: str, word: str, meaning: Meaning) -> Iterator[Phrase]:
    for noun in (o for o in scene.words.nouns if " " not in o):
        head = scene.words.meaning(noun)
        both = head.both(meaning)
        if both.single and not head.single and word not in noun and (kind != "shape" or noun in SHAPED):
            text = scene.speaker.way(t.ATTRIBUTES[kind]).format(w=word, m=material_noun(word), n=scene.noun(noun))
            yield Phrase("attribute", f"the {text}", ((f"{word} {noun}", (scene.target(both),)),))


def material_noun(word: str) -> str:
    return {"wooden": "wood"}.get(word, word)


def _postures(scene: Scene) -> Iterator[Phrase]:
    lying = scene.words.lying()
    for noun in (n for n in scene.words.nouns if n.split()[-1] in STANDING):
        head = scene.words.meaning(noun)
        for posture, meaning in (("lying", head.both(lying)), ("upright", head.without(lying))):
            if meaning.single and lying.sure & head.sure and scene.enough(head):
                text = scene.speaker.way(t.ATTRIBUTES[posture]).format(n=noun)
                yield Phrase("attribute", f"the {text}", ((noun, (scene.target(meaning),)),))


def _negations(scene: Scene) -> Iterator[Phrase]:
    colours = sorted({o.colour for o in scene.words.spoken if plain_colour(o)})
    for noun in (n for n in scene.words.nouns if " " not in n and n != "object"):
        group = scene.words.meaning(noun)
        for colour in colours if group.proven and not group.single else ():
            rest, coloured = group.without(scene.words.colour(colour)), group.both(scene.words.colour(colour))
            if rest.single and coloured.sure:
                text = scene.speaker.way(t.ATTRIBUTES["not"]).format(n=noun, w=colour)
                yield Phrase("attribute", f"the {text}", ((noun, (scene.target(rest),)),))


# Several attributes and relations


def described_phrases(scene: Scene) -> Iterator[Phrase]:
    """ "the small red metal can behind the box and left of the mug": two or more things said besides the noun."""
    for item in scene.speaker.some_of(scene.words.spoken, DESCRIBED_ITEMS):
        places = [
            (relation, anchor)
            for relation in PLACES
            for anchor in scene.named()
            if scene.layout.related(relation, anchor).sure >> scene.words.place[item.id] & 1
        ]
        adjectives = _adjectives(scene, item)
        for _ in range(TRIES if places else 0):
            found = _described(scene, item, places, adjectives)
            if found:
                yield found
                break


def _adjectives(scene: Scene, item: ObjectRecord) -> list[tuple[str, Meaning]]:
    """In the order in which they stand before a noun."""
    shape, material = shape_of(item), material_of(item)
    colour = colour_phrase(item) if sayable_colour(item) else ""
    readings = ((shape, scene.words.shape), (colour, scene.words.meaning), (material, scene.words.material))
    return [(word, read(word)) for word, read in readings if word]


def _described(
    scene: Scene, item: ObjectRecord, places: list[tuple[str, int]], adjectives: list[tuple[str, Meaning]]
) -> Phrase | None:
    """None where the words that were drawn do not single it out, or fewer would have done without a reason."""
    speaker = scene.speaker
    noun = item.category if speaker.chance(0.75) else "object"
    fitting = [a for a in adjectives if a[0] not in noun and (noun in SHAPED or a[0] not in SHAPES.values())]
    used = [adjective for adjective in fitting if speaker.chance(0.6)]
    said = speaker.some_of(places, 2 if not used or speaker.chance(0.4) else 1)
    if len(used) + len(said) < 2 or any(len(set(part)) < len(said) for part in zip(*said, strict=True)):
        return None
    head = meaning = scene.words.meaning(noun)
    for part in [*(m for _, m in used), *(scene.layout.related(*place) for place in said)]:
        meaning = meaning.both(part)
    if not meaning.single or not scene.enough(head):
        return None
    before = "".join(f"{word} " for word, _ in used)
    texts = [relation_text(scene, *place) for place in said]
    ways = [w for w in t.DESCRIBED.of(speaker.wording) if ("{q}" in w) == (len(texts) == 2)]
    text = speaker.one_of(ways).format(n=before + scene.noun(noun), r=texts[0], q=texts[-1])
    return Phrase("descriptive", f"the {text}", ((noun if noun != "object" else f"{before}object", (item.id,)),))
