"""Style and script of the report."""

STYLE = """
:root { --ground:#f4f5f7; --card:#fff; --ink:#1b1f27; --soft:#69707d; --line:#e3e6eb; --accent:#0b8a5f; --heat:11,138,95;
  --good:#0b8a5f; --fair:#b7791f; --bad:#c53d3d; }
@media (prefers-color-scheme: dark) { :root { --ground:#14171c; --card:#1d2127; --ink:#e8eaee; --soft:#98a0ad; --line:#2e343d;
  --accent:#2ec48f; --heat:46,196,143; --good:#2ec48f; --fair:#e0a94a; --bad:#ef6b6b; } }
* { box-sizing:border-box; }
body { margin:0; background:var(--ground); color:var(--ink); font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif; }
main { max-width:1400px; margin:0 auto; padding:36px 20px 60px; display:grid; gap:20px; grid-template-columns:minmax(0,1fr); }
header p { margin:0; color:var(--soft); } h1 { margin:2px 0 12px; font-size:32px; letter-spacing:-.02em; overflow-wrap:anywhere; }
h2 { margin:0; font-size:18px; } h3 { margin:18px 0 10px; font-size:14px; color:var(--soft); font-weight:600; }
.chips { display:flex; flex-wrap:wrap; gap:8px; }
.chips span { background:var(--card); border:1px solid var(--line); border-radius:99px; padding:3px 12px; font-size:13px; }
.chips b { color:var(--soft); font-weight:500; }
.card { background:var(--card); border:1px solid var(--line); border-radius:14px; padding:20px 22px; min-width:0; }
.card > p { margin:2px 0 0; color:var(--soft); } .note { font-size:13px; margin-top:12px !important; }
.cards { display:grid; gap:20px; grid-template-columns:repeat(auto-fit,minmax(320px,1fr)); }
.big { display:flex; flex-wrap:wrap; gap:14px 34px; margin-top:14px; }
.big strong { display:block; font-size:34px; line-height:1.1; letter-spacing:-.02em; font-variant-numeric:tabular-nums; }
.big span { color:var(--soft); font-size:13px; }
.bar { display:flex; flex-wrap:wrap; gap:8px 22px; align-items:center; margin-bottom:14px; } .bar h2 { flex:1; min-width:200px; }
label { color:var(--soft); font-size:13px; } select { font:inherit; color:var(--ink); background:var(--ground);
  border:1px solid var(--line); border-radius:8px; padding:4px 8px; }
#legend { display:flex; flex-wrap:wrap; gap:4px 20px; font-size:13px; color:var(--soft); margin-bottom:6px; }
#legend i, .mark { display:inline-block; width:11px; height:11px; border-radius:50%; border:2px solid; margin-right:6px; }
.row { display:grid; grid-template-columns:150px 1fr 56px; align-items:center; height:32px; }
.row > span { font-size:14px; } .row > b { text-align:right; font-variant-numeric:tabular-nums; }
.axis { position:relative; height:100%; background:linear-gradient(var(--line),var(--line)) 0 50%/100% 1px no-repeat,
  repeating-linear-gradient(90deg,var(--line) 0 1px,transparent 1px 20%); border-right:1px solid var(--line); }
.axis .mark { position:absolute; top:50%; margin:0; transform:translate(-50%,-50%); background:var(--card); }
.axis .mark.own { width:15px; height:15px; z-index:2; }
.axis .span { position:absolute; top:50%; height:7px; margin-top:-3.5px; border-radius:4px; background:var(--accent);
  opacity:.32; }
.ticks { display:grid; grid-template-columns:150px 1fr 56px; color:var(--soft); font-size:12px; }
.ticks div { display:flex; justify-content:space-between; margin:0 -8px; }
.scroll { overflow-x:auto; margin-top:12px; }
table { border-collapse:collapse; width:100%; font-size:13px; font-variant-numeric:tabular-nums; }
th, td { text-align:right; padding:7px 6px; border-bottom:1px solid var(--line); white-space:nowrap; }
th:first-child, td:first-child { text-align:left; } tbody tr:last-child td { border-bottom:0; }
th { color:var(--soft); font-weight:600; cursor:pointer; user-select:none; } th:hover { color:var(--ink); }
th[data-order]::after { content:" ↓"; } th[data-order="up"]::after { content:" ↑"; }
.heat { table-layout:fixed; min-width:720px; }
.heat td:not(:first-child) { text-align:center; } .heat th:not(:first-child) { text-align:center; }
summary { cursor:pointer; display:flex; gap:14px; align-items:baseline; } summary span { color:var(--soft); }
summary::before { content:"▸"; color:var(--soft); } [open] > summary::before { content:"▾"; }
.gallery { display:grid; gap:18px; grid-template-columns:repeat(auto-fill,minmax(min(100%,370px),1fr)); }
figure { margin:0; border:1px solid var(--line); border-radius:10px; overflow:hidden; } .pair { position:relative; }
figure img { display:block; width:100%; } .pair i { position:absolute; left:6px; bottom:6px; font-style:normal; font-size:11px;
  color:#fff; background:#14161ab0; border-radius:5px; padding:0 6px; } .pair i.right { left:calc(50% + 8px); }
figcaption { padding:10px 12px 12px; display:grid; grid-template-columns:auto 1fr; gap:1px 10px; align-items:baseline; }
figcaption b { font-variant-numeric:tabular-nums; }
.good { color:var(--good); } .fair { color:var(--fair); } .bad { color:var(--bad); }
figcaption q { font-weight:600; overflow-wrap:anywhere; } figcaption small { grid-column:2; color:var(--soft); }
figcaption code { grid-column:2; font-size:11px; color:var(--soft); overflow-wrap:anywhere; max-height:4.8em; overflow:hidden; }
dl { display:grid; grid-template-columns:max-content 1fr; gap:6px 18px; margin:12px 0 0; } dt { font-weight:600; }
dd { margin:0; color:var(--soft); }
"""

SCRIPT = """
const data = JSON.parse(document.getElementById('data').textContent);
const splits = data.splits, names = Object.keys(splits), all = 'all kinds';
const whos = [...new Set(names.flatMap(n => Object.keys(splits[n].figures)))];
const kinds = data.kinds;
const tints = { 'model':'var(--accent)', 'random object':'#9aa1ad', 'largest object':'#6b7280', 'true words':'#8b5cf6',
  'true box + depth':'#e08a1e', 'true box + decoder':'#2f7fe0' };
const get = (split, who, kind, metric) => ((splits[split].figures[who] || {})[kind] || {})[metric] || { value:null };
const text = v => v === null ? '–' : v.toFixed(2);
const make = (tag, attributes, ...children) => {
  const node = Object.assign(document.createElement(tag), attributes); node.append(...children); return node; };
const fill = (id, options, chosen, redraw) => {
  const box = document.getElementById(id);
  for (const [value, label] of options) box.append(make('option', { value, textContent:label, selected:value === chosen }));
  box.onchange = redraw; };

function chart() {
  const metric = document.getElementById('metric').value, kind = document.getElementById('kind').value;
  const area = document.getElementById('chart'); area.replaceChildren();
  for (const name of names) {
    const axis = make('div', { className:'axis' }), own = get(name, 'model', kind, metric);
    if (own.value !== null) {
      const span = make('div', { className:'span' });
      span.style.cssText = `left:${100 * own.low}%;width:${100 * (own.high - own.low)}%`; axis.append(span); }
    for (const who of whos) {
      const figure = get(name, who, kind, metric);
      if (figure.value === null) continue;
      const range = `${text(figure.low)} to ${text(figure.high)}`;
      const title = `${who} ${text(figure.value)}, ${range}`;
      const mark = make('i', { className:'mark' + (who === 'model' ? ' own' : ''), title });
      mark.style.left = 100 * figure.value + '%'; mark.style.borderColor = tints[who];
      if (who === 'model') mark.style.background = tints[who];
      axis.append(mark); }
    const label = make('span', { textContent:name }), value = make('b', { textContent:text(own.value) });
    area.append(make('div', { className:'row' }, label, axis, value)); }
  const marks = make('div', {});
  for (const v of [0, .2, .4, .6, .8, 1]) marks.append(make('span', { textContent:v.toFixed(1) }));
  area.append(make('div', { className:'ticks' }, make('span', {}), marks, make('span', {}))); }

function heat() {
  const metric = document.getElementById('kind-metric').value, who = document.getElementById('who').value;
  const head = make('tr', {}, make('th', { textContent:'expression' }), ...names.map(n => make('th', { textContent:n })));
  const body = make('tbody', {});
  for (const kind of kinds) {
    const first = make('td', { textContent:kind }); first.dataset.value = kind;
    const row = make('tr', {}, first);
    for (const name of names) {
      const figure = get(name, who, kind, metric), n = splits[name].counts[kind] || 0;
      const title = `${n} questions, ${text(figure.low ?? null)} to ${text(figure.high ?? null)}`;
      const cell = make('td', { textContent:text(figure.value), title });
      cell.dataset.value = figure.value ?? NaN;
      if (figure.value !== null) cell.style.background = `rgba(var(--heat),${(.04 + .5 * figure.value ** 2).toFixed(3)})`;
      row.append(cell); }
    body.append(row); }
  const table = document.getElementById('kinds'); table.replaceChildren(make('thead', {}, head), body); sortable(table); }

function sortable(table) {
  table.querySelectorAll('th').forEach((th, column) => th.onclick = () => {
    const up = th.dataset.order === 'down', body = table.tBodies[0], value = row => row.cells[column].dataset.value;
    const order = (a, b) => {
      const x = Number(value(a)), y = Number(value(b));
      if (column === 0) return value(a).localeCompare(value(b)) * (up ? -1 : 1);
      if (Number.isNaN(x) || Number.isNaN(y)) return Number.isNaN(x) - Number.isNaN(y);
      return up ? x - y : y - x; };
    table.querySelectorAll('th').forEach(other => delete other.dataset.order);
    th.dataset.order = up ? 'up' : 'down';
    body.append(...[...body.rows].sort(order)); }); }

const metrics = Object.entries(data.metrics).map(([key, m]) => [key, m.title]);
fill('metric', metrics, 'miou', chart); fill('kind', kinds.map(k => [k, k]), all, chart);
fill('kind-metric', metrics, 'box', heat); fill('who', whos.map(w => [w, w]), 'model', heat);
for (const who of whos) {
  const mark = make('i', {}); mark.style.borderColor = tints[who]; if (who === 'model') mark.style.background = tints[who];
  document.getElementById('legend').append(make('span', {}, mark, who)); }
document.querySelectorAll('table.sortable').forEach(sortable); chart(); heat();
"""
