"""Results for people (tables) and for programs (JSON)."""

import json
import sys
from pathlib import Path
from typing import Any

import cv2
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from qwen_seg_ros.geometry.arrays import RgbImage
from qwen_seg_ros.geometry.mask import encode_rle
from qwen_seg_ros.geometry.transform import quaternion_from_rotation
from qwen_seg_ros.grasping.grasp import Grasp
from qwen_seg_ros.pipeline import PipelineResult
from qwen_seg_ros.status import StatusCode

console = Console(stderr=True)  # progress and remarks; results go to standard output
results = Console(width=None if sys.stdout.isatty() else 140)


def complain(text: str) -> None:
    console.print(f"[red]error:[/red] {escape(text)}", highlight=False, soft_wrap=True)


def exit_code(result: PipelineResult) -> int:
    """0 where something was found, be it without the depth that a position needs."""
    return 0 if result.status.code in (StatusCode.OK, StatusCode.NO_DEPTH, StatusCode.NO_TRANSFORM) else 1


def write_picture(path: Path, rgb: RgbImage) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if not cv2.imwrite(str(path), rgb[..., ::-1]):
        raise OSError(f"{path} cannot be written")
    console.print(f"wrote {path}", highlight=False)


def print_status(result: PipelineResult) -> None:
    total = sum(result.stage_ms.values())
    stages = ", ".join(f"{name} {ms:.0f}" for name, ms in result.stage_ms.items())
    message = f": {result.status.message}" if result.status.message else ""
    text = f"{result.status.code.name}{message}  ({total:.0f} ms: {stages})"
    results.print(text, highlight=False, soft_wrap=True, markup=False)


def instance_table(result: PipelineResult) -> Table:
    table = Table()
    for head in ("id", "phrase", "score", "mask score", "box, pixels", "mask, pixels"):
        table.add_column(head, justify="left" if head == "phrase" else "right")
    for number, item in enumerate(result.segmentation.instances if result.segmentation else (), start=1):
        box = " ".join(f"{v:.0f}" for v in item.box_px)
        table.add_row(
            str(number), escape(item.phrase), f"{item.score:.2f}", f"{item.mask_score:.2f}", box, str(item.mask.area_px)
        )
    return table


def object_table(result: PipelineResult) -> Table:
    table = Table(title=f"frame: {'base_link' if result.in_base else result.frame_id}", title_justify="left")
    for head in ("id", "phrase", "score", "position, m", "size, cm", "grasp at, m", "opening, cm", "grasp score", "grasps"):
        table.add_column(head, justify="left" if head == "phrase" else "right")
    plans = {plan.object_id: plan for plan in result.plans}
    for item in result.lifted.objects if result.lifted else ():
        plan = plans.get(item.id)
        cells = _grasp_cells(plan.grasps[0]) if plan and plan.grasps else ("none", "", "")
        count = str(len(plan.grasps)) if plan else "0"
        size = " x ".join(f"{v * 100:.1f}" for v in item.box.size_m)
        table.add_row(str(item.id), escape(item.phrase), f"{item.score:.2f}", _xyz(item.box.pose[:3, 3]), size, *cells, count)
    return table


def _grasp_cells(grasp: Grasp) -> tuple[str, str, str]:
    return _xyz(grasp.pose[:3, 3]), f"{grasp.width_m * 100:.1f}", f"{grasp.score:.2f}"


def _xyz(values: Any) -> str:
    return " ".join(f"{v:+.3f}" for v in values)


def result_json(result: PipelineResult) -> str:
    """Everything but the clouds. Masks are COCO's uncompressed run lengths; poses are x y z and a quaternion x y z w."""
    segmentation = result.segmentation
    instances = [
        {
            "id": n,
            "phrase": i.phrase,
            "score": round(i.score, 4),
            "mask_score": round(i.mask_score, 4),
            "box_px": [round(float(v), 1) for v in i.box_px],
            "mask": {"size": [i.mask.height, i.mask.width], "counts": encode_rle(i.mask.full())},
        }
        for n, i in enumerate(segmentation.instances if segmentation else (), start=1)
    ]
    return json.dumps(
        {
            "instruction": result.instruction,
            "status": result.status.code.name,
            "message": result.status.message,
            "frame": "base_link" if result.in_base else result.frame_id,
            "stamp_ns": result.stamp_ns,
            "absent": list(segmentation.absent) if segmentation else [],
            "instances": instances,
            "objects": [_object_json(o) for o in result.lifted.objects] if result.lifted else [],
            "grasps": [{"object_id": p.object_id, **_grasp_json(g)} for p in result.plans for g in p.grasps],
            "stage_ms": {name: round(ms, 1) for name, ms in result.stage_ms.items()},
        }
    )


def _object_json(item: Any) -> dict:
    return {
        "id": item.id,
        "phrase": item.phrase,
        "pose": _pose(item.box.pose),
        "size_m": [round(float(v), 4) for v in item.box.size_m],
        "depth_coverage": round(item.depth_coverage, 3),
        "points": len(item.points_m),
    }


def _grasp_json(grasp: Grasp) -> dict:
    return {
        "pose": _pose(grasp.pose),
        "pregrasp_pose": _pose(grasp.pregrasp),
        "width_m": round(grasp.width_m, 4),
        "score": round(grasp.score, 4),
        "strategy": grasp.strategy,
    }


def _pose(matrix: Any) -> dict:
    return {
        "position_m": [round(float(v), 5) for v in matrix[:3, 3]],
        "quaternion_xyzw": [round(float(v), 6) for v in quaternion_from_rotation(matrix[:3, :3])],
    }
