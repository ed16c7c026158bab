"""Tabletop scenes by MuJoCo's OpenGL renderer: one model with all objects is compiled once, a scene only moves and hides them.

Objects stand in their upright pose on the table without touching; two passes a view (colour; ids with exact depth).
"""

import os

os.environ.setdefault("MUJOCO_GL", "egl")

import cv2
import numpy as np

from qwen_seg_ros.errors import MissingExtraError
from qwen_seg_ros.geometry.camera import Camera
from qwen_seg_ros.geometry.transform import transform
from qwen_seg_ros.offline.sim.assets import require_assets, small_texture
from qwen_seg_ros.offline.sim.catalogue import FLOORS, TABLES, WALLS, CatalogueEntry, catalogue
from qwen_seg_ros.offline.sim.scene import ObjectRecord, SimScene

try:
    import mujoco
except (ImportError, AttributeError, OSError) as problem:  # an absent libEGL shows as an AttributeError of PyOpenGL
    raise MissingExtraError("rendering needs MuJoCo and EGL: pip install 'qwen_seg_ros[sim]' and apt install libegl1 libgl1") from problem

SHOWN, HIDDEN = 1, 4
TABLE_HALF = (0.75, 0.55)
MIN_PIXELS = 80 / (320 * 240)  # share of the image below which an object is not spoken of


class SceneRenderer:
    """Renders `width` x `height` views; not for use by two threads (one OpenGL context)."""

    def __init__(self, width: int = 640, height: int = 480, objects: tuple[CatalogueEntry, ...] | None = None) -> None:
        self.width, self.height = width, height
        self.objects = objects or catalogue()
        self.model = _compile(self.objects, width, height)
        self.data = mujoco.MjData(self.model)
        self.vertices = [self._upright_vertices(i) for i in range(len(self.objects))]
        self.gl = mujoco.GLContext(width, height)
        self.gl.make_current()
        self.context = mujoco.MjrContext(self.model, mujoco.mjtFontScale.mjFONTSCALE_100)
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, self.context)
        self.context.readDepthMap = mujoco.mjtDepthMap.mjDEPTH_ZEROFAR
        self.scene = mujoco.MjvScene(self.model, maxgeom=1000)
        self.option = mujoco.MjvOption()
        self.option.geomgroup[:] = [1, 1, 1, 0, 0, 0]

    def render(self, seed: int, views: int = 1, count: tuple[int, int] = (2, 6), camera: tuple[np.ndarray, float] | None = None) -> list[SimScene]:
        """One arrangement of count[0]..count[1] objects from `views` cameras; the same seed gives the same pictures.

        camera: base_from_camera (4, 4) and vertical field of view in degrees, for a camera that stays; None = drawn per view.
        """
        rng = np.random.default_rng(seed)
        placed = self._arrange(rng, int(rng.integers(count[0], count[1] + 1)))
        self._dress(rng)
        return [self._view(seed, placed, camera or random_camera(rng)) for _ in range(views)]

    def _upright_vertices(self, index: int) -> np.ndarray:
        """Visual mesh vertices (V, 3) in the resting orientation, lowest at z = 0, centred over the origin."""
        model, data = self.model, self.data
        body = model.body(f"o{index}_root")
        start = model.jnt_qposadr[body.jntadr[0]]
        data.qpos[start : start + 7] = [0, 0, 0, *_upright(self.objects[index])]
        mujoco.mj_kinematics(model, data)
        points = []
        for geom in self._geoms(index):
            if model.geom_group[geom] == SHOWN and model.geom_dataid[geom] >= 0:
                mesh = model.geom_dataid[geom]
                first, number = model.mesh_vertadr[mesh], model.mesh_vertnum[mesh]
                points.append(model.mesh_vert[first : first + number] @ data.geom_xmat[geom].reshape(3, 3).T + data.geom_xpos[geom])
        points = np.concatenate(points)
        self.model.geom_group[self._geoms(index)] = np.where(self.model.geom_group[self._geoms(index)] == SHOWN, HIDDEN, HIDDEN + 1)
        return points

    def _geoms(self, index: int) -> np.ndarray:
        root = self.model.body(f"o{index}_root").id
        return np.flatnonzero(self.model.body_rootid[self.model.geom_bodyid] == root)

    def _arrange(self, rng: np.random.Generator, count: int) -> list[tuple[int, np.ndarray]]:
        """-> (catalogue index, vertices in the base frame) of the objects that found a free place."""
        model, data = self.model, self.data
        model.geom_group[model.geom_group == SHOWN] = HIDDEN
        spread = np.array([0.30, 0.22]) * rng.uniform(0.6, 1.0)
        placed, circles = [], []
        for index in self._choose(rng, count):
            shape = self.vertices[index]
            low, high = shape.min(0), shape.max(0)
            centre, radius = (low + high)[:2] / 2, float(np.linalg.norm((high - low)[:2]) / 2) * 0.85
            spot = _free_spot(rng, circles, radius, spread)
            if spot is None:
                continue
            circles.append((spot, radius))
            angle = rng.uniform(0, 2 * np.pi)
            turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
            place = np.array([*spot, -low[2]]) - turn @ np.array([*centre, 0])
            self._put(index, angle, place)
            placed.append((index, shape @ turn.T + place))
            mine = self._geoms(index)
            model.geom_group[mine] = np.where(model.geom_group[mine] == HIDDEN, SHOWN, model.geom_group[mine])
        mujoco.mj_kinematics(model, data)
        return placed

    def _choose(self, rng: np.random.Generator, count: int) -> list[int]:
        """Often objects of one category or colour are taken on purpose, so that there is something to tell apart."""
        order = list(rng.permutation(len(self.objects)))
        chosen = [order.pop()]
        while len(chosen) < count:
            like = self.objects[chosen[int(rng.integers(len(chosen)))]]
            kind = rng.random()
            fits = [i for i in order if (kind < 0.3 and self.objects[i].category == like.category) or
                    (0.3 <= kind < 0.45 and self.objects[i].colour == like.colour) or kind >= 0.45]
            pick = (fits or order)[-1]
            order.remove(pick)
            chosen.append(pick)
        return [int(i) for i in chosen]

    def _put(self, index: int, angle: float, place: np.ndarray) -> None:
        start = self.model.jnt_qposadr[self.model.body(f"o{index}_root").jntadr[0]]
        yaw, quat = np.array([np.cos(angle / 2), 0, 0, np.sin(angle / 2)]), np.zeros(4)
        mujoco.mju_mulQuat(quat, yaw, _upright(self.objects[index]))
        self.data.qpos[start : start + 7] = [*place, *quat]

    def _dress(self, rng: np.random.Generator) -> None:
        """Table, floor, walls, lights and shades of paint."""
        model = self.model
        for name, textures in (("table", TABLES), ("floor", FLOORS), ("wall", WALLS)):
            material = model.material(f"{name}{int(rng.integers(len(textures)))}").id
            model.mat_rgba[material, :3] = np.clip(rng.uniform(0.7, 1.0) * rng.uniform(0.92, 1.05, 3), 0, 1)
            geoms = [g for g in range(model.ngeom) if (mujoco.mj_id2name(model, mujoco.mjtObj.mjOBJ_GEOM, g) or "").startswith(name)]
            model.geom_matid[geoms] = material
        for index, item in enumerate(self.objects):
            if item.paint:
                shade = np.clip(np.array(item.paint) * rng.uniform(0.8, 1.15) + rng.uniform(-0.03, 0.03, 3), 0, 1)
                model.mat_rgba[model.material(f"o{index}_paint").id, :3] = shade
        model.vis.headlight.ambient[:] = rng.uniform(0.22, 0.45)
        model.vis.headlight.diffuse[:] = rng.uniform(0.05, 0.3)
        for light in range(model.nlight):
            angle, reach = rng.uniform(0, 2 * np.pi), rng.uniform(0.3, 1.6)
            position = np.array([reach * np.cos(angle), reach * np.sin(angle), rng.uniform(1.2, 1.9)])
            model.light_pos[light] = position
            aim = np.array([*rng.uniform(-0.2, 0.2, 2), 0]) - position
            model.light_dir[light] = aim / np.linalg.norm(aim)
            model.light_diffuse[light] = rng.uniform(0.3, 0.8) / (1 + light) * np.array([1, rng.uniform(0.9, 1), rng.uniform(0.78, 1)])

    def _view(self, seed: int, placed: list, pose_and_fovy: tuple[np.ndarray, float]) -> SimScene:
        base_from_camera, fovy = pose_and_fovy
        camera = self._set_camera(base_from_camera, fovy)
        rgb, ids, depth = self._draw([index for index, _ in placed])
        records = tuple(r for n, (i, points) in enumerate(placed) if (r := self._record(n + 1, i, points, ids, base_from_camera)))
        return SimScene(seed, rgb, depth, ids, camera, base_from_camera, records)

    def _set_camera(self, base_from_camera: np.ndarray, fovy: float) -> Camera:
        quat = np.zeros(4)
        mujoco.mju_mat2Quat(quat, (base_from_camera[:3, :3] @ np.diag([1.0, -1.0, -1.0])).ravel())
        self.model.cam_pos[0], self.model.cam_quat[0], self.model.cam_fovy[0] = base_from_camera[:3, 3], quat, fovy
        mujoco.mj_kinematics(self.model, self.data)
        mujoco.mj_camlight(self.model, self.data)
        f = self.height / 2 / np.tan(np.deg2rad(fovy) / 2)
        return Camera(self.width, self.height, f, f, self.width / 2 - 0.5, self.height / 2 - 0.5)

    def _draw(self, shown: list[int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        self.gl.make_current()
        rect, view = mujoco.MjrRect(0, 0, self.width, self.height), mujoco.MjvCamera()
        view.type, view.fixedcamid = mujoco.mjtCamera.mjCAMERA_FIXED, 0
        mujoco.mjv_updateScene(self.model, self.data, self.option, None, view, mujoco.mjtCatBit.mjCAT_ALL, self.scene)
        rgb, seg = (np.empty((self.height, self.width, 3), np.uint8) for _ in range(2))
        depth = np.empty((self.height, self.width), np.float32)
        mujoco.mjr_render(rect, self.scene, self.context)
        mujoco.mjr_readPixels(rgb, None, rect, self.context)
        for flag in (mujoco.mjtRndFlag.mjRND_SEGMENT, mujoco.mjtRndFlag.mjRND_IDCOLOR):
            self.scene.flags[flag] = True
        mujoco.mjr_render(rect, self.scene, self.context)
        mujoco.mjr_readPixels(seg, depth, rect, self.context)
        for flag in (mujoco.mjtRndFlag.mjRND_SEGMENT, mujoco.mjtRndFlag.mjRND_IDCOLOR):
            self.scene.flags[flag] = False
        return rgb[::-1].copy(), self._ids(seg[::-1], shown), self._metres(depth[::-1])

    def _ids(self, seg: np.ndarray, shown: list[int]) -> np.ndarray:
        number = seg[..., 0].astype(np.int64) + seg[..., 1].astype(np.int64) * 256 + seg[..., 2].astype(np.int64) * 65536
        owner = np.zeros(self.model.ngeom, np.uint8)
        for place, index in enumerate(shown):
            owner[self._geoms(index)] = place + 1
        table = np.zeros(self.scene.ngeom + 1, np.uint8)
        for geom in self.scene.geoms[: self.scene.ngeom]:
            if geom.segid != -1 and geom.objtype == mujoco.mjtObj.mjOBJ_GEOM:
                table[geom.segid + 1] = owner[geom.objid]
        return table[number]

    def _metres(self, buffer: np.ndarray) -> np.ndarray:
        """MuJoCo's reversed z-buffer (1 = near, 0 = far) -> metres along the axis."""
        near, far = (v * self.model.stat.extent for v in (self.model.vis.map.znear, self.model.vis.map.zfar))
        z = buffer.astype(np.float64)
        return (near * far / (near + z * (far - near))).astype(np.float32)

    def _record(self, number: int, index: int, points: np.ndarray, ids: np.ndarray, base_from_camera: np.ndarray) -> ObjectRecord | None:
        rows, cols = np.nonzero(ids == number)
        if len(rows) < MIN_PIXELS * ids.size:
            return None
        item = self.objects[index]
        (x, y), (a, b), _ = cv2.minAreaRect(points[:, :2].astype(np.float32))
        low, high = points[:, 2].min(), points[:, 2].max()
        centre = np.array([x, y, (low + high) / 2])
        return ObjectRecord(
            number, item.key, item.name, item.colour, item.category, item.aliases,
            (int(cols.min()), int(rows.min()), int(cols.max()) + 1, int(rows.max()) + 1), len(rows),
            tuple(round(float(v), 4) for v in centre), tuple(round(float(v), 4) for v in (max(a, b), min(a, b), high - low)),
            round(float(np.linalg.norm(base_from_camera[:3, 3] - centre)), 4),
        )


def _upright(item: CatalogueEntry) -> np.ndarray:
    return np.array([np.sqrt(0.5), np.sqrt(0.5), 0, 0]) if item.y_up else np.array([1.0, 0, 0, 0])


def _free_spot(rng: np.random.Generator, circles: list, radius: float, spread: np.ndarray) -> np.ndarray | None:
    gap = rng.uniform(0.01, 0.04)
    for attempt in range(60):
        spot = rng.uniform(-1, 1, 2) * (spread + 0.002 * attempt)
        if all(np.linalg.norm(spot - other) > radius + size + gap for other, size in circles):
            return spot
    return None


def random_camera(rng: np.random.Generator) -> tuple[np.ndarray, float]:
    """Looking at the table from 30 to 68 degrees elevation; -> base_from_camera (optical frame), vertical field of view in degrees."""
    elevation, azimuth, reach = np.deg2rad(rng.uniform(30, 68)), rng.uniform(0, 2 * np.pi), rng.uniform(0.52, 0.82)
    target = np.array([*rng.uniform(-0.05, 0.05, 2), 0.04])
    away = np.array([np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth), np.sin(elevation)])
    z = -away
    x = np.cross(z, [0, 0, 1.0])
    x /= np.linalg.norm(x)
    return transform(np.stack([x, np.cross(z, x), z], axis=1), target + reach * away), float(rng.uniform(42, 56))


def _compile(objects: tuple[CatalogueEntry, ...], width: int, height: int) -> mujoco.MjModel:
    root = require_assets()
    spec = mujoco.MjSpec()
    spec.visual.global_.offwidth, spec.visual.global_.offheight = width, height
    spec.visual.quality.shadowsize, spec.visual.quality.offsamples = 1024, 4
    spec.visual.map.znear, spec.visual.map.zfar = 0.02, 12
    spec.stat.extent, spec.stat.center = 1.0, [0, 0, 0]
    world = spec.worldbody
    for name, textures, repeat in (("table", TABLES, 2), ("floor", FLOORS, 6), ("wall", WALLS, 3)):
        for number, path in enumerate(textures):
            _material(spec, f"{name}{number}", small_texture(root / path, 512), repeat)
    _room(world)
    world.add_camera(name="view", pos=[0, 0, 1])
    for light in range(2):
        world.add_light(name=f"light{light}", pos=[0, 0, 1.5], dir=[0, 0, -1], castshadow=light == 0, type=mujoco.mjtLightType.mjLIGHT_SPOT, cutoff=70, exponent=2)
    for index, item in enumerate(objects):
        _add_object(spec, item, index, root)
    return spec.compile()


def _material(spec: mujoco.MjSpec, name: str, texture: str, repeat: int) -> None:
    spec.add_texture(name=f"{name}t", type=mujoco.mjtTexture.mjTEXTURE_2D, file=texture)
    material = spec.add_material(name=name, texrepeat=[repeat, repeat], specular=0.2, shininess=0.3)
    material.textures[mujoco.mjtTextureRole.mjTEXROLE_RGB] = f"{name}t"


def _room(world) -> None:
    """A table whose top is z = 0, a floor and four walls."""
    box = mujoco.mjtGeom.mjGEOM_BOX
    world.add_geom(name="table", type=box, size=[*TABLE_HALF, 0.02], pos=[0, 0, -0.02], material="table0")
    world.add_geom(name="floor", type=box, size=[3, 3, 0.05], pos=[0, 0, -0.8], material="floor0")
    for number, (x, y) in enumerate([(2.5, 0), (-2.5, 0), (0, 2.5), (0, -2.5)]):
        world.add_geom(name=f"wall{number}", type=box, size=[0.05 if x else 2.5, 0.05 if y else 2.5, 1.5], pos=[x, y, 0.7], material="wall0")


def _add_object(spec: mujoco.MjSpec, item: CatalogueEntry, index: int, root) -> None:
    path = root / item.path
    if path.suffix == ".stl":
        body = spec.worldbody.add_body(name=f"o{index}_root")
        spec.add_mesh(name=f"o{index}_mesh", file=str(path), inertia=mujoco.mjtMeshInertia.mjMESH_INERTIA_CONVEX)
        spec.add_material(name=f"o{index}_paint", rgba=[*item.paint, 1], specular=0.3, shininess=0.4)
        body.add_geom(type=mujoco.mjtGeom.mjGEOM_MESH, meshname=f"o{index}_mesh", material=f"o{index}_paint", group=SHOWN)
    else:
        body = _attach(spec, path, index)
    body.add_freejoint()


def _attach(spec: mujoco.MjSpec, path, index: int):
    child = mujoco.MjSpec.from_file(str(path))
    for texture in child.textures:
        if texture.file:
            texture.file = small_texture((path.parent / texture.file).resolve(), 512)
    for mesh in child.meshes:
        mesh.file = str((path.parent / mesh.file).resolve())
    seen = [g for g in child.geoms if g.contype == 0 and g.conaffinity == 0]
    for geom in child.geoms:
        geom.group = SHOWN if geom in seen or not seen else HIDDEN + 1
        if geom.group == SHOWN and geom.type != mujoco.mjtGeom.mjGEOM_MESH:
            geom.group = HIDDEN + 1
    for site in list(child.sites):
        child.delete(site)
    body = spec.worldbody.add_frame().attach_body(child.worldbody.first_body(), f"o{index}_", "")
    body.name = f"o{index}_root"
    return body
