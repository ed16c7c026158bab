"""Answers as HTML: with picture, tables and viewer, or as one row. Every text is escaped and cut to a bounded length."""

import json
from html import escape
from typing import Any

from qwen_seg_ros.drawing import PALETTE
from qwen_seg_ros.status import StatusCode

MAX_TEXT, MAX_ITEMS = 400, 30  # characters of a text, objects of an answer
LOOKS = {  # CSS class of a status
    StatusCode.OK: "good",
    StatusCode.NOT_FOUND: "none",
    StatusCode.NO_DEPTH: "fair",
    StatusCode.NO_TRANSFORM: "fair",
}
Line = dict[str, Any]


def cut(text: Any) -> str:
    words = str(text)
    return words if len(words) <= MAX_TEXT else words[: MAX_TEXT - 1] + "…"


def look(status: str) -> str:
    """Class of a status' colour; what is not known looks bad."""
    return LOOKS.get(StatusCode[status], "bad") if status in StatusCode.__members__ else "bad"


def badge(status: str) -> str:
    return f'<span class="badge {look(status)}">{escape(cut(status))}</span>'


def answer_row(place: int, line: Line) -> str:
    found = ", ".join(f"{cut(item['phrase'])} {item['score']:.2f}" for item in line["segments"][:MAX_ITEMS])
    return (
        f'<article class="row" id="a{place}"><time>{line["time_s"]:.2f} s</time>{badge(line["status"])}'
        f"<q>{escape(cut(line['instruction']))}</q><span>{escape(cut(found or line['message']))}</span></article>"
    )


def answer_card(place: int, line: Line, jpeg: str, scene: dict[str, Any] | None) -> str:
    """jpeg: base64."""
    picture = f'<figure><img loading="lazy" alt="answer {place + 1}" src="data:image/jpeg;base64,{jpeg}"></figure>'
    message = f"<p>{escape(cut(line['message']))}</p>" if line["message"] else ""
    absent = f"<p>absent: {escape(cut(', '.join(map(str, line['absent']))))}</p>" if line["absent"] else ""
    return (
        f'<article class="card" id="a{place}"><div class="bar"><time>{line["time_s"]:.2f} s</time>{badge(line["status"])}'
        f"<h2>{escape(cut(line['instruction']))}</h2><small>stamp {int(line['stamp_ns'])}</small></div>{message}{absent}"
        f'<div class="views">{picture}{_viewer(scene)}</div>{_table(line)}</article>'
    )


def _viewer(scene: dict[str, Any] | None) -> str:
    if scene is None:
        return ""
    data = json.dumps(scene, separators=(",", ":")).replace("<", "\\u003c")
    return (
        '<figure class="scene"><canvas tabindex="0"></canvas><div class="tools"><label><input type="checkbox"> colours of objects'
        "</label><button>reset</button></div><figcaption>Depth as measured, boxes and best grasps as answered. Drag or arrow "
        "keys turn; click, then wheel or + and − zoom; two fingers zoom.</figcaption>"
        f'<script type="application/json">{data}</script></figure>'
    )


def _table(line: Line) -> str:
    if not line["segments"]:
        return ""
    objects = {item["id"]: item for item in line["objects"]}
    rows = "".join(_object_row(item, objects.get(item["id"])) for item in line["segments"][:MAX_ITEMS])
    left = len(line["segments"]) - MAX_ITEMS
    more = f'<p class="note">and {left} more</p>' if left > 0 else ""
    heads = (
        "object",
        "score",
        "mask score",
        f"centre in {cut(line['frame'])}, m",
        "turn x y z w",
        "size, mm",
        "depth",
        "best grasp",
    )
    head = "".join(f"<th>{escape(name)}</th>" for name in heads)
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>{more}'


def _object_row(segment: Line, lifted: Line | None) -> str:
    number = int(segment["id"])
    name = f'<i class="mark t{(number - 1) % len(PALETTE)}"></i>{number} {escape(cut(segment["phrase"]))}'
    cells = [name, f"{segment['score']:.2f}", f"{segment['mask_score']:.2f}", *(_in_3d(lifted) if lifted else ("–",) * 5)]
    return "<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"


def _in_3d(item: Line) -> tuple[str, ...]:
    flags = f" <em>{escape(cut(', '.join(item['flags'])))}</em>" if item["flags"] else ""
    return (
        _numbers(item["pose"]["position_m"], 3),
        _numbers(item["pose"]["quaternion_xyzw"], 2),
        " × ".join(f"{1000 * v:.0f}" for v in item["size_m"]),
        f"{100 * item['depth_coverage']:.0f} %{flags}",
        _best_grasp(item),
    )


def _best_grasp(item: Line) -> str:
    if not item["grasps"]:
        return escape(cut(item["no_grasp"] or "not planned"))
    best = item["grasps"][0]
    at = _numbers(best["pose"]["position_m"], 3)
    turn = _numbers(best["pose"]["quaternion_xyzw"], 2)
    opened = f"opened {1000 * best['width_m']:.0f} mm, of {int(item['grasp_count'])}"
    return f"{escape(cut(best['strategy']))} {best['score']:.2f}, {opened}<br><small>at {at}, turn {turn}</small>"


def _numbers(values: list[float], digits: int) -> str:
    return " ".join(f"{round(value, digits) + 0.0:.{digits}f}" for value in values)  # + 0.0: no minus before a zero
