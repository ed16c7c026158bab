"""One loop for every recipe: the published two stages on a large base, and the small embedded model.

    qwen-seg train --recipe embedded --data .cache/data/train --out .train/a
    accelerate launch -m qwen_seg_ros.cli train --recipe stage1 --data SHARDS --out .train/stage1      (several GPUs, FSDP)
    ACCELERATE_USE_CPU=true torchrun --nproc_per_node 2 -m qwen_seg_ros.cli train ...    (several processes without a GPU)

All that is random in a step depends on (seed, step, device) alone, so a run that is killed and started again ends with the
same weights, bit for bit on a CPU, as one that never stopped.
"""

import json
import math
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs
from rich.console import Console
from torch.utils.data import DataLoader, Dataset

from qwen_seg_ros.errors import SettingsError
from qwen_seg_ros.model import checkpoint
from qwen_seg_ros.offline.data.mix import Mixture, Source, held_out_plain, rendered_sources
from qwen_seg_ros.offline.data.user_data import UserData
from qwen_seg_ros.offline.training.answers import AnswerWriter
from qwen_seg_ros.offline.training.batch import Batch, Batcher
from qwen_seg_ros.offline.training.losses import Objective
from qwen_seg_ros.offline.training.optimisers import make_optimisers
from qwen_seg_ros.offline.training.preservation import plain_loss
from qwen_seg_ros.offline.training.recipe import Recipe
from qwen_seg_ros.offline.training.student import difference_from, make_student

HELD_OUT = 100  # plain questions asked before and after


@dataclass(frozen=True)
class Places:
    """Where a run reads and writes. data: folder of rendered shards; user_data: JSONL; held_out: shards that are not trained on,
    for the loss of plain answers before and after."""

    out: Path
    data: Path | None = None
    user_data: Path | None = None
    held_out: Path | None = None


class Steps(Dataset):
    """Step number -> the batch of this device: a pure function, whichever process calls it."""

    def __init__(self, mixture: Mixture, batcher: Batcher, seed: int, batch: int, rank: int) -> None:
        self.mixture, self.batcher, self.seed, self.batch, self.rank = mixture, batcher, seed, batch, rank

    def __getitem__(self, step: int) -> Batch:
        places = range(self.rank * self.batch, (self.rank + 1) * self.batch)
        return self.batcher([self.mixture.picture(self.seed, step, place) for place in places])


class Trainer:
    """Model, optimisers and the step counter of one run; every device has one."""

    def __init__(self, recipe: Recipe, places: Places) -> None:
        self.recipe, self.places = recipe, places
        self.accelerator = Accelerator(
            mixed_precision=_precision(recipe.precision),
            kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=True)],
        )
        self.student = make_student(recipe, places.out)
        sizes = self.student.model.config.mask_decoder_sizes
        self.batcher = Batcher(
            self.student.tokenizer,
            self.student.processor,
            sizes.stem_stride,
            AnswerWriter(recipe.answers, recipe.box_step),
            recipe.losses.helpers,
            (recipe.picture_height, recipe.picture_width) if recipe.picture_height else None,
        )
        objective = Objective(self.student.model, self.student.processor, recipe)
        self.trained = {n.removeprefix("model.") for n, p in objective.named_parameters() if p.requires_grad}
        optimisers = make_optimisers(objective, recipe)
        self.objective, *self.optimisers = self.accelerator.prepare(objective, *optimisers)
        self.step = 0
        self.plain_before: float | None = None

    def train(self) -> None:
        """To the recipe's last step, from where the run in `out` stopped."""
        self.resume()
        console = Console(quiet=not self.accelerator.is_main_process)
        if self.plain_before is None:
            self.plain_before = self.plain_answers()
        progress = Progress(console, self.recipe)
        for phase in self._phases():
            for batch in phase:
                terms = self._update(batch)
                progress.show(self.step, terms, len(batch.image) * self.accelerator.num_processes)
                if self.step % self.recipe.save_every == 0:
                    self.save()
        self.save()
        if self.plain_before is not None:
            console.print(
                f"plain answers, held out: {self.plain_before:.3f} nats a token before, {self.plain_answers():.3f} after",
                highlight=False,
            )

    def _phases(self) -> Iterator[DataLoader]:
        """Batches of the steps that train the tower alone, then of all others."""
        tower_ends = min(self.recipe.vision_steps, self.recipe.steps)
        if self.step < tower_ends:
            yield self._loader(range(self.step, tower_ends), self.recipe.vision_batch, questions=1)
        yield self._loader(range(self.step, self.recipe.steps), self.recipe.batch, self.recipe.questions)

    def _loader(self, steps: range, batch: int, questions: int) -> DataLoader:
        weights = {name: getattr(self.recipe.mix, name) for name in ("segmentation", "general", "reasoning", "user")}
        used = {name: weight for name, weight in weights.items() if weight}
        mixture = Mixture(self._sources(used, questions), used, batch * self.accelerator.num_processes)
        data = Steps(mixture, self.batcher, self.recipe.seed, batch, self.accelerator.process_index)
        workers = self.recipe.workers
        more = {"prefetch_factor": 4, "multiprocessing_context": "spawn"} if workers else {}
        return DataLoader(data, batch_size=None, sampler=steps, num_workers=workers, worker_init_fn=_one_thread, **more)

    def _sources(self, weights: dict[str, int], questions: int) -> dict[str, Source]:
        sources: dict[str, Source] = {}
        if self.places.data is not None:
            sources |= rendered_sources(self.places.data, questions)
        if self.places.user_data is not None:
            sources["user"] = UserData(self.places.user_data, questions)
        missing = [name for name in weights if name not in sources]
        if missing:
            option = "--user-data" if missing == ["user"] else "--data"
            raise SettingsError(f"the recipe's mix asks for {', '.join(missing)} pictures: name their folder with {option}")
        return sources

    def _update(self, batch: Batch) -> dict[str, torch.Tensor]:
        torch.manual_seed(hash((self.recipe.seed, self.step, self.accelerator.process_index)) % 2**63)
        for optimiser in self.optimisers:
            for group in optimiser.param_groups:
                group["lr"] = group["full_lr"] * rate_share(self.recipe, self.step)
        tower_only = self.step < self.recipe.vision_steps
        terms = self.objective(batch.to(self.accelerator.device), tower_only, self.step >= self.recipe.masks_from)
        self.accelerator.backward(terms["total"])
        self.accelerator.clip_grad_norm_(self.objective.parameters(), 2.0)
        for optimiser in self.optimisers:
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
        self.step += 1
        return {name: value.detach() for name, value in terms.items()}

    @torch.no_grad()
    def plain_answers(self) -> float | None:
        """Nats a token on the held-out plain questions: what is left of the base's general answers."""
        if self.places.held_out is None:
            return None
        pairs = held_out_plain(self.places.held_out, HELD_OUT)
        return plain_loss(self.objective, self.batcher, pairs, self.accelerator.device)

    # --- on disk -----------------------------------------------------------------------------------------------------------

    def save(self) -> None:
        """The checkpoint in `out/model` and all that resuming needs in `out/state`; a kill leaves the last good state."""
        state = {k.removeprefix("model."): v for k, v in self.accelerator.get_state_dict(self.objective).items()}
        new = self.places.out / "state.new"
        new.mkdir(parents=True, exist_ok=True)
        self.accelerator.save_state(str(new))
        self.accelerator.wait_for_everyone()  # every device has its part in `new`
        if self.accelerator.is_main_process:
            self._save_model(state)
            (new / "run.json").write_text(json.dumps({"step": self.step, "plain_before": self.plain_before}))
            old = self.places.out / "state"
            shutil.rmtree(old, ignore_errors=True)
            new.rename(old)
        self.accelerator.wait_for_everyone()

    def _save_model(self, state: dict[str, torch.Tensor]) -> None:
        student, folder = self.student, self.places.out / "model"
        if self.recipe.store == "whole":
            own = {k: v for k, v in state.items() if not k.startswith("helpers.")}
            student.model.save_pretrained(folder, state_dict=own)
            checkpoint.save_processing(folder, student.tokenizer, student.processor)
            return
        scale = self.recipe.lora_alpha / self.recipe.lora_rank if self.recipe.lora_rank else 1.0
        difference = difference_from(state, self.trained, student, scale)
        checkpoint.save_difference(folder, difference, student.model.config, student.tokenizer, student.processor)

    def resume(self) -> None:
        """Go on where the run in `out` stopped, if there is one."""
        state = self.places.out / "state"
        if (state / "run.json").is_file():
            run = json.loads((state / "run.json").read_text())
            self.accelerator.load_state(str(state))
            self.step, self.plain_before = run["step"], run["plain_before"]


class Progress:
    """A line every 50 steps: step, time left, pictures a second, smoothed losses."""

    def __init__(self, console: Console, recipe: Recipe, every: int = 50) -> None:
        self.console, self.recipe, self.every = console, recipe, every
        self.smooth: dict[str, float] = {}
        self.since, self.pictures, self.steps = time.monotonic(), 0, 0

    def show(self, step: int, terms: dict[str, torch.Tensor], pictures: int) -> None:
        """After `step` steps, the last of them with so many pictures on all devices."""
        for name, value in terms.items():
            self.smooth[name] = 0.98 * self.smooth.get(name, float(value)) + 0.02 * float(value)
        self.pictures += pictures
        self.steps += 1
        if step % self.every and step != self.recipe.steps:
            return
        passed = time.monotonic() - self.since
        left = (self.recipe.steps - step) * passed / self.steps / 60
        losses = "  ".join(f"{name} {value:.3f}" for name, value in self.smooth.items())
        line = f"step {step:6d} of {self.recipe.steps}  {left:5.0f} min left  {self.pictures / passed:5.1f} pictures/s  {losses}"
        self.console.print(line, highlight=False)
        self.since, self.pictures, self.steps = time.monotonic(), 0, 0


def rate_share(recipe: Recipe, step: int) -> float:
    """Share of the full rate at a step: warm-up, then cosine to zero, or constant with a linear cool-down at the end."""
    warm = min(1.0, (step + 1) / max(1, recipe.warmup))
    if recipe.schedule == "cosine":
        return warm * 0.5 * (1 + math.cos(math.pi * min(1.0, step / recipe.steps)))
    return warm * (min(1.0, (recipe.steps - step) / recipe.cooldown) if recipe.cooldown else 1.0)


def export_checkpoint(model_folder: Path, target: Path) -> None:
    """Half the size on disk: the weights of a run as bfloat16, tokenizer and all."""
    if checkpoint.read_config(str(model_folder)).base_checkpoint:
        checkpoint.copy_difference(model_folder, target, torch.bfloat16)
        return
    model, tokenizer, processor = checkpoint.load(str(model_folder), torch.bfloat16)
    checkpoint.save(target, model, tokenizer, processor)


def _one_thread(worker: int) -> None:
    torch.set_num_threads(1)


def _precision(name: str) -> str:
    """In accelerate's words."""
    if name != "auto":
        return {"fp32": "no", "bf16": "bf16"}[name]
    return "bf16" if bf16_is_fast(torch.device("cuda" if torch.cuda.is_available() else "cpu")) else "no"


def bf16_is_fast(device: torch.device) -> bool:
    """bf16 pays on GPUs and on CPUs with AMX or AVX512-BF16 only."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported()
    flags = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    return bool(flags.get("amx_bf16") or flags.get("avx512_bf16") or torch.cpu._is_amx_tile_supported())
