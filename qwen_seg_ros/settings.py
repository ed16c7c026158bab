"""All knobs in one tree, and the ways in and out of it: YAML, dotted names for ROS parameters, a page of documentation."""

from collections.abc import Mapping
from dataclasses import MISSING, Field, dataclass, field, fields, is_dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import yaml

from qwen_seg_ros.errors import SettingsError
from qwen_seg_ros.grasping.settings import GraspSettings
from qwen_seg_ros.lifting.settings import LiftSettings
from qwen_seg_ros.segmentation.settings import SegmentationSettings
from qwen_seg_ros.setting import check_value

Tree = TypeVar("Tree")


@dataclass(frozen=True)
class Settings:
    """The settings of every stage."""

    segmentation: SegmentationSettings = field(default_factory=SegmentationSettings)
    lifting: LiftSettings = field(default_factory=LiftSettings)
    grasping: GraspSettings = field(default_factory=GraspSettings)


class Knob(NamedTuple):
    """One leaf of the tree: its value and the dataclass field (description, range, choices, read_only in `metadata`)."""

    value: Any
    field: Field


def load_settings(path: str | Path) -> Settings:
    """Settings from a YAML file shaped like `to_yaml`; what it leaves out keeps its default.

    Raises:
        SettingsError: the file cannot be read, a name is unknown (the closest known one is named) or a value is not allowed.
    """
    try:
        values = yaml.safe_load(Path(path).read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise SettingsError(f"settings file {path} cannot be read: {error}") from error
    return merged(Settings(), {} if values is None else values)


def to_yaml(settings: Any) -> str:
    """Every value, with its description as a comment; `load_settings` reads it back."""
    return "\n".join(_yaml_lines(settings, "")) + "\n"


def flatten(settings: Any, prefix: str = "") -> dict[str, Knob]:
    """Dotted name ("grasping.friction") -> value and declaring field, in order of declaration."""
    flat: dict[str, Knob] = {}
    for item in fields(settings):
        value, name = getattr(settings, item.name), prefix + item.name
        flat |= flatten(value, name + ".") if is_dataclass(value) else {name: Knob(value, item)}
    return flat


def merged(settings: Tree, values: Mapping[str, Any], prefix: str = "") -> Tree:
    """A copy of a settings tree with nested `values` put in; SettingsError names what does not fit."""
    if not isinstance(values, Mapping):
        raise SettingsError(f"{prefix.rstrip('.') or 'settings'} must be a table of names and values, got {values!r}")
    known = {item.name: item for item in fields(settings)}  # type: ignore[arg-type]
    changes = {}
    for name, value in values.items():
        if name not in known:
            raise SettingsError(_unknown(prefix, str(name), list(known)))
        current, full = getattr(settings, name), prefix + name
        changes[name] = merged(current, value, full + ".") if is_dataclass(current) else _checked(full, value, known[name])
    return replace(settings, **changes)  # type: ignore[type-var]


def updated(settings: Tree, flat_values: Mapping[str, Any]) -> Tree:
    """A copy with dotted names set, for example {"grasping.friction": 0.4}."""
    nested: dict[str, Any] = {}
    known = list(flatten(settings))
    for name, value in flat_values.items():
        if name not in known:
            raise SettingsError(_unknown("", name, known))
        *path, leaf = name.split(".")
        branch = nested
        for part in path:
            branch = branch.setdefault(part, {})
        branch[leaf] = value
    return merged(settings, nested)


def parameters_page(settings: Any) -> str:
    """docs/parameters.md: one table per stage."""
    lines, stage = ["# Parameters", "", "Made from the settings in the code; do not edit by hand."], None
    for name, knob in flatten(settings).items():
        group = name.rpartition(".")[0] or "node"
        if group != stage:
            stage = group
            lines += ["", f"## {stage}", "", "| name | default | allowed | at run time | meaning |", "|---|---|---|---|---|"]
        meta = knob.field.metadata
        changeable = "no" if meta.get("read_only") else "yes"
        cells = (f"`{name}`", f"`{_scalar(knob.value)}`", allowed(knob.field), changeable, meta.get("description", ""))
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def allowed(item: Field) -> str:
    """The range, the choices or the type of a setting, in words."""
    meta = item.metadata
    if meta.get("choices"):
        return ", ".join(map(str, meta["choices"]))
    low, high = meta.get("low"), meta.get("high")
    if low is None and high is None:
        return "list" if isinstance(item.default, tuple) else type(item.default).__name__
    return f"{'' if low is None else low} .. {'' if high is None else high}".strip()


def _checked(name: str, value: Any, item: Field) -> Any:
    wanted = type(item.default) if item.default is not MISSING else None
    if wanted is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if wanted is tuple and isinstance(value, list):
        value = tuple(value)
    if wanted is int and isinstance(value, bool):
        raise SettingsError(f"{name} must be an int, got {value!r}")
    check_value(name, value, item)
    return value


def _unknown(prefix: str, name: str, known: list[str]) -> str:
    close = get_close_matches(name, known, n=1, cutoff=0.0)
    likely = get_close_matches(name, known, n=1)
    hint = f"did you mean {prefix}{likely[0]}?" if likely else f"the closest known name is {prefix}{close[0]}"
    return f"unknown setting {prefix}{name}; {hint}"


def _yaml_lines(settings: Any, indent: str) -> list[str]:
    lines: list[str] = []
    for item in fields(settings):
        value = getattr(settings, item.name)
        if is_dataclass(value):
            lines += [f"{indent}{item.name}:", *_yaml_lines(value, indent + "  ")]
        else:
            description = item.metadata.get("description", "")
            lines.append(f"{indent}{item.name}: {_scalar(value)}" + (f"  # {description}" if description else ""))
    return lines


def _scalar(value: Any) -> str:
    return yaml.safe_dump(value, default_flow_style=True, width=10**6).removesuffix("\n").removesuffix("\n...")
