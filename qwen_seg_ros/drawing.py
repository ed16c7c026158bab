"""Pictures of results: masks, labels and grasps over the image, and clouds with boxes and grasps seen from the side."""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from qwen_seg_ros.geometry.arrays import RgbImage
from qwen_seg_ros.geometry.camera import Camera
from qwen_seg_ros.geometry.transform import move_points
from qwen_seg_ros.grasping.grasp import Grasp, GraspPlan
from qwen_seg_ros.lifting.object_cloud import Lifted, Scene
from qwen_seg_ros.segmentation.result import Instance, SegmentationResult

Color = tuple[int, int, int]
Rect = tuple[int, int, int, int]

PALETTE: tuple[Color, ...] = (
    (0, 200, 120),
    (255, 140, 0),
    (70, 150, 255),
    (235, 75, 140),
    (250, 210, 40),
    (160, 110, 255),
    (60, 210, 220),
    (255, 100, 80),
)
BEST_GRASP: Color = (80, 255, 80)
OTHER_GRASP: Color = (220, 220, 220)
SHADOW: Color = (20, 22, 26)
BACKGROUND: Color = (24, 27, 33)
TABLE_LINE: Color = (58, 64, 74)
FONT = cv2.FONT_HERSHEY_SIMPLEX
FINGER_M, STEM_M = 0.045, 0.05  # of the drawn gripper
BOX_EDGES = [(0, 1), (1, 2), (2, 3), (3, 0), (4, 5), (5, 6), (6, 7), (7, 4), (0, 4), (1, 5), (2, 6), (3, 7)]


def color(number: int) -> Color:
    """The colour of object `number` (1..N) in every picture and marker."""
    return PALETTE[(number - 1) % len(PALETTE)]


def draw_overlay(
    rgb: RgbImage, segmentation: SegmentationResult, camera: Camera | None = None, plans: Sequence[GraspPlan] = ()
) -> RgbImage:
    """A copy of the image (H, W, 3) with every instance's mask, box and label.

    With `camera`, `plans` are drawn too; they must be in this camera's optical frame. The best grasp of a plan is green.
    """
    picture = rgb.copy()
    scale = max(0.5, rgb.shape[1] / 640)
    numbered = list(enumerate(segmentation.instances, 1))
    for number, instance in reversed(numbered):  # the best on top
        _draw_mask(picture, instance, color(number), scale)
    if camera is not None:
        for grasp, best in _worst_first(plans, others=2):
            _draw_grasp_in_image(picture, grasp, camera, best, scale)
    taken: list[Rect] = []
    for number, instance in numbered:
        _draw_label(picture, f"{number} {instance.phrase} {instance.score:.2f}", instance, color(number), scale, taken)
    if not numbered:
        _draw_chip(picture, (8, 8), segmentation.outcome.value, (200, 60, 60), scale)
    return picture


def draw_cloud(lifted: Lifted, plans: Sequence[GraspPlan] = (), size: tuple[int, int] = (640, 480)) -> RgbImage:
    """The objects with boxes, their surroundings, the table and the grasps from beside the camera; `size` is width, height.

    `lifted` and `plans` must be in one frame, whichever it is.
    """
    picture = np.full((size[1], size[0], 3), BACKGROUND, np.uint8)
    if not lifted.objects:
        _draw_chip(picture, (8, 8), "no object with depth", (200, 60, 60), max(0.5, size[0] / 640))
        return picture
    side_view = _SideView(lifted, size)
    _draw_table(picture, lifted.scene, side_view)
    _draw_points(picture, lifted, side_view)
    for cloud in lifted.objects:
        corners = side_view.pixels(cloud.box.corners())
        for first, second in BOX_EDGES:
            _line(picture, corners[first], corners[second], color(cloud.id), 1)
    for grasp, best in _worst_first(plans, others=2):
        _draw_gripper(picture, side_view.pixels(_gripper_points(grasp)), best, max(0.5, size[0] / 640))
    return picture


def _draw_mask(picture: RgbImage, instance: Instance, tint: Color, scale: float) -> None:
    mask = instance.mask
    _draw_corners(picture, instance, tint, scale)
    if mask.crop.size == 0:
        return
    region = picture[mask.rows_cols]
    inside = mask.crop.astype(np.uint8)
    tinted = cv2.addWeighted(region, 0.55, np.full_like(region, tint), 0.45, 0)
    cv2.copyTo(tinted, inside, region)  # into the picture
    outlines, _ = cv2.findContours(inside, cv2.RETR_LIST, cv2.CHAIN_APPROX_SIMPLE, offset=(mask.x_px, mask.y_px))
    cv2.drawContours(picture, outlines, -1, SHADOW, max(1, round(3 * scale)), cv2.LINE_AA)
    cv2.drawContours(picture, outlines, -1, tint, max(1, round(1.5 * scale)), cv2.LINE_AA)


def _draw_corners(picture: RgbImage, instance: Instance, tint: Color, scale: float) -> None:
    """The answer's box as four corners, so that it does not hide the mask."""
    x0, y0, x1, y1 = (round(float(v)) for v in instance.box_px)
    arm_x, arm_y = max(3, (x1 - x0) // 6), max(3, (y1 - y0) // 6)
    for x, toward_x in ((x0, arm_x), (x1 - 1, -arm_x)):
        for y, toward_y in ((y0, arm_y), (y1 - 1, -arm_y)):
            cv2.line(picture, (x, y), (x + toward_x, y), tint, max(1, round(scale)))
            cv2.line(picture, (x, y), (x, y + toward_y), tint, max(1, round(scale)))


def _draw_label(picture: RgbImage, text: str, instance: Instance, tint: Color, scale: float, taken: list[Rect]) -> None:
    """A chip above the box; below it or further up where another label is in the way."""
    x0, y0, _, y1 = (int(v) for v in (instance.box_px if instance.mask.area_px == 0 else instance.mask.box_px))
    width, height = _chip_size(text, scale)
    places = [
        y0 - height - 2,
        y1 + 2,
        y0 + 2,
        *(y0 - k * (height + 2) for k in range(2, 6)),
        *(y1 + k * (height + 2) for k in range(1, 5)),
    ]
    x = int(np.clip(x0, 0, max(0, picture.shape[1] - width)))
    spots = [(x, y, x + width, y + height) for y in places if 0 <= y <= picture.shape[0] - height]
    free = [s for s in spots if not any(_overlap(s, t) for t in taken)] or spots or [(x, 0, x + width, height)]
    taken.append(free[0])
    _draw_chip(picture, free[0][:2], text, tint, scale)


def _overlap(first: Rect, second: Rect) -> bool:
    return first[0] < second[2] and second[0] < first[2] and first[1] < second[3] and second[1] < first[3]


def _chip_size(text: str, scale: float) -> tuple[int, int]:
    (width, height), base = cv2.getTextSize(_plain(text), FONT, 0.45 * scale, 1)
    return width + round(12 * scale), height + base + round(4 * scale)


def _draw_chip(picture: RgbImage, corner: tuple[int, int], text: str, tint: Color, scale: float) -> None:
    """White text on a dark ground with a bar of the object's colour."""
    (x, y), (width, height) = corner, _chip_size(text, scale)
    cv2.rectangle(picture, (x, y), (x + width, y + height), SHADOW, -1)
    cv2.rectangle(picture, (x, y), (x + round(4 * scale), y + height), tint, -1)
    baseline = (x + round(8 * scale), y + height - round(5 * scale))
    cv2.putText(picture, _plain(text), baseline, FONT, 0.45 * scale, (250, 250, 250), 1, cv2.LINE_AA)


def _plain(text: str) -> str:
    """OpenCV's font has ASCII only; long phrases are cut."""
    text = text if len(text) <= 44 else text[:41] + "..."
    return text.encode("ascii", "replace").decode()


def _worst_first(plans: Sequence[GraspPlan], others: int) -> list[tuple[Grasp, bool]]:
    """Every plan's best grasp (True), after up to `others` runners-up of each."""
    seconds = [(grasp, False) for plan in plans for grasp in plan.grasps[1 : 1 + others]]
    return seconds + [(plan.grasps[0], True) for plan in plans if plan.grasps]


def _gripper_points(grasp: Grasp) -> NDArray:
    """(6, 3): end of the stem, its foot, both finger roots, both finger tips."""
    half = max(grasp.width_m, 0.01) / 2
    hand = [
        (0, 0, -FINGER_M - STEM_M),
        (0, 0, -FINGER_M),
        (0, -half, -FINGER_M),
        (0, half, -FINGER_M),
        (0, -half, 0),
        (0, half, 0),
    ]
    return move_points(grasp.pose, np.array(hand))


def _draw_grasp_in_image(picture: RgbImage, grasp: Grasp, camera: Camera, best: bool, scale: float) -> None:
    points = _gripper_points(grasp)
    if (points[:, 2] > 0.02).all():
        _draw_gripper(picture, camera.project(points), best, scale)


def _draw_gripper(picture: RgbImage, pixels: NDArray, best: bool, scale: float) -> None:
    edges = [(0, 1), (2, 3), (2, 4), (3, 5)]
    for tint, thickness in ((SHADOW, 5 if best else 3), (BEST_GRASP if best else OTHER_GRASP, 2.5 if best else 1)):
        for first, second in edges:
            _line(picture, pixels[first], pixels[second], tint, max(1, round(thickness * scale)))
    if best:
        for tip in pixels[4:]:
            cv2.circle(picture, _whole(tip), max(2, round(3.5 * scale)), BEST_GRASP, -1, cv2.LINE_AA)


def _line(picture: RgbImage, start: NDArray, end: NDArray, tint: Color, thickness: int) -> None:
    cv2.line(picture, _whole(start), _whole(end), tint, thickness, cv2.LINE_AA)


def _whole(pixel: NDArray) -> tuple[int, int]:
    x, y = np.clip(np.rint(pixel), -4000, 4000).astype(int)
    return int(x), int(y)


class _SideView:
    """Parallel projection from 35 degrees above and 30 degrees beside the camera's line of sight, fitted to the objects."""

    def __init__(self, lifted: Lifted, size: tuple[int, int]) -> None:
        corners = np.concatenate([o.box.corners() for o in lifted.objects])
        self.centre = (corners.min(axis=0) + corners.max(axis=0)) / 2
        up, level = lifted.scene.up, _level(self.centre - lifted.scene.camera, lifted.scene.up)
        beside = np.cross(level, up)
        forward = (
            np.cos(np.deg2rad(35)) * (np.cos(np.deg2rad(30)) * level + np.sin(np.deg2rad(30)) * beside)
            - np.sin(np.deg2rad(35)) * up
        )
        right = np.cross(forward, up) / np.linalg.norm(np.cross(forward, up))
        self.axes = np.stack([right, np.cross(forward, right), forward])
        reach = np.abs((corners - self.centre) @ self.axes[:2].T).max(axis=0) + 0.06
        self.middle = np.array(size) / 2
        self.scale = float((self.middle / reach).min())

    def pixels(self, points: NDArray) -> NDArray:
        return (np.asarray(points) - self.centre) @ self.axes[:2].T * self.scale + self.middle

    def depth(self, points: NDArray) -> NDArray:
        return (points - self.centre) @ self.axes[2]


def _level(direction: NDArray, up: NDArray) -> NDArray:
    """The level part of a direction, unit length; any level direction for one straight up or down."""
    level = direction - up * (direction @ up)
    if np.linalg.norm(level) < 1e-3:
        level = np.cross(up, np.eye(3)[int(np.argmin(np.abs(up)))])
    return level / np.linalg.norm(level)


def _draw_table(picture: RgbImage, scene: Scene, view: _SideView) -> None:
    """Lines every 5 cm on the table."""
    if scene.support is None:
        return
    foot = view.centre - scene.up * float(scene.support.height(view.centre))
    ahead = _level(view.centre - scene.camera, scene.up)
    beside = np.cross(ahead, scene.up)
    for k in np.arange(-0.4, 0.41, 0.05):
        for along, across in ((ahead, beside), (beside, ahead)):
            start, end = view.pixels(np.array([foot + k * across - 0.4 * along, foot + k * across + 0.4 * along]))
            _line(picture, start, end, TABLE_LINE, 1)


def _draw_points(picture: RgbImage, lifted: Lifted, view: _SideView) -> None:
    """Far points first, so that near ones cover them; a point is as large as its voxel."""
    around = lifted.scene.points_m[lifted.scene.object_ids == 0]
    points = np.concatenate([around, *(o.points_m for o in lifted.objects)])
    grey = np.full((len(around), 3), (96, 102, 112), np.uint8)
    colors = np.concatenate([grey, *(o.colors for o in lifted.objects)])
    pixels, order = np.rint(view.pixels(points)).astype(int), np.argsort(-view.depth(points))
    reach = max(1, round(0.0025 * view.scale))
    for point, tint in zip(pixels[order].tolist(), colors[order].tolist(), strict=True):
        x, y = point
        if -reach <= x < picture.shape[1] + reach and -reach <= y < picture.shape[0] + reach:
            picture[max(0, y - reach) : max(0, y + reach), max(0, x - reach) : max(0, x + reach)] = tint
