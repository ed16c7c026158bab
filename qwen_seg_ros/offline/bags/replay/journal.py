"""Finished answers of a replay that may be interrupted: each is kept whole or not at all, whenever the process ends."""

import sqlite3
from collections.abc import Iterable, Iterator
from pathlib import Path

from qwen_seg_ros.errors import InvalidInputError

_TABLES = """
CREATE TABLE IF NOT EXISTS answers (number INTEGER PRIMARY KEY, line TEXT NOT NULL, spent TEXT NOT NULL, log_ns INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS messages (number INTEGER NOT NULL, topic TEXT NOT NULL, data BLOB NOT NULL);
"""


class Journal:
    """An SQLite file. line: of results.jsonl; spent: of latencies.json; log_ns: when the frame was recorded."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._db = sqlite3.connect(path, isolation_level=None)
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=NORMAL")
            self._db.executescript(_TABLES)
            self._count = int(self._db.execute("SELECT COUNT(*) FROM answers").fetchone()[0])
        except sqlite3.DatabaseError as error:
            raise InvalidInputError(f"{path} is damaged ({error}); remove {path.parent} and begin again") from error

    def __len__(self) -> int:
        return self._count

    def add(self, line: str, spent: str, log_ns: int, messages: Iterable[tuple[str, bytes]]) -> None:
        """messages: topic and serialised message."""
        self._db.execute("BEGIN")
        self._db.execute("INSERT INTO answers VALUES (?, ?, ?, ?)", (self._count, line, spent, log_ns))
        self._db.executemany("INSERT INTO messages VALUES (?, ?, ?)", ((self._count, topic, data) for topic, data in messages))
        self._db.execute("COMMIT")
        self._count += 1

    def lines(self) -> Iterator[str]:
        yield from (row[0] for row in self._db.execute("SELECT line FROM answers ORDER BY number"))

    def spent(self) -> Iterator[str]:
        yield from (row[0] for row in self._db.execute("SELECT spent FROM answers ORDER BY number"))

    def messages(self) -> Iterator[tuple[str, int, bytes]]:
        """Topic, time of recording and bytes, in the order in which they were added."""
        yield from self._db.execute(
            "SELECT topic, log_ns, data FROM messages JOIN answers USING (number) ORDER BY messages.rowid"
        )

    def close(self) -> None:
        self._db.close()

    def remove(self) -> None:
        self.close()
        self._path.unlink()
