"""Textured blocks on a table seen by a moving camera, with exact depth and masks: ground truth for tracking, no renderer needed.

Base frame: z up, the table is z = 0. A block's texture follows from its colour: blocks of one colour and size are identical.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from qwen_seg_ros.frame import Frame
from qwen_seg_ros.geometry.arrays import MaskImage, Matrix4
from qwen_seg_ros.geometry.camera import Camera
from qwen_seg_ros.geometry.mask import CroppedMask
from qwen_seg_ros.geometry.region import Region
from qwen_seg_ros.geometry.transform import inverse, move_points, transform
from qwen_seg_ros.segmentation.result import Instance, Outcome, SegmentationResult

CAMERA = Camera(240, 180, 216, 216, 119.5, 89.5)
GRAIN_PX = 96  # side of a texture
TABLE_M = 2.0
LIGHT = np.array([-0.5, 0.4, 0.77])
COLORS = {"table": (150, 135, 115), "red": (200, 40, 40), "green": (40, 160, 60), "blue": (40, 80, 200), "yellow": (230, 190, 40)}


@dataclass(frozen=True)
class Block:
    """Full x y z lengths, and where its foot stands."""

    color: str
    size_m: tuple[float, float, float]
    xy_m: tuple[float, float]
    yaw_rad: float = 0.0


@dataclass(frozen=True, eq=False)
class View:
    """masks: of the blocks in their order, bool (H, W), empty where a block is not in sight."""

    frame: Frame
    masks: list[MaskImage]

    def answer(self, *chosen: int, instruction: str = "things", phrase: str = "thing") -> SegmentationResult:
        """What a perfect model would say of the chosen blocks (all by default) that are in sight, in this order."""
        seen = [n for n in (chosen or range(len(self.masks))) if self.masks[n].any()]
        masks = [CroppedMask.from_full(self.masks[n]) for n in seen]
        found = tuple(Instance(phrase, mask.box_px, mask, 0.9, 0.9) for mask in masks)
        return SegmentationResult(instruction, Outcome.FOUND if found else Outcome.NOT_FOUND, found)

    def only(self, depth: bool, pose: bool) -> "View":
        """The same for a robot that lacks something."""
        frame = self.frame
        kept = replace(frame, depth_m=frame.depth_m if depth else None, base_from_camera=frame.base_from_camera if pose else None)
        return View(kept, self.masks)


def orbit(azimuth_deg: float, distance_m: float = 0.8, elevation_deg: float = 46, turn_deg: float = 0.0) -> Matrix4:
    """base_from_camera of an optical frame that looks at the table's middle, then turned to the right."""
    a, e, t = np.deg2rad([azimuth_deg, elevation_deg, turn_deg])
    away = np.array([np.cos(e) * np.cos(a), np.cos(e) * np.sin(a), np.sin(e)])
    right = np.array([-np.sin(a), np.cos(a), 0])
    looks = np.stack([right, np.cross(-away, right), -away], axis=1)
    turn = np.array([[np.cos(t), 0, np.sin(t)], [0, 1, 0], [-np.sin(t), 0, np.cos(t)]])
    return transform(looks @ turn, distance_m * away)


def view(blocks: Sequence[Block], base_from_camera: Matrix4 | None = None, time_s: float = 0.0) -> View:
    """What the camera sees at a time, with the noise of a small sensor in the picture."""
    pose = orbit(180) if base_from_camera is None else base_from_camera
    shape = (CAMERA.height, CAMERA.width)
    rgb, depth, ids = np.zeros((*shape, 3), np.float32), np.full(shape, np.inf, np.float32), np.zeros(shape, int)
    for number, face in [(0, _table()), *((n, face) for n, block in enumerate(blocks, 1) for face in _faces(block))]:
        _draw(number, face, pose, rgb, depth, ids)
    rng = np.random.default_rng(round(time_s * 1000))
    picture = np.clip(rgb + rng.normal(0, 2, rgb.shape), 0, 255).astype(np.uint8)
    depth[np.isinf(depth)] = np.nan
    frame = Frame(picture, depth, CAMERA, pose, stamp_ns=round(time_s * 1e9))
    return View(frame, [ids == k for k in range(1, len(blocks) + 1)])


@dataclass(frozen=True, eq=False)
class _Face:
    """A textured parallelogram in the base frame: one corner, two edges, unit normal outwards."""

    corner: NDArray
    across: NDArray
    down: NDArray
    normal: NDArray
    texture: NDArray[np.float32]


@lru_cache(maxsize=64)
def _texture(color: str, face: int, side_px: int) -> NDArray[np.float32]:
    grain = np.random.default_rng(1000 * face + len(color)).normal(0, 1, (side_px, side_px)).astype(np.float32)
    grain = cv2.GaussianBlur(grain, (0, 0), 3)
    return np.array(COLORS[color], np.float32) * (1 + 0.2 * grain / grain.std())[..., None]


def _table() -> _Face:
    edge = TABLE_M * np.eye(3)
    return _Face(-(edge[0] + edge[1]) / 2, edge[0], edge[1], np.eye(3)[2], _texture("table", 0, 8 * GRAIN_PX))


def _faces(block: Block) -> Iterator[_Face]:
    c, s = np.cos(block.yaw_rad), np.sin(block.yaw_rad)
    axes = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]).T  # rows
    centre, edges = np.array([*block.xy_m, block.size_m[2] / 2]), axes * np.array(block.size_m)[:, None]
    for axis in range(3):
        across, down = edges[(axis + 1) % 3], edges[(axis + 2) % 3]
        for face, sign in enumerate((-1, 1)):
            corner = centre + sign * edges[axis] / 2 - across / 2 - down / 2
            yield _Face(corner, across, down, sign * axes[axis], _texture(block.color, 2 * axis + face, GRAIN_PX))


def _draw(number: int, face: _Face, pose: Matrix4, rgb: NDArray, depth: NDArray, ids: NDArray) -> None:
    """Every pixel whose ray meets the face in front of what is drawn already."""
    towards = face.normal @ (face.corner - pose[:3, 3])
    if towards >= 0:
        return
    region = _around(face, pose) if number else Region(0, 0, CAMERA.width, CAMERA.height)
    if region.empty:
        return
    rays = _rays()[region.rows_cols] @ pose[:3, :3].T
    with np.errstate(divide="ignore", invalid="ignore"):
        z = towards / (rays @ face.normal)
        points = rays * z[..., None] + (pose[:3, 3] - face.corner)
        u, v = (points @ edge / (edge @ edge) for edge in (face.across, face.down))
    hit = (z > 0) & (z < depth[region.rows_cols]) & (u >= 0) & (u <= 1) & (v >= 0) & (v <= 1)
    places = [np.where(hit, at, 0).astype(np.float32) * (len(face.texture) - 1) for at in (u, v)]
    painted = cv2.remap(face.texture, *places, cv2.INTER_LINEAR) * (0.45 + 0.55 * max(0.0, float(face.normal @ LIGHT)))
    rgb[region.rows_cols][hit], depth[region.rows_cols][hit], ids[region.rows_cols][hit] = painted[hit], z[hit], number


@lru_cache(maxsize=1)
def _rays() -> NDArray:
    rows, cols = np.mgrid[: CAMERA.height, : CAMERA.width]
    rays = CAMERA.deproject(np.stack([cols.ravel(), rows.ravel()], 1), np.ones(rows.size, np.float32))
    return rays.reshape(CAMERA.height, CAMERA.width, 3).astype(np.float64)


def _around(face: _Face, pose: Matrix4) -> Region:
    corners = face.corner + np.array([0 * face.across, face.across, face.down, face.across + face.down])
    corners = move_points(inverse(pose), corners)
    if corners[:, 2].min() < 0.05:
        return Region(0, 0, CAMERA.width, CAMERA.height)
    pixels = CAMERA.project(corners)
    return Region.of_box(np.concatenate([pixels.min(axis=0) - 1, pixels.max(axis=0) + 2]), CAMERA.width, CAMERA.height)
