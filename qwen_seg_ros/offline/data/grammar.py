"""From a phrase to what somebody says: carrier sentences, politeness, fillers, missing articles, slips of the keyboard."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import numpy as np

from qwen_seg_ros.errors import InvalidInputError
from qwen_seg_ros.offline.data.lexicon import PAIRS
from qwen_seg_ros.offline.data.templates import CARRIERS, KINDS_OF_WORDING, OPENERS, SINGULAR, TAILS, Wording

Item = TypeVar("Item")
SHARE_SINGULAR, SHARE_TAIL, SHARE_OPENER, SHARE_TELEGRAPHIC, SHARE_TIDY = 0.12, 0.06, 0.08, 0.06, 0.25
SHARE_SLIPS = {"train": 0.05, "test": 0.15}  # in training a letter is missing or doubled, in tests two are swapped
SHORTEST_SLIP = 5  # letters; a slip in "mug" or "left" could say something else
WORDS_PER_SLIP = 6
LONGEST_INSIDE = 7  # words; what is longer goes to the end of a sentence
POLITE = ("please", "thank", "now", "?", "will you")
ARTICLES = {"the", "a", "an"}


@dataclass(frozen=True)
class Expression:
    """text: the instruction; kind: one of KINDS; phrases: each label with the ids it asks for, () = absent."""

    text: str
    kind: str
    phrases: tuple[tuple[str, tuple[int, ...]], ...]

    @property
    def target_ids(self) -> tuple[int, ...]:
        return tuple(i for _, ids in self.phrases for i in ids)


class Phrase(NamedTuple):
    """What is asked for, before it becomes a sentence. text: with its article; targets: as in Expression."""

    kind: str
    text: str
    targets: tuple[tuple[str, tuple[int, ...]], ...]


class Speaker:
    """Draws wording. wording "train" or "test": tests use no template of training.

    Raises:
        InvalidInputError: for another wording.
    """

    def __init__(self, rng: np.random.Generator, wording: str) -> None:
        if wording not in KINDS_OF_WORDING:
            raise InvalidInputError(f"wording must be one of {', '.join(KINDS_OF_WORDING)}, got {wording!r}")
        self.rng, self.wording = rng, wording

    def chance(self, share: float) -> bool:
        return bool(self.rng.random() < share)

    def one_of(self, options: Sequence[Item]) -> Item:
        return options[int(self.rng.random() * len(options))]

    def some_of(self, options: Sequence[Item], count: int) -> list[Item]:
        """Up to `count` of them in an order that is drawn."""
        return [options[i] for i in self.rng.permutation(len(options))[:count]]

    def way(self, ways: Wording) -> str:
        return self.one_of(ways.of(self.wording))

    def say(self, phrase: Phrase) -> Expression:
        return Expression(
            self.sentence(phrase.text, plural=len(phrase.targets) > 1 or phrase.kind == "all"), phrase.kind, phrase.targets
        )

    def sentence(self, text: str, plural: bool = False) -> str:
        """A phrase with its article -> an instruction."""
        single = not plural and text.startswith("the ") and not set(text.split()) & PAIRS
        carriers = (SINGULAR if single and self.chance(SHARE_SINGULAR) else CARRIERS).of(self.wording)
        if len(text.split()) > LONGEST_INSIDE:
            carriers = tuple(c for c in carriers if c.removesuffix("?").endswith("{}"))
        said = self.one_of(carriers).format(text)
        if not any(word in said for word in POLITE) and self.chance(SHARE_TAIL):
            said = self.way(TAILS).format(said)
        if self.chance(SHARE_OPENER):
            said = self.way(OPENERS).format(said)
        return self._written(said, plural)

    def _written(self, text: str, plural: bool) -> str:
        """As people type: tidy, or without punctuation, without articles, with slips."""
        if self.chance(SHARE_TIDY):
            return f"{text[0].upper()}{text[1:]}{'' if text.endswith('?') else '.'}"
        if self.chance(0.5):
            text = text.removesuffix("?")
        if not plural and self.chance(SHARE_TELEGRAPHIC):
            text = " ".join(w for w in text.split() if w not in ARTICLES)
        return slipped(text, self.rng, self.wording) if self.chance(SHARE_SLIPS[self.wording]) else text


def slipped(text: str, rng: np.random.Generator, wording: str) -> str:
    """One slip, and one more for every WORDS_PER_SLIP words; first and last letters stay."""
    words = text.split(" ")
    long = [n for n, word in enumerate(words) if len(word) >= SHORTEST_SLIP and word.isalpha()]
    for n in rng.permutation(long)[: 1 + len(words) // WORDS_PER_SLIP]:
        place = int(rng.integers(1, len(words[n]) - 2))
        words[n] = _swapped(words[n], place) if wording == "test" else _missing_or_twice(words[n], place, rng)
    return " ".join(words)


def _swapped(word: str, place: int) -> str:
    return word[:place] + word[place + 1] + word[place] + word[place + 2 :]


def _missing_or_twice(word: str, place: int, rng: np.random.Generator) -> str:
    return word[:place] + word[place + 1 :] if rng.random() < 0.5 else word[: place + 1] + word[place:]
