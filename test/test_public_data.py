"""Public sets in the formats in which they are published: tiny ones made here, whole and broken."""

import json
import os
import pickle
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from typer.testing import CliRunner

from qwen_seg_ros.cli.main import app
from qwen_seg_ros.errors import InvalidInputError
from qwen_seg_ros.frame import Frame
from qwen_seg_ros.geometry.mask import CroppedMask, encode_rle
from qwen_seg_ros.offline.evaluation.public.coco_masks import Polygons, parse_segmentation
from qwen_seg_ros.offline.evaluation.public.plain_pickle import read_plain_pickle
from qwen_seg_ros.offline.evaluation.public.reason_seg import load_reason_seg
from qwen_seg_ros.offline.evaluation.public.refer import load_refer
from qwen_seg_ros.offline.evaluation.public.results_out import About, Measured, print_results, write_results
from qwen_seg_ros.offline.evaluation.public.run import COLOUR, FILLED_BOX, MODEL, Answers, ask_boxes, ask_words
from qwen_seg_ros.offline.evaluation.public.sa1b import load_sa1b
from qwen_seg_ros.offline.evaluation.public.split import PublicSplit
from qwen_seg_ros.segmentation.instruction import Instruction
from qwen_seg_ros.segmentation.result import Instance, Outcome, SegmentationResult

H, W = 30, 40


def rectangle(x0: int, y0: int, x1: int, y1: int) -> np.ndarray:
    mask = np.zeros((H, W), bool)
    mask[y0:y1, x0:x1] = True
    return mask


def outline(x0: float, y0: float, x1: float, y1: float) -> list[float]:
    return [x0, y0, x1, y0, x1, y1, x0, y1]


LEFT, RIGHT = (4, 5, 14, 25), (20, 5, 30, 25)


class Says:
    """Answers each text with what it was told to; counts how often it looked."""

    def __init__(self, answers: dict[str, np.ndarray | None]) -> None:
        self.answers, self.looks = answers, 0

    def encode(self, frame: Frame) -> Frame:
        self.looks += 1
        return frame

    def segment(self, encoded: Frame, instruction: Instruction) -> SegmentationResult:
        mask = self.answers[instruction.text]
        if mask is None:
            return SegmentationResult(instruction.text, Outcome.NOT_FOUND)
        crop = CroppedMask.from_full(mask)
        return SegmentationResult(instruction.text, Outcome.FOUND, (Instance("it", crop.box_px, crop, 0.9, 0.9),))


def write_picture(file: Path, height: int = H, width: int = W) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(file), np.random.default_rng(0).integers(0, 255, (height, width, 3), np.uint8))


# --- RefCOCO and gRefCOCO -------------------------------------------------------------------------------------------


def sentence(number: int, text: str) -> dict:
    return {"sent_id": number, "sent": text, "raw": text.capitalize(), "tokens": text.split()}


def ref(number: int, image: int, annotation: Any, *sentences: dict, split: str = "val") -> dict:
    name = f"COCO_train2014_{image:012d}_{number}.jpg"
    ids = [s["sent_id"] for s in sentences]
    values = {"ref_id": number, "ann_id": annotation, "category_id": 1, "image_id": image, "file_name": name}
    return {**values, "split": split, "sent_ids": ids, "sentences": list(sentences)}


REFS = [
    ref(7, 1, 11, sentence(0, "left thing"), sentence(1, "the one on the left")),
    ref(8, 1, 12, sentence(2, "right thing")),
    ref(9, 2, 13, sentence(3, "all of it"), split="testA"),
]
GREFS = [
    ref(1, 1, [11, 12], sentence(0, "both things")),
    ref(2, 1, [-1], sentence(1, "the dog")),
    ref(3, 1, [-1], sentence(2, "the cat")),
    ref(4, 1, [11], sentence(3, "left thing")),
]


def annotation(number: int, image: int, segmentation: Any, **more: Any) -> dict:
    return {"id": number, "image_id": image, "category_id": 1, "segmentation": segmentation, "iscrowd": 0, **more}


def instances() -> dict:
    images = [{"id": n, "file_name": f"COCO_train2014_{n:012d}.jpg", "height": H, "width": W} for n in (1, 2)]
    runs = {"size": [H, W], "counts": encode_rle(rectangle(*RIGHT))}
    annotations = [annotation(11, 1, [outline(*LEFT)]), annotation(12, 1, runs), annotation(13, 2, [outline(*LEFT)])]
    return {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "thing"}]}


def refer_folder(folder: Path, refs: Any = REFS, known: Any = None, protocol: int = 2, dataset: str = "refcoco") -> Path:
    own = folder / dataset
    own.mkdir(parents=True, exist_ok=True)
    if dataset == "grefcoco":
        (own / "grefs(unc).json").write_text(json.dumps(refs))
    else:
        (own / "refs(unc).p").write_bytes(pickle.dumps(refs, protocol))
    (own / "instances.json").write_text(json.dumps(known or instances()))
    for n in (1, 2):
        write_picture(folder / "images/mscoco/images/train2014" / f"COCO_train2014_{n:012d}.jpg")
    return folder


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_refcoco_gives_every_sentence_with_its_mask(tmp_path: Path, protocol: int) -> None:
    split = load_refer("refcoco", refer_folder(tmp_path, protocol=protocol), "val")
    (picture,) = split.pictures
    assert [q.text for q in picture.questions] == ["left thing", "the one on the left", "right thing"]
    assert picture.questions[1].entry == "ref 7, sentence 1"
    for question, box in zip(picture.questions, (LEFT, LEFT, RIGHT), strict=True):
        assert np.array_equal(question.truth.paint(H, W), rectangle(*box))


def test_pickles_of_python_2_are_read(tmp_path: Path) -> None:
    """Their byte strings become text, in the text format and in the binary one."""
    file = tmp_path / "refs(unc).p"
    file.write_bytes(b"(lp0\n(dp1\nS'sent'\np2\nS'a dog'\np3\nsS'id'\np4\nI5\nsa.")
    assert read_plain_pickle(file) == [{"sent": "a dog", "id": 5}]
    file.write_bytes(b"\x80\x02]q\x01}q\x02U\x04sentq\x03U\x05caf\xc3\xa9q\x04sa.")
    assert read_plain_pickle(file) == [{"sent": "café"}]


def test_figures_of_refcoco_are_those_of_the_papers(tmp_path: Path) -> None:
    split = load_refer("refcoco", refer_folder(tmp_path), "val")
    half = rectangle(4, 5, 9, 25)
    model = Says({"left thing": rectangle(*LEFT), "the one on the left": half, "right thing": rectangle(0, 0, 2, 2)})
    answers = ask_words(model, split)
    found = Measured(split, 1, answers).figures()[MODEL]
    assert model.looks == 1
    assert found["miou"].value == pytest.approx((1 + 0.5 + 0) / 3, abs=1e-6)
    assert found["ciou"].value == pytest.approx((200 + 100 + 0) / (200 + 200 + 204), abs=1e-9)
    assert found["p50"].value == pytest.approx(1 / 3) and found["p90"].value == pytest.approx(1 / 3)


def test_figures_of_grefcoco_follow_its_rules(tmp_path: Path) -> None:
    split = load_refer("grefcoco", refer_folder(tmp_path, GREFS, dataset="grefcoco"), "val")
    said = {"both things": rectangle(*LEFT), "the dog": None, "the cat": rectangle(0, 0, 5, 5), "left thing": None}
    found = Measured(split, 1, ask_words(Says(said), split)).figures()[MODEL]
    assert found["giou"].value == pytest.approx((0.5 + 1 + 0 + 0) / 4)
    assert found["ciou"].value == pytest.approx(200 / (400 + 0 + 25 + 200))
    assert found["n_acc"].value == 0.5 and found["t_acc"].value == 0.5 and found["p70"].value == 0.0


def test_crowds_of_an_expression_are_left_out(tmp_path: Path) -> None:
    known = instances()
    known["annotations"][1]["iscrowd"] = 1
    split = load_refer("grefcoco", refer_folder(tmp_path, GREFS[:1], known, dataset="grefcoco"), "val")
    assert np.array_equal(split.pictures[0].questions[0].truth.paint(H, W), rectangle(*LEFT))


class Shell:
    """What a hostile file would hold: unpickled by Python's own reader it runs a command."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple:
        return os.system, (f"touch {self.file}",)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickle_that_would_run_a_command_is_refused(tmp_path: Path, protocol: int) -> None:
    mark = tmp_path / "ran"
    folder = refer_folder(tmp_path, protocol=protocol)
    file = folder / "refcoco" / "refs(unc).p"
    file.write_bytes(pickle.dumps([Shell(mark)], protocol))
    with pytest.raises(
        InvalidInputError, match=r"refs\(unc\)\.p: asks at byte \d+ for more than plain values.*published|publisher"
    ):
        load_refer("refcoco", folder, "val")
    assert not mark.exists()
    pickle.loads(file.read_bytes())  # noqa: S301 - made above: shows that the danger was real
    assert mark.exists()


PLAIN = pickle.dumps(REFS, 2)
BAD_PICKLES = {
    "empty": b"",
    "cut off": PLAIN[: len(PLAIN) // 2],
    "text": b"hello",
    "huge memo": b"\x80\x02]r" + struct.pack("<I", 2**31 - 1) + b".",
    "unknown memo": b"\x80\x02h\x07.",
    "list as key": b"\x80\x02}]K\x01s.",
    "number of 800 bits": pickle.dumps([1 << 800], 2),
    "class": pickle.dumps([Path], 2),
    "bytes": pickle.dumps([b"abc"], 4),
    "set": pickle.dumps([{1, 2}], 4),
    "stack underflow": b"\x80\x02a.",
}


@pytest.mark.parametrize("name", BAD_PICKLES)
def test_bad_pickles_are_refused_with_their_name(tmp_path: Path, name: str) -> None:
    file = tmp_path / "refs(unc).p"
    file.write_bytes(BAD_PICKLES[name])
    with pytest.raises(InvalidInputError, match=r"refs\(unc\)\.p: .*must be a pickle of dicts"):
        read_plain_pickle(file)


plain_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63) + 1, 2**63 - 1) | st.floats(allow_nan=False) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=4) | st.tuples(inner, inner) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=20,
)


@given(value=plain_values, protocol=st.integers(0, pickle.HIGHEST_PROTOCOL))
def test_every_plain_value_survives(tmp_path_factory: pytest.TempPathFactory, value: Any, protocol: int) -> None:
    file = tmp_path_factory.getbasetemp() / "plain.p"
    file.write_bytes(pickle.dumps(value, protocol))
    assert read_plain_pickle(file) == value


def laughs(levels: int) -> list:
    """Few bytes that stand for 10 ** levels texts."""
    value: list = ["ha"] * 10
    for _ in range(levels):
        value = [value] * 10
    return value


def broken_refs() -> dict[str, tuple[dict, dict, str]]:
    """What is wrong: the ref, instances.json, words of the reason."""
    good, known = ref(99, 1, 11, sentence(90, "x")), instances()
    alien, odd, short, sliver = instances(), instances(), instances(), instances()
    alien["annotations"][0]["image_id"] = 2
    odd["annotations"][0]["segmentation"] = [[1, 2, 3, 4, 5, 6, 7]]
    short["annotations"][0]["segmentation"] = [[1, 2, 3, 4]]
    sliver["annotations"][0]["segmentation"] = {"size": [H, W], "counts": [[1]]}
    return {
        "no such picture": ({**good, "image_id": 5}, known, "image_id 5 is not in instances.json"),
        "no such annotation": ({**good, "ann_id": 5}, known, "ann_id 5 is not in instances.json"),
        "another picture's": (good, alien, "ann_id 11 belongs to another picture, 2"),
        "odd polygon": (good, odd, "pairs x, y, got 7 numbers"),
        "no polygon": (good, short, "no polygon of three points"),
        "nested runs": (good, sliver, "counts must be whole numbers"),
        "no sentences": ({k: v for k, v in good.items() if k != "sentences"}, known, "has no 'sentences'"),
        "a text as id": ({**good, "image_id": "1"}, known, "image_id must be int, got str"),
        "laughs for an id": ({**good, "ann_id": laughs(12)}, known, "ann_id must be a number"),
        "laughs for a text": ({**good, "sentences": [{"sent": laughs(12), "sent_id": laughs(12)}]}, known, "sent must be str"),
        "no ref": (laughs(12), known, "must be an object"),
    }


@pytest.mark.parametrize("name", broken_refs())
def test_a_few_broken_refs_are_left_out_and_told(tmp_path: Path, name: str) -> None:
    bad, known, reason = broken_refs()[name]
    good = [ref(n, 2, 13, sentence(n, "it")) for n in range(30)]
    split = load_refer("refcoco", refer_folder(tmp_path, [*good, bad], known), "val")
    assert split.questions == 30
    (told,) = split.left_out.reasons
    entry = "ref 99" if isinstance(bad, dict) else "entry 30"
    assert told.startswith(f"{tmp_path}/refcoco/refs(unc).p: {entry}: ") and reason in told
    with pytest.raises(InvalidInputError, match=r"2 of 12 entries cannot be used, which is more than 5%; the first: .*refs"):
        load_refer("refcoco", refer_folder(tmp_path, [*good[:10], bad, bad], known), "val")


def test_a_picture_that_leads_out_of_its_folder_is_refused(tmp_path: Path) -> None:
    known = instances()
    known["images"][0]["file_name"] = "../../../../secret.jpg"
    write_picture(tmp_path / "secret.jpg")
    with pytest.raises(InvalidInputError, match=r"no picture '\.\./\.\./\.\./\.\./secret\.jpg' in .*train2014"):
        load_refer("refcoco", refer_folder(tmp_path, REFS[:2], known), "val")


def damage(name: str) -> Callable[[Path], None]:
    pictures = "images/mscoco/images/train2014"
    return {
        "no refs": lambda f: (f / "refcoco/refs(unc).p").unlink(),
        "no instances": lambda f: (f / "refcoco/instances.json").unlink(),
        "broken instances": lambda f: (f / "refcoco/instances.json").write_text('{"images": ['),
        "instances of another kind": lambda f: (f / "refcoco/instances.json").write_text("{}"),
        "refs of another kind": lambda f: (f / "refcoco/refs(unc).p").write_bytes(pickle.dumps({"refs": 1})),
        "no pictures": lambda f: (f / pictures).rename(f / "elsewhere"),
        "one picture": lambda f: (f / pictures / "COCO_train2014_000000000001.jpg").unlink(),
    }[name]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("no refs", r"no file .*refcoco/refs\(unc\)\.p \(there: none\); --data is the folder that holds refcoco/"),
        ("no instances", r"instances\.json: cannot be read \(No such file or directory\); docs/public_data\.md lists the files"),
        ("broken instances", r"instances\.json: not JSON .*fetch the file again"),
        ("instances of another kind", r"instances\.json: has no 'images'; is it the published file\?"),
        ("refs of another kind", r"refs\(unc\)\.p: must hold a list of 1 to 2000000 refs, got dict"),
        ("no pictures", r"none of images/mscoco/images/train2014, .*; name the folder with --images"),
        ("one picture", r"ref 7: no picture 'COCO_train2014_000000000001\.jpg' in .*train2014; unpack the pictures there"),
    ],
)
def test_a_damaged_folder_is_refused_with_what_would_do(tmp_path: Path, name: str, words: str) -> None:
    folder = refer_folder(tmp_path)
    damage(name)(folder)
    with pytest.raises(InvalidInputError, match=words):
        load_refer("refcoco", folder, "val")


def test_an_unknown_split_is_told_those_that_are_there(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"has no split 'test'; it has testA, val"):
        load_refer("refcoco", refer_folder(tmp_path), "test")


def test_pictures_of_another_size_are_no_truth_for_the_masks(tmp_path: Path) -> None:
    folder = refer_folder(tmp_path)
    write_picture(folder / "images/mscoco/images/train2014/COCO_train2014_000000000001.jpg", H // 2, W // 2)
    with pytest.raises(InvalidInputError, match=r"ref 7, sentence 0: .*20x15 pixels, annotated as 40x30; give the original"):
        ask_words(Says({}), load_refer("refcoco", folder, "val"))


# --- masks ----------------------------------------------------------------------------------------------------------


def test_a_polygon_holds_the_pixels_whose_centre_it_holds() -> None:
    ring = np.array(outline(3.4, 2.6, 7.6, 5.4)).reshape(-1, 2)  # centres from 3.5 to 7.5 and from 3.5 to 4.5
    assert np.array_equal(Polygons((ring,)).mask(H, W), rectangle(3, 3, 8, 5))


corners = st.lists(st.tuples(st.floats(-9, W + 9), st.floats(-9, H + 9)), min_size=3, max_size=9)


@given(points=corners, shift=st.integers(0, 8))
def test_polygons_do_not_care_where_they_begin_nor_which_way_they_turn(points: list, shift: int) -> None:
    ring = np.array(points)
    filled = Polygons((ring,)).mask(H, W)
    assert np.array_equal(Polygons((np.roll(ring[::-1], shift, axis=0),)).mask(H, W), filled)


@given(points=corners)
def test_polygons_agree_with_a_point_test_at_every_centre(points: list) -> None:
    ring = np.array(points)
    x, y = np.meshgrid(np.arange(W) + 0.5, np.arange(H) + 0.5)
    inside = np.zeros((H, W), bool)
    for (x0, y0), (x1, y1) in zip(ring, np.roll(ring, -1, axis=0), strict=True):
        crosses = (np.minimum(y0, y1) <= y) & (y < np.maximum(y0, y1))
        inside ^= crosses & (x0 + (y - y0) * ((x1 - x0) / (y1 - y0 or 1.0)) <= x)
    assert np.array_equal(Polygons((ring,)).mask(H, W), inside)


def test_polygons_and_runs_agree_with_pycocotools() -> None:
    coco = pytest.importorskip("pycocotools.mask", reason="compares with pycocotools: pip install 'qwen-seg-ros[eval]'")
    rng = np.random.default_rng(0)
    ious = []
    for _ in range(50):
        angles = np.sort(rng.uniform(0, 2 * np.pi, 12))
        radii = rng.uniform(20, 60, (12, 1))
        ring = np.array([100, 80]) + radii * np.stack([np.cos(angles), np.sin(angles)], axis=1)
        ours = Polygons((ring,)).mask(160, 200)
        encoded = coco.frPyObjects([ring.ravel().tolist()], 160, 200)[0]
        theirs = coco.decode(encoded).astype(bool)
        ious.append((ours & theirs).sum() / (ours | theirs).sum())
        runs = parse_segmentation({"size": encoded["size"], "counts": encoded["counts"].decode()})
        assert np.array_equal(runs.mask(160, 200), theirs)
    assert np.mean(ious) > 0.985


@pytest.mark.parametrize(
    ("segmentation", "words"),
    [
        ({"size": [H, W], "counts": [5, 5]}, "add up to 1200"),
        ({"size": [W, H], "counts": [H * W]}, r"must be \[30, 40\] as the picture's, got \[40, 30\]"),
        ({"size": [H, W], "counts": "=33"}, "RLE"),
        ({"size": [H, W], "counts": "\x01"}, "compressed RLE"),
        ({"size": [H, W], "counts": [-1, H * W + 1]}, "whole numbers"),
        ({"size": [H], "counts": [1]}, r"size must be \[height, width\]"),
        ({"size": [10**9, 10**9], "counts": [1]}, r"size must be \[height, width\]"),
        ({"counts": [1]}, "has no 'size'"),
        ([[1, 2, 3, float("nan"), 5, 6]], "numbers of pixels, got nan"),
        ([[1, 2, 3, 10**400, 5, 6]], "numbers of pixels"),
        ([[1, 2, 3, "4", 5, 6]], "numbers of pixels, got '4'"),
        ("polygon", "must be an object"),
    ],
)
def test_masks_that_are_none_are_refused(segmentation: Any, words: str) -> None:
    with pytest.raises(InvalidInputError, match=words):
        parse_segmentation(segmentation).mask(H, W)


# --- ReasonSeg ------------------------------------------------------------------------------------------------------


def shape(label: str, box: tuple[int, int, int, int]) -> dict:
    points = np.array(outline(*box), float).reshape(-1, 2).tolist()
    return {"label": label, "labels": [label], "shape_type": "polygon", "points": points, "group_id": None, "flags": {}}


def reason_folder(folder: Path, values: Any, name: str = "a", encoding: str = "utf-8") -> Path:
    write_picture(folder / "val" / f"{name}.jpg")
    (folder / "val" / f"{name}.json").write_text(json.dumps(values, ensure_ascii=False), encoding=encoding)
    return folder


QUESTION = {"text": ["what keeps the rain off?", "a rewording"], "is_sentence": True}
REASON = {**QUESTION, "shapes": [shape("ignore", (5, 5, 6, 6)), shape("target", (2, 2, 21, 21)), shape("flag", (0, 0, 39, 29))]}


def test_reason_seg_paints_small_shapes_on_top_and_counts_no_ignored_pixel(tmp_path: Path) -> None:
    split = load_reason_seg(reason_folder(tmp_path, REASON), "val")
    (question,) = split.pictures[0].questions
    expected = rectangle(2, 2, 22, 22).astype(np.uint8)  # outlines belong to the shape
    expected[5:7, 5:7] = 255
    assert question.text == "what keeps the rain off?" and np.array_equal(question.truth.paint(H, W), expected)
    said = rectangle(5, 5, 7, 7) | rectangle(2, 2, 22, 4)  # four pixels on the ignored part, forty on the target
    found = Measured(split, 1, ask_words(Says({question.text: said}), split)).figures()[MODEL]
    assert found["ciou"].value == pytest.approx(40 / 396) and found["giou"].value == pytest.approx(40 / 396, abs=1e-6)


def test_reason_seg_reads_western_encodings(tmp_path: Path) -> None:
    values = {**REASON, "text": ["the person’s hat"]}
    split = load_reason_seg(reason_folder(tmp_path, values, encoding="cp1252"), "val")
    assert split.pictures[0].questions[0].text == "the person’s hat"


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({**REASON, "text": []}, "text must be a list that begins with the question"),
        ({**REASON, "text": "what?"}, "text must be list, got str"),
        ({**REASON, "shapes": [{**shape("target", LEFT), "points": [[1, 2], [3]]}]}, r"pairs \[x, y\]"),
        (
            {**REASON, "shapes": [{**shape("target", LEFT), "points": [[1, None]]}]},
            "points must hold numbers of pixels, got None",
        ),
        ({"shapes": []}, "has no 'text'"),
        ([], "must be an object with 'text', got list"),
    ],
)
def test_broken_files_of_reason_seg_are_named(tmp_path: Path, values: Any, words: str) -> None:
    with pytest.raises(InvalidInputError, match=rf"a\.json: text and shapes: .*{words}"):
        load_reason_seg(reason_folder(tmp_path, values), "val")


def test_a_truth_without_pixels_ends_the_run_only_where_it_is_no_exception(tmp_path: Path) -> None:
    for n in range(30):
        reason_folder(tmp_path, {**REASON, "text": ["x"]}, f"good{n}")
    reason_folder(tmp_path, {**REASON, "shapes": [shape("ignore", LEFT)]}, "bad")
    model = Says({"x": rectangle(2, 2, 22, 22)})
    split = load_reason_seg(tmp_path, "val")
    answers = ask_words(model, split)
    assert len(answers.rows[MODEL]) == 30
    (told,) = answers.left_out.reasons
    assert "bad.json: text 0: no shape of the target has a pixel" in told
    with pytest.raises(InvalidInputError, match="1 of 3 entries cannot be used"):
        ask_words(model, split.first(3))


def test_a_folder_without_the_split_tells_those_there(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"no \*\.json in .*test \(there: val\)"):
        load_reason_seg(reason_folder(tmp_path, REASON), "test")


# --- SA-1B ----------------------------------------------------------------------------------------------------------


def sa1b_folder(folder: Path, *annotations: dict, number: int = 1) -> Path:
    write_picture(folder / f"sa_{number}.jpg")
    image = {"image_id": number, "width": W, "height": H, "file_name": f"sa_{number}.jpg"}
    (folder / f"sa_{number}.json").write_text(json.dumps({"image": image, "annotations": annotations}))
    return folder


def sa1b_annotation(box: tuple[int, int, int, int]) -> dict:
    x0, y0, x1, y1 = box
    runs = {"size": [H, W], "counts": encode_rle(rectangle(*box))}
    return {"id": 1, "segmentation": runs, "bbox": [x0, y0, x1 - x0, y1 - y0], "area": 1, "predicted_iou": 0.9}


def test_sa1b_asks_boxes_for_their_masks(tmp_path: Path) -> None:
    split = load_sa1b(sa1b_folder(tmp_path, sa1b_annotation(LEFT), sa1b_annotation(RIGHT)))
    assert [q.box_px.tolist() for q in split.pictures[0].questions] == [list(LEFT), list(RIGHT)]
    answers = ask_boxes(split)
    assert len(answers.rows[COLOUR]) == 2
    assert all(row.counted.shared == row.counted.union == 200 for row in answers.rows[FILLED_BOX])


def test_sa1b_reads_the_compressed_runs_that_it_is_published_with(tmp_path: Path) -> None:
    """The string was written by pycocotools 2.0.11 for rows 1..3 and columns 2..4 of a picture of 8 x 6."""
    write_picture(tmp_path / "sa_1.jpg", 6, 8)
    annotations = [{"segmentation": {"size": [6, 8], "counts": "=33000a0"}, "bbox": [2, 1, 3, 3]}]
    image = {"width": 8, "height": 6, "file_name": "sa_1.jpg"}
    (tmp_path / "sa_1.json").write_text(json.dumps({"image": image, "annotations": annotations}))
    (question,) = load_sa1b(tmp_path).pictures[0].questions
    assert np.argwhere(question.truth.paint(6, 8)).tolist() == [[y, x] for y in (1, 2, 3) for x in (2, 3, 4)]


def test_sa1b_names_what_is_broken(tmp_path: Path) -> None:
    bad = {**sa1b_annotation(LEFT), "bbox": [1, 2, -3, 4]}
    split = load_sa1b(sa1b_folder(tmp_path, *[sa1b_annotation(RIGHT)] * 30, bad))
    (told,) = split.left_out.reasons
    assert "sa_1.json: annotation 30: bbox must have a width and height of 0 or more, got -3 and 4" in told
    with pytest.raises(InvalidInputError, match=r"no sa_\*\.json"):
        load_sa1b(tmp_path / "elsewhere")
    with pytest.raises(InvalidInputError, match="no question"):
        load_sa1b(sa1b_folder(tmp_path))


# --- what is written ------------------------------------------------------------------------------------------------


def measured(folder: Path) -> Measured:
    split: PublicSplit = load_refer("refcoco", refer_folder(folder), "val")
    truth = {"left thing": LEFT, "the one on the left": LEFT, "right thing": RIGHT}
    answers: Answers = ask_words(Says({text: rectangle(*box) for text, box in truth.items()}), split)
    return Measured(split, 5, answers)


def test_results_say_what_was_asked_and_left_out(tmp_path: Path) -> None:
    of = measured(tmp_path)
    of.split.left_out.reasons.append("refs(unc).p: ref 3: no picture")
    found = of.figures()
    write_results(tmp_path / "out", of, About("here", "tabletop", {}), found)
    values = json.loads((tmp_path / "out" / "results.json").read_text())
    assert values["figures"][MODEL]["ciou"]["value"] == 1 and values["pictures"] == {"asked": 1, "in the split": 5}
    assert values["left_out"]["when the files were opened"]["first"] == ["refs(unc).p: ref 3: no picture"]
    rows = [json.loads(line) for line in (tmp_path / "out" / "questions.jsonl").read_text().splitlines()]
    assert [row["entry"] for row in rows] == ["ref 7, sentence 0", "ref 7, sentence 1", "ref 8, sentence 2"]
    console = Console(width=120, record=True, quiet=False, file=open(os.devnull, "w"))  # noqa: SIM115
    print_results(console, of, found)
    shown = console.export_text()
    assert "3 questions about 1 pictures, the first of 5: not to be compared" in shown
    assert "100.0" in shown and "1 of 3 entries were left out when the files were opened; the first: refs(unc).p" in shown


def test_the_command_measures_boxes_and_names_what_is_wrong(tmp_path: Path) -> None:
    folder = sa1b_folder(tmp_path, sa1b_annotation(LEFT))
    done = CliRunner().invoke(app, ["evaluate", "sa1b", "--data", str(folder), "--out", str(tmp_path / "out")])
    assert done.exit_code == 0 and "filled true box" in done.output
    assert json.loads((tmp_path / "out" / "results.json").read_text())["figures"][FILLED_BOX]["miou"]["value"] > 0.99
    for name in ("refcoco", "refcoco+", "refcocog", "grefcoco", "reasonseg"):
        missed = CliRunner().invoke(app, ["evaluate", name, "--data", str(tmp_path / "nothing")])
        assert missed.exit_code == 2 and "nothing" in missed.output and "--data is the folder" in missed.output.replace("\n", " ")


def test_the_command_asks_the_shipped_model(tmp_path: Path) -> None:
    folder = refer_folder(tmp_path)
    done = CliRunner().invoke(
        app, ["evaluate", "refcoco", "--data", str(folder), "--out", str(tmp_path / "out"), "--max-new-tokens", "64"]
    )
    assert done.exit_code == 0, done.output
    values = json.loads((tmp_path / "out" / "results.json").read_text())
    assert values["questions"] == 3 and values["model"] == "tabletop" and 0 <= values["figures"][MODEL]["miou"]["value"] <= 1
