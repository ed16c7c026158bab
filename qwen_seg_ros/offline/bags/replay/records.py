"""An answer as one line of results.jsonl: everything but clouds and times, rounded, so that equal answers are equal bytes."""

import json
from typing import Any

from qwen_seg_ros.geometry.arrays import Matrix4
from qwen_seg_ros.geometry.mask import encode_rle
from qwen_seg_ros.geometry.transform import quaternion_from_rotation
from qwen_seg_ros.grasping.grasp import Grasp
from qwen_seg_ros.lifting.object_cloud import ObjectCloud
from qwen_seg_ros.offline.bags.replay.answering import Answer
from qwen_seg_ros.segmentation.result import Instance

BEST_GRASPS = 3  # of every object; the result bag has all


def result_line(answer: Answer, target_frame: str) -> str:
    """One JSON object without line break. Metres, pixels; poses are x y z and a quaternion x y z w in `frame`."""
    result, found, lifted = answer.result, answer.result.segmentation, answer.result.lifted
    plans = {plan.object_id: plan for plan in result.plans}
    line = {
        "stamp_ns": result.stamp_ns,
        "time_s": round(answer.view.time_s, 6),
        "instruction": result.instruction,
        "status": result.status.code.name,
        "message": result.status.message,
        "frame": target_frame if result.in_base else result.frame_id,
        "camera_frame": result.frame_id,
        "size": list(answer.size),
        "absent": list(found.absent) if found else [],
        "segments": [_segment(number, item) for number, item in enumerate(found.instances, start=1)] if found else [],
        "objects": [_object(item, plans) for item in lifted.objects] if lifted else [],
    }
    return json.dumps(line, separators=(",", ":"))


def _segment(number: int, item: Instance) -> dict[str, Any]:
    """The mask as COCO's uncompressed run lengths: column-major, zeros first."""
    return {
        "id": number,
        "phrase": item.phrase,
        "score": round(item.score, 4),
        "mask_score": round(item.mask_score, 4),
        "box_px": [round(float(v), 1) for v in item.box_px],
        "mask": {"size": [item.mask.height, item.mask.width], "counts": encode_rle(item.mask.full())},
    }


def _object(item: ObjectCloud, plans: dict) -> dict[str, Any]:
    plan = plans.get(item.id)
    return {
        "id": item.id,
        "phrase": item.phrase,
        "score": round(item.score, 4),
        "pose": _pose(item.box.pose),
        "size_m": [round(float(v), 4) for v in item.box.size_m],
        "depth_coverage": round(item.depth_coverage, 3),
        "flags": list(item.flags),
        "grasp_count": len(plan.grasps) if plan else 0,
        "grasps": [_grasp(grasp) for grasp in plan.grasps[:BEST_GRASPS]] if plan else [],
        "no_grasp": plan.message if plan and not plan.grasps else "",
    }


def _grasp(grasp: Grasp) -> dict[str, Any]:
    return {
        "pose": _pose(grasp.pose),
        "width_m": round(grasp.width_m, 4),
        "score": round(grasp.score, 4),
        "strategy": grasp.strategy,
    }


def _pose(matrix: Matrix4) -> dict[str, list[float]]:
    turn = quaternion_from_rotation(matrix[:3, :3])
    return {"position_m": [round(float(v), 5) for v in matrix[:3, 3]], "quaternion_xyzw": [round(float(v), 6) for v in turn]}
