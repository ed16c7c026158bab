"""Shards rendered here and by actors of Ray: the same rows, and what is there is kept. Needs MuJoCo, EGL and assets; Ray."""

import sys
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from qwen_seg_ros.errors import InvalidInputError, MissingExtraError
from qwen_seg_ros.offline.data.store import StoredViews, about
from qwen_seg_ros.offline.sim import cluster, dataset
from qwen_seg_ros.offline.sim.dataset import Rendering, missing_shards, render_missing

RENDERING = Rendering(views=2, size=(160, 120), profile="simple", depth=True)
FIRST = 9_000_000
HOW = (FIRST, 3, RENDERING)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three arrangements in two shards, rendered in this process."""
    place = tmp_path_factory.mktemp("local")
    try:
        render_missing(place, *HOW, shard=2)
    except MissingExtraError as problem:
        pytest.skip(str(problem))
    return place


def unchanged(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in folder.glob("*.parquet")}


def test_stored_views_are_the_rendered_ones(folder: Path) -> None:
    views = StoredViews(folder, depth=True)
    assert [(view.key, view.profile) for view in views[-2:]] == [("9000002_00", "simple"), ("9000002_01", "simple")]
    scene = dataset._renderer(160, 120, "classic").render(FIRST + 1, 2, profile=dataset.scene_profile("simple"))[1]
    view = views[3]
    assert view.objects == scene.objects and view.camera == scene.camera
    assert (view.ids == scene.ids).all() and (view.base_from_camera == scene.base_from_camera).all()
    assert abs(view.depth_m - scene.depth_m).max() < 5.01e-4
    made = about(folder / "shard_00001.parquet")
    assert made["first_seed"] == FIRST + 2 and made["renderer"] == f"mujoco {version('mujoco')}"


def test_a_run_that_was_stopped_goes_on_with_what_is_missing(folder: Path, tmp_path: Path) -> None:
    for shard in missing_shards(tmp_path, *HOW, shard=2):
        finished = shard.render()
        next(finished)
        finished.close()  # as a kill between two arrangements
    assert [path.name for path in tmp_path.iterdir()] == []
    (tmp_path / "shard_00000.parquet").write_bytes((folder / "shard_00000.parquet").read_bytes())
    before = unchanged(tmp_path)
    render_missing(tmp_path, *HOW, shard=2)
    assert before.items() <= unchanged(tmp_path).items()
    assert (tmp_path / "shard_00001.parquet").read_bytes() == (folder / "shard_00001.parquet").read_bytes()


@pytest.mark.parametrize(
    "other", [{"profile": "train"}, {"views": 3}, {"depth": False}, {"sensor": False}, {"renderer": "filament"}]
)
def test_a_folder_made_in_another_way_is_refused(folder: Path, other: dict) -> None:
    with pytest.raises(InvalidInputError, match=r"shard_00000.parquet was made with .*use another folder"):
        missing_shards(folder, FIRST, 3, replace(RENDERING, **other), shard=2)
    with pytest.raises(InvalidInputError, match="use another folder"):
        missing_shards(folder, FIRST + 1, 3, RENDERING, shard=2)


def test_old_folders_are_finished_shards_of_simple_scenes(tmp_path: Path) -> None:
    (tmp_path / "shard_00000").mkdir()
    (tmp_path / "shard_00000" / "done").touch()
    assert [shard.path.name for shard in missing_shards(tmp_path, *HOW, shard=2)] == ["shard_00001.parquet"]
    with pytest.raises(InvalidInputError, match="use another folder"):
        missing_shards(tmp_path, FIRST, 3, replace(RENDERING, profile="train"), shard=2)


@pytest.mark.parametrize(
    "wrong", [{"views": 0}, {"views": 101}, {"size": (0, 5)}, {"profile": "nowhere"}, {"renderer": "vulkan"}]
)
def test_renderings_that_cannot_be_are_refused(wrong: dict) -> None:
    with pytest.raises(InvalidInputError):
        replace(RENDERING, **wrong)


def local_processes(folder: Path) -> None:
    render_missing(folder, *HOW, workers=2, shard=2)


def ray_actors(folder: Path) -> None:
    pytest.importorskip("ray", reason="rendering on a cluster needs Ray: pip install 'qwen-seg-ros[scale]'")
    cluster.generate_with_ray(folder, *HOW, actors=2, shard=2)


@pytest.mark.parametrize("run", [local_processes, ray_actors])
def test_other_processes_write_the_same_files(folder: Path, tmp_path: Path, run: Callable[[Path], None]) -> None:
    run(tmp_path)
    for name in ("shard_00000.parquet", "shard_00001.parquet"):
        assert pq.read_table(tmp_path / name).to_pylist() == pq.read_table(folder / name).to_pylist()
        assert (tmp_path / name).read_bytes() == (folder / name).read_bytes()
    before = unchanged(tmp_path)
    run(tmp_path)
    assert unchanged(tmp_path) == before


def test_without_ray_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.delitem(sys.modules, "ray.data", raising=False)
    with pytest.raises(MissingExtraError, match=r"pip install 'qwen-seg-ros\[sim,scale\]'"):
        cluster.generate_with_ray(tmp_path, *HOW)
