"""Compressed pictures: what went in comes out, and bytes from outside are refused in words before anything is allocated."""

import struct
import zlib

import cv2
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from qwen_seg_ros.errors import InvalidInputError
from qwen_seg_ros.geometry.compressed_images import MAX_PIXELS, PNG, Head, colour_from_bytes, depth_from_bytes, head_of

RNG = np.random.default_rng(2)
RGB = cv2.GaussianBlur(RNG.integers(0, 256, (24, 40, 3), dtype=np.uint8), (0, 0), 4)
MM = RNG.integers(300, 5000, (24, 40), dtype=np.uint16)
MM[3:6, 4:9] = 0
MM_FORMAT, METRES_FORMAT = "16UC1; compressedDepth png", "32FC1; compressedDepth png"


def encoded(pixels: np.ndarray, kind: str = "png") -> bytes:
    bgr = pixels[..., ::-1] if pixels.ndim == 3 else pixels
    return cv2.imencode(f".{kind}", np.ascontiguousarray(bgr))[1].tobytes()


def inverse_depth(metres: np.ndarray, quantisation: float = 100.0, depth_max: float = 10.0) -> bytes:
    """As compressed_depth_image_transport writes 32FC1."""
    a = quantisation * (quantisation + 1)
    b = 1 - a / depth_max
    valid = np.isfinite(metres) & (metres < depth_max)
    values = np.where(valid, a / np.where(valid, metres, 1) + b, 0).astype(np.uint16)
    return struct.pack("<iff", 1, a, b) + encoded(values)


def png_of(width: int, height: int, bits: int = 8, kind: int = 2) -> bytes:
    """A whole PNG of few bytes that says whatever it likes of its size."""
    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
    header = struct.pack(">IIBBBBB", width, height, bits, kind, 0, 0, 0)
    return PNG + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")


def jpeg_of(width: int, height: int) -> bytes:
    data = bytearray(encoded(RGB, "jpg"))
    at = data.index(b"\xff\xc0")
    data[at + 5 : at + 9] = struct.pack(">HH", height, width)
    return bytes(data)


@pytest.mark.parametrize("form", ["png", "rgb8; png compressed bgr8", "bgr8; png compressed bgr8"])
def test_png_colour_comes_out_as_it_went_in(form: str) -> None:
    np.testing.assert_array_equal(colour_from_bytes(encoded(RGB), form), RGB)


@pytest.mark.parametrize("form", ["jpeg", "jpg", "rgb8; jpeg compressed bgr8", "yuv422; jpeg compressed bgr8"])
def test_jpeg_colour_is_red_first(form: str) -> None:
    data = encoded(RGB, "jpg")
    assert np.abs(colour_from_bytes(data, form).astype(int) - RGB).mean() < 4
    assert head_of(data) == Head(40, 24, 3, 8)


def test_grey_becomes_three_channels_and_alpha_goes() -> None:
    grey = colour_from_bytes(encoded(RGB[..., 0]), "mono8; png compressed ")
    np.testing.assert_array_equal(grey, np.repeat(RGB[..., :1], 3, 2))
    alpha = cv2.imencode(".png", np.dstack([RGB[..., ::-1], RGB[..., 0]]))[1].tobytes()
    np.testing.assert_array_equal(colour_from_bytes(alpha, "rgba8; png compressed bgra8"), RGB)


@pytest.mark.parametrize(("data", "form"), [
    (struct.pack("<iff", 0, 0, 0) + encoded(MM), MM_FORMAT),
    (struct.pack("<iff", 0, 0, 0) + encoded(MM), "16UC1; compressedDepth"),
    (encoded(MM), "16UC1; png compressed "),
    (encoded(MM), "png"),
])
def test_millimetres_come_out_as_metres(data: bytes, form: str) -> None:
    depth = depth_from_bytes(data, form)
    assert depth.dtype == np.float32
    np.testing.assert_array_equal(np.isnan(depth), MM == 0)
    np.testing.assert_allclose(depth[MM > 0], MM[MM > 0] / 1000, rtol=1e-6)


def test_metres_come_back_from_inverse_depth() -> None:
    """The coarser the farther: one step of the quantised inverse is depth^2 / A metres."""
    metres = np.where(MM == 0, np.nan, MM / 1000).astype(np.float32)
    depth = depth_from_bytes(inverse_depth(metres), METRES_FORMAT)
    np.testing.assert_array_equal(np.isnan(depth), np.isnan(metres))
    assert np.nanmax(np.abs(depth - metres) / metres**2) < 1.01 / (100 * 101)


BAD_COLOUR = {
    "nothing": (b"", "jpeg", "the 0 bytes"),
    "noise": (bytes(range(256)) * 4, "jpeg", "no whole JPEG or PNG: begin 00 01 02"),
    "cut off jpeg": (encoded(RGB, "jpg")[:-200], "jpeg", "no whole JPEG"),
    "cut off png": (encoded(RGB)[:-200], "png", "no whole JPEG or PNG"),
    "damaged png": (encoded(RGB)[:60] + b"\0" * 40 + encoded(RGB)[100:], "png", "damaged"),
    "another codec": (encoded(RGB, "jpg"), "h264", "format 'h264'; send jpeg or png"),
    "depth by mistake": (encoded(MM), MM_FORMAT, "format '16UC1; compressedDepth png'"),
    "16 bit grey": (encoded(MM), "16UC1; png compressed ", "16 bits a channel"),
    "16 bit colour": (encoded(RGB.astype(np.uint16) * 256), "rgb16; png compressed bgr16", "16 bits a channel"),
    "bayer": (encoded(RGB[..., 0], "jpg"), "bayer_rggb8; jpeg compressed ", "Bayer pattern"),
    "giant png": (png_of(100_000, 100_000), "png", f"100000x100000 pixels; allowed are 1 to {MAX_PIXELS}"),
    "giant jpeg": (jpeg_of(65_000, 65_000), "jpeg", "65000x65000 pixels"),
    "empty png": (png_of(0, 7), "png", "0x7 pixels"),
    "png without pixels": (png_of(40, 24), "png", "damaged"),
    "unknown colour type": (png_of(40, 24, kind=5), "png", "no whole JPEG or PNG"),
}


@pytest.mark.parametrize("case", BAD_COLOUR)
def test_bad_colour_is_refused_with_the_reason(case: str) -> None:
    data, form, words = BAD_COLOUR[case]
    with pytest.raises(InvalidInputError, match=words):
        colour_from_bytes(data, form)


BAD_DEPTH = {
    "rvl": (struct.pack("<iff", 0, 0, 0) + b"\1" * 90, "16UC1; compressedDepth rvl", "png, not rvl"),
    "jpeg": (encoded(RGB, "jpg"), "rgb8; jpeg compressed bgr8", "format 'rgb8; jpeg compressed bgr8'"),
    "8 bits": (encoded(RGB[..., 0]), "16UC1; png compressed ", "got 1 of 8"),
    "colour": (encoded(RGB), "png", "got 3 of 8; is it colour"),
    "a few bytes": (b"\1\2\3", MM_FORMAT, "the 0 bytes"),
    "metres without a header": (encoded(MM), METRES_FORMAT, "in 0 bytes"),
    "metres with a zero header": (struct.pack("<iff", 1, 0, 0) + encoded(MM), METRES_FORMAT, "A 0, B 0"),
    "metres with a NaN header": (struct.pack("<iff", 1, 9, float("nan")) + encoded(MM), METRES_FORMAT, "B nan"),
    "giant": (png_of(2**31, 2**31, bits=16, kind=0), "png", "2147483648x2147483648 pixels"),
}


@pytest.mark.parametrize("case", BAD_DEPTH)
def test_bad_depth_is_refused_with_the_reason(case: str) -> None:
    data, form, words = BAD_DEPTH[case]
    with pytest.raises(InvalidInputError, match=words):
        depth_from_bytes(data, form)


BEGINNINGS = [b"", PNG, b"\xff\xd8\xff\xe0", b"\0" * 12 + PNG]


@given(data=st.binary(max_size=200), head=st.sampled_from(BEGINNINGS), form=st.text(max_size=30))
@example(data=b"\xff\xd9", head=b"\xff\xd8\xff\xc0\x00\x11\x08", form="jpeg")
def test_any_bytes_give_an_image_or_a_refusal(data: bytes, head: bytes, form: str) -> None:
    for read, known in ((colour_from_bytes, "jpeg"), (depth_from_bytes, MM_FORMAT), (colour_from_bytes, form)):
        try:
            assert read(head + data, known).ndim >= 2
        except InvalidInputError as refusal:
            assert len(str(refusal)) < 400
