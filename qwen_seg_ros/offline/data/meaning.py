"""Two readings of a phrase at once: what it surely means and what somebody might take it for.

A phrase is used only where both are the same set, and as absent only where nobody could take anything for it. Sets of objects
are whole numbers, bit n = the n-th object of the picture.
"""

from collections.abc import Iterable
from typing import NamedTuple


class Meaning(NamedTuple):
    """sure: objects that fit in every reading; maybe: those that fit in some reading, the sure ones among them."""

    sure: int
    maybe: int

    def both(self, other: "Meaning") -> "Meaning":
        """Of objects that fit this and the other: "red" and "mug"."""
        return Meaning(self.sure & other.sure, self.maybe & other.maybe)

    def without(self, other: "Meaning") -> "Meaning":
        """Of objects that fit this but not the other: "mug" that is not "red"."""
        return Meaning(self.sure & ~other.maybe, self.maybe & ~other.sure)

    @property
    def proven(self) -> bool:
        return self.sure == self.maybe

    @property
    def single(self) -> bool:
        """Exactly one object, beyond doubt."""
        return self.proven and self.sure.bit_count() == 1

    @property
    def nothing(self) -> bool:
        """Surely no object."""
        return self.maybe == 0


def meaning_of(verdicts: Iterable[bool | None]) -> Meaning:
    """One verdict an object in their order: it fits, it does not, None = people would not agree."""
    sure = maybe = 0
    for place, verdict in enumerate(verdicts):
        if verdict is not False:
            maybe |= 1 << place
            sure |= (1 << place) if verdict else 0
    return Meaning(sure, maybe)
