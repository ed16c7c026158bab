"""A full device: once more with half of the pixels, then a status; the program goes on. Run as a script it is the full device."""

import json
import re
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from stock import write_stock

from qwen_seg_ros.errors import OutOfMemoryError
from qwen_seg_ros.frame import Frame
from qwen_seg_ros.model.engine import Answer, EncodedImage, Engine
from qwen_seg_ros.model.processing import ImageProcessor
from qwen_seg_ros.pipeline import Pipeline
from qwen_seg_ros.segmentation.instruction import Instruction
from qwen_seg_ros.segmentation.qwen import LESS_MEMORY, QwenSegmenter
from qwen_seg_ros.segmentation.settings import SegmentationSettings
from qwen_seg_ros.status import StatusCode

MUG = Instruction("the mug")
PIXELS = 4_000_000


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tiny untrained Qwen3-VL weights that look at pictures as large as they come."""
    return write_stock(tmp_path_factory.mktemp("stock"), pixels=(4096, PIXELS))


def segmenter_of(folder: Path) -> QwenSegmenter:
    settings = SegmentationSettings(checkpoint=str(folder), device="cpu", num_threads=1, max_new_tokens=16, look_closer=False)
    return QwenSegmenter(settings)


def frame(height: int, width: int) -> Frame:
    return Frame(np.random.default_rng(0).integers(0, 255, (height, width, 3), np.uint8), None, None)


def tokens(image: EncodedImage) -> int:
    """Length of what the network remembers of an image."""
    return image.prefix[0][0].shape[2]


# --- A process that may not have more ----------------------------------------------------------------------------------------


def in_little_memory(folder: str) -> list[tuple[str, str]]:
    """How a large picture is answered while the process may not have more memory than it has, and when it may again."""
    import resource

    segmenter, picture = segmenter_of(Path(folder)), frame(1536, 2048)
    pipeline = Pipeline(segmenter=segmenter)
    before = resource.getrlimit(resource.RLIMIT_AS)
    has_kb = int(re.search(r"VmSize:\s+(\d+)", Path("/proc/self/status").read_text())[1])
    resource.setrlimit(resource.RLIMIT_AS, ((has_kb + 4_000) * 1024, before[1]))
    short = pipeline.run(picture, "the mug").status
    resource.setrlimit(resource.RLIMIT_AS, before)
    after = pipeline.run(frame(256, 256), "the mug").status
    return [(status.code.name, status.message) for status in (short, after)]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits the memory of a process as Linux does")
def test_a_process_without_memory_says_so_and_goes_on(folder: Path) -> None:
    done = subprocess.run([sys.executable, __file__, str(folder)], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    (code, message), (after, _) = json.loads(done.stdout.splitlines()[-1])
    assert code == "OUT_OF_MEMORY" and "use a smaller image, a smaller model or another device" in message
    assert after == "UNREADABLE_ANSWER", "it is untrained"


# --- A device that is full ---------------------------------------------------------------------------------------------------


def gpu_is_full() -> None:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nSee documentation")


FAULTS = {
    "GPU": gpu_is_full,
    "torch on the CPU": lambda: torch.empty(1 << 50),
    "NumPy": lambda: np.empty(1 << 50),
    "OpenCV": lambda: cv2.resize(np.zeros((8, 8, 3), np.uint8), (1 << 22, 1 << 22)),
}


class SmallDevice(Engine):
    """What a device does that holds `room` tokens and no more: while it looks, or only while it writes."""

    room, while_writing, looks, fault = 0, False, 0, staticmethod(gpu_is_full)

    def encode(self, rgb: np.ndarray, processor: ImageProcessor | None = None) -> EncodedImage:
        self.looks += 1
        image = super().encode(rgb, processor)
        return image if self.while_writing else self.held(image)

    def answer(self, encoded: EncodedImage, *rest: object) -> Answer:
        return super().answer(self.held(encoded), *rest)

    def held(self, image: EncodedImage) -> EncodedImage:
        if tokens(image) > self.room:
            self.fault()
        return image


@pytest.fixture
def small(folder: Path) -> QwenSegmenter:
    segmenter = segmenter_of(folder)
    whole = segmenter.engine
    segmenter.engine = SmallDevice(whole.model, whole.tokenizer, whole.processor)
    return segmenter


@pytest.mark.parametrize("while_writing", [False, True])
def test_what_fits_with_half_of_the_pixels_is_answered(small: QwenSegmenter, while_writing: bool) -> None:
    picture, device = frame(512, 512), small.engine
    device.room = 10**6
    whole = tokens(small.encode(picture).image)
    device.room, device.while_writing, device.looks = round(0.7 * whole), while_writing, 0
    result = Pipeline(segmenter=small).run(picture, "the mug")
    assert LESS_MEMORY in result.status.message and device.looks == 2
    assert result.status.code == StatusCode.UNREADABLE_ANSWER, "it is untrained"


@pytest.mark.parametrize("while_writing", [False, True])
@pytest.mark.parametrize("fault", FAULTS)
def test_what_does_not_fit_then_either_is_a_status(small: QwenSegmenter, fault: str, while_writing: bool) -> None:
    device = small.engine
    device.room, device.while_writing, device.fault = 10, while_writing, FAULTS[fault]
    status = Pipeline(segmenter=small).run(frame(512, 512), "the mug").status
    assert status.code == StatusCode.OUT_OF_MEMORY and "use a smaller image" in status.message and "\n" not in status.message
    assert device.looks == 2, "once more, not again and again"


def test_a_small_picture_is_not_made_smaller(small: QwenSegmenter) -> None:
    with pytest.raises(OutOfMemoryError):
        small.encode(frame(64, 64))
    assert small.engine.looks == 1


# --- Half of the pixels ------------------------------------------------------------------------------------------------------


@given(st.integers(32, 3000), st.integers(32, 3000))
def test_half_is_half_and_of_the_same_shape(height: int, width: int) -> None:
    whole = ImageProcessor()
    half = whole.halved(height, width)
    rows, cols = whole.size_for(height, width)
    if half is None:
        assert rows * cols < 2 * whole.min_pixels
        return
    fewer_rows, fewer_cols = half.size_for(height, width)
    assert whole.min_pixels / 4 < fewer_rows * fewer_cols <= rows * cols / 2
    assert abs(fewer_rows * width - fewer_cols * height) <= half.token_px * (height + width), "up to one token on each side"


def test_a_model_of_one_size_has_no_half() -> None:
    assert ImageProcessor(fixed_size=(384, 512)).halved(480, 640) is None


def test_boxes_of_half_the_pixels_are_those_of_the_picture(folder: Path) -> None:
    segmenter, picture = segmenter_of(folder), frame(512, 640)
    whole = segmenter.encode(picture)
    half = segmenter._encode_with_less(picture, whole.region)
    assert (half.image.canvas, half.region) == (whole.image.canvas, whole.region) and tokens(half.image) < tokens(whole.image)


if __name__ == "__main__":
    print(json.dumps(in_little_memory(sys.argv[1])))
