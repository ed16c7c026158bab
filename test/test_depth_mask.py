"""Boxes to masks without training: laws on ray-cast scenes with exact truth, odd input, and figures on real pictures."""

import os
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from synthetic import Shape, synthetic_scene

from benchmarks.box_to_mask import Picture, mean_iou, read_pictures, scores, this_package, with_floors
from qwen_seg_ros.errors import InvalidInputError
from qwen_seg_ros.frame import Frame
from qwen_seg_ros.geometry.arrays import MaskImage
from qwen_seg_ros.geometry.camera import Camera
from qwen_seg_ros.geometry.mask import CroppedMask, mask_iou
from qwen_seg_ros.segmentation.box_masks import BoxMask, masks_in_boxes

REAL = Path(os.environ.get("QWEN_SEG_REALDATA", "")) if os.environ.get("QWEN_SEG_REALDATA") else None
EVERYTHING = ["box", "can", "ball", "bowl", "bottle"]
STACKED = [Shape("box", (0.25, 0.2, 0.03)), Shape("can", (0.07, 0.07, 0.1), base_z_m=0.03)]
SIDE_BY_SIDE = [
    Shape("box", (0.09, 0.10, 0.06), xy_m=(-0.045, 0.0)),
    Shape("box", (0.06, 0.10, 0.14), xy_m=(0.03, 0.0), color=(40, 80, 200)),
]


def boxes_of(masks: list[MaskImage]) -> np.ndarray:
    return np.array([CroppedMask.from_full(mask).box_px for mask in masks])


def found(shapes: list, **options) -> tuple[Frame, list[MaskImage], tuple[BoxMask, ...]]:
    frame, masks, _ = synthetic_scene(5, shapes, **options)
    return frame, masks, masks_in_boxes(frame, boxes_of(masks))


def overlaps(results: tuple[BoxMask, ...], truths: list[MaskImage]) -> list[float]:
    return [mask_iou(result.mask.full(), truth) for result, truth in zip(results, truths, strict=True)]


@pytest.mark.parametrize("elevation_deg", [35, 55, 75])
@pytest.mark.parametrize("noise_m", [0.0, 0.002])
def test_objects_on_a_table(elevation_deg: float, noise_m: float) -> None:
    _, truths, results = found(EVERYTHING, elevation_rad=np.deg2rad(elevation_deg), noise_m=noise_m)
    assert {result.method for result in results} == {"depth"}
    assert min(overlaps(results, truths)) > 0.92
    assert min(result.confidence for result in results) > 0.9


@pytest.mark.parametrize("noise_m", [0.0, 0.002])
@pytest.mark.parametrize("shapes", [STACKED, SIDE_BY_SIDE], ids=["one on the other", "side by side"])
def test_touching_objects_part_at_their_crease(shapes: list[Shape], noise_m: float) -> None:
    _, truths, results = found(shapes, elevation_rad=0.8, noise_m=noise_m)
    assert [result.method for result in results] == ["depth", "depth"]
    assert min(overlaps(results, truths)) > 0.9
    assert np.count_nonzero(results[0].mask.full() & results[1].mask.full()) < 0.02 * results[0].mask.area_px


def test_the_table_is_never_in_the_mask() -> None:
    frame, truths, results = found([*EVERYTHING, "mug"], noise_m=0.001)
    near_objects = cv2.dilate(np.any(truths, axis=0).astype(np.uint8), np.ones((3, 3))) > 0
    larger = masks_in_boxes(frame, boxes_of(truths) + np.array([-5, -5, 5, 5]))
    for result in (*results, *larger):
        assert result.method == "depth" and not (result.mask.full() & ~near_objects).any()


@pytest.mark.parametrize("elevation_deg", [50, 80])
def test_the_floor_of_a_bowl_is_bowl(elevation_deg: float) -> None:
    _, truths, results = found(["bowl"], elevation_rad=np.deg2rad(elevation_deg), noise_m=0.001)
    assert overlaps(results, truths)[0] > 0.97


def test_the_hole_of_a_handle_stays_open() -> None:
    shape = Shape("mug", (0.08, 0.08, 0.09), yaw_rad=-np.pi / 2)
    _, (truth,), (result,) = found([shape], elevation_rad=0.4)
    contours, tree = cv2.findContours(truth.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    hole = max((c for c, node in zip(contours, tree[0], strict=True) if node[3] >= 0), key=cv2.contourArea)
    x, y = hole.reshape(-1, 2).mean(axis=0).round().astype(int)
    assert not truth[y, x] and not result.mask.full()[y, x]


def test_an_occluded_object_keeps_both_halves() -> None:
    back = Shape("box", (0.05, 0.24, 0.08), xy_m=(0.08, 0.0))
    post = Shape("box", (0.05, 0.05, 0.22), xy_m=(0.0, 0.0), color=(40, 80, 200))
    _, truths, results = found([back, post], elevation_rad=0.5)
    assert cv2.connectedComponents(truths[0].astype(np.uint8))[0] == 3  # background and two halves
    assert min(overlaps(results, truths)) > 0.9


def test_a_thing_in_front_within_the_box_stays_out() -> None:
    back = Shape("box", (0.04, 0.2, 0.2), xy_m=(0.08, 0.0))
    front = Shape("box", (0.05, 0.06, 0.07), xy_m=(-0.02, 0.0), color=(40, 80, 200))
    _, truths, results = found([back, front], elevation_rad=0.5)
    assert min(overlaps(results, truths)) > 0.9


def test_boxes_may_come_in_any_order() -> None:
    frame, truths, results = found(EVERYTHING, noise_m=0.001)
    order = [3, 0, 4, 2, 1]
    again = masks_in_boxes(frame, boxes_of(truths)[order])
    for place, result in zip(order, again, strict=True):
        np.testing.assert_array_equal(result.mask.full(), results[place].mask.full())
        assert (result.method, result.confidence) == (results[place].method, results[place].confidence)


def test_jittered_boxes_give_nearly_the_same_masks() -> None:
    frame, truths, results = found(EVERYTHING)
    boxes = boxes_of(truths)
    size = np.tile(boxes[:, 2:] - boxes[:, :2], 2)
    moved = masks_in_boxes(frame, boxes + np.random.default_rng(0).uniform(-0.08, 0.08, boxes.shape) * size)
    assert min(mask_iou(a.mask.full(), b.mask.full()) for a, b in zip(results, moved, strict=True)) > 0.95


def test_a_larger_picture_gives_the_larger_mask() -> None:
    _, _, small = found(EVERYTHING, noise_m=0.001)
    _, truths, large = found(EVERYTHING, noise_m=0.001, width=1280, height=960)
    assert min(overlaps(large, truths)) > 0.92
    for one, other in zip(small, large, strict=True):
        shrunk = cv2.resize(other.mask.full().astype(np.float32), (640, 480), interpolation=cv2.INTER_AREA) > 0.5
        assert mask_iou(one.mask.full(), shrunk) > 0.93


@pytest.mark.parametrize("missing", ["depth_m", "camera"])
def test_without_depth_or_camera_colour_decides(missing: str) -> None:
    frame, truths, sure = found(EVERYTHING)
    results = masks_in_boxes(replace(frame, **{missing: None}), boxes_of(truths))
    assert {result.method for result in results} == {"colour"}
    assert np.mean(overlaps(results, truths)) > 0.85
    assert max(r.confidence for r in results) <= 0.5 < min(s.confidence for s in sure)


def test_colour_gives_the_same_mask_every_time() -> None:
    frame, truths, _ = synthetic_scene(5, EVERYTHING)
    plain, boxes = Frame(frame.rgb), boxes_of(truths)
    for first, again in zip(masks_in_boxes(plain, boxes), masks_in_boxes(plain, boxes[::-1])[::-1], strict=True):
        np.testing.assert_array_equal(first.mask.full(), again.mask.full())


def test_an_object_without_depth_is_cut_by_colour() -> None:
    frame, truths, _ = synthetic_scene(5, ["box", "can"])
    depth = frame.depth_m.copy()
    depth[truths[0]] = np.nan  # a shiny box
    glossy, plain = masks_in_boxes(replace(frame, depth_m=depth), boxes_of(truths))
    assert (glossy.method, plain.method) == ("colour", "depth")
    assert mask_iou(glossy.mask.full(), truths[0]) > 0.8


def test_glossy_spots_without_depth_are_filled() -> None:
    frame, (truth,), (before,) = found([Shape("box", (0.12, 0.12, 0.1))])
    depth = frame.depth_m.copy()
    x0, y0, x1, y1 = boxes_of([truth])[0].astype(int)
    spot = np.s_[(y0 + y1) // 2 - 4 : (y0 + y1) // 2 + 4, (x0 + x1) // 2 - 4 : (x0 + x1) // 2 + 4]
    depth[spot] = np.nan
    (after,) = masks_in_boxes(replace(frame, depth_m=depth), boxes_of([truth]))
    assert truth[spot].all() and after.mask.full()[spot].all()
    assert mask_iou(before.mask.full(), after.mask.full()) > 0.99


def test_a_bin_without_a_plane_is_answered_with_low_confidence() -> None:
    frame, truths, _ = synthetic_scene(5, EVERYTHING)
    rough = np.random.default_rng(0).uniform(0.5, 1.0, frame.depth_m.shape).astype(np.float32)
    for result in masks_in_boxes(replace(frame, depth_m=rough), boxes_of(truths)):
        assert result.method != "depth" and result.confidence <= 0.5 and result.mask.area_px > 0


def test_a_table_with_things_below_it_costs_confidence() -> None:
    frame, (truth,), (sure,) = found(["can"])
    depth = frame.depth_m.copy()
    x0 = int(boxes_of([truth])[0, 0])
    depth[:, x0 - 20 : x0 - 5] += 0.1
    (doubtful,) = masks_in_boxes(replace(frame, depth_m=depth), boxes_of([truth]))
    assert doubtful.confidence < 0.7 < 0.9 < sure.confidence


ODD_BOXES = {
    "no area": ([100, 100, 100, 100], 0),
    "a line": ([100, 100, 200, 100], 0),
    "inverted": ([200, 200, 100, 100], 0),
    "outside": ([700, 10, 800, 90], 0),
    "above": ([10, -90, 80, -10], 0),
    "not a number": ([np.nan, 0, 10, 10], 0),
    "infinite": ([0, 0, np.inf, 10], 0),
    "within one pixel": ([100.2, 100.2, 100.6, 100.7], 1),
    "one pixel wide": ([300, 100, 301, 200], 1),
    "the corner": ([638, 478, 640, 480], 1),
    "reaching out": ([-50, -50, 60, 60], 1),
    "the whole image": ([0, 0, 640, 480], 1),
    "larger than the image": ([-1e6, -1e6, 1e6, 1e6], 1),
    "the bare table": ([10, 400, 90, 470], 1),
}


@pytest.mark.parametrize("with_depth", [True, False], ids=["depth", "colour only"])
@pytest.mark.parametrize("name", ODD_BOXES)
def test_odd_boxes(name: str, with_depth: bool) -> None:
    frame, truths, _ = synthetic_scene(5, ["can"])
    box, filled = ODD_BOXES[name]
    odd, can = masks_in_boxes(frame if with_depth else Frame(frame.rgb), np.array([box, boxes_of(truths)[0]]))
    assert (odd.mask.area_px > 0) == bool(filled) and odd.mask.full().shape == (480, 640)
    assert (odd.confidence == 0) == (not filled) and 0 <= odd.confidence <= 1
    assert mask_iou(can.mask.full(), truths[0]) > 0.8


@pytest.mark.parametrize(("height", "width"), [(1, 1), (3, 5), (12, 9), (40, 2)])
@pytest.mark.parametrize("depth", [1.0, np.nan, 0.0])
def test_tiny_images(height: int, width: int, depth: float) -> None:
    camera = Camera(width, height, 10.0, 10.0, width / 2, height / 2)
    frame = Frame(np.zeros((height, width, 3), np.uint8), np.full((height, width), depth, np.float32), camera)
    (result,) = masks_in_boxes(frame, np.array([[0, 0, width, height]]))
    assert result.mask.area_px > 0 and result.method != "depth"


def test_no_boxes_no_masks() -> None:
    frame, _, _ = synthetic_scene(5, ["can"])
    assert masks_in_boxes(frame, np.zeros((0, 4))) == ()


def test_boxes_of_another_shape_are_refused() -> None:
    frame, _, _ = synthetic_scene(5, ["can"])
    with pytest.raises(InvalidInputError, match=r"boxes_px must be numbers \(N, 4\) as x0 y0 x1 y1, got float64 \(4,\)"):
        masks_in_boxes(frame, np.array([0.0, 0, 10, 10]))


def real_pictures(folder: str) -> list[Picture]:
    if REAL is None or not (REAL / folder).is_dir():
        pytest.skip(f"real depth pictures: set QWEN_SEG_REALDATA to a folder that holds {folder}/")
    return read_pictures(REAL, folder)


def test_figures_on_heaps_of_real_objects() -> None:
    results = scores(real_pictures("mOSD"), this_package)
    assert mean_iou(results, "true") > 0.945 and mean_iou(results, "jittered") > 0.935
    sure = [score for score in results if score.confidence > 0.8]
    assert len(sure) > 0.9 * len(results)
    assert abs(np.mean([score.iou - score.confidence for score in sure])) < 0.03


def test_figures_on_single_real_objects() -> None:
    given = real_pictures("6dof-graspnet")
    for pictures, least in ((given, 0.945), (with_floors(given), 0.97)):
        results = scores(pictures, this_package)
        assert mean_iou(results, "true") > least and mean_iou(results, "jittered") > least
