"""Real pictures with a user's own instructions, masks, questions and answers, as a source of training samples.

Everything is checked once, when the file is opened: a run does not stop at a bad line hours later.
"""

import math
from array import array
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from qwen_seg_ros.errors import InvalidInputError
from qwen_seg_ros.geometry.arrays import RgbImage
from qwen_seg_ros.geometry.mask import CroppedMask
from qwen_seg_ros.offline.data.expressions import Expression
from qwen_seg_ros.offline.data.plain_questions import PlainQuestion
from qwen_seg_ros.offline.data.samples import Sample, recoloured, resized_mask
from qwen_seg_ros.offline.data.user_lines import MAX_IMAGE_PIXELS, MAX_LINE_BYTES, MAX_MASKS, UserLine, parse_line
from qwen_seg_ros.offline.sim.scene import ObjectRecord

KIND = "user"
MAX_LINES = 5_000_000  # 24 bytes of memory each
MAX_FILE_BYTES = 64 * 2**20
FORMATS = ("JPEG", "PNG", "WEBP", "BMP")
UNKNOWN_M = (math.nan,) * 3


class UserData:
    """The pictures of one JSONL file; up to `questions` of a picture's lines make one sample.

    max_side: larger pictures are shrunk to this side, with their masks. With `train` light and tint change; nothing is
    mirrored or moved, because "the left dog" is free text. Pixels are taken as stored: an EXIF rotation is not applied.

    Raises:
        InvalidInputError: naming the file, the line, what is wrong and what would do.
    """

    def __init__(self, file: Path, questions: int, train: bool = True, max_side: int = 1024) -> None:
        self.file, self.folder = Path(file), Path(file).resolve().parent
        self.questions, self.train, self.max_side = questions, train, max_side
        self.images: list[str] = []
        lines = self._scan()
        self.lines = lines[np.argsort(lines[:, 0], kind="stable")]  # of each: picture, number, offset
        self.first = np.searchsorted(self.lines[:, 0], np.arange(len(self.images) + 1))

    def _scan(self) -> np.ndarray:
        """Check every line -> int64 (lines, 3): picture, number, offset."""
        places = array("q")
        known: dict[str, int] = {}
        sizes: list[tuple[int, int]] = []
        for number, offset, raw in self._lines():
            where = self._where(number)
            line = parse_line(raw, where)
            picture = known.setdefault(line.image, len(known))
            if picture == len(sizes):
                self.images.append(line.image)
                sizes.append(self._size(line.image, where))
            _check_masks(line, sizes[picture], where)
            places.extend((picture, number, offset))
        return np.array(places, np.int64).reshape(-1, 3)

    def __len__(self) -> int:
        return len(self.images)

    def sample(self, index: int, rng: np.random.Generator) -> Sample:
        """rgb is bounded by max_side; overlapping masks stay whole (Sample.mask), the same mask twice is one object."""
        rows = self.lines[self.first[index] : self.first[index + 1]]
        chosen = [self._line(*rows[i, 1:]) for i in rng.permutation(len(rows))[: self.questions]]
        rgb = self._picture(self.images[index], self._where(int(rows[0, 1])))
        objects = _Objects(rgb.shape[0], rgb.shape[1])
        questions = [q for q in (objects.question(line) for line in chosen) if q is not None]
        rgb = recoloured(rgb, rng) if self.train else rgb
        return Sample(rgb, objects.ids(), objects.records(), tuple(questions), objects.layers)

    def _lines(self) -> Iterator[tuple[int, int, bytes]]:
        """(number from 1, offset, bytes) of every line that is not blank; never more than a bounded line in memory."""
        try:
            stream = self.file.open("rb")
        except OSError as problem:
            raise InvalidInputError(f"{self.file}: cannot be read ({problem.strerror}); give a .jsonl file") from None
        with stream:
            offset = 0
            for number in range(1, MAX_LINES + 1):
                raw = stream.readline(MAX_LINE_BYTES + 1)
                if not raw:
                    return
                if raw.strip():
                    yield number, offset, raw
                offset += len(raw)
        raise InvalidInputError(f"{self.file}: more than {MAX_LINES} lines; split the file")

    def _line(self, number: int, offset: int) -> UserLine:
        with self.file.open("rb") as stream:
            stream.seek(int(offset))
            return parse_line(stream.readline(MAX_LINE_BYTES + 1), self._where(int(number)))

    def _where(self, number: int) -> str:
        return f"{self.file}:{number}"

    def _path(self, image: str, where: str) -> Path:
        try:
            path = (self.folder / image).resolve()
            size = path.stat().st_size if path.is_file() else None
        except (OSError, RuntimeError) as problem:
            raise InvalidInputError(f"{where}: image {image!r} is not a usable path ({problem})") from None
        if not path.is_relative_to(self.folder):
            raise InvalidInputError(
                f"{where}: image {image!r} leaves the folder of the file; put the pictures beside or below it"
            )
        if size is None:
            raise InvalidInputError(f"{where}: no picture {path}; image is a path relative to the folder of the file")
        if size > MAX_FILE_BYTES:
            raise InvalidInputError(f"{where}: {image!r} is larger than {MAX_FILE_BYTES} bytes; save it as JPEG")
        return path

    def _size(self, image: str, where: str) -> tuple[int, int]:
        """Height and width, from the header alone."""
        path = self._path(image, where)
        try:
            with Image.open(path, formats=FORMATS) as picture:
                width, height = picture.size
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as problem:
            raise InvalidInputError(f"{where}: cannot read {image!r} ({problem}); give {', '.join(FORMATS)}") from None
        if height * width > MAX_IMAGE_PIXELS:
            raise InvalidInputError(f"{where}: {image!r} has {width}x{height} pixels, {MAX_IMAGE_PIXELS} are allowed; shrink it")
        return height, width

    def _picture(self, image: str, where: str) -> RgbImage:
        """uint8 (H, W, 3), no side longer than max_side."""
        self._size(image, where)
        try:
            with Image.open(self._path(image, where), formats=FORMATS) as picture:
                rgb = np.asarray(picture.convert("RGB"))
        except (OSError, ValueError, SyntaxError) as problem:
            raise InvalidInputError(f"{where}: cannot read {image!r} ({problem}); the file is damaged, save it again") from None
        scale = self.max_side / max(rgb.shape[:2])
        if scale >= 1:
            return rgb
        width, height = (max(1, round(side * scale)) for side in (rgb.shape[1], rgb.shape[0]))
        return np.asarray(cv2.resize(rgb, (width, height), interpolation=cv2.INTER_AREA))


class _Objects:
    """Collects the masks of one picture of height x width. layers: id -> mask; names: id -> phrases it was given."""

    def __init__(self, height: int, width: int) -> None:
        self.height, self.width = height, width
        self.layers: dict[int, CroppedMask] = {}
        self.names: dict[int, list[str]] = {}
        self.known: dict[tuple, int] = {}

    def question(self, line: UserLine) -> Expression | PlainQuestion | None:
        """None when the picture would get more objects than ids; the first line always fits."""
        if line.targets is None:
            return PlainQuestion(line.text, str(line.answer), KIND)
        if len(self.layers) + sum(len(t.masks) for t in line.targets) > MAX_MASKS:
            return None
        phrases = [(t.phrase, [self._add(mask.decode(), t.phrase) for mask in t.masks]) for t in line.targets]
        return Expression(line.text, KIND, tuple((phrase, tuple(dict.fromkeys(ids))) for phrase, ids in phrases))

    def _add(self, mask: np.ndarray, phrase: str) -> int:
        """Id of the mask; one that is already there keeps its id and gets one more name."""
        layer = CroppedMask.from_full(resized_mask(mask, self.height, self.width))
        key = (layer.x_px, layer.y_px, layer.crop.shape, layer.crop.tobytes())
        number = self.known.setdefault(key, len(self.known) + 1)
        self.layers.setdefault(number, layer)
        names = self.names.setdefault(number, [])
        if phrase not in names:
            names.append(phrase)
        return number

    def ids(self) -> np.ndarray:
        """uint8 (H, W), the smaller object on top."""
        out = np.zeros((self.height, self.width), np.uint8)
        for number, layer in sorted(self.layers.items(), key=lambda pair: -pair[1].area_px):
            out[layer.rows_cols][layer.crop] = number
        return out

    def records(self) -> tuple[ObjectRecord, ...]:
        """What is known of them: words, place and size in the picture."""
        return tuple(self._record(number, layer) for number, layer in self.layers.items())

    def _record(self, number: int, layer: CroppedMask) -> ObjectRecord:
        first, *others = self.names[number]
        x0, y0, x1, y1 = (int(v) for v in layer.box_px)
        box = (x0, y0, x1, y1)
        return ObjectRecord(number, KIND, first, "", first, tuple(others), box, layer.area_px, UNKNOWN_M, UNKNOWN_M, math.nan)


def _check_masks(line: UserLine, size: tuple[int, int], where: str) -> None:
    for mask in (mask for target in line.targets or () for mask in target.masks):
        if (mask.height, mask.width) != size:
            given = (
                f"{[mask.height, mask.width]} of a mask differs from {list(size)} of {line.image!r} (EXIF rotation not applied)"
            )
            raise InvalidInputError(f"{where}: size [height, width] {given}")
        try:
            mask.runs()
        except InvalidInputError as problem:
            raise InvalidInputError(f"{where}: {problem}") from None
