"""`qwen-seg replay` on the command line: what it writes and prints, its exit codes, and what it says about bad input."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

pytest.importorskip("rosbags")

from replay_recordings import recording, scene

from qwen_seg_ros.cli.main import app
from qwen_seg_ros.segmentation.replay import save_answers


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recording `bag`, stored answers, and the answers `first` to "the box" in every second frame."""
    made = tmp_path_factory.mktemp("command")
    recording(made / "bag", 3)
    save_answers(made, scene()[1])
    result = call(made, "-i", "the box", "--every", 2, "--out", made / "first")
    assert result.exit_code == 0, result.output
    assert "2 answers: OK 2" in result.output and "colour /camera/color/image_raw, depth /camera/aligned" in result.output
    return made


def call(folder: Path, *arguments: object) -> Result:
    stored = ("--checkpoint", folder, "--set", "segmentation.segmenter=replay")
    return CliRunner().invoke(app, [str(a) for a in ("replay", folder / "bag", *arguments, *stored)])


def words(result: Result) -> str:
    return " ".join(result.output.replace("│", " ").split())


def test_help_teaches() -> None:
    shown = CliRunner().invoke(app, ["replay", "--help"])
    assert shown.exit_code == 0 and "qwen-seg replay" in shown.output and "Compare with what is expected" in shown.output


def test_as_expected_is_exit_code_0_and_nothing_is_done_twice(folder: Path) -> None:
    same = call(folder, "-i", "the box", "--every", 2, "--out", folder / "first", "--expect", folder / "first" / "results.jsonl")
    assert same.exit_code == 0 and "as expected: 2 answers compared, no difference" in words(same)
    assert "2 answers (2 of them by an earlier run)" in words(same)


def test_a_difference_is_exit_code_1_and_a_table(folder: Path, tmp_path: Path) -> None:
    lines = [json.loads(line) for line in (folder / "first" / "results.jsonl").read_text().splitlines()]
    lines[1]["objects"][0]["pose"]["position_m"][0] += 0.05
    (tmp_path / "expected.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    asked = ("-i", "the box", "--every", 2, "--out", folder / "first", "--expect", tmp_path / "expected.jsonl")
    result = call(folder, *asked)
    assert result.exit_code == 1
    assert (
        "1 difference in 2 answers" in words(result) and "position of 'box'" in words(result) and "50.0 mm away" in words(result)
    )
    assert call(folder, *asked, "--position-mm", 60).exit_code == 0


BAD = {
    "nothing asked": ([], "say what to find"),
    "asked twice": (["-i", "a", "--instructions", "x.yaml"], "say what to find: either"),
    "no such topic": (["-i", "a", "--image", "/eye"], "the bag has no topic /eye"),
    "nothing expected": (["-i", "a", "--expect", "nowhere.jsonl"], "there is no file nowhere.jsonl"),
    "two rules": (["-i", "a", "--every", "2", "--rate", "5"], "every 2, or 5 a second, not both"),
}


@pytest.mark.parametrize("arguments, reason", BAD.values(), ids=BAD)
def test_bad_input_is_exit_code_2_with_a_reason(folder: Path, tmp_path: Path, arguments: list[str], reason: str) -> None:
    result = call(folder, *arguments, "--out", tmp_path / "out")
    assert result.exit_code == 2 and reason in words(result)
    assert not (tmp_path / "out").exists()
