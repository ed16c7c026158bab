"""One MuJoCo model with a room, a table and every object of the catalogue: compiled once, a scene only moves, shows and paints.

Everything is for looking at: collision shapes are left out, and each object hangs on a mocap body named `object<index>`.
"""

import os
from pathlib import Path

import numpy as np

os.environ.setdefault("MUJOCO_GL", "egl")

from qwen_seg_ros.errors import MissingExtraError
from qwen_seg_ros.offline.sim.assets import require_assets, small_texture
from qwen_seg_ros.offline.sim.catalogue import BACKGROUNDS, CatalogueEntry
from qwen_seg_ros.offline.sim.procedural import SOLIDS

try:
    import mujoco
except (ImportError, AttributeError, OSError) as problem:  # an absent libEGL shows as an AttributeError of PyOpenGL
    message = "rendering needs MuJoCo and EGL: pip install 'qwen_seg_ros[sim]' and, as root, apt install libegl1 libgl1"
    raise MissingExtraError(message) from problem

SHOWN, HIDDEN = 1, 4  # geom groups
REPEATS = {"table": 2, "floor": 6, "wall": 3}  # of a texture on the surface
GRAINS = {"wooden": "robosuite/textures/light-wood.png", "cloth": "robosuite/textures/gray-felt.png",
          "metal": "robosuite/textures/steel-brushed.png"}  # fmt: skip
TABLE_HALF_M = (0.75, 0.55)
TEXTURE_PX = 512
LIGHTS = 2
WIDE_DEG = 70  # half angle of the cone of a lamp
SKY = "filament.fallback.environment_light_intensity"  # number in the model that only the Filament renderer reads


def compile_world(objects: tuple[CatalogueEntry, ...], width: int, height: int) -> mujoco.MjModel:
    """The table top is z = 0, its centre the origin.

    Raises:
        MissingExtraError: when the assets have not been fetched.
    """
    root = require_assets()
    spec = mujoco.MjSpec()
    _set_picture(spec, width, height)
    for name, pools in BACKGROUNDS.items():
        for number, path in enumerate(path for pool in pools.values() for path in pool):
            _add_material(spec, f"{name}{number}", small_texture(root / path, TEXTURE_PX), REPEATS[name])
    for name, path in GRAINS.items():
        grain = small_texture(root / path, TEXTURE_PX)
        spec.add_texture(name=name, type=mujoco.mjtTexture.mjTEXTURE_CUBE, file=grain)
    _add_room(spec.worldbody)
    for index, item in enumerate(objects):
        body = _body(spec, root, item, index)
        body.name, body.mocap = f"object{index}", True
    return spec.compile()


def background_numbers(surface: str, pool: str) -> range:
    """Numbers of the materials of "table", "floor" or "wall" that a pool may use."""
    pools = BACKGROUNDS[surface]
    first = {"starter": 0, "train": 0, "unseen": len(pools["starter"]) + len(pools["train"])}[pool]
    count = {"starter": 0, "train": len(pools["starter"]), "unseen": 0}[pool] + len(pools[pool])
    return range(first, first + count)


def paint_of(index: int) -> str:
    """Name of the material of an untextured object."""
    return f"paint{index}"


def _set_picture(spec: mujoco.MjSpec, width: int, height: int) -> None:
    spec.visual.global_.offwidth, spec.visual.global_.offheight = width, height
    spec.visual.quality.shadowsize, spec.visual.quality.offsamples = 1024, 4
    spec.visual.map.znear, spec.visual.map.zfar = 0.02, 12
    spec.stat.extent, spec.stat.center = 1.0, [0, 0, 0]
    spec.add_numeric(name=SKY, data=[0.0], size=1)


def _add_material(spec: mujoco.MjSpec, name: str, texture: str, repeats: int) -> None:
    spec.add_texture(name=f"{name}_texture", type=mujoco.mjtTexture.mjTEXTURE_2D, file=texture)
    material = spec.add_material(name=name, texrepeat=[repeats, repeats], specular=0.2, shininess=0.3)
    material.textures[mujoco.mjtTextureRole.mjTEXROLE_RGB] = f"{name}_texture"


def _add_room(world: mujoco.MjsBody) -> None:
    _add_box(world, "table", [*TABLE_HALF_M, 0.02], [0, 0, -0.02])
    _add_box(world, "floor", [3, 3, 0.05], [0, 0, -0.8])
    for number, (x, y) in enumerate([(2.5, 0), (-2.5, 0), (0, 2.5), (0, -2.5)]):
        _add_box(world, f"wall{number}", [0.05 if x else 2.5, 0.05 if y else 2.5, 1.5], [x, y, 0.7])
    world.add_camera(name="view", pos=[0, 0, 1])
    for number in range(LIGHTS):
        spot = {"type": mujoco.mjtLightType.mjLIGHT_SPOT, "cutoff": WIDE_DEG, "exponent": 2}
        world.add_light(name=f"light{number}", pos=[0, 0, 1.5], dir=[0, 0, -1], castshadow=number == 0, **spot)


def _add_box(world: mujoco.MjsBody, name: str, half_m: list[float], centre_m: list[float]) -> None:
    world.add_geom(name=name, type=mujoco.mjtGeom.mjGEOM_BOX, size=half_m, pos=centre_m)


def _body(spec: mujoco.MjSpec, root: Path, item: CatalogueEntry, index: int) -> mujoco.MjsBody:
    if item.solid:
        return _solid(spec, item.solid, index)
    return _painted(spec, root / item.path, index) if item.paint else _textured(spec, root / item.path, index)


def _solid(spec: mujoco.MjSpec, kind: str, index: int) -> mujoco.MjsBody:
    """Each has a mesh of its own, as each is stretched by itself."""
    mesh, name = SOLIDS[kind].build(), f"solid{index}"
    normals = mesh.corner_normals().reshape(-1, 3)
    spec.add_mesh(
        name=name, uservert=mesh.vertices.ravel(), userface=mesh.faces.ravel(), usernormal=normals.ravel(),
        userfacenormal=np.arange(len(normals)), inertia=mujoco.mjtMeshInertia.mjMESH_INERTIA_CONVEX,
    )  # fmt: skip
    spec.add_material(name=paint_of(index), specular=0.3, shininess=0.4)
    body = spec.worldbody.add_body()
    _for_looks(body.add_geom(type=mujoco.mjtGeom.mjGEOM_MESH, meshname=name, material=paint_of(index)))
    return body


def _painted(spec: mujoco.MjSpec, path: Path, index: int) -> mujoco.MjsBody:
    """Variants of a shape share its mesh."""
    mesh = path.stem
    if spec.mesh(mesh) is None:
        spec.add_mesh(name=mesh, file=str(path), inertia=mujoco.mjtMeshInertia.mjMESH_INERTIA_CONVEX)
    spec.add_material(name=paint_of(index), specular=0.3, shininess=0.4)
    body = spec.worldbody.add_body()
    _for_looks(body.add_geom(type=mujoco.mjtGeom.mjGEOM_MESH, meshname=mesh, material=paint_of(index)))
    return body


def _textured(spec: mujoco.MjSpec, path: Path, index: int) -> mujoco.MjsBody:
    child = mujoco.MjSpec.from_file(str(path))
    for texture in child.textures:
        if texture.file:
            texture.file = small_texture((path.parent / texture.file).resolve(), TEXTURE_PX)
    for mesh in child.meshes:
        mesh.file = str((path.parent / mesh.file).resolve())
    _keep_looks(child)
    return spec.worldbody.add_frame().attach_body(child.worldbody.first_body(), f"o{index}_", "")


def _keep_looks(child: mujoco.MjSpec) -> None:
    """Where some geoms cannot collide, those are the ones to look at; else all meshes are."""
    meshes = [g for g in child.geoms if g.type == mujoco.mjtGeom.mjGEOM_MESH]
    looks = [g for g in meshes if g.contype == 0 and g.conaffinity == 0] or meshes
    used = {geom.meshname for geom in looks}
    for geom in list(child.geoms):
        if geom in looks:
            _for_looks(geom)
        else:
            child.delete(geom)
    for thing in [*child.sites, *(mesh for mesh in child.meshes if mesh.name not in used)]:
        child.delete(thing)


def _for_looks(geom: mujoco.MjsGeom) -> None:
    geom.group, geom.contype, geom.conaffinity, geom.mass = HIDDEN, 0, 0, 0
