"""Settings survive YAML and dotted names, and say what is wrong with a bad one."""

from dataclasses import fields, is_dataclass

import pytest

from qwen_seg_ros.errors import SettingsError
from qwen_seg_ros.settings import Settings, flatten, load_settings, merged, parameters_page, to_yaml, updated


def test_yaml_is_read_back_unchanged(tmp_path):
    settings = updated(Settings(), {"grasping.friction": 0.45, "segmentation.checkpoint": "some/model", "lifting.min_points": 33})
    path = tmp_path / "settings.yaml"
    path.write_text(to_yaml(settings))
    assert load_settings(path) == settings != Settings()


@pytest.mark.parametrize("text", ["", "{}", "grasping: {}"])
def test_what_a_file_leaves_out_keeps_its_default(tmp_path, text):
    path = tmp_path / "settings.yaml"
    path.write_text(text)
    assert load_settings(path) == Settings()


@pytest.mark.parametrize(("text", "words"), [
    ("grasping: {frictoin: 0.5}", "unknown setting grasping.frictoin; did you mean grasping.friction?"),
    ("graspin: {friction: 0.5}", "unknown setting graspin; did you mean grasping?"),
    ("zzz: 1", "the closest known name is"),
    ("grasping: {friction: 9}", "friction must be between 0.05 and 2.0, got 9.0"),
    ("grasping: {friction: much}", "friction must be a float, got 'much'"),
    ("grasping: {max_grasps: 2.5}", "max_grasps must be a int, got 2.5"),
    ("grasping: {max_grasps: true}", "max_grasps must be an int, got True"),
    ("segmentation: {device: tpu}", "device must be one of auto, cpu, cuda, got 'tpu'"),
    ("grasping: 3", "grasping must be a table of names and values, got 3"),
    ("[1, 2]", "settings must be a table"),
    ("a: [", "cannot be read"),
])
def test_a_bad_file_is_refused_in_words(tmp_path, text, words):
    path = tmp_path / "settings.yaml"
    path.write_text(text)
    with pytest.raises(SettingsError) as error:
        load_settings(path)
    assert words in str(error.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(SettingsError, match=r"nowhere\.yaml"):
        load_settings(tmp_path / "nowhere.yaml")


def test_flat_names_reach_every_leaf():
    settings = Settings()
    flat = flatten(settings)
    stages = [getattr(settings, item.name) for item in fields(settings)]
    assert len(flat) == sum(len(fields(stage)) for stage in stages)
    assert not any(is_dataclass(knob.value) for knob in flat.values())
    assert flat["grasping.friction"].value == settings.grasping.friction
    assert updated(settings, {name: knob.value for name, knob in flat.items()}) == settings


def test_every_setting_says_what_it_is():
    for name, knob in flatten(Settings()).items():
        assert len(knob.field.metadata["description"]) > 10, name


def test_updates_leave_the_original_alone_and_keep_types():
    settings = Settings()
    changed = updated(settings, {"grasping.friction": 1})
    assert isinstance(changed.grasping.friction, float)
    assert settings == Settings()
    with pytest.raises(SettingsError, match=r"did you mean grasping\.friction\?"):
        updated(settings, {"grasping.frition": 1})
    assert merged(settings, {"grasping": {"max_grasps": 3}}).grasping.max_grasps == 3


def test_the_parameters_page_lists_every_name_and_range():
    page = parameters_page(Settings())
    for name in flatten(Settings()):
        assert f"| `{name}` |" in page
    assert "| `grasping.friction` | `0.7` | 0.05 .. 2.0 | yes |" in page
    assert "| `segmentation.device` | `auto` | auto, cpu, cuda | no |" in page
