"""Made-up shapes: closed meshes one unit in size, which a scene stretches to any size and paints in any colour."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from qwen_seg_ros.offline.sim.catalogue import PAINT, CatalogueEntry

COPIES = 3  # of each shape: as many can stand in one scene, each with its own size
SEGMENTS = 32  # of a round shape
CREASE_COS = float(np.cos(np.deg2rad(40)))  # faces that meet at a smaller angle are shaded as one round surface


@dataclass(frozen=True, eq=False)
class Mesh:
    """vertices (V, 3) inside the unit cube around the origin, faces (F, 3) counter-clockwise seen from outside."""

    vertices: np.ndarray
    faces: np.ndarray

    def corner_normals(self) -> np.ndarray:
        """(F, 3, 3) normals for shading: sharp at edges, smooth on round surfaces."""
        corners = self.vertices[self.faces]
        flat = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        unit = flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-12)
        angles = _corner_angles(corners)
        normals = np.empty_like(corners)
        for vertex in range(len(self.vertices)):
            at, corner = np.nonzero(self.faces == vertex)
            alike = unit[at] @ unit[at].T > CREASE_COS
            summed = alike @ (unit[at] * angles[at, corner, None])
            normals[at, corner] = summed / np.maximum(np.linalg.norm(summed, axis=1, keepdims=True), 1e-12)
        return normals


def _corner_angles(corners: np.ndarray) -> np.ndarray:
    """(F, 3) angles of triangles (F, 3, 3): as weights they do not depend on how a face is cut into triangles."""
    ahead, back = np.roll(corners, -1, axis=1) - corners, np.roll(corners, 1, axis=1) - corners
    return np.arctan2(np.linalg.norm(np.cross(ahead, back), axis=2), (ahead * back).sum(axis=2))


@dataclass(frozen=True, eq=False)
class Solid:
    """noun: as in "red cube"; sizes_m: (low, high) of x, y and z; tied: axes that share one draw, as "xyz" for a
    cube; shape: what a record says of it."""

    noun: str
    category: str
    aliases: tuple[str, ...]
    build: Callable[[], Mesh]
    sizes_m: tuple[tuple[float, float], ...]
    tied: str = ""
    pool: str = "train"
    shape: str = ""

    def draw_size(self, rng: np.random.Generator) -> np.ndarray:
        """(3,) metres."""
        size = np.array([rng.uniform(low, high) for low, high in self.sizes_m])
        axes = ["xyz".index(axis) for axis in self.tied]
        size[axes] = size[axes[0]] if axes else 0
        return size


def lathe(profile: Sequence[tuple[float, float]], segments: int = SEGMENTS, closed: bool = False) -> Mesh:
    """A profile of (radius, height), seen with z up and counter-clockwise, turned around z; closed: it ends where it begins."""
    angles = 2 * np.pi * (np.arange(segments) + 0.5) / segments
    circle = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    vertices = np.concatenate([np.column_stack([radius * circle, np.full(segments, z)]) for radius, z in profile])
    faces = []
    pairs = len(profile) if closed else len(profile) - 1
    for row in range(pairs):
        low, high = row * segments, (row + 1) % len(profile) * segments
        for i in range(segments):
            j = (i + 1) % segments
            faces += [(low + i, low + j, high + j), (low + i, high + j, high + i)]
    return _unit(vertices, np.array(faces))


def prism(outline: Sequence[tuple[float, float]], centre: tuple[float, float]) -> Mesh:
    """A counter-clockwise outline, all of which is seen from `centre`, raised along z."""
    count = len(outline)
    ground = np.array([*outline, centre], float)
    vertices = np.concatenate([np.column_stack([ground, np.full(count + 1, z)]) for z in (0.0, 1.0)])
    top, faces = count + 1, []
    for i in range(count):
        j = (i + 1) % count
        faces += [(i, j, top + j), (i, top + j, top + i), (j, i, count), (top + i, top + j, top + count)]
    return _unit(vertices, np.array(faces))


def boxes(parts: Sequence[tuple[float, float, float, float, float, float]]) -> Mesh:
    """Several boxes (x0, y0, z0, x1, y1, z1) as one mesh; they may share faces."""
    meshes = [prism(((0, 0), (1, 0), (1, 1), (0, 1)), (0.5, 0.5)) for _ in parts]
    low, high = np.array(parts)[:, None, :3], np.array(parts)[:, None, 3:]
    vertices = [(mesh.vertices + 0.5) * (high - low)[i] + low[i] for i, mesh in enumerate(meshes)]
    offsets = np.cumsum([0, *(len(v) for v in vertices[:-1])])
    return _unit(np.concatenate(vertices), np.concatenate([m.faces + o for m, o in zip(meshes, offsets, strict=True)]))


def _unit(vertices: np.ndarray, faces: np.ndarray) -> Mesh:
    """Vertices that coincide become one, faces without area go, and the box becomes the unit cube around the origin."""
    places, inverse = np.unique(vertices.round(9), axis=0, return_inverse=True)
    faces = inverse.reshape(-1)[faces]
    whole = (faces != np.roll(faces, 1, axis=1)).all(axis=1)
    low, high = places.min(axis=0), places.max(axis=0)
    return Mesh((places - (low + high) / 2) / (high - low), faces[whole])


def _arc(count: int, start: float, stop: float, radius: float, centre: tuple[float, float]) -> list[tuple[float, float]]:
    angles = np.linspace(start, stop, count)
    return [(centre[0] + radius * float(np.cos(a)), centre[1] + radius * float(np.sin(a))) for a in angles]


def _ball() -> Mesh:
    return lathe(_arc(17, -np.pi / 2, np.pi / 2, 0.5, (0, 0)))


def _ring() -> Mesh:
    return lathe(_arc(17, 0, 2 * np.pi, 0.16, (0.34, 0))[:-1], closed=True)


def _star() -> Mesh:
    radii = np.where(np.arange(10) % 2, 0.45, 1.0)
    angles = np.pi / 5 * np.arange(10)
    return prism([(r * float(np.cos(a)), r * float(np.sin(a))) for r, a in zip(radii, angles, strict=True)], (0, 0))


def _open_box() -> Mesh:
    return lathe([(0, 0), (1, 0), (1.08, 1), (0.98, 1), (0.9, 0.14), (0, 0.14)], 4)


def _wedge() -> Mesh:
    """A ramp: a triangle standing on its long side, drawn out along y."""
    lying = prism(((0, 0), (1, 0), (0, 1)), (0.25, 0.25))
    return Mesh(lying.vertices[:, [0, 2, 1]] * [1, -1, 1], lying.faces)


L_OUTLINE = ((0, 0), (1, 0), (1, 0.4), (0.4, 0.4), (0.4, 1), (0, 1))
T_OUTLINE = ((0.32, 0), (0.68, 0), (0.68, 0.65), (1, 0.65), (1, 1), (0, 1), (0, 0.65), (0.32, 0.65))
CROSS = ((0.33, 0), (0.67, 0), (0.67, 0.33), (1, 0.33), (1, 0.67), (0.67, 0.67), (0.67, 1), (0.33, 1), (0.33, 0.67), (0, 0.67),
         (0, 0.33), (0.33, 0.33))  # fmt: skip
SQUARE = ((0, 0), (1, 0), (1, 1), (0, 1))
CYLINDER = ((0, 0), (0.5, 0), (0.5, 1), (0, 1))

SOLIDS = {
    "cube": Solid("cube", "block", (), lambda: prism(SQUARE, (0.5, 0.5)), ((0.025, 0.07),) * 3, "xyz", shape="cube"),
    "block": Solid(
        "block", "block", (), lambda: prism(SQUARE, (0.5, 0.5)), ((0.06, 0.15), (0.025, 0.055), (0.015, 0.05)), shape="box"
    ),
    "cylinder": Solid(
        "cylinder", "cylinder", (), lambda: lathe(CYLINDER), ((0.025, 0.07),) * 2 + ((0.05, 0.15),), "xy",
        shape="cylinder",
    ),
    "disc": Solid("disc", "disc", ("disk",), lambda: lathe(CYLINDER), ((0.06, 0.2),) * 2 + ((0.006, 0.02),), "xy", shape="disc"),
    "ball": Solid("ball", "ball", ("sphere",), _ball, ((0.03, 0.1),) * 3, "xyz", shape="ball"),
    "cone": Solid(
        "cone", "cone", (), lambda: lathe(((0, 0), (0.5, 0), (0, 1))), ((0.04, 0.09),) * 2 + ((0.05, 0.14),), "xy",
        shape="cone",
    ),
    "pyramid": Solid(
        "pyramid", "pyramid", (), lambda: lathe(((0, 0), (0.5, 0), (0, 1)), 4), ((0.04, 0.09),) * 2 + ((0.04, 0.1),), "xy"
    ),
    "ring": Solid("ring", "ring", (), _ring, ((0.05, 0.13),) * 2 + ((0.012, 0.03),), "xy", shape="ring"),
    "l_block": Solid(
        "l-shaped block", "block", (), lambda: prism(L_OUTLINE, (0.2, 0.2)), ((0.05, 0.11), (0.05, 0.11), (0.015, 0.035))
    ),
    "t_block": Solid(
        "t-shaped block", "block", (), lambda: prism(T_OUTLINE, (0.5, 0.8)), ((0.05, 0.11), (0.05, 0.11), (0.015, 0.035))
    ),
    "wedge": Solid(
        "wedge", "wedge", ("ramp",), _wedge, ((0.05, 0.12), (0.03, 0.07), (0.03, 0.07))
    ),
    "tube": Solid(
        "tube", "tube", ("pipe",), lambda: lathe([(0.5, 0), (0.5, 1), (0.38, 1), (0.38, 0)], closed=True),
        ((0.03, 0.07),) * 2 + ((0.05, 0.14),), "xy", shape="cylinder"
    ),
    "tray": Solid("tray", "tray", (), _open_box, ((0.14, 0.26), (0.12, 0.2), (0.02, 0.05))),
    "star": Solid("star-shaped block", "block", ("star",), _star, ((0.05, 0.11),) * 2 + ((0.015, 0.04),), "xy", "unseen"),
    "cross": Solid(
        "cross-shaped block", "block", ("cross",), lambda: prism(CROSS, (0.5, 0.5)), ((0.05, 0.11),) * 2 + ((0.015, 0.04),), "xy",
        "unseen",
    ),
    "arch": Solid(
        "arch-shaped block", "block", ("arch", "bridge"),
        lambda: boxes(((0, 0, 0, 0.25, 1, 1), (0.75, 0, 0, 1, 1, 1), (0.25, 0, 0.65, 0.75, 1, 1))),
        ((0.07, 0.12), (0.025, 0.05), (0.04, 0.08)), "", "unseen",
    ),
    "hexagon": Solid(
        "hexagonal block", "block", (), lambda: lathe(CYLINDER, 6), ((0.04, 0.09),) * 2 + ((0.02, 0.06),), "xy", "unseen"
    ),
}  # fmt: skip


def solid_entries() -> list[CatalogueEntry]:
    """COPIES entries for each shape; their colour and size are drawn for every scene."""
    colours = tuple(PAINT)
    return [
        CatalogueEntry(
            f"solid/{kind}/{copy}", "", solid.noun, "", solid.category, solid.aliases, PAINT["gray"], False, solid.pool,
            colours, "", kind,
        )
        for kind, solid in SOLIDS.items() for copy in range(COPIES)
    ]  # fmt: skip
