"""Ray-cast tabletop scenes with exact depth, masks and boxes: boxes, cans, balls, bowls, mugs and bottles, no renderer needed.

    frame, masks, truths = synthetic_scene(0, ["box", "mug", "ball"])
    frame, masks, truths = synthetic_scene(0, [Shape("box", (0.10, 0.06, 0.12), xy_m=(0.05, 0.0), yaw_rad=0.4)])

Base frame: z up, the table is z = 0, the camera looks at its origin from -x, `elevation_rad` above the table.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from qwen_seg_ros.frame import Frame
from qwen_seg_ros.geometry.arrays import MaskImage, Matrix4
from qwen_seg_ros.geometry.camera import Camera
from qwen_seg_ros.geometry.transform import inverse, move_points, transform

# Closed outlines (radius, height) turned about the vertical axis, as shares of half the width and of the height.
PROFILES = {
    "can": ((0, 0), (1, 0), (1, 1), (0, 1)),
    "bowl": ((0, 0), (0.5, 0), (0.85, 0.4), (1, 1), (0.94, 1), (0.79, 0.42), (0.45, 0.08), (0, 0.08)),
    "mug": ((0, 0), (1, 0), (1, 1), (0.92, 1), (0.92, 0.06), (0, 0.06)),
    "bottle": ((0, 0), (1, 0), (1, 0.6), (0.4, 0.75), (0.4, 1), (0, 1)),
}
DEFAULT_SIZES_M = {
    "box": (0.09, 0.06, 0.11),
    "can": (0.07, 0.07, 0.10),
    "ball": (0.07, 0.07, 0.07),
    "bowl": (0.15, 0.15, 0.06),
    "mug": (0.08, 0.08, 0.09),
    "bottle": (0.07, 0.07, 0.20),
    "card": (0.10, 0.07, 0.004),
}
HANDLE_REACH = 0.7  # how far a mug's handle stands out, in radii
PALETTE = (
    (200, 40, 40),
    (40, 160, 60),
    (40, 80, 200),
    (230, 190, 40),
    (150, 60, 170),
    (230, 120, 40),
    (40, 180, 190),
    (220, 220, 220),
)


@dataclass(frozen=True)
class Shape:
    """kind: "box", "card", "ball" or a key of `PROFILES`.

    size_m: full x y z lengths (without a mug's handle); xy_m: centre on the table; base_z_m: height of the underside.
    """

    kind: str
    size_m: tuple[float, float, float]
    xy_m: tuple[float, float] = (0.0, 0.0)
    yaw_rad: float = 0.0
    color: tuple[int, int, int] = (200, 40, 40)
    base_z_m: float = 0.0


@dataclass(frozen=True, eq=False)
class Truth:
    """What was rendered: base_from_object at the centre of its box (z up) and the box's full lengths."""

    shape: Shape
    base_from_object: Matrix4
    size_m: NDArray[np.float64]

    @property
    def centre_m(self) -> NDArray[np.float64]:
        return self.base_from_object[:3, 3]


def synthetic_scene(
    seed: int,
    shapes: list[Shape | str],
    width: int = 640,
    height: int = 480,
    distance_m: float = 0.8,
    elevation_rad: float = 0.8,
    noise_m: float = 0.0,
    distortion: tuple[float, ...] = (),
    known_pose: bool = True,
) -> tuple[Frame, list[MaskImage], list[Truth]]:
    """Render `shapes` (names get a default size and a free random place); one visible mask and one truth per shape.

    Depth is NaN where a ray meets nothing. `known_pose` False leaves `Frame.base_from_camera` out.
    """
    rng = np.random.default_rng(seed)
    placed = _placed(shapes, rng)
    focal = 0.9 * width
    camera = Camera(width, height, focal, focal, (width - 1) / 2, (height - 1) / 2, distortion)
    base_from_camera = look_at_origin(distance_m, elevation_rad)
    depth, ids, shade = _render(placed, camera, base_from_camera)
    rgb = _colored(placed, ids, shade, rng)
    depth = np.where(np.isfinite(depth), depth + rng.normal(0, noise_m, depth.shape) * (noise_m > 0), np.nan).astype(np.float32)
    frame = Frame(rgb, depth, camera, base_from_camera if known_pose else None)
    return frame, [ids == k for k in range(1, len(placed) + 1)], [truth_of(shape) for shape in placed]


def truth_of(shape: Shape) -> Truth:
    """The box that the shape fills, a mug's handle included."""
    base_from_object, size = _base_from_shape(shape), np.array(shape.size_m, np.float64)
    if shape.kind == "mug":
        reach = HANDLE_REACH * size[0] / 2
        base_from_object[:3, 3] += base_from_object[:3, 0] * (reach / 2)
        size[0] += reach
    return Truth(shape, base_from_object, size)


def look_at_origin(distance_m: float, elevation_rad: float) -> Matrix4:
    """base_from_camera of an optical frame at -x, `elevation_rad` up, that looks at the base frame's origin without roll."""
    c, s = np.cos(elevation_rad), np.sin(elevation_rad)
    right, down, forward = (0, -1, 0), (-s, 0, -c), (c, 0, -s)
    return transform(np.array([right, down, forward], np.float64).T, distance_m * np.array([-c, 0, s]))


def _placed(shapes: list[Shape | str], rng: np.random.Generator) -> list[Shape]:
    placed: list[Shape] = [s for s in shapes if isinstance(s, Shape)]
    done: list[Shape] = []
    for number, shape in enumerate(shapes):
        if isinstance(shape, str):
            size = tuple(np.array(DEFAULT_SIZES_M[shape]) * rng.uniform(0.9, 1.1))
            shape = Shape(shape, size, _free_place(size, placed, rng), rng.uniform(-np.pi, np.pi), PALETTE[number % len(PALETTE)])
            placed.append(shape)
        done.append(shape)
    return done


def _free_place(size: tuple[float, ...], others: list[Shape], rng: np.random.Generator) -> tuple[float, float]:
    """The best of 60 random spots: the farthest from the other shapes' edges among those near the middle of the view."""
    spots = rng.uniform([-0.16, -0.2], [0.16, 0.2], (60, 2))
    if not others:
        return tuple(spots[0] * 0.3)
    gaps = [np.linalg.norm(spots - o.xy_m, axis=1) - (max(o.size_m[:2]) + max(size[:2])) / 2 for o in others]
    return tuple(spots[int(np.argmax(np.minimum(np.min(gaps, axis=0), 0.08)))])


def _base_from_shape(shape: Shape) -> Matrix4:
    c, s = np.cos(shape.yaw_rad), np.sin(shape.yaw_rad)
    return transform(np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]), np.array([*shape.xy_m, shape.base_z_m + shape.size_m[2] / 2]))


def _render(shapes: list[Shape], camera: Camera, base_from_camera: Matrix4) -> tuple[NDArray, NDArray, NDArray]:
    """Depth along the axis, object ids (0 = table) and the cosine between normal and light, each (H, W)."""
    rows, cols = np.mgrid[: camera.height, : camera.width]
    rays = camera.deproject(np.stack([cols.ravel(), rows.ravel()], 1), np.ones(rows.size)).astype(np.float64)
    directions = rays @ base_from_camera[:3, :3].T  # not unit: the ray parameter is the depth
    origin = base_from_camera[:3, 3]
    with np.errstate(divide="ignore", invalid="ignore"):
        depth = np.where(directions[:, 2] < 0, -origin[2] / directions[:, 2], np.inf)
    depth[depth > 5] = np.inf
    ids, normals = np.zeros(len(depth), np.uint16), np.tile([0.0, 0.0, 1.0], (len(depth), 1))
    for number, shape in enumerate(shapes, 1):
        near = _rays_near(shape, camera, base_from_camera, directions, origin)
        t, normal = _hit(shape, origin, directions[near])
        closer = t < depth[near]
        hit = near[closer]
        depth[hit], ids[hit], normals[hit] = t[closer], number, normal[closer]
    light = np.array([-0.5, 0.4, 0.77])
    shape_hw = (camera.height, camera.width)
    return depth.reshape(shape_hw), ids.reshape(shape_hw), np.clip(normals @ light, 0, 1).reshape(shape_hw)


def _rays_near(shape: Shape, camera: Camera, base_from_camera: Matrix4, directions: NDArray, origin: NDArray) -> NDArray:
    """Index of the rays that pass the shape's bounding ball."""
    to_centre = _base_from_shape(shape)[:3, 3] - origin
    along = directions @ to_centre / np.einsum("ij,ij->i", directions, directions)
    miss = np.linalg.norm(directions * along[:, None] - to_centre, axis=1)
    return np.flatnonzero((miss < 0.75 * np.linalg.norm(shape.size_m)) & (along > 0))


def _hit(shape: Shape, origin: NDArray, directions: NDArray) -> tuple[NDArray, NDArray]:
    """Ray parameter (inf = miss) and outward normal in the base frame of the nearest hit."""
    base_from_shape = _base_from_shape(shape)
    start = inverse(base_from_shape) @ np.array([*origin, 1.0])
    start, rays = start[:3], directions @ base_from_shape[:3, :3]
    half = np.array(shape.size_m) / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        if shape.kind in ("box", "card"):
            t, normal = _hit_box(start, rays, half)
        elif shape.kind == "ball":
            t, normal = _hit_ellipsoid(start, rays, half)
        else:
            t, normal = _hit_profile(start, rays, half, PROFILES[shape.kind])
            if shape.kind == "mug":
                t, normal = _nearest(t, normal, *_hit_handle(start, rays, half))
    return t, normal @ base_from_shape[:3, :3].T


def _nearest(t: NDArray, normal: NDArray, other_t: NDArray, other_normal: NDArray) -> tuple[NDArray, NDArray]:
    closer = other_t < t
    return np.where(closer, other_t, t), np.where(closer[:, None], other_normal, normal)


def _hit_box(start: NDArray, rays: NDArray, half: NDArray) -> tuple[NDArray, NDArray]:
    first, second = (-half - start) / rays, (half - start) / rays
    low = np.minimum(first, second)
    enter, leave = low.max(axis=1), np.maximum(first, second).min(axis=1)
    axis = low.argmax(axis=1)
    normal = -np.sign(np.take_along_axis(rays, axis[:, None], 1)) * np.eye(3)[axis]
    return np.where((enter <= leave) & (enter > 0), enter, np.inf), normal


def _hit_ellipsoid(start: NDArray, rays: NDArray, half: NDArray) -> tuple[NDArray, NDArray]:
    p, d = start / half, rays / half
    a, b, c = (d * d).sum(1), d @ p, p @ p - 1
    root = np.sqrt(b * b - a * c)
    t = np.where(root >= 0, (-b - root) / a, np.inf)
    normal = (start + rays * np.where(np.isfinite(t), t, 0)[:, None]) / half**2
    return t, normal / np.linalg.norm(normal, axis=1, keepdims=True)


def _hit_handle(start: NDArray, rays: NDArray, half: NDArray) -> tuple[NDArray, NDArray]:
    """Three bars on the +x side."""
    x, bar, reach = half[0], 0.006, HANDLE_REACH * half[0]
    pieces = [
        ((x + reach / 2, 0, 0.5 * half[2]), (reach / 2, bar, bar)),
        ((x + reach / 2, 0, -0.4 * half[2]), (reach / 2, bar, bar)),
        ((x + reach - bar, 0, 0.05 * half[2]), (bar, bar, 0.45 * half[2] + bar)),
    ]
    t, normal = np.full(len(rays), np.inf), np.zeros_like(rays)
    for centre, size in pieces:
        t, normal = _nearest(t, normal, *_hit_box(start - np.array(centre), rays, np.array(size)))
    return t, normal


def _hit_profile(start: NDArray, rays: NDArray, half: NDArray, profile: tuple) -> tuple[NDArray, NDArray]:
    """A turned outline: every edge is a cone frustum or a flat ring. Only round shapes: half[0] is the radius."""
    points = np.array(profile) * [half[0], 2 * half[2]] - [0, half[2]]
    t, normal = np.full(len(rays), np.inf), np.zeros_like(rays)
    for (r0, z0), (r1, z1) in pairwise(points):
        piece = _hit_ring(start, rays, z0, sorted((r0, r1))) if z0 == z1 else _hit_frustum(start, rays, r0, z0, r1, z1)
        t, normal = _nearest(t, normal, *piece)
    return t, normal


def _hit_ring(start: NDArray, rays: NDArray, z: float, radii: list[float]) -> tuple[NDArray, NDArray]:
    t = (z - start[2]) / rays[:, 2]
    radius = np.linalg.norm(start[:2] + rays[:, :2] * t[:, None], axis=1)
    hit = (t > 0) & (radius >= radii[0]) & (radius <= radii[1])
    return np.where(hit, t, np.inf), np.tile([0.0, 0.0, 1.0], (len(rays), 1))


def _hit_frustum(start: NDArray, rays: NDArray, r0: float, z0: float, r1: float, z1: float) -> tuple[NDArray, NDArray]:
    """Both sides of the wall between two circles: x^2 + y^2 = (r0 + k (z - z0))^2."""
    k = (r1 - r0) / (z1 - z0)
    base, slope = r0 + k * (start[2] - z0), k * rays[:, 2]
    a = (rays[:, :2] ** 2).sum(1) - slope**2
    b = rays[:, :2] @ start[:2] - base * slope
    root = np.sqrt(b * b - a * (start[:2] @ start[:2] - base**2))
    t = np.stack([(-b - root) / a, (-b + root) / a])
    z = start[2] + rays[:, 2] * t
    t = np.where((t > 0) & (z >= min(z0, z1)) & (z <= max(z0, z1)), t, np.inf).min(axis=0)
    point = start + rays * np.where(np.isfinite(t), t, 0)[:, None]
    radial = point[:, :2] / np.linalg.norm(point[:, :2], axis=1, keepdims=True)
    normal = np.column_stack([radial, np.full(len(rays), -k)]) / np.hypot(1, k)
    return t, -normal * np.sign(np.einsum("ij,ij->i", normal, rays))[:, None]


def _colored(shapes: list[Shape], ids: NDArray, shade: NDArray, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Flat colours with Lambert shading on a plain table, with a little sensor noise."""
    palette = np.array([(150, 135, 115), *(s.color for s in shapes)], np.float32)
    rgb = palette[ids] * (0.45 + 0.55 * shade[..., None].astype(np.float32))
    return np.clip(rgb + rng.normal(0, 2, rgb.shape).astype(np.float32), 0, 255).astype(np.uint8)


def points_in_base(frame: Frame, mask: MaskImage) -> NDArray[np.float32]:
    """The masked pixels as points of the base frame (for checks of the renderer itself)."""
    rows, cols = np.nonzero(mask & np.isfinite(frame.depth_m))
    points = frame.camera.deproject(np.stack([cols, rows], 1), frame.depth_m[rows, cols])
    return move_points(frame.base_from_camera, points)
