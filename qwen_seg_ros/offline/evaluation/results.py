"""From questions to figures with intervals, for JSON, the page and the card."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from qwen_seg_ros.offline.data.expressions import KINDS
from qwen_seg_ros.offline.evaluation.bootstrap import Figure, figures
from qwen_seg_ros.offline.evaluation.measures import KEYS
from qwen_seg_ros.offline.evaluation.tabletop_ors import ANSWERERS, MODEL, Row, SplitResult

OOD = "ood"  # all splits but "id" together
ALL_KINDS = "all kinds"
SEVERAL = ("all", "several", "absent")  # kinds that do not mean exactly one thing
PLACES = ("relation", "superlative")
GROUPS = {
    ALL_KINDS: KINDS,
    "one target": tuple(kind for kind in KINDS if kind not in SEVERAL),
    "several targets": SEVERAL[:2],
    "relations and order": PLACES,
}


@dataclass(frozen=True)
class Table:
    """figures[answerer][kind][metric]; counts[kind]: questions; pictures: of the split."""

    pictures: int
    counts: dict[str, int]
    figures: dict[str, dict[str, dict[str, Figure]]]

    def of(self, metric: str, who: str = MODEL, kind: str = ALL_KINDS) -> Figure:
        """NaN where nothing was measured."""
        return self.figures.get(who, {}).get(kind, {}).get(metric, Figure(*[float("nan")] * 3))


def tables(results: Sequence[SplitResult]) -> dict[str, Table]:
    """By split; with several splits out of distribution also "ood", their pictures together."""
    out = {result.name: table([result]) for result in results}
    others = [result for result in results if result.name != "id"]
    if len(others) > 1:
        out[OOD] = table(others)
    return out


def kinds_of(found: Iterable[Table]) -> list[str]:
    """Kinds that were asked for anywhere, in the order of KINDS, after their GROUPS."""
    asked = {kind for table in found for kind in table.counts}
    return [kind for kind in (*GROUPS, *KINDS) if kind in asked]


def table(results: Sequence[SplitResult]) -> Table:
    """Figures over the pictures of these splits."""
    groups = {name: _pictures(results, kinds) for name, kinds in (GROUPS | {kind: (kind,) for kind in KINDS}).items()}
    groups = {name: group for name, group in groups.items() if any(group) or name == ALL_KINDS}
    whos = [who for who in ANSWERERS if any(who in row.sums for result in results for row in result.rows)]
    values = {who: {kind: _figures(group, who) for kind, group in groups.items()} for who in whos}
    counts = {kind: sum(len(rows) for rows in group) for kind, group in groups.items()}
    return Table(sum(result.pictures for result in results), counts, values)


def _pictures(results: Sequence[SplitResult], kinds: Sequence[str]) -> list[list[Row]]:
    """The rows of each picture, also of those without a question of these kinds."""
    pictures: list[list[Row]] = []
    for result in results:
        own: list[list[Row]] = [[] for _ in range(result.pictures)]
        for row in result.rows:
            if row.kind in kinds:
                own[row.view].append(row)
        pictures += own
    return pictures


def _figures(pictures: list[list[Row]], who: str) -> dict[str, Figure]:
    sums = np.zeros((len(pictures), len(KEYS), 2))
    for number, rows in enumerate(pictures):
        for row in rows:
            if who in row.sums:
                sums[number] += row.sums[who]
    return dict(zip(KEYS, figures(sums), strict=True))
