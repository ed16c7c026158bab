"""The report as one HTML file that needs no network: figures, baselines, kinds of expressions, pictures."""

import base64
import json
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

from qwen_seg_ros.offline.evaluation.figures_out import to_json, with_interval
from qwen_seg_ros.offline.evaluation.highlights import Highlight, highlights
from qwen_seg_ros.offline.evaluation.measures import METRICS
from qwen_seg_ros.offline.evaluation.page_parts import SCRIPT, STYLE
from qwen_seg_ros.offline.evaluation.plan import Plan
from qwen_seg_ros.offline.evaluation.questions import View
from qwen_seg_ros.offline.evaluation.replies import ReplyStore
from qwen_seg_ros.offline.evaluation.results import ALL_KINDS, OOD, Table
from qwen_seg_ros.offline.evaluation.splits import SPLITS
from qwen_seg_ros.offline.evaluation.tabletop_ors import MODEL, SplitResult

HEADLINES = ("miou", "box", "giou", "grec")


def write_page(
    file: Path,
    plan: Plan,
    views: Mapping[str, Sequence[View]],
    results: Sequence[SplitResult],
    tables: Mapping[str, Table],
) -> None:
    """Pictures are read again from `views` and answers from the plan's store."""
    pictures = [_gallery(result, views[result.name], ReplyStore(plan.store / f"{result.name}.jsonl")) for result in results]
    data = json.dumps(to_json(plan, results, tables)).replace("<", "\\u003c")
    body = [_head(plan), _headlines(tables), _explorer(), _split_table(tables), _kinds(), *pictures, _metrics()]
    file.write_text(
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>Tabletop-ORS: '
        f'{escape(plan.model)}</title>\n<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<style>{STYLE}</style></head>\n<body><main>\n" + "\n".join(body) + "\n</main>\n"
        f'<script type="application/json" id="data">{data}</script>\n<script>{SCRIPT}</script>\n</body></html>\n'
    )


def _head(plan: Plan) -> str:
    size = f"{plan.size[0]} × {plan.size[1]}" if plan.data is None else f"views of {plan.data}"
    facts = {**plan.facts, "pictures": size, "digest": plan.store.name}
    chips = "".join(f"<span><b>{escape(name)}</b> {escape(value)}</span>" for name, value in facts.items())
    return (
        f"<header><p>Tabletop-ORS · open-world referring segmentation on rendered tables</p><h1>{escape(plan.model)}</h1>"
        f'<div class="chips">{chips}</div></header>'
    )


def _headlines(tables: Mapping[str, Table]) -> str:
    """Large figures of "id" and of all others together, as far as they were measured."""
    shown = [name for name in ("id", OOD) if name in tables] or list(tables)[:1]
    titles = {metric.key: metric.title for metric in METRICS}
    cards = []
    for name in shown:
        about = "all other splits" if name == OOD else SPLITS[name].about
        values = "".join(
            f"<div><strong>{_value(tables[name].of(key).value)}</strong><span>{titles[key]}</span></div>" for key in HEADLINES
        )
        cards.append(f'<section class="card"><h2>{name}</h2><p>{escape(about)}</p><div class="big">{values}</div></section>')
    return f'<div class="cards">{"".join(cards)}</div>'


def _value(value: float) -> str:
    return "–" if value != value else f"{value:.2f}"


def _explorer() -> str:
    return (
        '<section class="card"><div class="bar"><h2>Beside the baselines</h2><label>metric <select id="metric"></select></label>'
        '<label>expressions <select id="kind"></select></label></div><div id="legend"></div><div id="chart"></div>'
        '<p class="note">Lines are 95 % intervals: pictures drawn again 1,000 times.</p></section>'
    )


def _split_table(tables: Mapping[str, Table]) -> str:
    head = "".join(f'<th title="{escape(m.meaning)}">{escape(m.title)}</th>' for m in METRICS)
    rows = "".join(_split_row(name, table) for name, table in tables.items())
    return (
        '<section class="card"><h2>The model, by split</h2><div class="scroll"><table class="sortable"><thead><tr><th>split</th>'
        f"<th>pictures</th><th>questions</th>{head}</tr></thead><tbody>{rows}</tbody></table></div>"
        '<p class="note">A click on a column sorts. ± is half of the 95 % interval.</p></section>'
    )


def _split_row(name: str, table: Table) -> str:
    figures = [table.of(metric.key, MODEL) for metric in METRICS]
    cells = "".join(f'<td data-value="{f.value}">{escape(with_interval(f))}</td>' for f in figures)
    counts = table.pictures, table.counts[ALL_KINDS]
    numbers = "".join(f'<td data-value="{n}">{n:,}</td>' for n in counts)
    return f'<tr><td data-value="{name}">{name}</td>{numbers}{cells}</tr>'


def _kinds() -> str:
    return (
        '<section class="card"><div class="bar"><h2>By kind of expression</h2>'
        '<label>metric <select id="kind-metric"></select></label><label>answers <select id="who"></select></label></div>'
        '<div class="scroll"><table class="sortable heat" id="kinds"></table></div></section>'
    )


def _gallery(result: SplitResult, views: Sequence[View], store: ReplyStore) -> str:
    worst, best = highlights(result, views, store)
    groups = "".join(f"<h3>{title}</h3>{_figures(items)}" for title, items in (("Worst", worst), ("Best", best)) if items)
    split = SPLITS[result.name]
    return (
        f'<details class="card"{" open" if result.name == "id" else ""}><summary><h2>{split.name}</h2><span>{escape(split.about)}'
        f"</span></summary>{groups}</details>"
    )


def _figures(items: Sequence[Highlight]) -> str:
    return f'<div class="gallery">{"".join(_figure(item) for item in items)}</div>'


def _figure(item: Highlight) -> str:
    picture = base64.b64encode(item.jpeg).decode()
    colour = "good" if item.iou > 0.7 else "fair" if item.iou > 0.3 else "bad"
    return (
        f'<figure><div class="pair"><img loading="lazy" alt="truth and answer" src="data:image/jpeg;base64,{picture}">'
        f'<i>truth</i><i class="right">answer</i></div><figcaption><b class="{colour}">{item.iou:.2f}</b>'
        f"<q>{escape(item.row.text)}</q><small>{escape(item.row.kind)} · {escape(item.row.outcome)}</small>"
        f"<code>{escape(item.row.answer[:400])}</code></figcaption></figure>"
    )


def _metrics() -> str:
    rows = "".join(f"<dt>{escape(m.title)}</dt><dd>{escape(m.meaning)}</dd>" for m in METRICS)
    return f'<section class="card"><h2>Metrics</h2><dl>{rows}</dl></section>'
