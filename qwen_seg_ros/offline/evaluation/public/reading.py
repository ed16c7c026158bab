"""Files of strangers, read with bounds: bytes, JSON, pictures and the values in them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from qwen_seg_ros.errors import InvalidInputError
from qwen_seg_ros.geometry.arrays import RgbImage

MAX_JSON_BYTES = 2**29  # instances.json of a set has 100 to 200 MB
MAX_PICTURE_BYTES = 2**26
MAX_PIXELS = 50_000_000
FORMATS = ("JPEG", "PNG")


def read_bytes(file: Path, most: int) -> bytes:
    """The whole file.

    Raises:
        InvalidInputError: when it is missing, cannot be read or has more than `most` bytes.
    """
    try:
        with file.open("rb") as stream:
            raw = stream.read(most + 1)
    except OSError as problem:
        raise InvalidInputError(f"{file}: cannot be read ({problem.strerror}); docs/public_data.md lists the files") from None
    if len(raw) > most:
        raise InvalidInputError(f"{file}: has more than {most} bytes, the most that is read; is it the published file?")
    return raw


def read_json(file: Path, most: int = MAX_JSON_BYTES, encodings: tuple[str, ...] = ("utf-8-sig",)) -> Any:
    """The value in `file`; the first of `encodings` that fits its bytes is used.

    Raises:
        InvalidInputError: as `read_bytes`, and for what is no JSON.
    """
    raw = read_bytes(file, most)
    try:
        return json.loads(_decoded(raw, encodings))
    except (ValueError, RecursionError) as problem:
        raise InvalidInputError(f"{file}: not JSON ({problem}); fetch the file again from its publisher") from None


def _decoded(raw: bytes, encodings: tuple[str, ...]) -> str:
    for encoding in encodings[:-1]:
        try:
            return raw.decode(encoding)
        except UnicodeDecodeError:
            continue
    return raw.decode(encodings[-1])


def inside(folder: Path, name: str) -> Path:
    """The existing file `name` in `folder` or below.

    Raises:
        InvalidInputError: when it leads out of the folder, or is not there.
    """
    try:
        path = (folder / name).resolve()
        there = path.is_relative_to(folder.resolve()) and path.is_file()
    except (OSError, ValueError, RuntimeError):
        there = False
    if not there:
        raise InvalidInputError(f"no picture {name!r:.120} in {folder}; unpack the pictures there or name their folder")
    return path


def read_picture(file: Path, upright: bool = False) -> RgbImage:
    """uint8 (H, W, 3), pixels as stored; with `upright` turned as the file's EXIF entry says.

    Raises:
        InvalidInputError: for a damaged picture and for one of more than 50 million pixels.
    """
    if file.stat().st_size > MAX_PICTURE_BYTES:
        raise InvalidInputError(f"{file}: has more than {MAX_PICTURE_BYTES} bytes, the most that is read")
    try:
        with Image.open(file, formats=FORMATS) as picture:
            if picture.width * picture.height > MAX_PIXELS:
                raise InvalidInputError(f"{file}: {picture.width}x{picture.height}, more than {MAX_PIXELS} pixels")
            turned = ImageOps.exif_transpose(picture) if upright else picture
            return np.asarray(turned.convert("RGB"))
    except InvalidInputError:
        raise
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as problem:
        raise InvalidInputError(f"{file}: cannot be read as {' or '.join(FORMATS)} ({problem}); fetch it again") from None


def entry(values: Any, key: str, kind: type | tuple[type, ...]) -> Any:
    """values[key], checked to be there and of this type; True and False are no numbers here.

    Raises:
        InvalidInputError: naming the key, what it holds and what would do.
    """
    kinds = kind if isinstance(kind, tuple) else (kind,)
    if not isinstance(values, dict):
        raise InvalidInputError(f"must be an object with {key!r}, got {type(values).__name__}")
    if key not in values:
        raise InvalidInputError(f"has no {key!r}; is it the published file?")
    value = values[key]
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        raise InvalidInputError(f"{key} must be {' or '.join(k.__name__ for k in kinds)}, got {type(value).__name__}")
    return value


def number(value: Any, name: str) -> float:
    """A finite number that fits into a picture of any size.

    Raises:
        InvalidInputError: for everything else.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= MAX_PIXELS:  # also refuses NaN
        raise InvalidInputError(f"{name} must hold numbers of pixels, got {value!r:.40}")
    return float(value)
