"""Options that several commands share, and the pipeline they ask for."""

import re
from pathlib import Path
from typing import Annotated, Any

import typer

from qwen_seg_ros.cli.output import console
from qwen_seg_ros.pipeline import Pipeline
from qwen_seg_ros.settings import Settings, load_settings, updated

NUMBER = re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+")  # YAML 1.1 reads 1e-4 as text
InstructionArgument = Annotated[str, typer.Argument(help='What to find, in plain words: "the red mug", "all cans".')]
CheckpointOption = Annotated[str, typer.Option(help="Embedded checkpoint, folder or hub id.", show_default="tabletop")]
SettingsOption = Annotated[Path | None, typer.Option("--settings", help="YAML file with settings of the stages.")]
SetOption = Annotated[list[str] | None, typer.Option("--set", help="A setting, e.g. grasping.friction=0.4; may be repeated.")]
JsonOption = Annotated[bool, typer.Option("--json", help="JSON on standard output instead of a table.")]


def settings_from(checkpoint: str, file: Path | None, values: list[str] | None) -> Settings:
    """Later ones win: defaults, file, --checkpoint, --set."""
    settings = load_settings(file) if file else Settings()
    changes = {"segmentation.checkpoint": checkpoint} if checkpoint else {}
    return updated(settings, changes | assignments(values or []))


def assignments(values: list[str]) -> dict[str, Any]:
    """["a.b=0.4", "c=on"] -> {"a.b": 0.4, "c": True}, values read as YAML and 1e-4 as a number."""
    import yaml

    out = {}
    for item in values:
        name, separator, text = item.partition("=")
        if not separator:
            raise typer.BadParameter(f"{item!r} must be NAME=VALUE, for example grasping.friction=0.4", param_hint="--set")
        value = yaml.safe_load(text)
        out[name.strip()] = float(value) if isinstance(value, str) and NUMBER.fullmatch(value) else value
    return out


def pipeline_from(checkpoint: str, file: Path | None, values: list[str] | None) -> Pipeline:
    settings = settings_from(checkpoint, file, values)
    with console.status("loading the model"):
        return Pipeline(settings)
