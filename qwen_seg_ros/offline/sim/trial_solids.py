"""Bodies that can be grasped: what of a catalogue object collides, and points on its surface.

MuJoCo collides convex shapes. Objects that nearly fill their convex hull are that hull; hollow ones are the boxes that their own
description file lays along the walls. Hollow, branched or bent shapes of which there is only a mesh are left out.
"""

from dataclasses import dataclass

import numpy as np
import open3d as o3d

from qwen_seg_ros.offline.sim.assets import require_assets
from qwen_seg_ros.offline.sim.catalogue import CatalogueEntry, catalogue
from qwen_seg_ros.offline.sim.shapes import Surface
from qwen_seg_ros.offline.sim.trial_physics import AddBody
from qwen_seg_ros.offline.sim.world import mujoco

HOLLOW = {"bowl", "mug", "cup", "pitcher", "plate", "pan", "pot"}
BRANCHED = {"tool"}
BENT = {"ycb/011_banana"}  # its hull fills the inside of the bend, by 15 mm
POINTS_PER_M2 = 60_000  # one for every 4 mm x 4 mm


@dataclass(frozen=True, eq=False)
class SurfaceCloud:
    """points_m (N, 3) spread over a surface and their outward normals (N, 3), float32, in the frame of its body."""

    points_m: np.ndarray
    normals: np.ndarray

    def moved(self, base_from_body: np.ndarray) -> "SurfaceCloud":
        turn = base_from_body[:3, :3].astype(np.float32)
        points = self.points_m @ turn.T + base_from_body[:3, 3].astype(np.float32)
        return SurfaceCloud(points, np.ascontiguousarray(self.normals @ turn.T))


def trial_objects() -> tuple[CatalogueEntry, ...]:
    """Those of the starter catalogue whose collision shape is right."""
    hulls_fit = (e for e in catalogue() if not e.paint or e.category not in HOLLOW | BRANCHED)
    return tuple(e for e in hulls_fit if e.key not in BENT)


def entry_body(item: CatalogueEntry) -> AddBody:
    """The body that the renderer shows, with shapes that collide; both have the same frame."""
    path = require_assets() / item.path

    def add(spec: mujoco.MjSpec) -> mujoco.MjsBody:
        prefix = f"o{len(spec.bodies)}_"
        if item.paint:
            return _add_mesh_file(spec, str(path), prefix, item.paint)
        child = mujoco.MjSpec.from_file(str(path))
        for mesh in child.meshes:
            mesh.file, mesh.inertia = str((path.parent / mesh.file).resolve()), mujoco.mjtMeshInertia.mjMESH_INERTIA_CONVEX
        _keep_colliding(child, parts=item.category in HOLLOW)
        return spec.worldbody.add_frame().attach_body(child.worldbody.first_body(), prefix, "")

    return add


def hull_body(parts_m: list[np.ndarray], rgb: tuple[float, float, float]) -> AddBody:
    """One convex hull around each of the point sets (V, 3)."""

    def add(spec: mujoco.MjSpec) -> mujoco.MjsBody:
        body, prefix = spec.worldbody.add_body(), f"h{len(spec.bodies)}_"
        for number, points in enumerate(parts_m):
            mesh = hull_of(points)
            name = f"{prefix}{number}"
            spec.add_mesh(
                name=name, uservert=np.asarray(mesh.vertices).ravel(), userface=np.asarray(mesh.triangles).ravel(),
                inertia=mujoco.mjtMeshInertia.mjMESH_INERTIA_CONVEX,
            )  # fmt: skip
            body.add_geom(type=mujoco.mjtGeom.mjGEOM_MESH, meshname=name, rgba=[*rgb, 1])
        return body

    return add


def hull_of(points_m: np.ndarray) -> o3d.geometry.TriangleMesh:
    """With faces that look outwards."""
    hull, _ = o3d.geometry.PointCloud(o3d.utility.Vector3dVector(points_m)).compute_convex_hull()
    hull.orient_triangles()
    inside = np.asarray(hull.vertices).mean(axis=0)
    corners = np.asarray(hull.vertices)[np.asarray(hull.triangles)[0]]
    if np.cross(corners[1] - corners[0], corners[2] - corners[0]) @ (corners[0] - inside) < 0:
        hull.triangles = o3d.utility.Vector3iVector(np.asarray(hull.triangles)[:, ::-1])
    return hull


def surface_cloud(surface: Surface, body_from_surface: np.ndarray) -> SurfaceCloud:
    """Points on all faces; always the same ones."""
    return cloud_on(surface.vertices_m, surface.faces).moved(body_from_surface)


def cloud_on(vertices_m: np.ndarray, faces: np.ndarray) -> SurfaceCloud:
    corners = vertices_m[faces]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    lengths = np.linalg.norm(normals, axis=1)
    rng = np.random.default_rng(0)
    count = int(np.clip(lengths.sum() / 2 * POINTS_PER_M2, 300, 20_000))
    chosen = rng.choice(len(faces), count, p=lengths / lengths.sum())
    one, other = rng.random((2, count, 1))
    fold = one + other > 1
    one, other = np.where(fold, 1 - one, one), np.where(fold, 1 - other, other)
    a, b, c = np.moveaxis(corners[chosen], 1, 0)
    points = a + one * (b - a) + other * (c - a)
    return SurfaceCloud(points.astype(np.float32), (normals[chosen] / lengths[chosen, None]).astype(np.float32))


def _add_mesh_file(spec: mujoco.MjSpec, path: str, prefix: str, rgb: tuple[float, float, float]) -> mujoco.MjsBody:
    body = spec.worldbody.add_body()
    spec.add_mesh(name=f"{prefix}mesh", file=path, inertia=mujoco.mjtMeshInertia.mjMESH_INERTIA_CONVEX)
    body.add_geom(type=mujoco.mjtGeom.mjGEOM_MESH, meshname=f"{prefix}mesh", rgba=[*rgb, 1])
    return body


def _keep_colliding(child: mujoco.MjSpec, parts: bool) -> None:
    """Either the shapes that collide in the file, or the hulls of the meshes one sees; without looks, to load fast."""
    solid = [g for g in child.geoms if g.contype or g.conaffinity]
    seen = [g for g in child.geoms if g.type == mujoco.mjtGeom.mjGEOM_MESH and not (g.contype or g.conaffinity)]
    kept = solid if parts or not seen else seen
    used = {geom.meshname for geom in kept}
    for geom in list(child.geoms):
        geom.material, geom.group, geom.rgba = "", 0, [0.75, 0.6, 0.45, 1]
        if geom not in kept:
            child.delete(geom)
    for thing in [*child.sites, *(m for m in child.meshes if m.name not in used), *child.materials, *child.textures]:
        child.delete(thing)
