"""One knob: every stage keeps its settings as a frozen dataclass beside its code and declares the fields with `setting`.

The description, range and choices it carries serve the checks here and the generators of YAML, ROS parameters and docs
(`qwen_seg_ros.settings` gathers all stages in one tree).
"""

from dataclasses import MISSING, field, fields, is_dataclass
from typing import Any

from qwen_seg_ros.errors import SettingsError


def setting(default: Any, description: str, low: float | None = None, high: float | None = None,
            choices: tuple | None = None, read_only: bool = False) -> Any:
    """A dataclass field with a description, an optional closed range [low, high] or a set of choices."""
    metadata = {"description": description, "low": low, "high": high, "choices": choices, "read_only": read_only}
    return field(default=default, metadata=metadata)


def check(settings: Any) -> None:
    """Call in `__post_init__`: every field has its declared type, range and choice.

    Raises:
        SettingsError: naming the setting, the value given and what would be allowed.
    """
    for item in fields(settings):
        value = getattr(settings, item.name)
        if not is_dataclass(value):  # a branch of the tree checks itself
            check_value(item.name, value, item)


def check_value(name: str, value: Any, item: Any) -> None:
    """Check one value against the field `item` that declares it."""
    default = item.default if item.default is not MISSING else None
    wanted = type(default)
    if wanted is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if not isinstance(value, wanted):
        kind = "list" if wanted is tuple else wanted.__name__
        raise SettingsError(f"{name} must be a {kind}, got {value!r}")
    meta = item.metadata
    if meta.get("choices") and value not in meta["choices"]:
        raise SettingsError(f"{name} must be one of {', '.join(map(str, meta['choices']))}, got {value!r}")
    low, high = meta.get("low"), meta.get("high")
    if (low is not None and not value >= low) or (high is not None and not value <= high):
        raise SettingsError(f"{name} must be between {low} and {high}, got {value!r}")
