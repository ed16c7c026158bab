"""Pictures of the answers and one page that shows them; the page holds its pictures, so it can be sent as one file."""

import base64
import html
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from qwen_seg_ros.drawing import draw_cloud, draw_overlay
from qwen_seg_ros.frame import Frame
from qwen_seg_ros.geometry.arrays import RgbImage
from qwen_seg_ros.geometry.transform import inverse
from qwen_seg_ros.pipeline import PipelineResult
from tasks import Task

STYLE = """
:root { color-scheme: light dark; --ground: #f6f7f9; --card: #fff; --ink: #1c2026; --soft: #667; --line: #dde; --good: #14804a; --bad: #c0392b; }
@media (prefers-color-scheme: dark) { :root { --ground: #14171c; --card: #1d2128; --ink: #e8eaee; --soft: #99a; --line: #333a46; --good: #4ccb8a; --bad: #ff7b6b; } }
body { font: 15px/1.45 system-ui, sans-serif; background: var(--ground); color: var(--ink); margin: 0 auto; padding: 24px; max-width: 1500px; }
h1 { font-size: 22px; margin: 0 0 4px; } p { color: var(--soft); margin: 0 0 20px; }
article { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 14px 16px; margin-bottom: 18px; }
h2 { font-size: 17px; margin: 0; } h2 small { color: var(--soft); font-weight: normal; margin-left: 8px; }
.verdict { float: right; font-weight: 600; } .right { color: var(--good); } .wrong { color: var(--bad); }
.row { display: grid; grid-template-columns: repeat(4, 1fr); gap: 10px; margin-top: 10px; }
@media (max-width: 900px) { .row { grid-template-columns: repeat(2, 1fr); } }
figure { margin: 0; } img { width: 100%; border-radius: 6px; display: block; } figcaption { color: var(--soft); font-size: 12px; margin-top: 3px; }
table { border-collapse: collapse; margin-top: 10px; font-size: 13px; width: 100%; }
td, th { text-align: left; padding: 3px 12px 3px 0; border-top: 1px solid var(--line); } th { color: var(--soft); font-weight: normal; border: 0; }
"""


@dataclass(frozen=True, eq=False)
class Shown:
    """One answered instruction. wrong: mistakes, [] = right."""

    task: Task
    frame: Frame
    result: PipelineResult
    spent_ms: float
    wrong: list[str]

    @property
    def name(self) -> str:
        return f"{self.task.scene + 1}_{self.task.kind}"


def write_pictures(folder: Path, shown: list[Shown]) -> list[Path]:
    """One overlay with masks and grasps per instruction."""
    paths = []
    for number, item in enumerate(shown, start=1):
        path = folder / f"{number}_{item.task.kind}.png"
        cv2.imwrite(str(path), _with_grasps(item)[..., ::-1])
        paths.append(path)
    return paths


def write_page(path: Path, shown: list[Shown], title: str) -> Path:
    right = sum(not item.wrong for item in shown)
    body = "".join(_article(item) for item in shown)
    path.write_text(
        f'<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{html.escape(title)}</title>'
        f"<style>{STYLE}</style><h1>{html.escape(title)}</h1><p>{right} of {len(shown)} instructions answered right, checked against the truth of the "
        f"simulated scenes. Positions are in the base frame: table centre, z up, metres.</p>{body}</html>\n"
    )
    return path


def _article(item: Shown) -> str:
    verdict = '<span class="verdict right">right</span>' if not item.wrong else f'<span class="verdict wrong">{html.escape("; ".join(item.wrong))}</span>'
    note = f"{item.task.kind.replace('_', ' ')} · {item.result.status.code.name} · {item.spent_ms:.0f} ms"
    pictures = "".join(_figure(picture, caption) for picture, caption in _pictures(item))
    return f'<article>{verdict}<h2>“{html.escape(item.task.text)}”<small>{note}</small></h2><div class="row">{pictures}</div>{_objects(item)}</article>'


def _pictures(item: Shown) -> list[tuple[RgbImage, str]]:
    result = item.result
    out = [(item.frame.rgb, "what the camera sees")]
    if result.segmentation is not None:
        out.append((draw_overlay(item.frame.rgb, result.segmentation), "masks with phrase and score"))
    if result.lifted is not None and result.lifted.objects:
        out.append((draw_cloud(result.lifted), "points and boxes, seen from the side"))
        out.append((_with_grasps(item), "best grasp (green) and runners-up"))
    return out


def _with_grasps(item: Shown) -> RgbImage:
    if item.result.segmentation is None or item.frame.base_from_camera is None:
        return item.frame.rgb
    plans = [plan.moved(inverse(item.frame.base_from_camera)) for plan in item.result.plans]
    return draw_overlay(item.frame.rgb, item.result.segmentation, item.frame.camera, plans)


def _figure(picture: RgbImage, caption: str) -> str:
    _, data = cv2.imencode(".jpg", np.ascontiguousarray(picture[..., ::-1]), [cv2.IMWRITE_JPEG_QUALITY, 88])
    source = base64.b64encode(data.tobytes()).decode()
    return f'<figure><img alt="{caption}" src="data:image/jpeg;base64,{source}"><figcaption>{caption}</figcaption></figure>'


def _objects(item: Shown) -> str:
    if item.result.lifted is None or not item.result.lifted.objects:
        return ""
    plans = {plan.object_id: plan for plan in item.result.plans}
    rows = ""
    for cloud in item.result.lifted.objects:
        grasps = plans[cloud.id].grasps if cloud.id in plans else ()
        grasp = f"{xyz(grasps[0].pose[:3, 3])}, opening {grasps[0].width_m * 100:.1f} cm, score {grasps[0].score:.2f}" if grasps else "none"
        cells = (str(cloud.id), cloud.phrase, f"{cloud.score:.2f}", xyz(cloud.box.pose[:3, 3]), size_cm(cloud.box.size_m), grasp)
        rows += "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in cells) + "</tr>"
    heads = "".join(f"<th>{head}</th>" for head in ("id", "phrase", "score", "position, m", "size, cm", "best grasp"))
    return f"<table><tr>{heads}</tr>{rows}</table>"


def xyz(values: np.ndarray) -> str:
    return " ".join(f"{v:+.3f}" for v in values)


def size_cm(values: np.ndarray) -> str:
    return " x ".join(f"{v * 100:.1f}" for v in values)
