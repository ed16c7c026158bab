"""`qwen-seg info`: what is installed here and what answers."""

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from rich.markup import escape
from rich.table import Table

from qwen_seg_ros.cli import output
from qwen_seg_ros.cli.options import CheckpointOption, SetOption, SettingsOption, settings_from
from qwen_seg_ros.errors import QwenSegError
from qwen_seg_ros.segmentation.segmenter import load_segmenter
from qwen_seg_ros.settings import Settings

LIBRARIES = ("torch", "transformers", "numpy", "opencv-python", "open3d", "safetensors")
EXTRAS = {
    "sim": ("mujoco",),
    "train": ("accelerate", "peft"),
    "eval": ("pycocotools", "matplotlib"),
    "bags": ("rosbags",),
    "viz": ("rerun-sdk",),
}
ROS_PARTS = {"rclpy": "the node", "tf2_ros": "transforms", "cv_bridge": "rare encodings", "vision_msgs": "detections"}
BF16_FLAGS = ("amx_bf16", "avx512_bf16", "avx_ne_convert", "bf16")


def info(checkpoint: CheckpointOption = "", settings: SettingsOption = None, values: SetOption = None) -> None:
    """Versions, the checkpoint with its size, device and number format, and which parts of ROS 2 are there.

    [bold]Examples[/bold]

      qwen-seg info

      qwen-seg info --checkpoint path/to/checkpoint
    """
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    for name, text in _rows(settings_from(checkpoint, settings, values)):
        table.add_row(name, escape(text))
    output.results.print(table)


def _rows(settings: Settings) -> list[tuple[str, str]]:
    rows = [("qwen_seg_ros", _version("qwen-seg-ros") or "from the checkout"), ("python", platform.python_version())]
    rows += [(name, _version(name) or "not installed") for name in LIBRARIES]
    rows += [(f"extra {name}", _extra(name)) for name in EXTRAS]
    rows += [("CPU", f"{os.cpu_count()} cores, bfloat16 {bfloat16(_cpu_flags())}"), ("ROS 2", _ros())]
    return rows + _model_rows(settings)


def _model_rows(settings: Settings) -> list[tuple[str, str]]:
    try:
        with output.console.status("loading the model"):
            return list(load_segmenter(settings.segmentation).info().items())
    except (QwenSegError, ImportError) as error:
        return [("checkpoint", f"{settings.segmentation.checkpoint}: {error}")]


def _extra(name: str) -> str:
    absent = [package for package in EXTRAS[name] if _version(package) is None]
    return f"no {', '.join(absent)}: pip install 'qwen-seg-ros[{name}]'" if absent else "installed"


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def bfloat16(flags: set[str]) -> str:
    """How the processor calculates in bfloat16, by its feature flags."""
    native = [flag for flag in BF16_FLAGS if flag in flags]
    return f"in hardware ({', '.join(native)})" if native else "emulated (slow)"


def _cpu_flags() -> set[str]:
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    return {flag for line in lines if line.startswith(("flags", "Features")) for flag in line.split(":", 1)[1].split()}


def _ros() -> str:
    if not find_spec("rclpy"):
        return "not found: source a ROS 2 workspace, or .ws/env.sh in the checkout"
    there = [name for name in ROS_PARTS if find_spec(name)]
    absent = [f"{name} ({use})" for name, use in ROS_PARTS.items() if name not in there]
    interfaces = "messages built" if find_spec("qwen_seg_ros.msg") else "messages not built (make setup, or colcon build)"
    distribution = os.environ.get("ROS_DISTRO", "")
    return f"{distribution + ': ' if distribution else ''}{', '.join(there)}; {interfaces}" + (
        f"; without {', '.join(absent)}" if absent else ""
    )
