"""Stored views: what is written is read, exactly, also in two processes; old folders beside it; damaged files are named."""

import json
import multiprocessing
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from shards import drawn_scene, write_folder_shard, write_shard

from qwen_seg_ros.errors import InvalidInputError, MissingExtraError
from qwen_seg_ros.offline.data import store
from qwen_seg_ros.offline.data.store import COLUMNS, MARK, ROW_GROUP, StoredViews, ViewWriter, about
from qwen_seg_ros.offline.data.stored_view import Row, StoredView, metres, millimetres, to_row, to_view
from qwen_seg_ros.offline.sim.scene import SimScene

VIEWS = 2 * ROW_GROUP + 5


@pytest.fixture(scope="module")
def scenes() -> list[SimScene]:
    rng = np.random.default_rng(3)
    return [drawn_scene(rng, seed) for seed in range(VIEWS)]


@pytest.fixture(scope="module")
def rows(scenes: list[SimScene]) -> list[Row]:
    return [to_row(scene, 0, "train", depth=scene.seed % 3 > 0) for scene in scenes]


@pytest.fixture(scope="module")
def folder(rows: list[Row], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two files, the first of them with a row group that is not full."""
    place = tmp_path_factory.mktemp("views")
    write(place / "shard_00000.parquet", rows[: ROW_GROUP + 3])
    write(place / "shard_00001.parquet", rows[ROW_GROUP + 3 :])
    return place


def write(path: Path, rows: list[Row]) -> Path:
    with ViewWriter(path, {"seed": 1}) as writer:
        writer.add(rows)
    return path


def same(one: StoredView, other: StoredView) -> bool:
    depths = [np.zeros(0) if view.depth_m is None else view.depth_m for view in (one, other)]
    return (
        (one.key, one.seed, one.profile, one.objects, one.camera)
        == (other.key, other.seed, other.profile, other.objects, other.camera)
        and all(np.array_equal(getattr(one, name), getattr(other, name)) for name in ("rgb", "ids", "base_from_camera"))
        and np.array_equal(*depths, equal_nan=True)
    )


def test_what_is_written_is_read(folder: Path, scenes: list[SimScene]) -> None:
    views = StoredViews(folder, depth=True)
    assert len(views) == VIEWS and [view.seed for view in views] == list(range(VIEWS))
    for scene, view in zip(scenes, views, strict=True):
        assert (view.key, view.profile) == (f"{scene.seed:07d}_00", "train")
        assert view.objects == scene.objects and view.camera == scene.camera
        np.testing.assert_array_equal(view.ids, scene.ids)
        np.testing.assert_array_equal(view.base_from_camera, scene.base_from_camera)
        assert np.abs(view.rgb.astype(int) - scene.rgb).mean() < 3, "JPEG"
        assert (view.depth_m is None) == (scene.seed % 3 == 0)
        if view.depth_m is not None:
            np.testing.assert_array_equal(np.isnan(view.depth_m), np.isnan(scene.depth_m))
            np.testing.assert_allclose(view.depth_m, scene.depth_m, atol=5.01e-4)


def test_columns_come_back_byte_for_byte(folder: Path, rows: list[Row]) -> None:
    tables = [pq.read_table(file) for file in sorted(folder.glob("*.parquet"))]
    assert pa.concat_tables(tables).to_pylist() == rows
    assert tables[0].schema.names == list(COLUMNS)
    assert about(folder / "shard_00000.parquet") == {"seed": 1}


def test_depth_in_millimetres_is_kept_and_the_unknown_stays_unknown() -> None:
    whole = np.array([[0, 1, 999, 65535]], np.uint16)
    np.testing.assert_array_equal(millimetres(metres(whole)), whole)
    unknown = metres(millimetres(np.array([[np.nan, np.inf, -np.inf, -1.0, 0.0, 70.0]], np.float32)))
    assert np.isnan(unknown).all()


def test_any_order_a_slice_and_the_end_give_the_same_views(folder: Path) -> None:
    views = StoredViews(folder)
    order = np.random.default_rng(0).permutation(VIEWS)
    assert [views[int(n)].seed for n in order] == order.tolist()
    assert [view.seed for view in views[5:30:4]] == list(range(5, 30, 4))
    assert views[-1].seed == VIEWS - 1 and len(views[:10][3:]) == 7
    with pytest.raises(IndexError):
        views[VIEWS]


def test_depth_is_left_on_disk_unless_asked_for(folder: Path) -> None:
    assert all(view.depth_m is None for view in StoredViews(folder))


def pictures(views: StoredViews) -> list[bytes]:
    return [view.rgb.tobytes() + view.ids.tobytes() for view in views]


@pytest.mark.parametrize("start", ["spawn", "fork"])
def test_two_other_processes_read_the_same(folder: Path, start: str) -> None:
    views = StoredViews(folder)
    here = pictures(views)  # the files are open here when the others start
    with multiprocessing.get_context(start).Pool(2) as pool:
        assert pool.map(pictures, [views[::2], views[1::2]]) == [here[::2], here[1::2]]


def test_old_folders_are_read_beside_new_files(tmp_path: Path) -> None:
    write_folder_shard(tmp_path / "old", views=5, seed=4)
    write_shard(tmp_path / "new", views=5, seed=4)
    write_folder_shard(tmp_path / "both", views=5, seed=4)
    shutil.copy(tmp_path / "new" / "shard_00000.parquet", tmp_path / "both" / "shard_00001.parquet")
    old, new, both = (StoredViews(tmp_path / name, depth=True) for name in ("old", "new", "both"))
    assert len(old) == len(new) == 5 and len(both) == 10
    for index in range(5):
        assert same(replace(old[index], key=new[index].key), new[index])
        assert same(both[index], old[index]) and same(both[index + 5], new[index])


def test_old_folders_need_no_pyarrow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_folder_shard(tmp_path / "old", views=2)
    write_shard(tmp_path / "new", views=2)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert len(StoredViews(tmp_path / "old")[1].objects) == 3
    with pytest.raises(MissingExtraError, match=r"pip install 'qwen-seg-ros\[train\]'"):
        StoredViews(tmp_path / "new")


def test_what_is_not_finished_is_not_there(tmp_path: Path, rows: list[Row]) -> None:
    write_folder_shard(tmp_path, views=2)
    (tmp_path / "shard_00000" / "done").unlink()
    with pytest.raises(KeyboardInterrupt), ViewWriter(tmp_path / "shard_00001.parquet", {}) as writer:
        writer.add(rows)
        assert len(StoredViews(tmp_path)) == 0, "seen while it was written"
        raise KeyboardInterrupt
    assert [path.name for path in tmp_path.iterdir()] == ["shard_00000"]


def test_a_file_without_views_is_empty(tmp_path: Path) -> None:
    write(tmp_path / "shard_00000.parquet", [])
    assert len(StoredViews(tmp_path)) == 0


# --- what others may have written ----------------------------------------------------------------------------------------


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-200])


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def flipped(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[2000] ^= 0xFF  # in a picture of the first row group: the checksum of its page does not fit
    path.write_bytes(data)


def other_table(path: Path) -> None:
    pq.write_table(pa.table({"a": [1]}), path)


def remarked(mark: object) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        table = pq.read_table(path)
        pq.write_table(table.replace_schema_metadata({MARK: json.dumps(mark).encode()}), path)

    return change


def without_a_column(path: Path) -> None:
    table = pq.read_table(path)
    pq.write_table(table.drop_columns(["ids"]), path)


def one_huge_group(path: Path) -> None:
    table = pq.read_table(path)
    pq.write_table(pa.concat_tables([table] * 1000), path)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (cut, "shard_00000.parquet: .*remove it and render again"),
        (emptied, "shard_00000.parquet: .*remove it and render again"),
        (other_table, "not a file of views: its metadata has no qwen_seg_ros.views"),
        (remarked({"version": 2, "about": {}}), "version 2, this package reads up to 1: update the package"),
        (remarked({"version": "x"}), "shard_00000.parquet: .*remove it"),
        (remarked([]), "shard_00000.parquet: .*remove it"),
        (without_a_column, "columns must be .*'ids'.* got"),
        (one_huge_group, "larger than the 10000000 rows, and 4096 rows and 268435456 bytes a row group"),
    ],
)
def test_damaged_files_are_named_when_the_folder_is_opened(
    tmp_path: Path, rows: list[Row], damage: Callable[[Path], None], message: str
) -> None:
    damage(write(tmp_path / "shard_00000.parquet", rows[:6]))
    with pytest.raises(InvalidInputError, match=message):
        StoredViews(tmp_path)


def test_damaged_pages_are_named_when_they_are_read(tmp_path: Path, rows: list[Row]) -> None:
    flipped(write(tmp_path / "shard_00000.parquet", rows[: ROW_GROUP + 2]))
    views = StoredViews(tmp_path)
    assert views[ROW_GROUP + 1].seed == ROW_GROUP + 1
    with pytest.raises(InvalidInputError, match=r"shard_00000.parquet, row 3: .*remove it and render again"):
        views[3]


def png(picture: np.ndarray) -> bytes:
    return cv2.imencode(".png", picture)[1].tobytes()


def truth_with(row: Row, **values: object) -> str:
    return json.dumps({**json.loads(row["truth"]), **values})


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("rgb", b"\xff\xd8\xff no jpeg", "rgb is not a JPEG that can be read"),
        ("rgb", png(np.zeros((240, 320, 3), np.uint8)), "rgb is not a JPEG"),
        ("ids", png(np.zeros((240, 320), np.uint16)), r"ids must be uint8 with 2 axes, got uint16 \(240, 320\)"),
        ("ids", png(np.zeros((240, 321), np.uint8)), "must have one height and width, got"),
        ("ids", png(np.zeros((8000, 8000), np.uint8)), "ids has 8000x8000 pixels, 50000000 are allowed"),
        ("ids", png(np.zeros((240, 320), np.uint8))[:60], "ids is "),
        ("depth", png(np.zeros((240, 320), np.uint8)), r"depth must be uint16 with 2 axes, got uint8"),
        ("truth", "{", "truth cannot be read"),
        ("truth", "[" * 5000, "truth cannot be read"),
        ("truth", "{}", "truth cannot be read .KeyError: 'objects'"),
        ("truth", '{"objects": [{"key": "x"}]}', "truth cannot be read .TypeError"),
        ("truth", '{"objects": [7]}', "truth cannot be read"),
        ("truth", " " * (2**20 + 1), "at most 1048576 characters, got 1048577"),
    ],
)
def test_damaged_rows_are_named(tmp_path: Path, rows: list[Row], column: str, value: object, message: str) -> None:
    write(tmp_path / "shard_00000.parquet", [*rows[1:3], {**rows[4], column: value}])
    views = StoredViews(tmp_path, depth=True)
    assert views[1].seed == 2
    with pytest.raises(InvalidInputError, match=rf"shard_00000.parquet, row 2: .*{message}"):
        views[2]


def test_truth_that_cannot_be_is_refused(rows: list[Row]) -> None:
    first = json.loads(rows[0]["truth"])["objects"][0]
    camera = json.loads(rows[0]["truth"])["camera"]
    bad = [{"objects": [{**first, "id": n}]} for n in (0, 256, "1", True)]
    bad += [{"objects": [{**first, "box_px": [1, 2, 3]}]}, {"camera": {**camera, "fx": 0}}, {"camera": {**camera, "width": 3}}]
    bad += [{"base_from_camera": [[1, 0], [0, 1]]}, {"base_from_camera": [[float("nan")] * 4] * 4}]
    for values in bad:
        with pytest.raises(InvalidInputError, match=r"truth cannot be read|must have one height and width"):
            to_view({**rows[0], "truth": truth_with(rows[0], **values)})


def test_old_folders_that_are_damaged_are_named(tmp_path: Path) -> None:
    shard = write_folder_shard(tmp_path, views=3) / "shard_00000"
    lines = (shard / "meta.jsonl").read_text().splitlines()
    (shard / "0000001_ids.png").write_bytes(b"no picture")
    lines[2] = json.dumps({**json.loads(lines[2]), "name": "../../0000002"})
    (shard / "meta.jsonl").write_text("\n".join(lines))
    views = StoredViews(tmp_path)
    assert len(views[0].objects) == 3
    with pytest.raises(InvalidInputError, match=r"meta.jsonl, line 2: ids is not a PNG .*remove the folder"):
        views[1]
    with pytest.raises(InvalidInputError, match=r"meta.jsonl, line 3: name '../../0000002' is not that of a file"):
        views[2]
    (shard / "meta.jsonl").unlink()
    with pytest.raises(InvalidInputError, match=r"meta.jsonl cannot be read .*remove the folder"):
        StoredViews(tmp_path)


def test_pictures_are_bounded_before_they_are_read(tmp_path: Path, rows: list[Row], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "MAX_PICTURE_BYTES", 1000)
    write_folder_shard(tmp_path, views=1)
    with pytest.raises(InvalidInputError, match=r"0000000\.jpg has more than 1000 bytes"):
        StoredViews(tmp_path)[0]
