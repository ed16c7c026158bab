"""What a checkpoint's vision tower knows of objects: a linear classifier on its image tokens, with the true masks given.

    qwen-seg simulate --data out/fit --scenes 400 --seed 1000000 --views 1 --size 480 360
    qwen-seg simulate --data out/ask --scenes 100 --seed 9000000 --views 1 --size 480 360
    python -m benchmarks.vision_probe --fit out/fit --ask out/ask [--checkpoint tabletop]

Tells apart two ways of failing: where kinds of things cannot be read off the tokens, the tower has not learnt to see them; where
they can, the language model does not use what is there.
"""

import argparse
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch.nn import functional as F

from qwen_seg_ros.model import checkpoint
from qwen_seg_ros.model.modeling import Qwen3VLSegForConditionalGeneration
from qwen_seg_ros.model.processing import ImageProcessor
from qwen_seg_ros.offline.data.samples import resized_mask
from qwen_seg_ros.offline.data.store import StoredViews
from qwen_seg_ros.offline.sim.scene import ObjectRecord

ASKED: dict[str, Callable[[ObjectRecord], str]] = {
    "kind": lambda item: item.category,
    "colour": lambda item: item.colour.split(" ")[0],
}
SIZES = (0.2, 0.5, 1.0, 2.0)  # per cent of the picture
RIDGE, ROUNDS = 1e-3, 60


@dataclass(frozen=True, eq=False)
class Seen:
    """An object as the tower sees it. tokens: (D,) mean of its image tokens; share: of the picture, per cent."""

    item: ObjectRecord
    tokens: NDArray[np.float32]
    share: float


@torch.inference_mode()
def seen_objects(
    model: Qwen3VLSegForConditionalGeneration, processor: ImageProcessor, views: Sequence, what: str = "pictures"
) -> list[Seen]:
    """All objects of the views; tokens count by how much of them an object covers."""
    out = []
    for view in track(views, what):
        rgb = processor.resize(view.rgb)
        top, _ = model.encode_image(*processor.patches(processor.normalise([rgb])))
        for item in view.objects:
            mask = resized_mask(view.ids == item.id, *rgb.shape[:2])
            rows, cols, unit = rgb.shape[0] // processor.token_px, rgb.shape[1] // processor.token_px, processor.token_px
            cover = torch.from_numpy(mask.reshape(rows, unit, cols, unit).mean((1, 3)).ravel().astype(np.float32))
            if cover.sum() > 0:
                out.append(Seen(item, (cover @ top[0].float() / cover.sum()).numpy(), 100 * float(mask.mean())))
    return out


def answers(fit: Sequence[Seen], ask: Sequence[Seen], name: Callable[[ObjectRecord], str]) -> NDArray[np.bool_]:
    """Whether the classifier names each object of `ask` right; multinomial logistic regression on standardised tokens."""
    names = sorted({name(s.item) for s in fit})
    x, y = _features(fit), torch.tensor([names.index(name(s.item)) for s in fit])
    middle, spread = x.mean(0), x.std(0).clamp(min=1e-6)
    weight = torch.zeros(len(names), x.shape[1] + 1, requires_grad=True)
    standard = F.pad((x - middle) / spread, (0, 1), value=1.0)
    optimiser = torch.optim.LBFGS([weight], max_iter=ROUNDS, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimiser.zero_grad()
        value = F.cross_entropy(standard @ weight.T, y) + RIDGE * weight.square().sum()
        value.backward()
        return value

    optimiser.step(loss)
    asked = F.pad((_features(ask) - middle) / spread, (0, 1), value=1.0)
    said = (asked @ weight.detach().T).argmax(-1)
    return np.array([names[k] == name(s.item) for k, s in zip(said.tolist(), ask, strict=True)])


def _features(seen: Sequence[Seen]) -> torch.Tensor:
    return torch.from_numpy(np.stack([s.tokens for s in seen]))


def table_of(fit: Sequence[Seen], ask: Sequence[Seen]) -> Table:
    bins = ["< 0.2 %", *(f"{low:g}-{high:g} %" for low, high in pairwise(SIZES)), "> 2 %"]
    table = Table("asked", "all", "commonest", *bins, title=f"share named right, {len(ask)} objects; by share of the picture")
    place = np.searchsorted(SIZES, [s.share for s in ask])
    for title, name in ASKED.items():
        right = answers(fit, ask, name)
        common = Counter(name(s.item) for s in fit).most_common(1)[0][0]
        chance = np.mean([name(s.item) == common for s in ask])
        parts = [right[place == k] for k in range(len(bins))]
        cells = [f"{part.mean():.2f} ({len(part)})" if len(part) else "-" for part in parts]
        table.add_row(title, f"{right.mean():.2f}", f"{chance:.2f}", *cells)
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fit", type=Path, required=True, help="views the classifier is made from")
    parser.add_argument("--ask", type=Path, required=True, help="views it is asked about")
    parser.add_argument("--checkpoint", default="tabletop", help="a model as for `qwen-seg segment`")
    parser.add_argument("--views", type=int, default=400, help="of the first folder, at most")
    options = parser.parse_args()
    model, _, processor = checkpoint.load(options.checkpoint, torch.float32)
    fit, ask = (StoredViews(folder) for folder in (options.fit, options.ask))
    if not len(fit) or not len(ask):
        parser.error(f"no views in {options.fit if not len(fit) else options.ask}; make some with `qwen-seg simulate --data`")
    known = seen_objects(model.eval(), processor, fit[: options.views], "to learn from")
    Console().print(table_of(known, seen_objects(model, processor, ask, "to be named")))


if __name__ == "__main__":
    main()
