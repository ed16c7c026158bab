"""The report as one HTML file that needs no network. What comes from recordings or people is escaped, and only this
package's script may run: the page's policy names its digest and forbids every connection.
"""

import base64
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from typing import Any

from qwen_seg_ros.offline.bags.replay.report.parts import answer_card, answer_row, badge, cut
from qwen_seg_ros.offline.bags.replay.report.reading import Folder
from qwen_seg_ros.offline.bags.replay.report.timeline import timeline


@dataclass(frozen=True)
class Entry:
    """place: of the answer in results.jsonl, from 0; jpeg: b"" = no picture; scene: what the viewer shows, None = nothing."""

    place: int
    line: dict[str, Any]
    jpeg: bytes
    scene: dict[str, Any] | None


def page(bag_name: str, folder: Folder, entries: Sequence[Entry]) -> str:
    """entries: the listed answers in the order of the recording."""
    style, script = _file("page.css"), _file("page.js")
    policy = (
        f"default-src 'none'; img-src data:; style-src '{_digest(style)}'; script-src '{_digest(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    lines = [(entry.place, entry.line) for entry in entries]
    body = [_head(bag_name, folder), _summary(folder), timeline(lines), _shown(folder, entries), *map(_answer, entries)]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><title>Replay of {escape(bag_name)}</title>\n'
        f"<style>{style}</style></head>\n<body><main>\n"
        + "\n".join(body)
        + f"\n</main>\n<script>{script}</script>\n</body></html>\n"
    )


def _file(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    """As a Content-Security-Policy names an inline script or style."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _head(bag_name: str, folder: Folder) -> str:
    topics = {name: topic for name, topic in folder.run["topics"].items() if topic}
    chips = "".join(f"<span><b>{escape(cut(name))}</b> {escape(cut(topic))}</span>" for name, topic in topics.items())
    unfinished = "" if folder.finished else '<p class="bad">This replay was interrupted: later answers are missing.</p>'
    return f'<header><p>qwen-seg replay</p><h1>{escape(bag_name)}</h1><div class="chips">{chips}</div>{unfinished}</header>'


def _summary(folder: Folder) -> str:
    statuses = "".join(f"<div><strong>{count:,}</strong>{badge(name)}</div>" for name, count in folder.statuses.items())
    total = f"<div><strong>{folder.answers:,}</strong><span>answers</span></div>"
    first = f'<section class="card"><h2>Answers</h2><div class="big">{total}{statuses}</div></section>'
    return f'<div class="cards">{first}{_latencies(folder)}</div>{_settings(folder)}'


def _latencies(folder: Folder) -> str:
    if not folder.latencies:
        return ""
    rows = "".join(
        f"<tr><td>{escape(cut(name))}</td><td>{int(of['count']):,}</td><td>{of['p50_ms']:,.1f}</td><td>{of['p95_ms']:,.1f}</td></tr>"
        for name, of in folder.latencies.items()
    )
    return (
        '<section class="card"><h2>Milliseconds by stage</h2><table><thead><tr><th>stage</th><th>answers</th><th>median</th>'
        f'<th>95th percentile</th></tr></thead><tbody>{rows}</tbody></table><p class="note">Instructions about one '
        "frame share its decoding and encoding.</p></section>"
    )


def _settings(folder: Folder) -> str:
    rows = "".join(
        f"<tr><td>{escape(cut(name))}</td><td>{escape(cut(json.dumps(value, ensure_ascii=False)))}</td></tr>"
        for name, value in folder.run.items()
    )
    return f'<details class="card"><summary><h2>What was asked, with every setting</h2></summary><table>{rows}</table></details>'


def _shown(folder: Folder, entries: Sequence[Entry]) -> str:
    pictures = sum(1 for entry in entries if entry.jpeg)
    words = [f"{pictures:,} of {folder.answers:,} answers have a picture"]
    if len(entries) < folder.answers:
        words.append(f"{len(entries):,} are listed, evenly chosen; results.jsonl has all")
    return f'<p class="note">{"; ".join(words)}. The green hand is the best grasp of its object.</p>'


def _answer(entry: Entry) -> str:
    if not entry.jpeg:
        return answer_row(entry.place, entry.line)
    return answer_card(entry.place, entry.line, base64.b64encode(entry.jpeg).decode(), entry.scene)
