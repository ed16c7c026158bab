"""How a request ended, in a number for programs and words for people."""

from dataclasses import dataclass
from enum import IntEnum


class StatusCode(IntEnum):
    """The numbers of Status.msg."""

    OK = 0
    NOT_FOUND = 1
    NO_FRAME = 2
    NO_DEPTH = 3
    NO_TRANSFORM = 4
    OUT_OF_MEMORY = 5
    INVALID_INPUT = 6
    UNREADABLE_ANSWER = 7
    INTERNAL_ERROR = 8
    BUSY = 9
    DEADLINE = 10
    CANCELLED = 11


@dataclass(frozen=True)
class Status:
    """message: what happened and what to do; may be empty when `code` is OK."""

    code: StatusCode = StatusCode.OK
    message: str = ""
