"""Answers by time as a drawing: a line for each instruction, a mark for each answer, and a click leads to the answer."""

from collections.abc import Sequence
from html import escape
from typing import Any

from qwen_seg_ros.offline.bags.replay.report.parts import cut, look

LANES, LANE_PX, TOP_PX = 12, 44, 6
OTHERS = "other instructions"
ON_TOP = {"fair": 1, "bad": 2}  # failures are drawn last: crowded marks must not hide them


def timeline(lines: Sequence[tuple[int, dict[str, Any]]]) -> str:
    """lines: places and answers in the order of the recording, at least one."""
    lanes = _lanes(lines)
    begin, end = (edge(float(line["time_s"]) for _, line in lines) for edge in (min, max))
    height = TOP_PX + LANE_PX * (max(lanes.values()) + 1) + 22
    marks = "".join(_mark(place, line, lanes, begin, end) for place, line in sorted(lines, key=_rank))
    names = "".join(_name(words, lane) for words, lane in _named(lanes).items())
    ticks = "".join(_tick(share, begin, end, height) for share in (0, 0.25, 0.5, 0.75, 1))
    return (
        '<section class="card"><h2>Timeline</h2><svg class="timeline" role="img" aria-label="answers by time" width="100%" '
        f'height="{height}">{ticks}{names}{marks}</svg><p class="note">Seconds of the recording; a click on a mark leads to its '
        'answer. <span class="badge good">OK</span> <span class="badge none">NOT_FOUND</span> <span class="badge fair">without '
        'depth or transform</span> <span class="badge bad">failed</span></p></section>'
    )


def _lanes(lines: Sequence[tuple[int, dict[str, Any]]]) -> dict[str, int]:
    """Lane of every instruction; those beyond the first share the last."""
    said = dict.fromkeys(str(line["instruction"]) for _, line in lines)
    return {words: min(number, LANES - 1) for number, words in enumerate(said)}


def _named(lanes: dict[str, int]) -> dict[str, int]:
    shared = len(lanes) > LANES
    own = {words: lane for words, lane in lanes.items() if not shared or lane < LANES - 1}
    return {**own, OTHERS: LANES - 1} if shared else own


def _across(time_s: float, begin: float, end: float) -> str:
    """Percent of the width; room for half a mark is left at both sides."""
    return f"{1 + 98 * ((time_s - begin) / (end - begin) if end > begin else 0):.3f}%"


def _mark(place: int, line: dict[str, Any], lanes: dict[str, int], begin: float, end: float) -> str:
    words, time_s = str(line["instruction"]), float(line["time_s"])
    y = TOP_PX + LANE_PX * lanes[words] + 30
    title = f"{time_s:.2f} s: {words}: {line['status']}"
    return (
        f'<a href="#a{place}"><circle class="{look(str(line["status"]))}" cx="{_across(time_s, begin, end)}" cy="{y}" r="6">'
        f"<title>{escape(cut(title))}</title></circle></a>"
    )


def _name(words: str, lane: int) -> str:
    short = words if len(words) <= 90 else words[:89] + "…"
    return f'<text x="1%" y="{TOP_PX + LANE_PX * lane + 14}">{escape(short)}</text>'


def _rank(item: tuple[int, dict[str, Any]]) -> int:
    return ON_TOP.get(look(str(item[1]["status"])), 0)


def _tick(share: float, begin: float, end: float, height: int) -> str:
    x, anchor = f"{1 + 98 * share:g}%", "start" if share == 0 else "end" if share == 1 else "middle"
    return (
        f'<line x1="{x}" x2="{x}" y1="0" y2="{height - 18}"/><text class="tick" x="{x}" y="{height - 4}" text-anchor="{anchor}">'
        f"{begin + share * (end - begin):.1f} s</text>"
    )
