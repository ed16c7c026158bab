"""Options that several commands share, and the pipeline they ask for."""

from pathlib import Path
from typing import Annotated

import typer

from qwen_seg_ros.cli.output import console
from qwen_seg_ros.pipeline import Pipeline
from qwen_seg_ros.settings import Settings, load_settings, updated

InstructionArgument = Annotated[str, typer.Argument(help='What to find, in plain words: "the red mug", "all cans".')]
CheckpointOption = Annotated[str, typer.Option(help="Embedded checkpoint, folder or hub id.", show_default="tabletop")]
SettingsOption = Annotated[Path | None, typer.Option("--settings", help="YAML file with settings of the stages.")]
SetOption = Annotated[list[str] | None, typer.Option("--set", help="A setting, e.g. grasping.friction=0.4; may be repeated.")]
JsonOption = Annotated[bool, typer.Option("--json", help="JSON on standard output instead of a table.")]


def settings_from(checkpoint: str, file: Path | None, values: list[str] | None) -> Settings:
    """Later ones win: defaults, file, --checkpoint, --set."""
    import yaml

    settings = load_settings(file) if file else Settings()
    changes = {"segmentation.checkpoint": checkpoint} if checkpoint else {}
    for item in values or []:
        name, separator, value = item.partition("=")
        if not separator:
            raise typer.BadParameter(f"{item!r} must be NAME=VALUE, for example grasping.friction=0.4", param_hint="--set")
        changes[name.strip()] = yaml.safe_load(value)
    return updated(settings, changes)


def pipeline_from(checkpoint: str, file: Path | None, values: list[str] | None) -> Pipeline:
    settings = settings_from(checkpoint, file, values)
    with console.status("loading the model"):
        return Pipeline(settings)
