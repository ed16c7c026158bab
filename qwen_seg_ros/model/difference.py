"""What a trained model changed in the model it was trained from: a checkpoint of megabytes beside a base of gigabytes.

A folder with `difference.safetensors` holds, by parameter name of the base,
    NAME                      a whole parameter (the mask decoder, a trained tower)
    NAME::rows, NAME::at      some rows (k, n) of a matrix and their numbers (k,) (the new tokens)
    NAME::lora_A, ::lora_B    a low-rank change: NAME += lora_B (out, r) @ lora_A (r, in), scale included
and its config.json names the base and the base's fingerprint.
"""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from qwen_seg_ros.errors import CheckpointError

FILE = "difference.safetensors"


@dataclass(frozen=True)
class Difference:
    """whole: name -> parameter. rows: name -> (numbers, rows). low_rank: name -> (lora_A, lora_B)."""

    whole: dict[str, Tensor] = field(default_factory=dict)
    rows: dict[str, tuple[Tensor, Tensor]] = field(default_factory=dict)
    low_rank: dict[str, tuple[Tensor, Tensor]] = field(default_factory=dict)

    def save(self, folder: Path) -> None:
        tensors = dict(self.whole)
        for name, (at, rows) in self.rows.items():
            tensors |= {f"{name}::at": at, f"{name}::rows": rows}
        for name, (a, b) in self.low_rank.items():
            tensors |= {f"{name}::lora_A": a, f"{name}::lora_B": b}
        save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, folder / FILE)

    @classmethod
    def load(cls, folder: Path) -> "Difference":
        tensors = load_file(folder / FILE)
        names = {key.split("::")[0] for key in tensors}

        def pairs(first: str, second: str) -> dict[str, tuple[Tensor, Tensor]]:
            return {n: (tensors[n + first], tensors[n + second]) for n in names if n + first in tensors and n + second in tensors}

        whole = {n: tensors[n] for n in names if n in tensors}
        return cls(whole, pairs("::at", "::rows"), pairs("::lora_A", "::lora_B"))

    @torch.no_grad()
    def apply(self, model: nn.Module) -> None:
        """Change `model` in place.

        Raises:
            CheckpointError: naming the parameter that the model lacks or that has another shape.
        """
        parameters = dict(model.named_parameters())
        for name, tensor in self.whole.items():
            _parameter(parameters, name, tensor.shape).copy_(tensor)
        for name, (at, rows) in self.rows.items():
            parameter = _parameter(parameters, name)
            if int(at.max()) >= len(parameter) or rows.shape[1:] != parameter.shape[1:]:
                raise CheckpointError(f"{FILE}: rows {at.tolist()[:8]} of {name} do not fit its shape {tuple(parameter.shape)}")
            parameter[at] = rows.to(parameter)
        for name, (a, b) in self.low_rank.items():
            parameter = _parameter(parameters, name, (len(b), a.shape[1]))
            parameter.copy_(parameter.float() + b.float() @ a.float())

    def to(self, dtype: torch.dtype) -> "Difference":
        """The same in another number format."""
        return Difference(
            {name: tensor.to(dtype) for name, tensor in self.whole.items()},
            {name: (at, rows.to(dtype)) for name, (at, rows) in self.rows.items()},
            {name: (a.to(dtype), b.to(dtype)) for name, (a, b) in self.low_rank.items()},
        )

    def names(self) -> set[str]:
        return {*self.whole, *self.rows, *self.low_rank}


def _parameter(parameters: dict[str, nn.Parameter], name: str, shape: tuple | None = None) -> nn.Parameter:
    if name not in parameters:
        raise CheckpointError(f"{FILE} changes {name}, which the base model does not have; it was made for another base")
    if shape is not None and tuple(parameters[name].shape) != tuple(shape):
        raise CheckpointError(
            f"{FILE}: {name} must be of shape {tuple(parameters[name].shape)} like the base, got {tuple(shape)}"
        )
    return parameters[name]


def fingerprint(folder: Path) -> str:
    """Short digest of a model folder: names, shapes and the first row of every tensor, whatever files they are spread over.

    Raises:
        CheckpointError: when the folder holds no safetensors file.
    """
    digests = {}
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, framework="pt") as handle:
            for name in handle.keys():  # noqa: SIM118 - not a dict
                part = handle.get_slice(name)
                shape = part.get_shape()
                first = handle.get_tensor(name) if not shape else part[:1]
                digests[name] = f"{name}{shape}".encode() + first.contiguous().view(torch.uint8).numpy().tobytes()
    if not digests:
        raise CheckpointError(f"{folder} holds no *.safetensors file")
    return hashlib.sha256(b"".join(digests[name] for name in sorted(digests))).hexdigest()[:16]
