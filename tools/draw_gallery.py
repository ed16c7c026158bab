"""docs/gallery.md and its pictures, from the demo's recording and the embedded network:  python tools/draw_gallery.py"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from qwen_seg_ros.drawing import draw_cloud, draw_overlay
from qwen_seg_ros.frame import Frame
from qwen_seg_ros.geometry.transform import inverse
from qwen_seg_ros.grasping.grasp import GraspPlan
from qwen_seg_ros.lifting.object_cloud import ObjectCloud
from qwen_seg_ros.offline.bags.reader import read_bag
from qwen_seg_ros.offline.bags.replay.timetable import load_timetable
from qwen_seg_ros.pipeline import Pipeline, PipelineResult

ROOT = Path(__file__).resolve().parents[1]
DEMO, DOCS = ROOT / "demo", ROOT / "docs"
SIZE, QUALITY = (480, 360), 82  # of one half of a picture: width, height; of its JPEG
HEAD = """# Gallery

What the embedded network answers about the recording of the demo, on a CPU: left the picture with masks, boxes and
grasps (the best one green), right the objects in 3-D as the planner has them, seen from beside the camera. Positions are in
the frame of the table: its middle, z up. Made by `python tools/draw_gallery.py`, which answers anew; nothing is touched up.
"""
TAIL = """
## The same answers in the rerun viewer

`qwen-seg replay demo/bag --instructions demo/asked.yaml --out out/demo_replay --rerun`, then `rerun out/demo_replay/replay.rrd`
([more](replay.md#a-file-for-the-rerun-viewer)). This picture is a screenshot of rerun 0.41.

![The rerun viewer](gallery/rerun.jpg)

More pictures: [best](tabletop_ors_best.jpg) and [worst](tabletop_ors_worst.jpg) answers of the
[benchmark](tabletop_ors.md), how objects are [followed](tracking.md), and the network [at work](models.md).
"""


class Answered(NamedTuple):
    frame: Frame
    result: PipelineResult

    @property
    def words(self) -> str:
        return self.result.instruction


def answers(pipeline: Pipeline) -> Iterator[Answered]:
    frames, table = list(read_bag(DEMO / "bag")), load_timetable(DEMO / "asked.yaml")
    for frame in frames:
        for words in table.at((frame.stamp_ns - frames[0].stamp_ns) / 1e9):
            yield Answered(frame, pipeline.run(frame, words))


def picture(item: Answered) -> NDArray[np.uint8]:
    """The image alone where nothing was found, else image and 3-D side by side."""
    frame, result = item
    assert result.segmentation is not None
    camera_from_base = inverse(frame.base_from_camera)
    plans = [plan.moved(camera_from_base) for plan in result.plans]
    halves = [_small(draw_overlay(frame.rgb, result.segmentation, frame.camera, plans))]
    if result.lifted is not None and result.lifted.objects:
        halves.append(_small(draw_cloud(result.lifted, result.plans)))
    return np.hstack(halves)


def section(number: int, item: Answered) -> str:
    """Markdown: the words, the picture and what the answer says."""
    result = item.result
    lines = [f'\n## "{item.words}"\n', f"![{item.words}](gallery/{number}.jpg)\n"]
    plans = {plan.object_id: plan for plan in result.plans}
    found = [_told(thing, plans.get(thing.id)) for thing in (result.lifted.objects if result.lifted else ())]
    lines += found or [f"{result.status.code.name}: {result.status.message}."]
    return "\n".join(lines) + "\n"


def _told(thing: ObjectCloud, plan: GraspPlan | None) -> str:
    place = " ".join(f"{value:+.3f}" for value in thing.box.pose[:3, 3])
    size = " x ".join(f"{100 * value:.0f}" for value in thing.box.size_m)
    grasp = "no grasp"
    if plan is not None and plan.grasps:
        best = plan.grasps[0]
        grasp = (
            f"{len(plan.grasps)} grasps, the best: {best.strategy}, opening {100 * best.width_m:.1f} cm, score {best.score:.2f}"
        )
    return f"- {thing.phrase}: at {place} m, {size} cm; {grasp}"


def _small(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.asarray(cv2.resize(image, SIZE, interpolation=cv2.INTER_AREA), np.uint8)


def main(docs: Path, pipeline: Pipeline) -> None:
    """Into the folder `docs`: gallery.md, and gallery/ with its pictures."""
    folder = docs / "gallery"
    folder.mkdir(parents=True, exist_ok=True)
    page = HEAD
    for number, item in enumerate(answers(pipeline), start=1):
        rgb = picture(item)
        cv2.imwrite(str(folder / f"{number}.jpg"), rgb[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
        page += section(number, item)
    (docs / "gallery.md").write_text(page + TAIL)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else DOCS, Pipeline())
