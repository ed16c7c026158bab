"""The network is shown the part of the picture in which things stand on the table; everything else stays as it was."""

from dataclasses import replace

import numpy as np
import pytest
from synthetic import Shape, look_at_origin, synthetic_scene

from qwen_seg_ros.frame import Frame
from qwen_seg_ros.geometry.camera import Camera
from qwen_seg_ros.geometry.region import Region
from qwen_seg_ros.segmentation.answer import AnswerEntry
from qwen_seg_ros.segmentation.closer_look import LEAST_SHARE, part_with_things
from qwen_seg_ros.segmentation.instruction import Instruction
from qwen_seg_ros.segmentation.qwen import QwenSegmenter, _in_picture, _written
from qwen_seg_ros.segmentation.settings import SegmentationSettings

THINGS = [Shape("box", (0.06, 0.05, 0.08), (0.1, 0.08)), Shape("can", (0.06, 0.06, 0.1), (-0.02, -0.06), color=(40, 80, 200))]
WHOLE = Region(0, 0, 640, 480)


@pytest.fixture(scope="module")
def frame() -> Frame:
    return synthetic_scene(3, THINGS, noise_m=0.001, distance_m=1.0)[0]


@pytest.fixture(scope="module")
def segmenter() -> QwenSegmenter:
    return QwenSegmenter(SegmentationSettings(num_threads=1))


def with_wall(frame: Frame) -> Frame:
    """A wall behind the table: the upper fifth of the picture, nearer the camera the higher it is seen."""
    assert frame.depth_m is not None
    depth = frame.depth_m.copy()
    rows = frame.height // 5
    depth[:rows] = 2.0
    depth[rows : rows + 12] = np.nan
    return replace(frame, depth_m=depth)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("known_pose", [True, False])
def test_every_thing_is_in_the_part_and_the_part_has_the_shape_of_the_picture(seed: int, known_pose: bool) -> None:
    shapes: list[Shape | str] = ["box", "mug", "bowl"]
    scene, masks, _ = synthetic_scene(seed, shapes, noise_m=0.002, distance_m=1.1, known_pose=known_pose)
    part = part_with_things(scene, (480, 640))
    rows, cols = part.shape
    assert cols < 0.9 * 640 and cols / rows == pytest.approx(640 / 480, rel=0.01)
    assert all(mask[part.rows_cols].sum() == mask.sum() for mask in masks)


def test_a_wall_behind_the_table_is_no_thing_on_it(frame: Frame) -> None:
    part = part_with_things(with_wall(frame), (480, 640))
    assert part == part_with_things(frame, (480, 640)) and part != WHOLE


def test_a_table_before_the_floor_is_kept_in_view() -> None:
    """More floor than table, so that the floor is taken for the table: what stands nearer than most of it is no wall."""
    camera, base_from_camera = Camera(640, 480, 570, 570, 319.5, 239.5), look_at_origin(1.0, 0.7)
    cols, rows = np.meshgrid(np.arange(640), np.arange(480))
    pixels = np.stack([cols.ravel(), rows.ravel()], axis=1)
    rays = camera.deproject(pixels, np.ones(len(pixels), np.float32)) @ base_from_camera[:3, :3].T
    to_table, to_floor = (((height - base_from_camera[2, 3]) / rays[:, 2]) for height in (0.0, -0.7))
    far_edge_m = base_from_camera[0, 3] + rays[:, 0] * to_table
    depth = np.where(far_edge_m < -0.15, to_table, to_floor).astype(np.float32).reshape(480, 640)
    thing = np.s_[430:470, 30:90]
    depth[thing] -= 0.05
    part = part_with_things(Frame(np.zeros((480, 640, 3), np.uint8), depth, camera, base_from_camera), (480, 640))
    assert part.x0 <= 30 and part.y1 >= 470


def test_nothing_is_brought_nearer_than_the_network_knows_things() -> None:
    scene = synthetic_scene(0, [Shape("can", (0.03, 0.03, 0.04))], distance_m=1.2)[0]
    assert part_with_things(scene, (480, 640)).shape == (round(480 * LEAST_SHARE), round(640 * LEAST_SHARE))


def test_what_has_no_depth_may_be_a_thing(frame: Frame) -> None:
    """Glass and mirrors: a large spot without depth is kept in view, single missing pixels are not."""
    assert frame.depth_m is not None
    glass, dust = frame.depth_m.copy(), frame.depth_m.copy()
    glass[300:400, 30:120] = np.nan
    dust[np.random.default_rng(0).random(dust.shape) < 0.02] = np.nan
    seen = part_with_things(replace(frame, depth_m=glass), (480, 640))
    assert seen.x0 <= 30 and seen.y1 >= 400
    dusty, clear = (part_with_things(replace(frame, depth_m=d), (480, 640)) for d in (dust, frame.depth_m))
    assert np.abs(dusty.box - clear.box).max() < 12


def test_the_whole_picture_is_shown_where_depth_says_nothing(frame: Frame) -> None:
    assert frame.depth_m is not None
    rng = np.random.default_rng(0)
    empty = np.full_like(frame.depth_m, np.nan)
    noise = rng.uniform(0.3, 3, frame.depth_m.shape).astype(np.float32)
    for other in (None, empty, noise, np.zeros_like(empty)):
        assert part_with_things(replace(frame, depth_m=other), (480, 640)) == WHOLE
    assert part_with_things(replace(frame, camera=None), (480, 640)) == WHOLE
    bare = synthetic_scene(0, [])[0]
    assert part_with_things(bare, (480, 640)) == WHOLE


def test_a_wide_picture_gives_a_part_in_the_shape_the_network_knows() -> None:
    """No border is needed then."""
    scene, masks, _ = synthetic_scene(5, ["box", "can"], width=640, height=360, distance_m=1.0)
    part = part_with_things(scene, (469, 640))
    assert part.shape[1] / part.shape[0] == pytest.approx(640 / 469, rel=0.01) and part.shape[0] <= 360
    assert all(mask[part.rows_cols].sum() == mask.sum() for mask in masks)


@pytest.mark.parametrize("size", [(1, 1), (1, 700), (37, 3), (64, 48)])
def test_any_size_of_picture_is_looked_at(size: tuple[int, int]) -> None:
    width, height = size
    depth = np.full((height, width), 0.8, np.float32)
    camera = Camera(width, height, width, width, width / 2, height / 2)
    part = part_with_things(Frame(np.zeros((height, width, 3), np.uint8), depth, camera), (height, width))
    assert 0 <= part.x0 < part.x1 <= width and 0 <= part.y0 < part.y1 <= height


def test_boxes_and_masks_are_those_of_the_whole_picture(segmenter: QwenSegmenter, frame: Frame) -> None:
    """The part of the picture as a picture of its own, moved back, is what the segmenter says of the whole one."""
    encoded = segmenter.encode(frame)
    part = encoded.region
    assert part != WHOLE
    alone = Frame(np.ascontiguousarray(frame.rgb[part.rows_cols]))
    for words in ("the blue can", "the box", "everything on the table"):
        got = segmenter.segment(encoded, Instruction(words))
        expected = segmenter.segment(segmenter.encode(alone), Instruction(words))
        assert [i.score for i in got.instances] == [i.score for i in expected.instances]
        for a, b in zip(got.instances, expected.instances, strict=True):
            assert a.box_px == pytest.approx(b.box_px + np.tile([part.x0, part.y0], 2), abs=1e-3)
            assert (a.mask.height, a.mask.width) == (480, 640)
            assert (a.mask.full()[part.rows_cols] == b.mask.full()).all() and a.mask.area_px == b.mask.area_px


def test_it_can_be_switched_off_while_running(segmenter: QwenSegmenter, frame: Frame) -> None:
    assert segmenter.with_settings(replace(segmenter.settings, look_closer=False)).encode(frame).region == WHOLE


def test_masks_written_as_text_are_moved_to_their_place(segmenter: QwenSegmenter, frame: Frame) -> None:
    encoded = segmenter.encode(frame)
    part = encoded.region
    rows = "\n ".join(["others *24"] * 8 + ["others *8| can *8| others *8"] * 8 + ["others *24"] * 8)
    entry = AnswerEntry("can", (333, 333, 667, 667), None, 0, (0, 0), f"<seg>{rows}\n</seg>")
    mask = _written(str(entry.mask_text), entry, _in_picture(np.array(entry.box_grid), encoded), encoded).mask
    third = (part.box[2:] - part.box[:2]) / 3
    assert mask.box_px == pytest.approx(np.concatenate([part.box[:2] + third, part.box[2:] - third]), abs=3)
