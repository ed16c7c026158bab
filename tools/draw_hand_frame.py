"""The figure of docs/manipulation.md, from the grippers' YAML files:  python tools/draw_hand_frame.py [docs/hand_frame.jpg]"""

import sys
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from qwen_seg_ros.grasping.gripper import Gripper, load_gripper

PX_PER_M, DEPTH = 1700, 2  # scale of the finished picture; drawn this many times larger
WIDTH, HEIGHT, TCP_ROW = 1500, 700, 535  # pixels of the finished picture; the row of all tool centre points
INK, GREY, FINGER, PAD, PART = (40, 32, 28), (130, 116, 106), (222, 190, 150), (170, 120, 40), (226, 222, 218)  # BGR
X, Y, Z = (40, 40, 210), (60, 150, 30), (200, 90, 20)
FONT = cv2.FONT_HERSHEY_SIMPLEX
CENTRES, SIDE_CENTRE = {"panda": 200, "robotiq_2f_85": 780, "robotiq_2f_140": 1220}, 490  # columns


class View(NamedTuple):
    """A picture with the hand frame's `across` axis to the right and z down; column: of the tool centre point."""

    image: NDArray
    column: int
    across: int

    def place(self, across_m: float, z_m: float) -> tuple[int, int]:
        """Point of the drawing, in its own larger pixels."""
        return round(DEPTH * (self.column + PX_PER_M * across_m)), round(DEPTH * (TCP_ROW + PX_PER_M * z_m))

    def box(self, centre: NDArray, size: NDArray, colour: tuple[int, int, int]) -> None:
        low, high = centre - size / 2, centre + size / 2
        corners = self.place(low[self.across], low[2]), self.place(high[self.across], high[2])
        cv2.rectangle(self.image, *corners, colour, -1)
        cv2.rectangle(self.image, *corners, GREY, DEPTH)

    def line(self, start: tuple[float, float], end: tuple[float, float], colour: tuple[int, int, int] = GREY) -> None:
        cv2.line(self.image, self.place(*start), self.place(*end), colour, DEPTH, cv2.LINE_AA)

    def arrow(self, end: tuple[float, float], name: str, colour: tuple[int, int, int]) -> None:
        cv2.arrowedLine(self.image, self.place(0, 0), self.place(*end), colour, 3 * DEPTH, cv2.LINE_AA, tipLength=0.18)
        self.text((end[0] + 0.008, end[1] - 0.003) if end[1] else (end[0] - 0.004, -0.007), name, colour)

    def text(self, at: tuple[float, float], words: str, colour: tuple[int, int, int] = INK, size: float = 0.5) -> None:
        cv2.putText(self.image, words, self.place(*at), FONT, size * DEPTH, colour, DEPTH, cv2.LINE_AA)

    def measure(self, start: tuple[float, float], end: tuple[float, float], words: str, at: tuple[float, float]) -> None:
        """A line with two heads and what it measures."""
        for a, b in ((start, end), (end, start)):
            cv2.arrowedLine(self.image, self.place(*a), self.place(*b), INK, DEPTH, cv2.LINE_AA, tipLength=0.08)
        self.text(at, words, size=0.42)


def draw_hand(view: View, gripper: Gripper) -> None:
    """Fixed parts, fingers and pads at full opening."""
    boxes = gripper.boxes(gripper.max_opening_m)
    for centre, size in boxes[2:][::-1]:
        view.box(centre, size, PART)
    for centre, size in boxes[:2]:
        view.box(centre, size, FINGER)
    for side in (-1, 1) if view.across == 1 else (0,):
        wide = 0.003 if view.across == 1 else gripper.finger_width_m
        centre = np.array([0.0, side * (gripper.max_opening_m + wide) / 2, 0.0])
        view.box(centre, np.array([gripper.finger_width_m, wide, gripper.pad_height_m]), PAD)


def draw_axes(view: View, gripper: Gripper) -> None:
    """z and the axis across; the third goes into the paper seen from the front, out of it seen from the side."""
    name, colour = ("y", Y) if view.across == 1 else ("x", X)
    view.arrow((0, gripper.tip_beyond_tcp_m + 0.025), "z  approach", Z)
    view.arrow((0.03, 0), name, colour)
    third, third_colour = ("x", X) if view.across == 1 else ("y", Y)
    centre, radius = view.place(0, 0), 7 * DEPTH
    cv2.circle(view.image, centre, radius, (255, 255, 255), -1, cv2.LINE_AA)
    cv2.circle(view.image, centre, radius, third_colour, 2 * DEPTH, cv2.LINE_AA)
    if view.across == 1:
        for sign in (-1, 1):
            step = np.array([sign * radius, radius]) * 0.6
            ends = np.round(centre - step).astype(int), np.round(centre + step).astype(int)
            cv2.line(view.image, tuple(map(int, ends[0])), tuple(map(int, ends[1])), third_colour, DEPTH, cv2.LINE_AA)
    else:
        cv2.circle(view.image, centre, 2 * DEPTH, third_colour, -1, cv2.LINE_AA)
    view.text((-0.019, 0.004), third, third_colour)


def draw_lengths(view: View, gripper: Gripper) -> None:
    """What the YAML file calls its numbers."""
    half, tip, palm = gripper.max_opening_m / 2, gripper.tip_beyond_tcp_m, gripper.palm_above_tcp_m
    below = tip + 0.040
    view.measure((-half, below), (half, below), f"max_opening_m {1000 * gripper.max_opening_m:.0f} mm", (-half, below + 0.012))
    boxes = gripper.boxes(gripper.max_opening_m)
    in_the_way = boxes[:, 0, 2] + boxes[:, 1, 2] / 2 > 0.001 - palm
    beside = float((boxes[:, 0, 1] + boxes[:, 1, 1] / 2)[in_the_way].max()) + 0.008
    view.line((0.04, 0), (beside, 0))
    view.measure((beside, 0), (beside, tip), f"tip {1000 * tip:.0f}", (beside + 0.004, tip / 2 + 0.008))
    view.measure((beside, -palm), (beside, 0), f"palm {1000 * palm:.0f}", (beside + 0.004, -palm / 2))


def main(path: str) -> None:
    image = np.full((DEPTH * HEIGHT, DEPTH * WIDTH, 3), 255, np.uint8)
    for name, column in CENTRES.items():
        view, gripper = View(image, column, 1), load_gripper(name)
        draw_hand(view, gripper)
        draw_lengths(view, gripper)
        draw_axes(view, gripper)
        cv2.putText(image, name, (DEPTH * (column - 62), DEPTH * 26), FONT, 0.6 * DEPTH, INK, DEPTH, cv2.LINE_AA)
    side, gripper = View(image, SIDE_CENTRE, 0), load_gripper("panda")
    draw_hand(side, gripper)
    draw_axes(side, gripper)
    cv2.putText(image, "from the side", (DEPTH * (SIDE_CENTRE - 62), DEPTH * 26), FONT, 0.5 * DEPTH, INK, DEPTH, cv2.LINE_AA)
    cv2.imwrite(path, cv2.resize(image, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA))


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "docs/hand_frame.jpg")
