"""Pictures of the answers and one page that shows them; the page holds its pictures, so it can be sent as one file."""

import base64
import html
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from tasks import Task

from qwen_seg_ros.drawing import draw_cloud, draw_overlay
from qwen_seg_ros.frame import Frame
from qwen_seg_ros.geometry.arrays import RgbImage
from qwen_seg_ros.geometry.transform import inverse
from qwen_seg_ros.pipeline import PipelineResult

STYLE = Path(__file__).with_suffix(".css")


@dataclass(frozen=True, eq=False)
class Shown:
    """One answered instruction. wrong: mistakes, [] = right."""

    task: Task
    frame: Frame
    result: PipelineResult
    spent_ms: float
    wrong: list[str]


def write_pictures(folder: Path, shown: list[Shown]) -> list[Path]:
    """One overlay with masks and grasps per instruction."""
    paths = []
    for number, item in enumerate(shown, start=1):
        path = folder / f"{number}_{item.task.kind}.png"
        cv2.imwrite(str(path), _with_grasps(item)[..., ::-1])
        paths.append(path)
    return paths


def write_overview(path: Path, shown: list[Shown], columns: int = 3) -> Path:
    """The answers with objects in one picture, half size, each under its words."""
    tiles = [_tile(item) for item in shown if item.result.lifted is not None and item.result.lifted.objects]
    tiles += [np.full_like(tiles[0], 255)] * (-len(tiles) % columns) if tiles else []
    rows = [np.hstack(tiles[n : n + columns]) for n in range(0, len(tiles), columns)]
    if rows:
        cv2.imwrite(str(path), np.vstack(rows)[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 88])
    return path


def _tile(item: Shown) -> RgbImage:
    picture = _with_grasps(item)
    small = cv2.resize(picture, (picture.shape[1] // 2, picture.shape[0] // 2), interpolation=cv2.INTER_AREA)
    title = np.full((26, small.shape[1], 3), 255, np.uint8)
    cv2.putText(title, f'"{item.task.text}"', (6, 18), cv2.FONT_HERSHEY_SIMPLEX, 0.42, (30, 30, 30), 1, cv2.LINE_AA)
    framed = np.vstack([title, small])
    return cv2.copyMakeBorder(framed, 0, 4, 2, 2, cv2.BORDER_CONSTANT, value=(255, 255, 255))


def write_page(path: Path, shown: list[Shown], title: str) -> Path:
    right = sum(not item.wrong for item in shown)
    body = "".join(_article(item) for item in shown)
    name = html.escape(title)
    head = '<meta charset="utf-8"><meta name="viewport" content="width=device-width">'
    head += f"<title>{name}</title><style>{STYLE.read_text()}</style>"
    note = f"{right} of {len(shown)} instructions answered right, checked against the truth of the simulated scenes."
    note += " Positions are in the base frame: table centre, z up, metres."
    path.write_text(f'<!doctype html><html lang="en">{head}<h1>{name}</h1><p>{note}</p>{body}</html>\n')
    return path


def _article(item: Shown) -> str:
    verdict = (
        '<span class="verdict right">right</span>'
        if not item.wrong
        else f'<span class="verdict wrong">{html.escape("; ".join(item.wrong))}</span>'
    )
    note = f"{item.task.kind.replace('_', ' ')} · {item.result.status.code.name} · {item.spent_ms:.0f} ms"
    pictures = "".join(_figure(picture, caption) for picture, caption in _pictures(item))
    title = f"<h2>“{html.escape(item.task.text)}”<small>{note}</small></h2>"
    return f'<article>{verdict}{title}<div class="row">{pictures}</div>{_objects(item)}</article>'


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
        grasp = (
            f"{xyz(grasps[0].pose[:3, 3])}, opening {grasps[0].width_m * 100:.1f} cm, score {grasps[0].score:.2f}"
            if grasps
            else "none"
        )
        cells = (str(cloud.id), cloud.phrase, f"{cloud.score:.2f}", xyz(cloud.box.pose[:3, 3]), size_cm(cloud.box.size_m), grasp)
        rows += "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in cells) + "</tr>"
    heads = "".join(f"<th>{head}</th>" for head in ("id", "phrase", "score", "position, m", "size, cm", "best grasp"))
    return f"<table><tr>{heads}</tr>{rows}</table>"


def xyz(values: np.ndarray) -> str:
    return " ".join(f"{v:+.3f}" for v in values)


def size_cm(values: np.ndarray) -> str:
    return " x ".join(f"{v * 100:.1f}" for v in values)
