"""The report of a replay: everything is in it and nothing can get out of it, it is bounded, and a browser shows its scenes."""

import base64
import hashlib
import json
import re
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

pytest.importorskip("rosbags")

from replay_recordings import frames, pipeline, recording, scene, write

from qwen_seg_ros.cli.main import app
from qwen_seg_ros.errors import InvalidInputError
from qwen_seg_ros.geometry.transform import inverse, rotation_from_quaternion
from qwen_seg_ros.offline.bags.discovery import Asked
from qwen_seg_ros.offline.bags.replay.output import LATENCIES, RESULTS, UNFINISHED
from qwen_seg_ros.offline.bags.replay.report.pictures import (
    JPEG_BYTES,
    LONGER_SIDE,
    OBJECT_POINTS,
    OTHER_POINTS,
    found_in,
    overlay_jpeg,
    scene_of,
)
from qwen_seg_ros.offline.bags.replay.report.reading import PICTURED
from qwen_seg_ros.offline.bags.replay.report.timeline import LANES, timeline
from qwen_seg_ros.offline.bags.replay.report.writing import SCENES, write_report
from qwen_seg_ros.offline.bags.replay.run import Question, replay
from qwen_seg_ros.offline.bags.replay.timetable import Timetable
from qwen_seg_ros.offline.bags.writer import open_writer

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
EVIL = "</script><script>document.title='gone'</script><img src=x onerror=alert(1)>"
ASKED = Question(Timetable.always(["both", "the fork"]))


class Page(HTMLParser):
    """What a browser would make of the text: elements with attributes, the text of each script and style, and all other text."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.inner: dict[str, list[str]] = {"script": [], "style": []}
        self.text = ""
        self.feed(file.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag in self.inner:
            self.inner[tag].append("")

    def handle_data(self, data: str) -> None:
        if self.cdata_elem in self.inner:
            self.inner[self.cdata_elem][-1] += data
        else:
            self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    def scenes(self) -> list[dict]:
        return [json.loads(text) for text in self.inner["script"][:-1]]


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A recording and the folder of its replay with report: "both" and "the fork" in four frames."""
    folder = tmp_path_factory.mktemp("report")
    bag = recording(folder / "bag", 4)
    replay(bag, ASKED, pipeline(), folder / "out")
    write_report(bag, folder / "out")
    return bag, folder / "out"


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a recording whose topic, and of an instruction whose words, are HTML."""
    folder = tmp_path_factory.mktemp("hostile")
    names = (f"/cam/{EVIL}", "/cam/depth", "/cam/camera_info")
    with open_writer(folder / "bag") as writer:
        write(writer, frames(2), names=names)
    question = Question(Timetable.always([f"both {EVIL}", "both"]), Asked(*names))
    replay(folder / "bag", question, pipeline(), folder / "out")
    return write_report(folder / "bag", folder / "out")


def test_every_answer_is_there_with_its_picture_and_its_mark(done: tuple[Path, Path]) -> None:
    page = Page(done[1] / "report.html")
    assert [a["id"] for a in page.all("article")] == [f"a{place}" for place in range(8)]
    assert [a["href"] for a in page.all("a")] == [f"#a{place}" for place in range(8)]
    assert [c["class"] for c in page.all("circle")] == ["good", "none"] * 4
    for image in page.all("img"):
        picture = decoded(image["src"])
        assert picture.shape == (120, 160, 3)
    assert len(page.all("img")) == 8 and "8 of 8 answers have a picture" in page.text
    answer = json.loads((done[1] / RESULTS).read_text().splitlines()[0])["objects"][0]
    assert " × ".join(f"{1000 * v:.0f}" for v in answer["size_m"]) in page.text
    assert "absent: the fork" in page.text and "95th percentile" in page.text


def test_a_picture_of_an_answer_is_not_the_bare_picture(done: tuple[Path, Path]) -> None:
    found, absent = (decoded(image["src"]).astype(int) for image in Page(done[1] / "report.html").all("img")[:2])
    mask = scene()[1]["the box"].instances[0].mask.full()
    assert np.abs(found - absent)[mask].mean() > 20 > 5 > np.abs(found - absent)[100:, :20].mean()
    assert np.abs(absent - scene()[0].rgb[..., ::-1]).mean() < 5  # nothing found, nothing drawn


def decoded(source: str) -> np.ndarray:
    head, data = source.split(",")
    assert head == "data:image/jpeg;base64"
    return cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_COLOR)


def test_points_of_objects_lie_in_their_boxes(done: tuple[Path, Path]) -> None:
    scenes = Page(done[1] / "report.html").scenes()
    assert len(scenes) == 4 <= SCENES  # "the fork" has none
    lines = [json.loads(line) for line in (done[1] / RESULTS).read_text().splitlines()]
    for shown, line in zip(scenes, lines[::2], strict=True):
        check_scene(shown, line["objects"], np.eye(3))


def check_scene(shown: dict, objects: list[dict], turn: np.ndarray) -> None:
    """Points, boxes and hands are put together as the page's script does it, and must fit the answer turned by `turn`, (3, 3)."""
    points = array(shown["points"], "<i2", 3) * shown["unit"]
    ids, colors = array(shown["ids"], np.uint8, 1)[:, 0], array(shown["colors"], np.uint8, 3)
    assert len(points) == len(ids) == len(colors) and (ids == 0).any()
    every = np.concatenate([np.array(ends) for _, grasp, ends in shown["lines"] if not grasp])
    np.testing.assert_allclose(every.min(axis=0) + every.max(axis=0), 0, atol=3e-4)  # drawn about their middle
    for item in objects:
        box = np.concatenate([ends for number, grasp, ends in shown["lines"] if number == item["id"] and not grasp])
        centre = box.mean(axis=0)
        rotation = turn @ rotation_from_quaternion(np.array(item["pose"]["quaternion_xyzw"]))
        inside = np.abs((points[ids == item["id"]] - centre) @ rotation) < np.array(item["size_m"]) / 2 + 0.005
        assert inside.all(axis=1).mean() > 0.95 and len(inside) > 100
        hand = next(np.array(ends) for number, grasp, ends in shown["lines"] if number == item["id"] and grasp)
        place = turn @ (np.array(item["grasps"][0]["pose"]["position_m"]) - np.array(item["pose"]["position_m"]))
        np.testing.assert_allclose((hand[5] + hand[7]) / 2 - centre, place, atol=3e-4)  # between the finger tips


def array(text: str, kind: str | type, width: int) -> np.ndarray:
    return np.frombuffer(base64.b64decode(text), kind).reshape(-1, width)


def test_a_scene_in_the_cameras_frame_is_turned_upright(hostile: Path) -> None:
    """Without transforms answers are in the optical frame, whose y points down."""
    lines = [json.loads(line) for line in (hostile.parent / RESULTS).read_text().splitlines()]
    assert all(line["frame"] == line["camera_frame"] == "camera" for line in lines)
    upright = np.array([[1, 0, 0], [0, 0, 1], [0, -1, 0]])
    for shown, line in zip(Page(hostile).scenes(), lines[1::2], strict=True):
        check_scene(shown, line["objects"], upright)
        points = array(shown["points"], "<i2", 3) * shown["unit"]
        assert (points[:, 1] > shown["eye"][1]).all()  # what the camera sees lies ahead of it: +y


def test_what_is_html_in_a_recording_or_an_instruction_is_text(hostile: Path) -> None:
    page = Page(hostile)
    assert page.text.count(f"both {EVIL}") >= 3 and f"/cam/{EVIL}" in page.text
    assert all(image["src"].startswith("data:image/jpeg;base64,") for image in page.all("img"))
    assert not [name for _, attributes in page.elements for name in attributes if name.startswith("on")]
    kinds = [script.get("type") for script in page.all("script")]
    assert kinds[-1] is None and set(kinds[:-1]) <= {"application/json"}


def test_the_policy_forbids_every_connection_and_every_other_script(done: tuple[Path, Path]) -> None:
    page = Page(done[1] / "report.html")
    policy = next(m["content"] for m in page.all("meta") if m.get("http-equiv") == "Content-Security-Policy")
    allowed = dict(part.strip().split(" ", 1) for part in policy.split(";"))
    assert allowed["default-src"] == "'none'" and allowed["img-src"] == "data:"
    for name, text in (("script-src", page.inner["script"][-1]), ("style-src", page.inner["style"][0])):
        assert allowed[name] == f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
    assert not [a for _, a in page.elements if "style" in a]  # the policy would not apply it
    assert not re.search(r"(src|href)=\"?(https?:)?//", (done[1] / "report.html").read_text())


def test_pictures_are_few_evenly_chosen_and_small(tmp_path: Path) -> None:
    bag = recording(tmp_path / "bag", PICTURED + 15)
    replay(bag, Question(Timetable.always(["the fork"])), pipeline(), tmp_path / "out")
    page = Page(write_report(bag, tmp_path / "out"))
    looks = ["card" in article["class"] for article in page.all("article")]
    assert len(looks) == PICTURED + 15 and sum(looks) == PICTURED == len(page.all("img"))
    assert looks[0] and looks[-1] and not any(not one and not next_one for one, next_one in pairwise(looks))


def test_a_picture_and_a_scene_are_bounded_whatever_the_camera(done: tuple[Path, Path]) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (1500, 2000, 3), dtype=np.uint8)
    frame, camera = frames(1)[0], frames(1)[0].camera.scaled_to(2000, 1500)
    depth_m = np.full((1500, 2000), 0.8, np.float32)
    large = replace(frame, rgb=noise, depth_m=depth_m, camera=camera)
    line = json.loads((done[1] / RESULTS).read_text().splitlines()[0])
    for item in line["segments"]:
        item["mask"] = {"size": [1500, 2000], "counts": [1_000_000, 1_000_000, 1_000_000]}
    found = found_in(line, large)
    data = overlay_jpeg(large, found, inverse(frame.base_from_camera))
    assert len(data) <= JPEG_BYTES and max(cv2.imdecode(np.frombuffer(data, np.uint8), 1).shape[:2]) == LONGER_SIDE
    ids = array(scene_of(large, found, inverse(frame.base_from_camera), False)["ids"], np.uint8, 1)
    assert OBJECT_POINTS / 3 < (ids > 0).sum() <= OBJECT_POINTS and (ids == 0).sum() <= OTHER_POINTS


def test_failures_are_not_hidden_by_marks_beside_them() -> None:
    ends = ("INVALID_INPUT", "OK", "NO_DEPTH", "NOT_FOUND", "SOMETHING_NEW")
    lines = [(n, {"time_s": 1e-3 * n, "instruction": "a", "status": status}) for n, status in enumerate(ends)]
    looks = re.findall(r'<circle class="(\w+)"', timeline(lines))
    assert looks == ["good", "none", "fair", "bad", "bad"]


def test_many_instructions_share_the_last_line_of_the_timeline() -> None:
    lines = [(n, {"time_s": float(n), "instruction": f"thing {n}", "status": "OK"}) for n in range(2 * LANES)]
    drawn = timeline(lines)
    heights = [int(y) for y in re.findall(r'cy="(\d+)"', drawn)]
    assert len(set(heights)) == LANES and heights[LANES - 1 :] == [max(heights)] * (LANES + 1)
    assert "thing 10<" in drawn and ">thing 11<" not in drawn and "other instructions" in drawn


def test_a_replay_that_was_interrupted_has_a_report_that_says_so(done: tuple[Path, Path], tmp_path: Path) -> None:
    out = tmp_path / "out"
    shutil.copytree(done[1], out)
    (out / LATENCIES).unlink()
    (out / UNFINISHED).touch()
    (out / RESULTS).write_text("".join((out / RESULTS).read_text().splitlines(keepends=True)[:3]))
    page = Page(write_report(done[0], out))
    assert "interrupted" in page.text and "3 of 3 answers have a picture" in page.text and "by stage" not in page.text
    assert "interrupted" not in Page(done[1] / "report.html").text


def spoil_line(out: Path, line: str) -> None:
    lines = (out / RESULTS).read_text().splitlines()
    (out / RESULTS).write_text("\n".join([lines[0], line, *lines[2:]]) + "\n")


SPOILT = {
    "no json": ('{"stamp_ns": 1', "results.jsonl, line 2 is damaged"),
    "no object": ("7", "results.jsonl, line 2 is"),
    "a field less": ('{"stamp_ns": 1}', "line 2 is no answer of a replay: time_s, instruction"),
}


@pytest.mark.parametrize("line, reason", SPOILT.values(), ids=SPOILT)
def test_a_damaged_line_is_named(done: tuple[Path, Path], tmp_path: Path, line: str, reason: str) -> None:
    shutil.copytree(done[1], tmp_path / "out")
    spoil_line(tmp_path / "out", line)
    with pytest.raises(InvalidInputError, match=reason):
        write_report(done[0], tmp_path / "out")


def test_a_mask_that_is_not_of_the_picture_is_refused(done: tuple[Path, Path], tmp_path: Path) -> None:
    shutil.copytree(done[1], tmp_path / "out")
    first = json.loads((tmp_path / "out" / RESULTS).read_text().splitlines()[0])
    first["segments"][0]["mask"] = {"size": [10**6, 10**6], "counts": [10**12]}
    spoil_line(tmp_path / "out", json.dumps(first))
    with pytest.raises(InvalidInputError, match="line 2 is no answer to this picture"):
        write_report(done[0], tmp_path / "out")


def call(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["replay", *map(str, arguments)])
    return result.exit_code, " ".join(result.output.replace("│", " ").split())


def test_the_command_makes_it_again_without_a_model(done: tuple[Path, Path], tmp_path: Path) -> None:
    before = (done[1] / "report.html").read_bytes()
    (done[1] / "report.html").unlink()
    code, said = call(done[0], "--out", done[1], "--report-only")
    assert code == 0 and "report.html" in said, said
    assert (done[1] / "report.html").read_bytes() == before


def test_the_command_says_what_it_cannot_report(done: tuple[Path, Path], tmp_path: Path) -> None:
    code, said = call(done[0], "--out", tmp_path, "--report-only")
    assert code == 2 and "holds no replay (run.json and results.jsonl)" in said
    code, said = call(recording(tmp_path / "other", 1), "--out", done[1], "--report-only")
    assert code == 2 and "answers to another recording" in said
    code, said = call(done[0], "--out", done[1], "--report-only", "-i", "the box")
    assert code == 2 and "asks nothing" in said


def browse(file: Path, view: str, folder: Path) -> tuple[str, list[str]]:
    """The page as chromium has it after its script ran, and what its console said."""
    quiet = ("--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", f"--user-data-dir={folder}")
    command = [CHROMIUM, *quiet, "--virtual-time-budget=3000", "--window-size=1200,1600", "--dump-dom", f"{file.as_uri()}{view}"]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    return ran.stdout, [line for line in ran.stderr.splitlines() if "CONSOLE" in line]


@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")
def test_a_browser_draws_the_scenes_and_turns_them(done: tuple[Path, Path], tmp_path: Path) -> None:
    drawn = []
    for view in ("", "#view=100,30,8"):
        shown, said = browse(done[1] / "report.html", view, tmp_path)
        assert said == []
        drawn.append([int(n) for n in re.findall(r'data-points="(\d+)"', shown)])
    assert [len(points) for points in drawn] == [4, 4]
    assert all(0 < near < far for far, near in zip(*drawn, strict=True))  # zoom leaves fewer inside


@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")
def test_a_browser_runs_nothing_of_the_recording(hostile: Path, tmp_path: Path) -> None:
    injected = hostile.read_text().replace("</main>", "<script>document.title='gone'</script></main>")
    for text, complaints in ((hostile.read_text(), 0), (injected, 1)):  # the second: escaping had failed
        (tmp_path / "page.html").write_text(text)
        shown, said = browse(tmp_path / "page.html", "", tmp_path / "profile")
        assert "<title>Replay of bag</title>" in shown and len(said) == complaints
