"""Pickles of plain values, read without any way to run what they ask for.

The file is walked twice: `pickletools` lists its opcodes without carrying them out, and only a file made of nothing but
plain values is then loaded, by an unpickler that knows no class.
"""

import io
import pickle
import pickletools
from pathlib import Path
from typing import Any, NoReturn

from qwen_seg_ros.errors import InvalidInputError
from qwen_seg_ros.offline.evaluation.public.reading import read_bytes

MAX_BYTES = 2**27  # the largest published file has about a third of it
MOST = 2**63
WANTED = "a pickle of dicts, lists, tuples, texts, numbers, booleans and None; fetch the file again from its publisher"
MARKS = ("PROTO", "FRAME", "STOP", "MARK", "POP", "POP_MARK", "DUP")
STORING = ("PUT", "BINPUT", "LONG_BINPUT")
MEMO = (*STORING, "MEMOIZE", "GET", "BINGET", "LONG_BINGET")
NUMBERS = ("NONE", "NEWTRUE", "NEWFALSE", "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT")
TEXTS = ("STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8")
LISTS = ("EMPTY_LIST", "LIST", "APPEND", "APPENDS", "EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3")
DICTS = ("EMPTY_DICT", "DICT", "SETITEM", "SETITEMS")
PLAIN = frozenset((*MARKS, *MEMO, *NUMBERS, *TEXTS, *LISTS, *DICTS))
DAMAGE = (pickle.UnpicklingError, ValueError, EOFError, LookupError, AttributeError, TypeError, OverflowError)


def read_plain_pickle(file: Path) -> Any:
    """The value in `file`, of dict, list, tuple, str, int, float, bool and None; byte strings of Python 2 become text.

    A value may hold itself or the same part many times: readers must not walk it without a bound.

    Raises:
        InvalidInputError: for anything else, a damaged file, and one of more than 128 MiB.
    """
    raw = read_bytes(file, MAX_BYTES)
    try:
        _require_plain(raw, file)
        return _PlainUnpickler(io.BytesIO(raw), encoding="utf-8", errors="replace").load()
    except InvalidInputError:
        raise
    except DAMAGE as problem:
        raise InvalidInputError(f"{file}: damaged ({problem}); it must be {WANTED}") from None


class _PlainUnpickler(pickle.Unpickler):
    """Never gets here with a class to look up; the second lock on the same door."""

    def find_class(self, module: str, name: str) -> NoReturn:
        raise InvalidInputError(f"a pickle asks for {module}.{name}; it must be {WANTED}")


def _require_plain(raw: bytes, file: Path) -> None:
    """Only opcodes of plain values, and places in the memo as small as their position, so that memory follows file size."""
    for opcode, argument, position in pickletools.genops(raw):
        if opcode.name not in PLAIN:
            raise InvalidInputError(
                f"{file}: asks at byte {position} for more than plain values (opcode {opcode.name}), which could run code, and "
                f"was not read; it must be {WANTED}"
            )
        if opcode.name in STORING and int(argument) > (position or 0) + 1:
            raise InvalidInputError(f"{file}: damaged (memo place {argument} at byte {position}); it must be {WANTED}")
        if isinstance(argument, int) and abs(argument) >= MOST:
            raise InvalidInputError(f"{file}: holds a number of more than 63 bits at byte {position}; it must be {WANTED}")
