"""The Filament renderer against the classic one: the same truth, the same silhouettes, true colours, light that follows the
lamps, the same bytes again. Rendering needs MuJoCo, EGL, Vulkan and assets."""

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from test_scenes import few_objects, hue_fits

from qwen_seg_ros.errors import InvalidInputError, MissingExtraError
from qwen_seg_ros.offline.data.store import ViewWriter, about
from qwen_seg_ros.offline.sim import dataset
from qwen_seg_ros.offline.sim.dataset import Rendering, Shard
from qwen_seg_ros.offline.sim.looks import Finish
from qwen_seg_ros.offline.sim.profiles import PROFILES

SIZE = (320, 240)
EXACT = replace(PROFILES["train"], count=(6, 9), sensors=())
PLAIN = replace(EXACT, lights=("soft",), stacked=0.1)
SEEDS = range(3)
GRAY, MAGENTA, MATT = (0.5, 0.5, 0.5), (0.9, 0.0, 0.9), Finish(0.0, 0.0)


@pytest.fixture(scope="module")
def filament() -> Iterator:
    try:
        from qwen_seg_ros.offline.sim.renderer import SceneRenderer

        made = SceneRenderer(*SIZE, few_objects(), filament=True)
        made.studio("train")
    except MissingExtraError as problem:
        pytest.skip(str(problem))
    return made


@pytest.fixture(scope="module")
def classic(filament) -> Iterator:
    return type(filament)(*SIZE, few_objects())


def test_what_stands_where_is_that_of_the_classic_renderer(filament, classic) -> None:
    for seed in SEEDS:
        for one, other in zip(*(who.render(seed, 2, profile=EXACT) for who in (filament, classic)), strict=True):
            np.testing.assert_array_equal(one.ids, other.ids)
            np.testing.assert_array_equal(one.depth_m, other.depth_m)
            assert one.objects == other.objects and one.camera == other.camera
            assert not np.array_equal(one.rgb, other.rgb)


def test_classic_pictures_of_the_same_stage_stay_as_they_are(filament, classic) -> None:
    """Filament's materials are put on for its own pictures only."""
    for seed in SEEDS:
        filament.render(seed, profile=EXACT)
        after = filament.studio("train").painter.colour()
        np.testing.assert_array_equal(after, classic.render(seed, profile=EXACT)[0].rgb)


def test_silhouettes_are_those_of_the_ids(filament) -> None:
    """One object is magenta and all others are gray: its pixels are those of its id, with any camera, in any size and pose."""
    studio, found = filament.studio("train"), []
    for seed in range(8):
        rng = np.random.default_rng(seed)
        placed = studio.set_up(PLAIN, PLAIN.count, rng)
        painted = [thing for thing in placed if thing.look.rgb is not None]
        for thing in painted:
            studio.stage.paint(thing.index, MAGENTA if thing is painted[0] else GRAY, MATT)
        studio.filament.rebuild()
        view = studio.view(seed, placed, None, PLAIN, rng)
        truth = view.ids == placed.index(painted[0]) + 1
        if np.count_nonzero(truth) > 800:
            found.append(overlap(is_magenta(view.rgb), truth))
    assert len(found) >= 3 and min(found) > 0.95 and np.mean(found) > 0.975, found  # one pixel beside: 0.96


def test_the_same_seed_gives_the_same_bytes(filament) -> None:
    """After other scenes, and from a renderer that is new."""
    first, other = (filament.render(seed, 2, profile=EXACT) for seed in (4, 5))
    again, anew = (who.render(4, 2, profile=EXACT) for who in (filament, type(filament)(*SIZE, few_objects(), filament=True)))
    for number, view in enumerate(first):
        np.testing.assert_array_equal(view.rgb, again[number].rgb)
        np.testing.assert_array_equal(view.rgb, anew[number].rgb)
        assert not np.array_equal(view.rgb, other[number].rgb)


def test_colour_words_fit_what_is_seen(filament) -> None:
    """The law of the classic renderer: the mean colour of most painted things is nearest to the paint of their name, by hue."""
    hits = [hue_fits(view, item) for seed in range(8) for view in filament.render(seed, profile=PLAIN) for item in view.objects
            if item.colour in ("red", "yellow", "green", "blue", "purple", "turquoise") and item.pixels > 150]  # fmt: skip
    assert len(hits) > 10 and np.mean(hits) > 0.85


def test_looks_are_those_of_the_present_scene(filament) -> None:
    """Fails when a picture shows how an object was painted or stretched for another scene."""
    studio, rng = filament.studio("train"), np.random.default_rng(0)
    placed = studio.set_up(PLAIN, (1, 1), rng)
    pose = studio.view(0, placed, None, PLAIN, rng).base_from_camera
    cube = next(i for i, item in enumerate(studio.stage.objects) if item.solid == "cube")
    for side_m, rgb in ((0.05, (0.1, 0.7, 0.1)), (0.1, MAGENTA)):
        studio.stage.clear()
        studio.stage.stretch(cube, np.full(3, side_m))
        studio.stage.put(cube, np.eye(3), np.zeros(3))
        studio.stage.paint(cube, rgb, MATT)
        studio.filament.rebuild()
        view = studio.view(0, [replace(placed[0], index=cube)], (pose, 45.0), PLAIN, rng)
        red, green, blue = view.rgb[view.ids == 1].mean(axis=0)
        assert (green > 1.4 * max(red, blue)) if rgb != MAGENTA else (min(red, blue) > 1.4 * green)
    assert overlap(is_magenta(view.rgb), view.ids == 1) > 0.9  # some 800 pixels; in the size before, it is below 0.4


def is_magenta(rgb: np.ndarray) -> np.ndarray:
    red, green, blue = np.moveaxis(rgb.astype(float), 2, 0)
    return (red > 1.4 * green + 8) & (blue > 1.4 * green + 8)


def overlap(one: np.ndarray, other: np.ndarray) -> float:
    """Intersection over union."""
    return np.count_nonzero(one & other) / np.count_nonzero(one | other)


def test_light_follows_the_lamps(filament) -> None:
    studio, rng = filament.studio("train"), np.random.default_rng(2)
    placed = studio.set_up(PLAIN, PLAIN.count, rng)
    pose, model = studio.view(2, placed, None, PLAIN, rng).base_from_camera, studio.stage.model

    def picture(ambient: float, lamp: tuple[float, float, float]) -> np.ndarray:
        studio.stage.fill_light(ambient, 0.0)
        model.light_diffuse[:] = [lamp, (0.0, 0.0, 0.0)]
        studio.filament.rebuild()
        return studio.view(2, placed, (pose, 45.0), PLAIN, rng).rgb.mean(axis=(0, 1))

    dark, sky, lamp, red = (picture(*light) for light in [
        (0.05, (0.1, 0.1, 0.1)), (0.5, (0.1, 0.1, 0.1)), (0.05, (0.8, 0.8, 0.8)), (0.05, (0.8, 0.1, 0.1))])  # fmt: skip
    assert sky.mean() > 1.5 * dark.mean() and lamp.mean() > 1.5 * dark.mean()
    assert red[0] / red[2] > 1.5 * lamp[0] / lamp[2]


def test_brightness_is_that_of_the_classic_renderer_on_average(filament, classic) -> None:
    means = [[who.render(seed, profile=EXACT)[0].rgb.mean() for seed in range(8)] for who in (filament, classic)]
    assert np.mean(means[0]) == pytest.approx(np.mean(means[1]), rel=0.25)
    assert np.std(means[0]) > 8  # lights vary


@pytest.fixture
def module() -> ModuleType:
    try:
        from qwen_seg_ros.offline.sim import filament
    except MissingExtraError as problem:
        pytest.skip(str(problem))
    return filament


def test_light_beyond_white_keeps_its_hue_and_order(module) -> None:
    light = np.linspace(0, 6, 200)[:, None] * np.array([1.0, 0.5, 0.25])
    tamed = module.compressed(light)
    np.testing.assert_allclose(tamed[light[:, 0] <= 0.8], light[light[:, 0] <= 0.8], atol=1e-6)
    np.testing.assert_allclose(tamed[1:, 1] / tamed[1:, 0], 0.5, rtol=1e-4)
    assert (np.diff(tamed[:, 0]) >= 0).all() and tamed.max() <= 1
    assert module.displayed(np.array([0.0, 0.2140, 1.0])).tolist() == [0, 127, 255]  # 0.2140: half of a screen's scale


def test_without_a_driver_the_packages_are_named(module) -> None:
    """In a process of its own, as the loader of Vulkan looks once."""
    pytest.importorskip("mujoco.mjrf", reason="Filament needs MuJoCo 4 with its studio", exc_type=ImportError)
    nowhere = os.environ | {"VK_ICD_FILENAMES": "/nowhere.json", "VK_DRIVER_FILES": "/nowhere.json"}
    code = "from qwen_seg_ros.offline.sim.filament import load_filament; load_filament()"
    done = subprocess.run([sys.executable, "-c", code], env=nowhere, capture_output=True, text=True, timeout=300)
    assert "MissingExtraError" in done.stderr and "apt install mesa-vulkan-drivers libvulkan1" in done.stderr


# --- what files say


def shard(folder: Path, renderer: str) -> Shard:
    return Shard(folder / "shard_00000.parquet", 9_000_000, 1, Rendering(1, (64, 48), "simple", renderer=renderer))


@pytest.mark.parametrize(("says", "is_by"), [
    ({}, "classic"), ({"renderer": "mujoco 4.0.0"}, "classic"), ({"renderer": "mujoco 9.1.0"}, "classic"),
    ({"renderer": "mujoco 4.0.0 filament"}, "filament"),
])  # fmt: skip
def test_files_that_do_not_name_a_renderer_are_classic(tmp_path: Path, says: dict, is_by: str) -> None:
    pytest.importorskip("pyarrow", reason="shards need pyarrow: pip install 'qwen-seg-ros[scale]'")
    how = {name: value for name, value in shard(tmp_path, is_by).about.items() if name != "renderer"}
    with ViewWriter(tmp_path / "shard_00000.parquet", how | says):
        pass
    assert shard(tmp_path, is_by).finished()
    other = {"classic": "filament", "filament": "classic"}[is_by]
    with pytest.raises(InvalidInputError, match=f"'renderer': '{is_by}'.*use another folder"):
        shard(tmp_path, other).finished()


def test_a_file_names_its_renderer(filament, tmp_path: Path) -> None:
    made = {name: shard(tmp_path / name, name) for name in dataset.RENDERERS}
    for name, item in made.items():
        dataset.render_whole(item)
        assert item.finished() and dataset._renderer_name(about(item.path)["renderer"]) == name
    assert made["classic"].path.read_bytes() != made["filament"].path.read_bytes()
