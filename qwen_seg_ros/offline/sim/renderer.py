"""Random tabletop arrangements drawn by MuJoCo's OpenGL renderer: two passes a view, colour and then ids with exact depth.

Objects stand upright on the table without touching.
"""

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np

from qwen_seg_ros.geometry.arrays import DepthImage, Matrix4, RgbImage
from qwen_seg_ros.geometry.camera import Camera
from qwen_seg_ros.geometry.transform import transform
from qwen_seg_ros.offline.sim.catalogue import CatalogueEntry, catalogue
from qwen_seg_ros.offline.sim.profiles import SIMPLE, SceneProfile
from qwen_seg_ros.offline.sim.scene import ObjectRecord, SimScene
from qwen_seg_ros.offline.sim.world import HIDDEN, LIGHTS, MATERIALS, SHOWN, compile_world, mujoco, paint_of

MIN_PIXELS = 80 / (320 * 240)  # share of the image below which an object is not spoken of
SPREAD_M = np.array([0.30, 0.22])  # half size of the area for object centres
ID_FLAGS = np.array([mujoco.mjtRndFlag.mjRND_SEGMENT.value, mujoco.mjtRndFlag.mjRND_IDCOLOR.value])


@dataclass(frozen=True, eq=False)
class Shape:
    """An object in its resting orientation. hull_m: (V, 3) corners of its convex outline seen from above, at its lowest point,
    centred over the origin; turned and lifted by `body_quat` (w x y z) and `body_place_m`; height_m."""

    hull_m: np.ndarray
    height_m: float
    body_quat: np.ndarray
    body_place_m: np.ndarray

    @cached_property
    def radius_m(self) -> float:
        """Of a circle in which nearly all of it stands."""
        return float(np.linalg.norm(np.ptp(self.hull_m, axis=0)) / 2) * 0.85


@dataclass(frozen=True, eq=False)
class Placed:
    """Object `index` of the catalogue on the table. Its box: centre_m (3,) in the base frame, size_m (3,), length >= width."""

    index: int
    centre_m: np.ndarray
    size_m: np.ndarray


class SceneRenderer:
    """Renders `width` x `height` views; not for use by two threads (one OpenGL context).

    Raises:
        MissingExtraError: when MuJoCo, EGL or the assets are missing.
    """

    def __init__(self, width: int = 640, height: int = 480, objects: tuple[CatalogueEntry, ...] | None = None) -> None:
        self.width, self.height = width, height
        self.objects = objects or catalogue()
        self.model = compile_world(self.objects, width, height)
        self.data = mujoco.MjData(self.model)
        roots = self.model.body_rootid[self.model.geom_bodyid]
        self.geoms = [np.flatnonzero(roots == self.model.body(f"object{i}").id) for i in range(len(self.objects))]
        self.surfaces = {name: self._geoms_named(name) for name in MATERIALS}
        self.shapes = [self._shape(i) for i in range(len(self.objects))]
        self.gl = mujoco.GLContext(width, height)
        self.gl.make_current()
        self.context = mujoco.MjrContext(self.model, mujoco.mjtFontScale.mjFONTSCALE_100)
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, self.context)
        self.context.readDepthMap = mujoco.mjtDepthMap.mjDEPTH_ZEROFAR
        self.scene = mujoco.MjvScene(self.model, maxgeom=1000)
        self.option = mujoco.MjvOption()
        self.option.geomgroup[:] = [1, 1, 1, 0, 0, 0]

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
        low, high = count or profile.count
        placed = self._arrange(rng, int(rng.integers(low, high + 1)))
        self._dress(rng)
        return [self._view(seed, placed, *(camera or random_camera(rng))) for _ in range(views)]

    def _geoms_named(self, start: str) -> list[int]:
        return [g for g in range(self.model.ngeom) if self.model.geom(g).name.startswith(start)]

    def _shape(self, index: int) -> Shape:
        model, data = self.model, self.data
        mocap = model.body(f"object{index}").mocapid[0]
        data.mocap_pos[mocap], data.mocap_quat[mocap] = 0, _upright(self.objects[index])
        mujoco.mj_kinematics(model, data)
        points = np.concatenate([self._vertices(geom) for geom in self.geoms[index]])
        low, high = points.min(0), points.max(0)
        centre = np.array([*(low + high)[:2] / 2, low[2]])
        hull = cv2.convexHull((points - centre)[:, :2].astype(np.float32)).reshape(-1, 2)
        return Shape(hull, float(high[2] - low[2]), _upright(self.objects[index]), -centre)

    def _vertices(self, geom: int) -> np.ndarray:
        """(V, 3) of a mesh in the base frame, where its body is now."""
        model, mesh = self.model, self.model.geom_dataid[geom]
        vertices = model.mesh_vert[model.mesh_vertadr[mesh] :][: model.mesh_vertnum[mesh]]
        return vertices @ self.data.geom_xmat[geom].reshape(3, 3).T + self.data.geom_xpos[geom]

    def _arrange(self, rng: np.random.Generator, count: int) -> list[Placed]:
        """The objects that found a free place."""
        self.model.geom_group[self.model.geom_group == SHOWN] = HIDDEN
        spread = SPREAD_M * rng.uniform(0.6, 1.0)
        placed: list[Placed] = []
        circles: list[tuple[np.ndarray, float]] = []
        for index in self._choose(rng, count):
            spot = _free_spot(rng, circles, self.shapes[index].radius_m, spread)
            if spot is not None:
                circles.append((spot, self.shapes[index].radius_m))
                placed.append(self._put(index, spot, rng.uniform(0, 2 * np.pi)))
                self.model.geom_group[self.geoms[index]] = SHOWN
        return placed

    def _choose(self, rng: np.random.Generator, count: int) -> list[int]:
        """Often objects of one category or colour are taken on purpose, so that there is something to tell apart."""
        order = [int(i) for i in rng.permutation(len(self.objects))]
        chosen = [order.pop()]
        while order and len(chosen) < count:
            like = self.objects[chosen[int(rng.integers(len(chosen)))]]
            kind = rng.random()
            same = "category" if kind < 0.3 else "colour" if kind < 0.45 else None
            fits = [i for i in order if same is None or getattr(self.objects[i], same) == getattr(like, same)]
            pick = (fits or order)[-1]
            order.remove(pick)
            chosen.append(pick)
        return chosen

    def _put(self, index: int, spot: np.ndarray, yaw: float) -> Placed:
        shape, mocap = self.shapes[index], self.model.body(f"object{index}").mocapid[0]
        turn = np.array([[np.cos(yaw), -np.sin(yaw)], [np.sin(yaw), np.cos(yaw)]])
        yaw_quat = np.array([np.cos(yaw / 2), 0, 0, np.sin(yaw / 2)])
        mujoco.mju_mulQuat(self.data.mocap_quat[mocap], yaw_quat, shape.body_quat)
        self.data.mocap_pos[mocap] = [*(turn @ shape.body_place_m[:2] + spot), shape.body_place_m[2]]
        (x, y), (a, b), _ = cv2.minAreaRect((shape.hull_m @ turn.T + spot).astype(np.float32))
        return Placed(index, np.array([x, y, shape.height_m / 2]), np.array([max(a, b), min(a, b), shape.height_m]))

    def _dress(self, rng: np.random.Generator) -> None:
        """Table, floor, walls, shades of paint and lights."""
        model = self.model
        for name, (textures, _) in MATERIALS.items():
            material = model.material(f"{name}{int(rng.integers(len(textures)))}").id
            model.mat_rgba[material, :3] = np.clip(rng.uniform(0.7, 1.0) * rng.uniform(0.92, 1.05, 3), 0, 1)
            model.geom_matid[self.surfaces[name]] = material
        for index, item in enumerate(self.objects):
            if item.paint:
                shade = np.clip(np.array(item.paint) * rng.uniform(0.8, 1.15) + rng.uniform(-0.03, 0.03, 3), 0, 1)
                model.mat_rgba[model.material(paint_of(index)).id, :3] = shade
        model.vis.headlight.ambient[:] = rng.uniform(0.22, 0.45)
        model.vis.headlight.diffuse[:] = rng.uniform(0.05, 0.3)
        for light in range(LIGHTS):
            self._hang(light, rng)

    def _hang(self, light: int, rng: np.random.Generator) -> None:
        angle, reach = rng.uniform(0, 2 * np.pi), rng.uniform(0.3, 1.6)
        position = np.array([reach * np.cos(angle), reach * np.sin(angle), rng.uniform(1.2, 1.9)])
        aim = np.array([*rng.uniform(-0.2, 0.2, 2), 0]) - position
        tint = np.array([1, rng.uniform(0.9, 1), rng.uniform(0.78, 1)])
        self.model.light_pos[light], self.model.light_dir[light] = position, aim / np.linalg.norm(aim)
        self.model.light_diffuse[light] = rng.uniform(0.3, 0.8) / (1 + light) * tint

    def _view(self, seed: int, placed: list[Placed], base_from_camera: Matrix4, fovy_deg: float) -> SimScene:
        camera = self._set_camera(base_from_camera, fovy_deg)
        rgb, ids, depth = self._draw([p.index for p in placed])
        records = [self._record(number, thing, ids, base_from_camera[:3, 3]) for number, thing in enumerate(placed, 1)]
        return SimScene(seed, rgb, depth, ids, camera, base_from_camera, tuple(r for r in records if r))

    def _set_camera(self, base_from_camera: Matrix4, fovy_deg: float) -> Camera:
        opengl = base_from_camera[:3, :3] @ np.diag([1.0, -1.0, -1.0])  # x right, y up, looking along -z
        mujoco.mju_mat2Quat(self.model.cam_quat[0], opengl.ravel())
        self.model.cam_pos[0], self.model.cam_fovy[0] = base_from_camera[:3, 3], fovy_deg
        mujoco.mj_kinematics(self.model, self.data)
        mujoco.mj_camlight(self.model, self.data)
        focal = self.height / 2 / np.tan(np.deg2rad(fovy_deg) / 2)
        return Camera(self.width, self.height, focal, focal, self.width / 2 - 0.5, self.height / 2 - 0.5)

    def _draw(self, shown: list[int]) -> tuple[RgbImage, np.ndarray, DepthImage]:
        self.gl.make_current()
        rect, view = mujoco.MjrRect(0, 0, self.width, self.height), mujoco.MjvCamera()
        view.type, view.fixedcamid = mujoco.mjtCamera.mjCAMERA_FIXED, 0
        mujoco.mjv_updateScene(self.model, self.data, self.option, None, view, mujoco.mjtCatBit.mjCAT_ALL, self.scene)
        rgb, code = (np.empty((self.height, self.width, 3), np.uint8) for _ in range(2))
        depth = np.empty((self.height, self.width), np.float32)
        for flag, colours, distances in ((0, rgb, None), (1, code, depth)):
            self.scene.flags[ID_FLAGS] = flag
            mujoco.mjr_render(rect, self.scene, self.context)
            mujoco.mjr_readPixels(colours, distances, rect, self.context)
        return rgb[::-1].copy(), self._ids(code[::-1], shown), self._metres(depth[::-1])

    def _ids(self, code: RgbImage, shown: list[int]) -> np.ndarray:
        """Number of the drawn thing, which MuJoCo writes in red, green and blue -> 1.. in the order of `shown`, 0 = other."""
        owner = np.zeros(self.model.ngeom, np.uint8)
        for number, index in enumerate(shown, 1):
            owner[self.geoms[index]] = number
        table = np.zeros(self.scene.ngeom + 1, np.uint8)
        for geom in self.scene.geoms[: self.scene.ngeom]:
            if geom.segid != -1 and geom.objtype == mujoco.mjtObj.mjOBJ_GEOM:
                table[geom.segid + 1] = owner[geom.objid]
        return table[code.astype(np.int32) @ np.array([1, 256, 65536], np.int32)]

    def _metres(self, buffer: np.ndarray) -> DepthImage:
        """MuJoCo's reversed z-buffer (1 = near, 0 = far) -> metres along the axis."""
        near, far = (v * self.model.stat.extent for v in (self.model.vis.map.znear, self.model.vis.map.zfar))
        return (near * far / (near + buffer.astype(np.float64) * (far - near))).astype(np.float32)

    def _record(self, number: int, thing: Placed, ids: np.ndarray, eye: np.ndarray) -> ObjectRecord | None:
        rows, cols = np.nonzero(ids == number)
        if len(rows) < MIN_PIXELS * ids.size:
            return None
        item = self.objects[thing.index]
        box = (int(cols.min()), int(rows.min()), int(cols.max()) + 1, int(rows.max()) + 1)
        return ObjectRecord(
            number, item.key, item.name, item.colour, item.category, item.aliases, box, len(rows),
            _rounded(thing.centre_m), _rounded(thing.size_m), round(float(np.linalg.norm(eye - thing.centre_m)), 4),
        )


def random_camera(rng: np.random.Generator) -> tuple[Matrix4, float]:
    """Looking down at the table by 30 to 68 degrees -> base_from_camera (optical frame), vertical field of view in degrees."""
    elevation, azimuth, reach = np.deg2rad(rng.uniform(30, 68)), rng.uniform(0, 2 * np.pi), rng.uniform(0.52, 0.82)
    target = np.array([*rng.uniform(-0.05, 0.05, 2), 0.04])
    away = np.array([np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth), np.sin(elevation)])
    x = np.cross(-away, [0, 0, 1.0])
    x /= np.linalg.norm(x)
    return transform(np.stack([x, np.cross(-away, x), -away], axis=1), target + reach * away), float(rng.uniform(42, 56))


def _upright(item: CatalogueEntry) -> np.ndarray:
    return np.array([np.sqrt(0.5), np.sqrt(0.5), 0, 0]) if item.y_up else np.array([1.0, 0, 0, 0])


def _rounded(vector: np.ndarray) -> tuple[float, float, float]:
    x, y, z = (round(float(v), 4) for v in vector)
    return x, y, z


def _free_spot(
    rng: np.random.Generator, circles: list[tuple[np.ndarray, float]], radius: float, spread: np.ndarray
) -> np.ndarray | None:
    gap = rng.uniform(0.01, 0.04)
    for attempt in range(60):
        spot = rng.uniform(-1, 1, 2) * (spread + 0.002 * attempt)
        if all(np.linalg.norm(spot - other) > radius + size + gap for other, size in circles):
            return spot
    return None
