"""Views with truth on disk, many in a Parquet file, read by number. docs/tabletop_ors_data.md has the columns.

Old data, a folder a shard with one line of `meta.jsonl` a view, is read through the same class; that needs no pyarrow.
"""

import copy
import json
import os
import uuid
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any, overload

import numpy as np

from qwen_seg_ros.errors import InvalidInputError, MissingExtraError
from qwen_seg_ros.offline.data.stored_view import MAX_PICTURE_BYTES, Row, StoredView, to_view

VERSION = 1  # of the columns and of what they hold
MARK = b"qwen_seg_ros.views"  # in the metadata of the file: {"version": 1, "about": how the views were made}
COLUMNS = {"key": "string", "seed": "int64", "profile": "string", "rgb": "binary", "ids": "binary", "depth": "binary"}
COLUMNS |= {"truth": "string"}
ROW_GROUP = 16  # views; reading one view reads its group
MAX_GROUP_ROWS, MAX_GROUP_BYTES, MAX_FILE_ROWS = 4096, 2**28, 10_000_000
MAX_META_BYTES = 2**28
OPEN_FILES, HELD_GROUPS = 64, 2  # of a process
REMEDY = "remove it and render again: `qwen-seg simulate` makes only what is missing"


class ViewWriter:
    """Writes one Parquet file, which takes its name when the block ends without an error; until then nobody sees it.

    with ViewWriter(folder / "shard_00000.parquet", about) as writer:
        writer.add(rows)
    """

    def __init__(self, path: Path, about: Mapping[str, Any]) -> None:
        pa, pq = _arrow()
        self.path, self.waiting = Path(path), list[Row]()
        self.unfinished = self.path.with_name(f".{self.path.name}.{uuid.uuid4().hex[:8]}.part")
        mark = json.dumps({"version": VERSION, "about": dict(about)}, sort_keys=True)
        self.schema = _schema(pa).with_metadata({MARK: mark.encode()})
        compression = {name: "zstd" if kind != "binary" else "none" for name, kind in COLUMNS.items()}
        self.writer = pq.ParquetWriter(
            self.unfinished, self.schema, compression=compression, use_dictionary=["profile"], write_page_checksum=True,
            write_statistics=["key", "seed", "profile"],
        )  # fmt: skip

    def add(self, rows: Sequence[Row]) -> None:
        self.waiting += rows
        while len(self.waiting) >= ROW_GROUP:
            self._write(self.waiting[:ROW_GROUP])
            self.waiting = self.waiting[ROW_GROUP:]

    def _write(self, rows: Sequence[Row]) -> None:
        pa, _ = _arrow()
        self.writer.write_table(pa.Table.from_pylist(rows, schema=self.schema))

    def __enter__(self) -> "ViewWriter":
        return self

    def __exit__(self, kind: type | None, value: BaseException | None, trace: TracebackType | None) -> None:
        if kind is None and self.waiting:
            self._write(self.waiting)
        self.writer.close()
        if kind is None:
            self.unfinished.replace(self.path)
        else:
            self.unfinished.unlink()


class StoredViews(Sequence[StoredView]):
    """The finished views of a folder as they are now, in the order of its shards' names; a slice is a StoredViews again.

    Depth is read only with `depth`. Holds names and numbers, no open files: it may be sent to other processes, each of which
    keeps files of its own.

    Raises:
        InvalidInputError: for a file that is damaged, of another kind or of a newer version, naming it and what would do.
        MissingExtraError: for Parquet files without pyarrow.
    """

    def __init__(self, folder: Path, depth: bool = False) -> None:
        self.folder, self.depth = Path(folder), depth
        found = [*self.folder.glob("*.parquet"), *(done.parent for done in self.folder.glob("shard_*/done"))]
        self.shards = [_FolderShard(path) if path.is_dir() else _ParquetShard(path) for path in sorted(found)]
        self.first = np.cumsum([0, *(len(shard) for shard in self.shards)])
        self.numbers = range(int(self.first[-1]))

    def __len__(self) -> int:
        return len(self.numbers)

    @overload
    def __getitem__(self, index: int) -> StoredView: ...
    @overload
    def __getitem__(self, index: slice) -> "StoredViews": ...
    def __getitem__(self, index: int | slice) -> "StoredView | StoredViews":
        if isinstance(index, slice):
            part = copy.copy(self)
            part.numbers = self.numbers[index]
            return part
        number = self.numbers[index]
        shard = int(np.searchsorted(self.first, number, side="right")) - 1
        return self.shards[shard].view(number - int(self.first[shard]), self.depth)


class _ParquetShard:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.group_starts = _opened(path, os.getpid())[1]

    def __len__(self) -> int:
        return int(self.group_starts[-1])

    def view(self, row: int, depth: bool) -> StoredView:
        group = int(np.searchsorted(self.group_starts, row, side="right")) - 1
        columns = tuple(name for name in COLUMNS if depth or name != "depth")
        try:
            table = _group(self.path, os.getpid(), group, columns)
            values = table.slice(row - int(self.group_starts[group]), 1).to_pylist()[0]
            return to_view(values)
        except (*_arrow_errors(), IndexError) as problem:
            raise InvalidInputError(f"{self.path}, row {row}: {problem}; {REMEDY}") from None


class _FolderShard:
    """A folder of `NAME.jpg`, `NAME_ids.png`, maybe `NAME_depth.png`, and `meta.jsonl`: what was written before Parquet."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self.lines = _bounded(path / "meta.jsonl", MAX_META_BYTES).decode().splitlines()
        except (OSError, ValueError) as problem:
            raise InvalidInputError(
                f"{path / 'meta.jsonl'} cannot be read ({problem}); remove the folder {path}, and render again"
            ) from None

    def __len__(self) -> int:
        return len(self.lines)

    def view(self, row: int, depth: bool) -> StoredView:
        try:
            return to_view(self._row(self.lines[row], depth))
        except (OSError, ValueError, TypeError, KeyError, RecursionError) as problem:
            raise InvalidInputError(
                f"{self.path / 'meta.jsonl'}, line {row + 1}: {problem}; remove the folder {self.path}"
            ) from None

    def _row(self, line: str, depth: bool) -> Row:
        meta = json.loads(line)
        name = str(meta["name"])
        if Path(name).name != name:
            raise ValueError(f"name {name!r} is not that of a file in the folder")
        files = {"rgb": f"{name}.jpg", "ids": f"{name}_ids.png", "depth": f"{name}_depth.png"}
        wanted = {c: self.path / file for c, file in files.items() if c != "depth" or (depth and (self.path / file).exists())}
        pictures = {column: _bounded(file, MAX_PICTURE_BYTES) for column, file in wanted.items()}
        return {"key": f"{self.path.name}/{name}", "seed": meta["seed"], "profile": "simple", "truth": line, **pictures}


def _bounded(path: Path, most: int) -> bytes:
    with path.open("rb") as stream:
        data = stream.read(most + 1)
    if len(data) > most:
        raise ValueError(f"{path.name} has more than {most} bytes")
    return data


def about(path: Path) -> dict[str, Any]:
    """How the views of a Parquet file were made, as its writer was told."""
    return dict(_opened(Path(path), os.getpid())[2])


@lru_cache(maxsize=OPEN_FILES)
def _opened(path: Path, process: int) -> tuple[Any, np.ndarray, dict[str, Any]]:
    """-> the open file, the first row of each of its groups and the number of rows, what it says about itself.

    process: a file is never shared with the process that this one was forked from.
    """
    pa, pq = _arrow()
    try:
        file = pq.ParquetFile(
            path, pre_buffer=False, page_checksum_verification=True, thrift_string_size_limit=2**24,
            thrift_container_size_limit=2**20,
        )  # fmt: skip
        return file, _group_starts(file.metadata), _checked(file.schema_arrow, pa)
    except (*_arrow_errors(), TypeError, KeyError) as problem:
        raise InvalidInputError(f"{path}: {problem}; {REMEDY}") from None


@lru_cache(maxsize=HELD_GROUPS)
def _group(path: Path, process: int, group: int, columns: tuple[str, ...]) -> Any:
    return _opened(path, process)[0].read_row_group(group, columns=list(columns), use_threads=False)


def _group_starts(metadata: Any) -> np.ndarray:
    groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
    rows, most = [group.num_rows for group in groups], max((group.total_byte_size for group in groups), default=0)
    if metadata.num_rows > MAX_FILE_ROWS or max(rows, default=0) > MAX_GROUP_ROWS or most > MAX_GROUP_BYTES:
        limits = f"{MAX_FILE_ROWS} rows, and {MAX_GROUP_ROWS} rows and {MAX_GROUP_BYTES} bytes a row group"
        raise ValueError(f"larger than the {limits} that are allowed")
    return np.cumsum([0, *rows])


def _checked(schema: Any, pa: ModuleType) -> dict[str, Any]:
    mark = (schema.metadata or {}).get(MARK)
    if mark is None:
        raise ValueError(f"not a file of views: its metadata has no {MARK.decode()}")
    said = json.loads(mark)
    if said["version"] > VERSION:
        raise ValueError(f"written in version {said['version']}, this package reads up to {VERSION}: update the package")
    if not schema.equals(_schema(pa)):
        raise ValueError(f"columns must be {COLUMNS}, got { {field.name: str(field.type) for field in schema} }")
    return said["about"]


def _arrow_errors() -> tuple[type[Exception], ...]:
    """What reading a damaged file raises; ours and that of text which is no UTF-8 are ValueErrors."""
    return (_arrow()[0].ArrowException, OSError, ValueError)


def _schema(pa: ModuleType) -> Any:
    return pa.schema([pa.field(name, getattr(pa, kind)(), nullable=name == "depth") for name, kind in COLUMNS.items()])


def _arrow() -> tuple[ModuleType, ModuleType]:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise MissingExtraError("views stored as Parquet need pyarrow: pip install 'qwen-seg-ros[train]'") from error
    return pa, pq
