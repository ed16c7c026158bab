"""What a rendered scene is: pictures with exact truth."""

from dataclasses import asdict, dataclass
from functools import lru_cache

import numpy as np

from qwen_seg_ros.frame import Frame
from qwen_seg_ros.geometry.arrays import DepthImage, Matrix4, RgbImage
from qwen_seg_ros.geometry.camera import Camera
from qwen_seg_ros.offline.sim.catalogue import CatalogueEntry, catalogue


@lru_cache(maxsize=1)
def _entries() -> dict[str, CatalogueEntry]:
    return {entry.key: entry for entry in catalogue()}


@dataclass(frozen=True)
class ObjectRecord:
    """Truth about one visible object. box_px: tight around its visible pixels, right and lower edge exclusive; centre_m and
    size_m (length >= width, height): its gravity-aligned box in the base frame; distance_m: from that centre to the camera.
    shape, material: words, "" = nothing that could be said; support: id of the object it stands on or in, 0 = the table;
    visible: share of its pixels inside the image that nothing hides; cut: it reaches the border of the image; lying: not as
    it usually stands."""

    id: int
    key: str
    name: str
    colour: str
    category: str
    aliases: tuple[str, ...]
    box_px: tuple[int, int, int, int]
    pixels: int
    centre_m: tuple[float, float, float]
    size_m: tuple[float, float, float]
    distance_m: float
    shape: str = ""
    material: str = ""
    support: int = 0
    visible: float = 1.0
    cut: bool = False
    lying: bool = False

    @classmethod
    def from_dict(cls, values: dict) -> "ObjectRecord":
        """Pictures outlive words: name, colour, category and aliases of a known key are those of today's catalogue."""
        entry = _entries().get(values["key"])
        words = {k: getattr(entry, k) for k in ("name", "colour", "category", "aliases")} if entry else {}
        return cls(**{k: tuple(v) if isinstance(v, list) else v for k, v in {**values, **words}.items()})

    def to_dict(self) -> dict:
        return asdict(self)


@dataclass(frozen=True, eq=False)
class SimScene:
    """rgb uint8 (H, W, 3), depth_m float32 (H, W), ids uint8 (H, W) with 0 = no object; base: table centre, z up."""

    seed: int
    rgb: RgbImage
    depth_m: DepthImage
    ids: np.ndarray
    camera: Camera
    base_from_camera: Matrix4
    objects: tuple[ObjectRecord, ...]

    def frame(self, with_base: bool = True) -> Frame:
        """The view as the pipeline gets it."""
        return Frame(self.rgb, self.depth_m, self.camera, self.base_from_camera if with_base else None, stamp_ns=self.seed)
