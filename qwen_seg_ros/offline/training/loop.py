"""One readable training loop: resumable, bf16 where the CPU has it, constant rate and a cool-down at the end.

qwen-seg train --data .cache/data/train320 --out .train/tabletop --steps 20000
qwen-seg train ... --steps 24000 --cooldown 4000        (resumes and cools down)
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.console import Console
from safetensors.torch import load_file, save_file
from torch import nn
from torch.utils.data import DataLoader, IterableDataset, get_worker_info
from transformers import PreTrainedTokenizerFast

from qwen_seg_ros.model import checkpoint
from qwen_seg_ros.model.mask_decoder import MaskDecoder
from qwen_seg_ros.model.modeling import Qwen3VLSegForConditionalGeneration
from qwen_seg_ros.offline.training.batch import Batch, Batcher
from qwen_seg_ros.offline.training.losses import AttentionInputs, Helpers, LossWeights, losses, vision_losses
from qwen_seg_ros.offline.training.samples import samples
from qwen_seg_ros.offline.training.tiny import tiny_config, tiny_processor


@dataclass(frozen=True)
class TrainSettings:
    """batch: pictures a step; questions: per picture; masks_from: step at which the mask decoder joins in."""

    data: Path
    out: Path
    steps: int = 20_000
    cooldown: int = 0
    batch: int = 8
    questions: int = 6
    rate: float = 2e-3
    warmup: int = 100
    masks_from: int = 600
    init: Path | None = None  # model folder to start from, of the same tokenizer
    vision_only: bool = False  # train the tower alone on words and corners: four times as many pictures a second
    save_every: int = 250
    seed: int = 0
    workers: int = 1


class Stream(IterableDataset):
    """Endless batches; every worker draws its own pictures."""

    def __init__(self, settings: TrainSettings, batcher: Batcher, start: int) -> None:
        self.settings, self.batcher, self.start = settings, batcher, start

    def __iter__(self) -> Iterator[Batch]:
        info = get_worker_info()
        worker, workers = (info.id, info.num_workers) if info else (0, 1)
        torch.set_num_threads(1)
        questions = 1 if self.settings.vision_only else self.settings.questions
        stream = samples(self.settings.data, questions, self.settings.seed + self.start, worker, workers)
        while True:
            yield self.batcher([next(stream) for _ in range(self.settings.batch)])


class Trainer:
    """Model, helpers, optimisers and the step counter; `save` and `resume` keep all of it."""

    def __init__(self, settings: TrainSettings, tokenizer: PreTrainedTokenizerFast) -> None:
        torch.manual_seed(settings.seed)
        self.settings, self.tokenizer = settings, tokenizer
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.processor = tiny_processor()
        self.model = Qwen3VLSegForConditionalGeneration(tiny_config(tokenizer)).to(self.device).train()
        self.helpers = Helpers(self.model.config.text_config.hidden_size).to(self.device)
        self.seen = AttentionInputs(self.model, self.helpers.point_layers)
        self.batcher = Batcher(tokenizer, self.processor, self.model.config.mask_decoder_sizes.stem_stride)
        self.optimisers = optimisers(nn.ModuleList([self.model, self.helpers]), settings.rate)
        self.step = 0

    def train(self) -> None:
        self.resume()
        loader = DataLoader(
            Stream(self.settings, self.batcher, self.step),
            batch_size=None,
            num_workers=self.settings.workers,
            prefetch_factor=4,
            multiprocessing_context="spawn",
        )
        totals: dict[str, float] = {}
        console, began, shown = Console(), time.monotonic(), self.step
        for batch in loader:
            if self.step >= self.settings.steps:
                break
            terms = self._update(batch)
            for name, value in terms.items():
                totals[name] = totals.get(name, 0.0) * 0.98 + float(value) * 0.02 if name in totals else float(value)
            if self.step % 50 == 0:
                rate = (self.step - shown) * self.settings.batch / (time.monotonic() - began)
                began, shown = time.monotonic(), self.step
                console.print(
                    f"step {self.step:6d}  {rate:5.1f} pictures/s  " + "  ".join(f"{k} {v:.3f}" for k, v in totals.items()),
                    highlight=False,
                )
            if self.step % self.settings.save_every == 0:
                self.save()
        self.save()

    def _update(self, batch: Batch) -> dict:
        batch = batch.to(self.device)
        patches, grid = self.processor.patches(batch.image)
        for optimiser in self.optimisers:
            for group in optimiser.param_groups:
                group["lr"] = group["full_lr"] * self._schedule()
        with torch.autocast(self.device.type, torch.bfloat16, enabled=bf16_is_fast(self.device)):
            if self.settings.vision_only:
                terms = vision_losses(self.model, self.helpers, patches, grid, batch, LossWeights())
            else:
                terms = losses(
                    self.model,
                    self.helpers,
                    self.seen,
                    patches,
                    grid,
                    batch,
                    LossWeights(),
                    self.step >= self.settings.masks_from,
                )
        terms["total"].backward()
        nn.utils.clip_grad_norm_([p for o in self.optimisers for g in o.param_groups for p in g["params"]], 2.0)
        for optimiser in self.optimisers:
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
        self.step += 1
        return {name: value.detach() for name, value in terms.items()}

    def _schedule(self) -> float:
        warm = min(1.0, (self.step + 1) / self.settings.warmup)
        left = self.settings.steps - self.step
        return warm * (min(1.0, left / self.settings.cooldown) if self.settings.cooldown else 1.0)

    def save(self) -> None:
        """The model folder plus what resuming needs; written beside and renamed, so that a kill leaves the last good one."""
        out = self.settings.out
        checkpoint.save(out / "model", self.model, self.tokenizer, self.processor)
        save_file({k: v.contiguous() for k, v in self.helpers.state_dict().items()}, out / "helpers.safetensors")
        state = {"step": self.step, "optimisers": [o.state_dict() for o in self.optimisers]}
        torch.save(state, out / "state.tmp")
        (out / "state.tmp").rename(out / "state.pt")

    def resume(self) -> None:
        out = self.settings.out
        if not (out / "state.pt").exists():
            if self.settings.init is not None:
                self.load_weights(self.settings.init)
            return
        self.load_weights(out / "model")
        self.helpers.load_state_dict(load_file(out / "helpers.safetensors"))
        state = torch.load(out / "state.pt", weights_only=True)
        for optimiser, values in zip(self.optimisers, state["optimisers"], strict=True):
            optimiser.load_state_dict(values)
        self.step = state["step"]

    def load_weights(self, folder: Path) -> None:
        """The tied head is not stored, so one key is missing by design."""
        self.model.load_state_dict(load_file(folder / "model.safetensors"), strict=False)
        self.model.tie_weights()


def export_checkpoint(model_folder: Path, target: Path) -> None:
    """Half the size on disk: the weights of a run as bfloat16, tokenizer and all."""
    model, tokenizer, processor = checkpoint.load(str(model_folder), torch.bfloat16)
    checkpoint.save(target, model, tokenizer, processor)


def bf16_is_fast(device: torch.device) -> bool:
    """bf16 pays on GPUs and on CPUs with AMX or AVX512-BF16 only."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported()
    flags = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    return bool(flags.get("amx_bf16") or flags.get("avx512_bf16") or torch.cpu._is_amx_tile_supported())


def optimisers(modules: nn.Module, rate: float) -> list[torch.optim.Optimizer]:
    """Muon for the matrices of the transformers, AdamW for embeddings, norms, convolutions and the mask decoder."""
    decoder = {id(p) for m in modules.modules() if isinstance(m, MaskDecoder) for p in m.parameters()}
    embedding = {id(p) for m in modules.modules() if isinstance(m, nn.Embedding) for p in m.parameters()}
    parameters = list(dict.fromkeys(modules.parameters()))
    matrices = [p for p in parameters if p.ndim == 2 and id(p) not in decoder | embedding]
    chosen = {id(p) for p in matrices}
    rest = [p for p in parameters if id(p) not in chosen]
    out = [
        torch.optim.Muon(matrices, lr=rate, weight_decay=0.01, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(rest, lr=rate / 2, betas=(0.9, 0.98), weight_decay=0.01),
    ]
    for optimiser in out:
        for group in optimiser.param_groups:
            group["full_lr"] = group["lr"]
    return out
