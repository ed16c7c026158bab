"""Compressed pictures -> pixels, as image_transport sends them (`compressed`, `compressedDepth`). Bytes and a format, no ROS.

The bytes come from outside: what a picture says of itself is read from its head and bounded before OpenCV allocates anything, and
a picture that was cut off is refused, because decoders fill the rest with grey.
"""

import struct
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from qwen_seg_ros.errors import InvalidInputError
from qwen_seg_ros.geometry.arrays import DepthImage, RgbImage

MAX_PIXELS = 1 << 25  # 33 million, 100 MB of colour: more than any camera a robot looks through
PNG, JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8"
PNG_END, JPEG_END = b"IEND", b"\xff\xd9"
PNG_CHANNELS = {0: 1, 2: 3, 3: 3, 4: 2, 6: 4}  # by colour type; 3 is a palette of colours
JPEG_NO_FRAME = {0xC4, 0xC8, 0xCC}  # of the markers 0xC0..0xCF those that do not begin a picture
DEPTH_HEADER = struct.Struct("<iff")  # compressedDepth: kind of quantisation, its parameters A and B
MILLIMETRES, METRES = {"16UC1", "mono16", ""}, {"32FC1"}


class Head(NamedTuple):
    """What a picture says of itself before its pixels; bits: of one channel."""

    width: int
    height: int
    channels: int
    bits: int


def head_of(data: bytes) -> Head:
    """Read without decoding.

    Raises:
        InvalidInputError: for bytes that are neither PNG nor JPEG, a damaged or cut off picture, or more than MAX_PIXELS.
    """
    head = _png_head(data) if data.startswith(PNG) else _jpeg_head(data) if data.startswith(JPEG) else None
    if head is None:
        begin = data[:8].hex(" ")
        raise InvalidInputError(f"the {len(data)} bytes of the compressed image are no whole JPEG or PNG: begin {begin}")
    if not 0 < head.width * head.height <= MAX_PIXELS:
        size = f"{head.width}x{head.height}"
        raise InvalidInputError(f"the compressed image says it has {size} pixels; allowed are 1 to {MAX_PIXELS}")
    return head


def colour_from_bytes(data: bytes, form: str) -> RgbImage:
    """JPEG or PNG of 8 bits -> uint8 (H, W, 3), red first; grey becomes three equal channels, alpha is left out.

    form: `format` of sensor_msgs/CompressedImage, for example "rgb8; jpeg compressed bgr8" or "png".

    Raises:
        InvalidInputError: as `head_of`; for another format, Bayer patterns, or more than 8 bits a channel.
    """
    encoding, words = _parsed(form)
    if not {"jpeg", "jpg", "png"} & words or "compresseddepth" in words:
        raise InvalidInputError(
            f"compressed colour has the format {form[:80]!r}; send jpeg or png, as image_transport's `compressed` does"
        )
    head = head_of(data)
    if head.bits > 8:
        raise InvalidInputError(
            f"compressed colour has {head.bits} bits a channel (format {form[:80]!r}); send 8, and depth to the topic `depth`"
        )
    if encoding.startswith("bayer") and head.channels == 1:
        raise InvalidInputError(f"compressed colour is a Bayer pattern ({encoding}); debayer it before it is compressed")
    pixels = _decoded(data, head, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)  # camera_info holds for the pixels as stored
    return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB), np.uint8)


def depth_from_bytes(data: bytes, form: str) -> DepthImage:
    """PNG of 16 bits, with or without the header of `compressedDepth` -> float32 (H, W) metres, NaN = no measurement.

    form: "16UC1; compressedDepth png" (millimetres, 0 = none), "32FC1; compressedDepth png" (inverse depth: the header's A and B
    give A / (value - B) metres, 0 = none), or "16UC1; png compressed " (millimetres, no header).

    Raises:
        InvalidInputError: as `head_of`; for another format, a header that gives no depth, or pixels of another kind.
    """
    encoding, words = _parsed(form)
    if encoding not in MILLIMETRES | METRES or "rvl" in words or not {"png", "compresseddepth"} & words:
        raise InvalidInputError(
            f"compressed depth has the format {form[:80]!r}; send 16UC1 or 32FC1 as png (parameter `format` of "
            "compressed_depth_image_transport's publisher: png, not rvl)"
        )
    start = 0 if data.startswith(PNG) else DEPTH_HEADER.size
    head = head_of(data[start:])
    if (head.channels, head.bits) != (1, 16):
        raise InvalidInputError(
            f"compressed depth must have one channel of 16 bits, got {head.channels} of {head.bits}; is it colour?"
        )
    raw = _decoded(data[start:], head, cv2.IMREAD_UNCHANGED).astype(np.float32)
    depth = raw * np.float32(0.001) if encoding in MILLIMETRES else _metres(raw, data[:start])
    depth[~((raw > 0) & np.isfinite(depth) & (depth > 0))] = np.nan
    return depth


def _metres(raw: NDArray[np.float32], header: bytes) -> DepthImage:
    kind, a, b = DEPTH_HEADER.unpack(header) if header else (0, 0.0, 0.0)
    if not (np.isfinite([a, b]).all() and a > 0):
        raise InvalidInputError(
            f"compressed depth of 32FC1 needs a header with its quantisation A > 0 and B, got kind {kind}, A {a:g}, B {b:g} in "
            f"{len(header)} bytes; publish it by compressed_depth_image_transport"
        )
    with np.errstate(divide="ignore"):
        return np.float32(a) / (raw - np.float32(b))


def _parsed(form: str) -> tuple[str, set[str]]:
    """Encoding before compression ("" where none is named) and the words of the codec in lower case."""
    encoding, semicolon, codec = form[:200].partition(";")
    return (encoding.strip(), set(codec.lower().split())) if semicolon else ("", set(form.lower().split()))


def _decoded(data: bytes, head: Head, how: int) -> NDArray:
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), how)
    except cv2.error as error:
        raise InvalidInputError(f"the compressed image is damaged: {error}") from error
    if pixels is None or pixels.shape[:2] != (head.height, head.width):
        size = f"{head.width}x{head.height}"
        raise InvalidInputError(f"the compressed image of {size} in {len(data)} bytes is damaged: no decoder reads it")
    return np.asarray(pixels)


def _png_head(data: bytes) -> Head | None:
    if len(data) < 33 or data[12:16] != b"IHDR" or PNG_END not in data[-32:]:
        return None
    width, height, bits, kind = struct.unpack_from(">IIBB", data, 16)
    return Head(width, height, PNG_CHANNELS[kind], bits) if kind in PNG_CHANNELS else None


def _jpeg_head(data: bytes) -> Head | None:
    """Along the segments up to the one that begins the picture; each says how long it is."""
    if data.rfind(JPEG_END, len(data) // 2) < 0:
        return None
    at = len(JPEG)
    while at + 10 <= len(data) and data[at] == 0xFF:
        marker, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
        if 0xC0 <= marker <= 0xCF and marker not in JPEG_NO_FRAME:
            bits, height, width, channels = struct.unpack_from(">BHHB", data, at + 4)
            return Head(width, height, channels, bits)
        at += 1 if marker == 0xFF else 2 + length
    return None
