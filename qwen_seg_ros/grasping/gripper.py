"""Parallel-jaw grippers from YAML. Hand frame: see `grasping.grasp`."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from qwen_seg_ros.errors import SettingsError

FOLDER = Path(__file__).resolve().parent / "grippers"
LENGTHS = (
    "min_opening_m", "max_opening_m", "finger_width_m", "finger_thickness_m", "pad_height_m", "tip_beyond_tcp_m",
    "palm_above_tcp_m",
)


@dataclass(frozen=True)
class Part:
    """A box that is fixed in the hand frame: centre and full size, metres."""

    centre_m: tuple[float, float, float]
    size_m: tuple[float, float, float]


@dataclass(frozen=True)
class Gripper:
    """Two box-shaped fingers that move along y, and fixed parts behind them; metres, hand frame.

    finger_width_m: along x. finger_thickness_m: along y. pad_height_m: along z, centred on the TCP. The fingers reach from
    `palm_above_tcp_m` behind the TCP to `tip_beyond_tcp_m` past it.
    """

    name: str
    min_opening_m: float
    max_opening_m: float
    finger_width_m: float
    finger_thickness_m: float
    pad_height_m: float
    tip_beyond_tcp_m: float
    palm_above_tcp_m: float
    parts: tuple[Part, ...] = ()

    def __post_init__(self) -> None:
        sizes = {name: getattr(self, name) for name in LENGTHS}
        for name, value in sizes.items():
            if not isinstance(value, int | float) or not 0 <= value < 1 or (value == 0 and name != "min_opening_m"):
                raise SettingsError(f"gripper {self.name}: {name} must be a length in metres above 0 and below 1, got {value!r}")
        if self.min_opening_m >= self.max_opening_m:
            openings = f"{self.min_opening_m} and {self.max_opening_m}"
            raise SettingsError(f"gripper {self.name}: min_opening_m must be below max_opening_m, got {openings}")

    @property
    def finger_length_m(self) -> float:
        return self.palm_above_tcp_m + self.tip_beyond_tcp_m

    @property
    def length_m(self) -> float:
        """From the fingertips to the farthest end of the parts behind them."""
        centres, sizes = self.boxes(0.0).transpose(1, 0, 2)
        return self.tip_beyond_tcp_m - float((centres - sizes / 2)[:, 2].min())

    def boxes(self, opening_m: float) -> NDArray[np.float64]:
        """Centre and full size (K, 2, 3) of both fingers, opened this wide, and of the fixed parts, in the hand frame."""
        side = (opening_m + self.finger_thickness_m) / 2
        z = (self.tip_beyond_tcp_m - self.palm_above_tcp_m) / 2
        size = (self.finger_width_m, self.finger_thickness_m, self.finger_length_m)
        fingers = [((0, -side, z), size), ((0, side, z), size)]
        return np.array(fingers + [(part.centre_m, part.size_m) for part in self.parts])


def load_gripper(name: str) -> Gripper:
    """A gripper of the package by name ("panda"), or from the path of a YAML file.

    Raises:
        SettingsError: when there is none, or the file does not describe a gripper; the known names are listed.
    """
    path = FOLDER / f"{name}.yaml"
    if not path.is_file():
        path = Path(name)
    try:
        values = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        known = ", ".join(sorted(file.stem for file in FOLDER.glob("*.yaml")))
        raise SettingsError(f"gripper {name!r} is neither one of {known} nor a readable YAML file: {error}") from error
    return _from_yaml(path, values)


def _from_yaml(path: Path, values: Any) -> Gripper:
    wanted = {"name", *LENGTHS}
    if not isinstance(values, Mapping) or not wanted <= set(values) <= wanted | {"parts"}:
        given = ", ".join(map(str, values)) if isinstance(values, Mapping) else repr(values)
        raise SettingsError(f"{path} must have the keys {', '.join(sorted(wanted))} and may have parts, got {given}")
    try:
        parts = tuple(Part(_vector(part["centre_m"]), _vector(part["size_m"])) for part in values.get("parts") or ())
    except (KeyError, TypeError, ValueError) as error:
        given = values["parts"]
        raise SettingsError(f"{path}: every part needs centre_m and size_m with three numbers each, got {given!r}") from error
    return Gripper(**{**values, "name": str(values["name"]), "parts": parts})


def _vector(numbers: Any) -> tuple[float, float, float]:
    x, y, z = (float(number) for number in numbers)
    return x, y, z
