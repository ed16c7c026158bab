"""Phrases that ask for everything of a kind: "all cans", "both red boxes", "everything except the mug"."""

from collections.abc import Iterator

from qwen_seg_ros.offline.data import templates as t
from qwen_seg_ros.offline.data.grammar import Phrase
from qwen_seg_ros.offline.data.lexicon import WITHOUT_PLURAL, material_of, plural_of
from qwen_seg_ros.offline.data.meaning import Meaning
from qwen_seg_ros.offline.data.phrases import PLACES, Scene, relation_text

MOST_RELATED, MOST_REST = 4, 3


def group_phrases(scene: Scene) -> Iterator[Phrase]:
    for plural, label, ids in scene.words.groups(scene.speaker.rng):
        yield Phrase("all", _all(scene, plural, label, len(ids)), ((label, ids),))
    yield from _materials(scene)
    yield from _related(scene)
    yield from _rest(scene)


def _all(scene: Scene, plural: str, noun: str, count: int) -> str:
    """Of one thing only in the plural: "all cans" may be a single one, "each can" not."""
    ways = t.BOTH if count == 2 else t.COUNTED if 2 < count < len(t.NUMBERS) else t.ALL
    ways = ways if scene.speaker.chance(0.4) else t.ALL
    fitting = [way for way in ways.of(scene.speaker.wording) if count > 1 or "{s}" in way]
    return scene.speaker.one_of(fitting).format(s=plural, n=noun, c=t.NUMBERS[min(count, len(t.NUMBERS) - 1)])


def _materials(scene: Scene) -> Iterator[Phrase]:
    for word in sorted({material_of(o) for o in scene.words.spoken} - {""}):
        meaning = scene.words.material(word)
        ids = scene.words.ids(meaning)
        if meaning.proven and len(ids) > 1:
            yield Phrase("all", _all(scene, f"{word} objects", f"{word} object", len(ids)), ((f"{word} object", ids),))


def _related(scene: Scene) -> Iterator[Phrase]:
    """ "all cans left of the mug", "everything on the tray": two at least, all others clearly not there."""
    nouns = [(n, scene.words.meaning(n)) for n in _countable(scene)]
    found: list[tuple[str, str, int, Meaning]] = []
    for relation in PLACES:
        for anchor in scene.named():
            there = scene.layout.related(relation, anchor)
            found += [(n, relation, anchor, b) for n, m in nouns if (b := m.both(there)).proven and b.sure.bit_count() > 1]
    for noun, relation, anchor, both in scene.speaker.some_of(found, MOST_RELATED):
        ways = t.EVERYTHING if noun == "object" and scene.speaker.chance(0.7) else t.ALL_RELATED
        text = scene.speaker.way(ways).format(s=plural_of(noun), n=noun, r=relation_text(scene, relation, anchor))
        yield Phrase("all", text, ((noun, scene.words.ids(both)),))


def _rest(scene: Scene) -> Iterator[Phrase]:
    """ "everything except the mug", "all cans but the red one": two at least are left."""
    groups = [(n, scene.words.ids(m)) for n in _countable(scene) if (m := scene.words.meaning(n)).proven]
    found = [(noun, ids, i) for noun, ids in groups for i in ids if len(ids) > 2 and i in scene.words.names]
    for noun, ids, item in scene.speaker.some_of(found, MOST_REST):
        ways = t.EXCEPT if noun == "object" and scene.speaker.chance(0.7) else t.ALL_BUT
        text = scene.speaker.way(ways).format(s=plural_of(noun), n=noun, a=scene.the(item))
        yield Phrase("all", text, ((noun, tuple(i for i in ids if i != item)),))


def _countable(scene: Scene) -> list[str]:
    return [n for n in scene.words.nouns if n.split()[-1] not in WITHOUT_PLURAL]
