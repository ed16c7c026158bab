"""Pictures of other shapes than a small model was trained on: seen with a plain border, answered in their own pixels."""

from dataclasses import replace

import numpy as np
import pytest
from synthetic import synthetic_scene

from qwen_seg_ros.errors import CheckpointError, InvalidInputError
from qwen_seg_ros.frame import Frame
from qwen_seg_ros.model import checkpoint
from qwen_seg_ros.model.engine import Engine
from qwen_seg_ros.model.processing import ImageProcessor
from qwen_seg_ros.offline.data.samples import Sample, resized_mask
from qwen_seg_ros.offline.training.batch import padded
from qwen_seg_ros.segmentation.instruction import Instruction
from qwen_seg_ros.segmentation.qwen import QwenSegmenter
from qwen_seg_ros.segmentation.settings import SegmentationSettings

FIXED = ImageProcessor(min_pixels=129_600, max_pixels=172_800, fixed_size=(352, 480))


@pytest.fixture(scope="module")
def segmenter() -> QwenSegmenter:
    made = QwenSegmenter(SegmentationSettings(num_threads=1))
    made.engine = Engine(made.engine.model, made.engine.tokenizer, FIXED)
    return made


@pytest.mark.parametrize(
    "shape", [(480, 640), (240, 320), (960, 1280), (720, 1280), (480, 848), (480, 480), (800, 600), (1, 150)]
)
def test_every_picture_becomes_the_one_size_and_keeps_its_shape(shape: tuple[int, int]) -> None:
    assert FIXED.size_for(*shape) == (352, 480)
    height, width = FIXED.canvas(*shape)
    assert height >= shape[0] and width >= shape[1] and (height == shape[0] or width == shape[1])
    assert width / height == pytest.approx(480 / 352, rel=0.05) or min(shape) == 1
    rgb = np.random.default_rng(0).integers(0, 255, (*shape, 3), dtype=np.uint8)
    assert FIXED.resize(rgb).shape == (352, 480, 3)


def test_the_border_is_below_and_right_in_the_mean_colour() -> None:
    rgb = np.zeros((360, 640, 3), np.uint8)
    rgb[:, 320:] = (200, 100, 50)
    seen = FIXED.resize(rgb)
    rows = round(352 * 360 / FIXED.canvas(360, 640)[0])
    assert (seen[: rows - 2, :238] == 0).all() and (seen[: rows - 2, 242:] == (200, 100, 50)).all()
    assert abs(seen[rows + 2 :].astype(int) - (100, 50, 25)).max() <= 1


def test_other_models_see_pictures_as_before() -> None:
    free = replace(FIXED, fixed_size=None)
    assert free.canvas(720, 1280) == (720, 1280) and free.resize(np.zeros((720, 1280, 3), np.uint8)).shape == (288, 544, 3)


@pytest.mark.parametrize("size", [(352, 470), (0, 480), (-32, 32)])
def test_sizes_that_are_no_multiples_of_a_token_are_refused(size: tuple[int, int]) -> None:
    with pytest.raises(InvalidInputError, match="multiples of 32"):
        replace(FIXED, fixed_size=size)


def test_the_size_is_kept_in_the_checkpoint(segmenter: QwenSegmenter, tmp_path) -> None:
    checkpoint.save(tmp_path, segmenter.engine.model, segmenter.engine.tokenizer, FIXED)
    assert checkpoint.load_processor(str(tmp_path)) == FIXED
    file = tmp_path / "preprocessor_config.json"
    file.write_text(file.read_text().replace("352", "350"))
    with pytest.raises(CheckpointError, match=r"cannot be loaded.*multiples of 32"):
        checkpoint.load(str(tmp_path))


@pytest.mark.parametrize(("height", "width"), [(360, 640), (480, 480)])
def test_answers_are_those_of_the_picture_with_its_border_by_hand(segmenter: QwenSegmenter, height: int, width: int) -> None:
    rgb = np.ascontiguousarray(synthetic_scene(4, ["box", "can", "ball"])[0].rgb[480 - height :, :width])
    full_h, full_w = FIXED.canvas(height, width)
    bordered = np.empty((full_h, full_w, 3), np.uint8)
    bordered[:] = np.rint(rgb.mean((0, 1)))
    bordered[:height, :width] = rgb
    asked = Instruction("the can and the ball")
    results = [segmenter.segment(segmenter.encode(Frame(picture)), asked) for picture in (rgb, bordered)]
    assert results[0].answer == results[1].answer
    assert results[0].instances, results[0]
    for mine, theirs in zip(*(r.instances for r in results), strict=True):
        assert (mine.mask.height, mine.mask.width) == (height, width)
        assert (mine.box_px <= (width, height, width, height)).all()
        np.testing.assert_array_equal(mine.mask.full(), theirs.mask.full()[:height, :width])


def test_training_sees_boxes_and_masks_where_inference_does() -> None:
    ids = np.zeros((360, 640), np.uint8)
    ids[300:360, 500:640] = 1
    rgb = np.zeros((360, 640, 3), np.uint8)
    rgb[ids == 1] = 255
    sample = padded(Sample(rgb, ids, (), ()), *FIXED.canvas(360, 640), rgb.mean((0, 1)))
    seen = FIXED.resize(sample.rgb)
    np.testing.assert_array_equal(seen, FIXED.resize(rgb))
    owned = resized_mask(sample.ids == 1, *seen.shape[:2])
    assert seen[owned].min() > 100 > seen[~owned].max()
