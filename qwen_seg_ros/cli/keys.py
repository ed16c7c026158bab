"""Single keys from a terminal, without waiting for them."""

import select
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def keys() -> Iterator["Keys | None"]:
    """None where standard input is no terminal, or none of a kind that gives single keys; restored in the end."""
    try:
        import termios
        import tty
    except ImportError:
        yield None
        return
    if not sys.stdin.isatty():
        yield None
        return
    before = termios.tcgetattr(sys.stdin)
    tty.setcbreak(sys.stdin)
    try:
        yield Keys()
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)


class Keys:
    def pressed(self) -> str:
        """The next key, "" = none."""
        return sys.stdin.read(1) if select.select([sys.stdin], [], [], 0)[0] else ""
