"""What the robot was told, checked once."""

from dataclasses import dataclass

from qwen_seg_ros.errors import InvalidInputError

MAX_CHARACTERS = 500


@dataclass(frozen=True)
class Instruction:
    """Plain words for what to take: 1..500 printable characters, white space folded.

    Raises:
        InvalidInputError: for empty, over-long or non-printable text.
    """

    text: str

    def __post_init__(self) -> None:
        if len(self.text) > MAX_CHARACTERS:
            raise InvalidInputError(f"instruction must have at most {MAX_CHARACTERS} characters, got {len(self.text)}")
        folded = " ".join(self.text.split())
        if not folded:
            raise InvalidInputError('instruction is empty; say what to find, for example "the red mug"')
        if not folded.isprintable():
            bad = next(c for c in folded if not c.isprintable())
            raise InvalidInputError(f"instruction holds the unprintable character U+{ord(bad):04X}; send plain text")
        object.__setattr__(self, "text", folded)
