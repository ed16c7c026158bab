"""Random tabletop scenes of any profile, with exact truth about every object in them."""

from collections.abc import Sequence

import numpy as np

from qwen_seg_ros.geometry.arrays import DepthImage, Matrix4
from qwen_seg_ros.geometry.camera import Camera
from qwen_seg_ros.offline.sim.arrange import Arranger
from qwen_seg_ros.offline.sim.assets import require_assets
from qwen_seg_ros.offline.sim.cameras import MOUNTS, centred_camera, draw_camera, random_camera
from qwen_seg_ros.offline.sim.catalogue import CatalogueEntry, catalogue
from qwen_seg_ros.offline.sim.filament import FilamentPainter, load_filament
from qwen_seg_ros.offline.sim.lighting import dress
from qwen_seg_ros.offline.sim.more_objects import all_objects
from qwen_seg_ros.offline.sim.picture import Painter
from qwen_seg_ros.offline.sim.placed import Placed
from qwen_seg_ros.offline.sim.profiles import SIMPLE, SceneProfile
from qwen_seg_ros.offline.sim.scene import ObjectRecord, SimScene
from qwen_seg_ros.offline.sim.sensors import sense
from qwen_seg_ros.offline.sim.simple import SimpleScenes
from qwen_seg_ros.offline.sim.stage import Stage

__all__ = ["SceneRenderer", "random_camera"]


class SceneRenderer:
    """Renders `width` x `height` views; not for use by two threads (one OpenGL context).

    objects: those to take from; None = those that the profile names, loaded when first needed: the starter catalogue by itself,
    as it loads faster, or everything. filament: colour by the Filament renderer instead of the classic one; what stands where,
    ids and depth are the same.

    Raises:
        MissingExtraError: when MuJoCo, EGL or the assets are missing; for Filament, when Vulkan is.
    """

    def __init__(
        self, width: int = 640, height: int = 480, objects: tuple[CatalogueEntry, ...] | None = None, filament: bool = False
    ) -> None:
        self.width, self.height = width, height
        self.objects, self.filament = objects, filament
        self._studios: dict[str, Studio] = {}
        require_assets()
        if filament:
            load_filament()

    def studio(self, pool: str) -> "Studio":
        """The world with the objects of a pool."""
        pool = "starter" if pool == "starter" or self.objects else "everything"
        if pool not in self._studios:
            objects = self.objects or (catalogue() if pool == "starter" else all_objects())
            self._studios[pool] = Studio(objects, self.width, self.height, self.filament)
        return self._studios[pool]

    def render(
        self,
        seed: int,
        views: int = 1,
        count: tuple[int, int] | None = None,
        camera: tuple[Matrix4, float] | None = None,
        profile: SceneProfile = SIMPLE,
    ) -> list[SimScene]:
        """One arrangement from `views` cameras; the same seed and profile give the same pictures.

        count: fewest and most objects, None = those of the profile; camera: base_from_camera (4, 4) and vertical field of view
        in degrees, for a camera that stays; None = drawn per view.
        """
        rng = np.random.default_rng(seed)
        studio = self.studio(profile.objects)
        placed = studio.set_up(profile, count or profile.count, rng)
        return [studio.view(seed, placed, camera, profile, rng) for _ in range(views)]


class Studio:
    """A stage with what arranges and draws it."""

    def __init__(self, objects: tuple[CatalogueEntry, ...], width: int, height: int, filament: bool = False) -> None:
        self.size_px = width, height
        self.stage = Stage(objects, width, height)
        self.simple = SimpleScenes(self.stage) if all(item.pool == "starter" for item in objects) else None
        self.painter = Painter(self.stage, width, height)
        self.filament = FilamentPainter(self.stage, width, height) if filament else None

    def set_up(self, profile: SceneProfile, count: tuple[int, int], rng: np.random.Generator) -> list[Placed]:
        number = int(rng.integers(count[0], count[1] + 1))
        if profile == SIMPLE and self.simple:
            placed = self.simple.arrange(rng, number)
            self.simple.dress(rng)
        else:
            placed = Arranger(self.stage, profile, rng).arrange(number)
            dress(self.stage, placed, profile, rng)
        if self.filament:
            self.filament.rebuild()
        return placed

    def view(
        self,
        seed: int,
        placed: list[Placed],
        given: tuple[Matrix4, float] | None,
        profile: SceneProfile,
        rng: np.random.Generator,
    ) -> SimScene:
        camera, pose = self._camera(placed, given, profile, rng)
        self.painter.look(camera, pose)
        rgb = self.filament.colour(self.painter.eye) if self.filament else self.painter.colour()
        ids, depth = self.painter.ids_and_depth([thing.index for thing in placed])
        records = self._records(placed, ids, depth, pose[:3, 3], profile.least_area)
        if profile.sensors:
            shine = np.array([0.0, *(thing.look.shine for thing in placed)], np.float32)[ids]
            kind, strength = str(rng.choice(profile.sensors)), rng.uniform(*profile.strength)
            rgb, depth = sense(rgb, depth, shine, kind, strength, rng)
        return SimScene(seed, rgb, depth, ids, camera, pose, records)

    def _camera(
        self, placed: list[Placed], given: tuple[Matrix4, float] | None, profile: SceneProfile, rng: np.random.Generator
    ) -> tuple[Camera, Matrix4]:
        if given is None and profile != SIMPLE:
            kind, area = (str(rng.choice(words)) for words in (profile.cameras, profile.areas))
            if kind in MOUNTS:
                return draw_camera(rng, MOUNTS[kind], area, self.size_px, placed)
        pose, fovy_deg = given or random_camera(rng)
        return centred_camera(*self.size_px, fovy_deg), pose

    def _records(
        self, placed: Sequence[Placed], ids: np.ndarray, depth_m: DepthImage, eye: np.ndarray, least_area: float
    ) -> tuple[ObjectRecord, ...]:
        hidden, records = covered_numbers(ids, depth_m), []
        for number, thing in enumerate(placed, 1):
            mask = ids == number
            pixels = int(np.count_nonzero(mask))
            if pixels and pixels >= least_area * ids.size:
                whole = int(np.count_nonzero(self.painter.alone(thing.index))) if number in hidden else pixels
                records.append(self._record(number, thing, mask, pixels / max(whole, pixels), eye))
        return tuple(records)

    def _record(self, number: int, thing: Placed, mask: np.ndarray, visible: float, eye: np.ndarray) -> ObjectRecord:
        rows, cols = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        box = (int(cols[0]), int(rows[0]), int(cols[-1]) + 1, int(rows[-1]) + 1)
        item, look, height, width = self.stage.objects[thing.index], thing.look, *mask.shape
        return ObjectRecord(
            number, look.key, look.name, look.colour, item.category, item.aliases, box, int(np.count_nonzero(mask)),
            _rounded(thing.centre_m), _rounded(thing.size_m), round(float(np.linalg.norm(eye - thing.centre_m)), 4),
            look.shape, look.material, thing.support, round(visible, 4),
            box[0] == 0 or box[1] == 0 or box[2] == width or box[3] == height, thing.lying,
        )  # fmt: skip


def covered_numbers(ids: np.ndarray, depth_m: DepthImage) -> set[int]:
    """Numbers that have a pixel beside one of another object that is nearer: these may be partly hidden."""
    covered: set[int] = set()
    for axis in (0, 1):
        first, second = (ids[:-1], ids[1:]) if axis == 0 else (ids[:, :-1], ids[:, 1:])
        closer = np.diff(depth_m, axis=axis)  # > 0: the first of two is nearer
        meet = (first != second) & (first > 0) & (second > 0)
        covered |= set(np.unique(second[meet & (closer >= 0)]).tolist()) | set(np.unique(first[meet & (closer <= 0)]).tolist())
    return covered


def _rounded(vector: np.ndarray) -> tuple[float, float, float]:
    x, y, z = (round(float(v), 4) for v in vector)
    return x, y, z
