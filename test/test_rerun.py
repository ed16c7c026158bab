"""The file for the rerun viewer holds the answers of the replay, at the recording's times."""

import importlib.util
import json
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

pytest.importorskip("rosbags")

from replay_recordings import pipeline, recording
from rosbags.highlevel import AnyReader

from qwen_seg_ros.cli.main import app
from qwen_seg_ros.errors import InvalidInputError
from qwen_seg_ros.offline.bags.replay.output import RESULTS
from qwen_seg_ros.offline.bags.replay.run import Question, replay
from qwen_seg_ros.offline.bags.replay.timetable import Timetable
from qwen_seg_ros.offline.bags.result_messages import OBJECTS

WITHOUT = importlib.util.find_spec("rerun") is None
needs_rerun = pytest.mark.skipif(WITHOUT, reason="rerun is not installed: pip install 'qwen-seg-ros[viz]'")


@pytest.fixture(scope="module")
def bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return recording(tmp_path_factory.mktemp("seen") / "bag", 3)


@pytest.fixture(scope="module")
def out(bag: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("answers") / "out"
    replay(bag, Question(Timetable.always(["both", "the fork"])), pipeline(), folder)
    return folder


@pytest.fixture(scope="module")
def written(bag: Path, out: Path) -> dict[str, dict[int, list]]:
    """Entity and component, as "/status TextLog:text" -> nanoseconds of the recording -> values in the order of writing."""
    from qwen_seg_ros.offline.bags.replay.rerun_file import write_rerun_file

    chunks = pytest.importorskip("rerun.chunk", reason="this version of rerun does not read its files in Python")
    found: dict[str, dict[int, list]] = defaultdict(lambda: defaultdict(list))
    for chunk in chunks.RrdReader(str(write_rerun_file(bag, out))).stream():
        rows = chunk.to_record_batch()
        if "recording" in rows.schema.names:
            times = rows.column("recording").cast("int64").to_pylist()
            for name in [n for n in rows.schema.names if ":" in n]:
                for time_ns, values in zip(times, rows.column(name).to_pylist(), strict=True):
                    found[f"{chunk.entity_path} {name}"][time_ns].append(values)
    return found


def lines(out: Path) -> list[dict]:
    return [json.loads(line) for line in (out / RESULTS).read_text().splitlines()]


@needs_rerun
def test_boxes_and_statuses_are_those_of_the_answers(written: dict, out: Path) -> None:
    centres, halves = written["/answers/both/boxes Boxes3D:centers"], written["/answers/both/boxes Boxes3D:half_sizes"]
    boxes = written["/camera/image/answers/both/boxes Boxes2D:half_sizes"]
    both = [line for line in lines(out) if line["instruction"] == "both"]
    assert set(centres) == {line["stamp_ns"] for line in both} and len(both) == 3
    for line in both:
        (places,), (sizes,), (pixels,) = (table[line["stamp_ns"]] for table in (centres, halves, boxes))
        np.testing.assert_allclose(places, [item["pose"]["position_m"] for item in line["objects"]], atol=1e-5)
        np.testing.assert_allclose(2 * np.array(sizes), [item["size_m"] for item in line["objects"]], atol=1e-4)
        assert len(pixels) == len(line["segments"]) == 2
    for line in lines(out):
        assert any(
            f"{line['instruction']!r}: {line['status']}" in text for (text,) in written["/status TextLog:text"][line["stamp_ns"]]
        )


@needs_rerun
def test_clouds_are_the_cleaned_ones_and_grasps_are_hands(written: dict, out: Path) -> None:
    with AnyReader([out / "bag"]) as reader:
        connections = [c for c in reader.connections if c.topic == OBJECTS]
        messages = [reader.deserialize(raw, c.msgtype) for c, _, raw in reader.messages(connections)]
    counts = [sum(item.cloud.width for item in message.objects) for message in messages if message.objects]
    clouds = written["/answers/both/clouds Points3D:positions"]
    assert [len(points) for stamp in sorted(clouds) for points in clouds[stamp]] == counts and min(counts) > 50
    first = lines(out)[0]
    strips = written["/answers/both/grasps LineStrips3D:strips"][first["stamp_ns"]][0]
    assert len(strips) == 4 * sum(len(item["grasps"]) for item in first["objects"]) > 0


@needs_rerun
def test_what_was_not_found_has_a_status_and_nothing_else(written: dict) -> None:
    assert not [name for name in written if "fork" in name.split()[0]]


@needs_rerun
def test_the_picture_is_cleared_at_every_moment(written: dict, out: Path) -> None:
    stamps = {line["stamp_ns"] for line in lines(out)}
    for path in ("/answers", "/camera/image/answers", "/measured"):
        assert set(written[f"{path} Clear:is_recursive"]) == stamps
    assert set(written["/camera/image/colour EncodedImage:blob"]) == stamps


@needs_rerun
def test_the_command_writes_it_and_another_recording_is_refused(bag: Path, out: Path, tmp_path: Path) -> None:
    from qwen_seg_ros.offline.bags.replay.rerun_file import write_rerun_file

    told = CliRunner().invoke(app, ["replay", str(bag), "--out", str(out), "--report-only", "--rerun"])
    assert told.exit_code == 0 and "open it with: rerun" in " ".join(told.output.split()), told.output
    with pytest.raises(InvalidInputError, match="answers to another recording"):
        write_rerun_file(recording(tmp_path / "bag", 2), out)


@pytest.mark.skipif(not WITHOUT, reason="rerun is installed")
def test_without_rerun_the_command_says_what_to_install_before_it_answers(bag: Path, tmp_path: Path) -> None:
    told = CliRunner().invoke(app, ["replay", str(bag), "-i", "both", "--rerun", "--out", str(tmp_path / "out")])
    assert told.exit_code == 2 and "pip install 'qwen-seg-ros[viz]'" in " ".join(told.output.split())
    assert not (tmp_path / "out").exists()
